"""What ``mssctl doctor`` prints."""

from __future__ import annotations

from collections import Counter
from typing import get_args

from mssctl.cli.options import DISPLAY
from mssctl.cli.render import aligned, as_text
from mssctl.results.doctor import DoctorResult, Finding, State


@as_text.register
def _(result: DoctorResult) -> str:
    rows = [row for finding in result.findings for row in _rows(finding)]
    counts = Counter(finding.state for finding in result.findings)
    said = ", ".join(f"{counts[state]} {state}" for state in get_args(State) if counts[state])
    verdict = "this machine is fit" if result.fit else "this machine is not fit"
    return f"{aligned(['', '', ''], rows)}{verdict}: {said} ({result.seconds:.1f} s)\n"


def _rows(finding: Finding) -> list[list[str]]:
    """The line of a finding, its remedy below, and its details with ``-v``."""
    rows = [[finding.state, finding.name, finding.summary]]
    if finding.remedy:
        rows.append(["", "", f"-> {finding.remedy}"])
    if DISPLAY.get().verbose:
        rows += [["", "", f"   {line}"] for line in finding.details]
    return rows
