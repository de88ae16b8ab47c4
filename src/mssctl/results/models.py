"""What `mssctl models` gives."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ModelEntry:
    """A model that ``separate`` can use. ``sha256`` is that of the weights file."""

    name: str
    path: str
    architecture: str
    stems: list[str]
    sample_rate: int
    channels: int
    parameters: int
    license: str
    sha256: str


@dataclass(frozen=True)
class ModelList:
    """The models at hand."""

    models: list[ModelEntry]
