"""``mssctl data check``: look at training data before a run does."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from mssctl.config.schema import AudioConfig
from mssctl.data.cache import Cache
from mssctl.data.check import CheckedSong, failures, findings
from mssctl.data.folders import real
from mssctl.data.listing import list_songs
from mssctl.data.measure import FileFacts, SongFacts, measure
from mssctl.data.names import split_of
from mssctl.data.songs import SPLITS, Entry, Listing
from mssctl.errors import ExitCode, MssctlError
from mssctl.events import Progress, Reporter, silent
from mssctl.results.data import CheckedRoot, DataCheckResult


def check(
    roots: Sequence[str | Path],
    *,
    layout: str = "auto",
    stems: Sequence[str] = AudioConfig().stems,
    sample_rate: int | None = None,
    report: Reporter = silent,
) -> DataCheckResult:
    """Read every file of one or several data folders, in all their splits.

    What was measured is cached: a second check reads only what changed.

    Args:
        roots: data folders or CSV files.
        layout: how they are laid out.
        stems: to look for.
        sample_rate: that all files should have, in Hz; None for the one most of them have.
        report: is told how far it is.

    Raises:
        MssctlError: no songs in a folder, no such folder or layout, or stem names that make no
            sense.
    """
    wanted = _stem_names(stems)
    paths = [Path(root).expanduser() for root in roots]
    listings = [_listing(root, wanted, layout) for root in paths]
    entries = [
        (split, entry)
        for listing in listings
        for split, found in listing.splits.items()
        for entry in found
    ]
    with Cache(report) as cache:
        facts = list(_measured([entry for _, entry in entries], wanted, cache, report))
    songs = [
        CheckedSong(split, entry, fact) for (split, entry), fact in zip(entries, facts, strict=True)
    ]
    remaining = iter(songs)
    return DataCheckResult(
        roots=[_summary(listing, remaining) for listing in listings],
        songs=sum(not fact.broken for fact in facts),
        findings=findings(songs, wanted),
        failures=failures(songs, sample_rate),
        skipped=[sentence for listing in listings for sentence in listing.skipped],
    )


def _stem_names(stems: Sequence[str]) -> tuple[str, ...]:
    try:
        return AudioConfig(stems=tuple(stems)).stems
    except ValueError as error:
        raise MssctlError(f"stems {', '.join(stems)}: {error}", exit_code=ExitCode.USAGE) from None


def _listing(root: Path, stems: tuple[str, ...], layout: str) -> Listing:
    """All splits of a root; a folder that is one split itself is named after it."""
    listing = list_songs(root, stems, layout=layout, splits=SPLITS)
    own = split_of(real(listing.root).name)
    if set(listing.splits) == {"train"} and own is not None:
        splits = {own: listing.splits["train"]}
        return Listing(listing.root, listing.layout, splits, listing.skipped)
    return listing


def _measured(
    entries: Sequence[Entry], stems: tuple[str, ...], cache: Cache, report: Reporter
) -> Iterator[SongFacts]:
    """The facts of each song, from the cache or measured by as many threads as there are cores."""
    kind = f"song {' '.join(stems)}"
    known = [_known(cache, kind, entry) for entry in entries]
    pool = ThreadPoolExecutor(os.cpu_count())
    try:
        waiting = [
            None if fact else pool.submit(_measure, entry, stems)
            for entry, fact in zip(entries, known, strict=True)
        ]
        for number, (entry, fact, future) in enumerate(zip(entries, known, waiting, strict=True)):
            result = fact or (future.result() if future else None)
            assert result is not None, "known or waited for"
            if future and not result.broken:
                cache.put(kind, _files(entry), result.to_json())
            report(Progress("check", number + 1, len(entries), "songs"))
            yield result
    finally:
        pool.shutdown(cancel_futures=True)


def _measure(entry: Entry, stems: tuple[str, ...]) -> SongFacts:
    try:
        return measure(entry, stems)
    except MssctlError as error:
        if error.exit_code == ExitCode.ENVIRONMENT:
            raise
        path = str(entry.folder)
        return SongFacts({stems[0]: FileFacts(path, error=error.message, hint=error.hint)})


def _known(cache: Cache, kind: str, entry: Entry) -> SongFacts | None:
    try:
        value = cache.get(kind, _files(entry))
    except OSError:
        return None  # measuring says what is wrong with the file
    return SongFacts.from_json(value) if value else None


def _files(entry: Entry) -> list[Path]:
    mixture = [entry.mixture] if entry.mixture else []
    return [*entry.files.values(), *mixture] or [entry.folder]


def _summary(listing: Listing, songs: Iterator[CheckedSong]) -> CheckedRoot:
    """Counts and hours of one root, whose songs come next in ``songs``."""
    hours: dict[str, dict[str, float]] = {}
    for split, entries in listing.splits.items():
        seconds: defaultdict[str, float] = defaultdict(float)
        for _ in entries:
            for name, facts in next(songs).files():
                seconds[name] += facts.frames / facts.sample_rate
        hours[split] = {name: total / 3600 for name, total in seconds.items()}
    counts = {split: len(entries) for split, entries in listing.splits.items()}
    return CheckedRoot(str(listing.root), listing.layout, counts, hours)
