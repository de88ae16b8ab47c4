"""What `mssctl doctor` gives."""

from dataclasses import dataclass, field
from typing import Literal

GROUPS = ("separate", "train", "GPU")  # in the order in which they are shown
State = Literal["ok", "note", "warning", "failed", "crashed"]


@dataclass(frozen=True)
class Finding:
    """What one check of ``doctor`` says: one line of the report.

    Attributes:
        name: what was looked at.
        state: ``ok``; ``note``, good to know; ``warning``, something will be slow or may go wrong;
            ``failed``, something will not work; ``crashed``, the check itself gave no answer.
        summary: what was found.
        remedy: what to do about it; None if and only if the state is ``ok``.
        details: more of what was found.
        group: what it matters for, see `GROUPS`.
        fix: a shell line that does what the remedy says, where one does; it deletes nothing.
    """

    name: str
    state: State
    summary: str
    remedy: str | None = None
    details: list[str] = field(default_factory=list)
    group: str = ""
    fix: str | None = None


@dataclass(frozen=True)
class DoctorResult:
    """What ``doctor`` found.

    Attributes:
        mssctl: version.
        findings: in the order of the checks.
        fit: nothing has failed or crashed.
        seconds: that the report took.
    """

    mssctl: str
    findings: list[Finding]
    fit: bool
    seconds: float
