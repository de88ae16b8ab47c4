"""``mssctl doctor``: check this machine, show what was found."""

import shlex
from collections import Counter
from typing import get_args

from mssctl.cli.command import command
from mssctl.cli.options import DISPLAY
from mssctl.cli.render import aligned, count
from mssctl.cli.session import Session
from mssctl.options.doctor import DoctorOptions
from mssctl.results.doctor import GROUPS, DoctorResult, Finding, State


@command(DoctorOptions)
def doctor_command(ui: Session, options: DoctorOptions) -> None:
    """Check this machine, and say how to fix what will not work.

    First what it can do, then what is not as it should be; -v shows every check, and details. Exits
    with 3 when a check has failed or crashed.
    """
    from mssctl.api.doctor import doctor

    ui.show(doctor(options, report=ui.report), fixes_text if options.fix else findings_text)


def findings_text(result: DoctorResult) -> str:
    """What the machine can do, the findings by group, and the verdict."""
    parts = [aligned(["", ""], _abilities(result))]
    groups = dict.fromkeys([*GROUPS, *(finding.group for finding in result.findings)])
    for group in groups:
        found = [finding for finding in result.findings if finding.group == group]
        fine = sum(finding.state == "ok" for finding in found)
        rows = [row for finding in found if _is_shown(finding) for row in _rows(finding)]
        if found:
            head = f"\n{group or 'other'}: {fine} of {count(len(found), 'check')} ok\n"
            parts.append(head + (aligned(["", "", ""], rows) if rows else ""))
    counts = Counter(finding.state for finding in result.findings)
    said = ", ".join(f"{counts[state]} {state}" for state in get_args(State) if counts[state])
    failed = counts["failed"] + counts["crashed"]
    verdict = (
        "this machine passed" if result.fit else f"this machine failed {count(failed, 'check')}"
    )
    return f"{''.join(parts)}\n{verdict}: {said} ({result.seconds:.1f} s)\n"


def fixes_text(result: DoctorResult) -> str:
    """A shell line for each remedy: a command, or words that do nothing where there is none."""
    lines = []
    for finding in result.findings:
        if finding.fix:
            lines.append(f"{finding.fix}; {_said(f'{finding.name}: {finding.summary}')}")
        elif finding.remedy and not _needs_nothing(finding):
            lines.append(_said(f"{finding.name}: {finding.remedy}"))
    return "".join(f"{line}\n" for line in lines) or f"{_said('nothing to fix')}\n"


def _abilities(result: DoctorResult) -> list[list[str]]:
    """Whether the machine can separate and train, and how fast."""
    by_name = {finding.name: finding for finding in result.findings}
    speed, device = by_name.get("separation speed"), by_name.get("device")
    where = device.summary if device else "device unknown"
    fast = speed.summary if speed and speed.state == "ok" else "speed not measured"
    slower = "" if device and device.state == "ok" else ", small presets such as starter"
    return [
        ["separate", _verdict(result, ("separate",), fast)],
        ["train", _verdict(result, ("separate", "train"), f"on {where}{slower}")],
        ["", "`mssctl plan` lists what fits, `mssctl bench PRESET` measures a step"],
    ]


def _verdict(result: DoctorResult, groups: tuple[str, ...], yes: str) -> str:
    bad = [
        finding.name
        for finding in result.findings
        if finding.group in groups and finding.state in ("failed", "crashed")
    ]
    return f"no: {', '.join(bad)}" if bad else f"yes, {yes}"


def _is_shown(finding: Finding) -> bool:
    idle = finding.state == "ok" or _needs_nothing(finding)
    return not idle or DISPLAY.get().verbose > 0


def _needs_nothing(finding: Finding) -> bool:
    """Whether it is a note without anything to do."""
    return finding.state == "note" and str(finding.remedy).startswith("nothing to do")


def _said(text: str) -> str:
    """Words that any shell ignores: a ``#`` begins no comment in an interactive zsh."""
    return f": {shlex.quote(' '.join(text.split()))}"


def _rows(finding: Finding) -> list[list[str]]:
    """The line of a finding, its remedy below, and its details with ``-v``."""
    rows = [[finding.state, finding.name, finding.summary]]
    if finding.remedy:
        rows.append(["", "", f"-> {finding.remedy}"])
    if DISPLAY.get().verbose:
        rows += [["", "", f"   {line}"] for line in finding.details]
    return rows
