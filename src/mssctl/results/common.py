"""What several commands' results have in common."""

from dataclasses import dataclass


@dataclass(frozen=True)
class FileFailure:
    """An input that could not be processed, and why."""

    path: str
    error: str
    hint: str | None
    exit_code: int
