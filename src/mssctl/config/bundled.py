"""Where the presets and weights that come with the program lie.

In a wheel they are inside the package; in a source checkout they are the top-level ``presets``
folder, so that an editable install sees edits at once.
"""

from pathlib import Path


def bundled_folder() -> Path:
    """Folder that holds ``*.yaml`` presets and ``weights/*.safetensors``."""
    package = Path(__file__).resolve().parent.parent
    installed = package / "bundled"
    return installed if installed.is_dir() else package.parent.parent / "presets"
