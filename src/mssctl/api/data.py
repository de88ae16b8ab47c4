"""``mssctl data``: look at training data before a run does, and make some."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mssctl.config.schema import AudioConfig
from mssctl.data.check import check_folders
from mssctl.data.stem_map import parse_stem_map
from mssctl.errors import ExitCode, MssctlError
from mssctl.events import Reporter, silent
from mssctl.files import storage_error
from mssctl.options.data import CheckOptions, SynthOptions
from mssctl.results.data import DataCheckResult, SynthResult
from mssctl.synth.generate import synthesize


def check(
    roots: Sequence[str | Path],
    options: CheckOptions | None = None,
    *,
    report: Reporter = silent,
    **changes: Any,
) -> DataCheckResult:
    """Read every file of one or several data folders, in all their splits.

    Args:
        roots: data folders or CSV files.
        options: what to look for; the defaults if None.
        report: receives the progress.
        changes: fields of `CheckOptions`, instead of those in ``options``.

    Raises:
        MssctlError: no songs in a folder, no such folder or layout, or stem names that make no
            sense.
    """
    given = CheckOptions.given(options, changes)
    try:
        stems = AudioConfig(stems=tuple(given.stems)).stems
    except ValueError as error:
        raise MssctlError(
            f"stems {', '.join(given.stems)}: {error}", exit_code=ExitCode.USAGE
        ) from None
    paths = [Path(root).expanduser() for root in roots]
    table = parse_stem_map(given.stem_map)
    return check_folders(paths, stems, given.layout, given.sample_rate, table, report)


def synth(
    out: Path,
    options: SynthOptions | None = None,
    *,
    report: Reporter = silent,
    **changes: Any,
) -> SynthResult:
    """Write generated multitrack songs: songs with known stems, from samples or from nothing.

    Args:
        out: folder to create.
        options: how many, and from what; the defaults if None.
        report: receives the progress.
        changes: fields of `SynthOptions`, instead of those in ``options``.

    Raises:
        MssctlError: a value makes no sense, no samples, ``out`` holds something else or cannot be
            written.
    """
    given = SynthOptions.given(options, changes)
    try:
        return synthesize(out, given, report=report)
    except OSError as error:  # errors of samples are handled inside
        raise storage_error(out, error) from None
