"""What `mssctl preset` gives."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ImportedPreset:
    """A configuration of another program as a preset.

    Attributes:
        path: of the preset that was written.
        architecture: of its model.
        carried: key of the other program -> our keys.
        left_out: key of the other program -> why it has no counterpart.
    """

    path: str
    architecture: str
    carried: dict[str, str]
    left_out: dict[str, str]
