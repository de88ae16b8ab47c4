"""Where the presets, weights and pages that come with the program lie.

In a wheel they are inside the package; in a source checkout they are the top-level ``presets``
folder, so that an editable install sees edits at once.
"""

import re
from pathlib import Path

_PAGE = re.compile(r"\bdocs/([\w.-]+\.md)\b")


def bundled_folder() -> Path:
    """Folder that holds ``*.yaml`` presets and ``weights/*.safetensors``."""
    package = Path(__file__).resolve().parent.parent
    installed = package / "bundled"
    return installed if installed.is_dir() else package.parent.parent / "presets"


def with_pages(text: str) -> str:
    """A message in which pages of ``docs`` are paths that exist where this is installed.

    In a source checkout they are what they say.
    """
    pages = bundled_folder() / "docs"

    def place(match: re.Match[str]) -> str:
        page = pages / match[1]
        return str(page) if page.is_file() else match[0]

    return _PAGE.sub(place, text)
