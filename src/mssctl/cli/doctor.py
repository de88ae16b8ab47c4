"""``mssctl doctor``: check this machine, show what was found."""

from collections import Counter
from typing import get_args

from mssctl.cli.command import command
from mssctl.cli.options import DISPLAY
from mssctl.cli.render import aligned, count
from mssctl.cli.session import Session
from mssctl.options.doctor import DoctorOptions
from mssctl.results.doctor import DoctorResult, Finding, State


@command(DoctorOptions)
def doctor_command(ui: Session, options: DoctorOptions) -> None:
    """Check this machine, and say how to fix what will not work.

    -v shows the details. Exits with 3 when a check has failed or crashed.
    """
    from mssctl.api.doctor import doctor

    ui.show(doctor(options, report=ui.report), findings_text)


def findings_text(result: DoctorResult) -> str:
    """The findings, and the verdict."""
    rows = [row for finding in result.findings for row in _rows(finding)]
    counts = Counter(finding.state for finding in result.findings)
    said = ", ".join(f"{counts[state]} {state}" for state in get_args(State) if counts[state])
    failed = counts["failed"] + counts["crashed"]
    verdict = (
        "this machine passed" if result.fit else f"this machine failed {count(failed, 'check')}"
    )
    return f"{aligned(['', '', ''], rows)}{verdict}: {said} ({result.seconds:.1f} s)\n"


def _rows(finding: Finding) -> list[list[str]]:
    """The line of a finding, its remedy below, and its details with ``-v``."""
    rows = [[finding.state, finding.name, finding.summary]]
    if finding.remedy:
        rows.append(["", "", f"-> {finding.remedy}"])
    if DISPLAY.get().verbose:
        rows += [["", "", f"   {line}"] for line in finding.details]
    return rows
