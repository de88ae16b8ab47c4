"""What is wrong with a data set: judgements on what was measured in its songs."""

import os
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from mssctl.data.cache import Cache
from mssctl.data.folders import real
from mssctl.data.layouts import list_songs
from mssctl.data.measure import FileFacts, SongFacts, measure
from mssctl.data.names import split_of
from mssctl.data.songs import SPLITS, Listing, SongFiles
from mssctl.errors import ExitCode, MssctlError
from mssctl.events import Progress, Reporter
from mssctl.results.common import FileFailure
from mssctl.results.data import CheckedRoot, DataCheckResult, DataFinding

_SILENT = 1e-3  # peak: -60 dB of full scale
_MIXTURE_DB = -50.0  # rounding to 16 bit stays below this
_CODED_MIXTURE_DB = -15.0  # each stream of a .stem.mp4 is coded on its own


@dataclass(frozen=True)
class CheckedSong:
    """One song with what was measured in it."""

    split: str
    entry: SongFiles
    facts: SongFacts

    def files(self) -> Iterator[tuple[str, FileFacts]]:
        """Its readable files by stem, the mixture too."""
        mixture = [("mixture", self.facts.mixture)] if self.facts.mixture else []
        for name, facts in [*self.facts.stems.items(), *mixture]:
            if facts.error is None:
                yield name, facts

    def finding(self, kind: str, message: str, path: str | None = None) -> DataFinding:
        """Something to know about this song."""
        return DataFinding(
            kind, self.split, self.entry.name, path or str(self.entry.folder), message
        )


def findings(songs: Sequence[CheckedSong], stems: tuple[str, ...]) -> list[DataFinding]:
    """What training accepts but the user should know, by kind."""
    found = [
        finding
        for song in songs
        for finding in (
            *_missing(song, stems),
            *_lengths(song),
            *_mixture(song),
            *_levels(song),
        )
    ]
    found += [
        song.finding("duplicate", f"{Path(facts.path).name}: as {before.path}", facts.path)
        for first, before, song, facts in _twice(songs)
        if first.split == song.split
    ]
    return sorted(found, key=lambda finding: finding.kind)


def failures(songs: Sequence[CheckedSong], sample_rate: int | None) -> list[FileFailure]:
    """What `train` refuses or must not be given: unreadable, other rates, leaks between splits.

    Args:
        songs: of all roots and splits.
        sample_rate: that all files should have; None for the one most of them have.
    """
    found = [
        FileFailure(facts.path, _reason(facts), facts.hint, ExitCode.BAD_INPUT)
        for song in songs
        for facts in (*song.facts.stems.values(), song.facts.mixture)
        if facts and facts.error
    ]
    rates = Counter(facts.sample_rate for song in songs for _, facts in song.files())
    common = sample_rate or next((rate for rate, _ in rates.most_common(1)), None)
    for song in songs:
        for _, facts in song.files():
            if facts.sample_rate != common:
                why = f"{facts.sample_rate} Hz, the others have {common} Hz"
                if sample_rate:
                    why = f"{facts.sample_rate} Hz instead of {common} Hz"
                found.append(_failure(facts, why, "resample it"))
            if facts.channels > 2:
                found.append(_failure(facts, f"{facts.channels} channels", "mix it down"))
    found += [
        _failure(
            facts,
            f"in '{song.split}', and the same audio in '{first.split}': {before.path}",
            "keep it in one split only",
        )
        for first, before, song, facts in _twice(songs)
        if first.split != song.split
    ]
    return found


def _twice(
    songs: Sequence[CheckedSong],
) -> Iterator[tuple[CheckedSong, FileFacts, CheckedSong, FileFacts]]:
    """Stems whose audio was there before: where first, and where again. Silence does not count."""
    seen: dict[str, tuple[CheckedSong, FileFacts]] = {}
    for song in songs:
        for facts in song.facts.stems.values():
            if facts.error or facts.peak < _SILENT:
                continue
            if facts.digest in seen:
                yield (*seen[facts.digest], song, facts)
            else:
                seen[facts.digest] = song, facts


def _missing(song: CheckedSong, stems: tuple[str, ...]) -> Iterator[DataFinding]:
    unopened = (
        song.facts.broken and song.entry.packed is not None
    )  # a .stem.mp4; its stems are not known
    if not song.entry.loose and not unopened:
        without = [stem for stem in stems if stem not in song.facts.stems]
        if without:
            yield song.finding("missing", f"no {', '.join(without)}: silence in training")


def _lengths(song: CheckedSong) -> Iterator[DataFinding]:
    seconds = {name: facts.frames / facts.sample_rate for name, facts in song.files()}
    if len(set(seconds.values())) > 1:
        files = dict(song.files())
        shortest = min(seconds, key=seconds.__getitem__)
        longest = max(seconds, key=seconds.__getitem__)
        yield song.finding(
            "length",
            f"{shortest} has {files[shortest].frames} frames ({seconds[shortest]:.3f} s), "
            f"{longest} {files[longest].frames} ({seconds[longest]:.3f} s)",
        )


def _mixture(song: CheckedSong) -> Iterator[DataFinding]:
    residual = song.facts.residual_db
    coded = song.entry.packed and not song.entry.parts
    allowed = _CODED_MIXTURE_DB if coded else _MIXTURE_DB
    if residual is not None and residual > allowed:
        yield song.finding("mixture", f"differs from the sum of its stems by {residual:.1f} dB")


def _levels(song: CheckedSong) -> Iterator[DataFinding]:
    for name, facts in song.files():
        if facts.peak < _SILENT:
            yield song.finding("silent", f"{name} is silent", facts.path)
        if facts.clipped:
            places = f"{facts.clipped} place{'s' if facts.clipped > 1 else ''}"
            yield song.finding("clipped", f"{name} is clipped at {places}", facts.path)
        for note in facts.notes:
            yield song.finding("odd", f"{name}: {note}", facts.path)


def _reason(facts: FileFacts) -> str:
    return str(facts.error).removeprefix(f"{facts.path}: ")


def _failure(facts: FileFacts, why: str, hint: str) -> FileFailure:
    return FileFailure(facts.path, why, hint, ExitCode.BAD_INPUT)


# --- reading


def check_folders(
    roots: Sequence[Path],
    stems: tuple[str, ...],
    layout: str,
    sample_rate: int | None,
    table: Mapping[str, str],
    report: Reporter,
) -> DataCheckResult:
    """Read every file of one or several data folders, in all their splits.

    What was measured is cached: a second check reads only what changed.

    Args:
        roots: data folders or CSV files.
        stems: to look for.
        layout: how they are laid out.
        sample_rate: that all files should have, in Hz; None for the one most of them have.
        table: name of a file -> stem, see `mssctl.data.stem_map`.
        report: receives the progress.

    Raises:
        MssctlError: no songs in a folder, or no such folder or layout.
    """
    listings = [_listing(root, stems, layout, table) for root in roots]
    entries = [
        (split, entry)
        for listing in listings
        for split, found in listing.splits.items()
        for entry in found
    ]
    with Cache(report) as cache:
        facts = list(_measured([entry for _, entry in entries], stems, cache, report))
    songs = [
        CheckedSong(split, entry, fact) for (split, entry), fact in zip(entries, facts, strict=True)
    ]
    remaining = iter(songs)
    return DataCheckResult(
        roots=[_summary(listing, remaining) for listing in listings],
        songs=sum(not fact.broken for fact in facts),
        findings=findings(songs, stems),
        failures=failures(songs, sample_rate),
        skipped=[sentence for listing in listings for sentence in listing.skipped],
    )


def _listing(root: Path, stems: tuple[str, ...], layout: str, table: Mapping[str, str]) -> Listing:
    """All splits of a root; a folder that is one split itself is named after it."""
    listing = list_songs(root, stems, layout=layout, splits=SPLITS, table=table)
    own = split_of(real(listing.root).name)
    if set(listing.splits) == {"train"} and own is not None:
        splits = {own: listing.splits["train"]}
        return Listing(listing.root, listing.layout, splits, listing.skipped)
    return listing


def _measured(
    entries: Sequence[SongFiles], stems: tuple[str, ...], cache: Cache, report: Reporter
) -> Iterator[SongFacts]:
    """The facts of each song, from the cache or measured by as many threads as there are cores."""
    kinds = [_kind(entry, stems) for entry in entries]
    known = [_known(cache, kind, entry) for kind, entry in zip(kinds, entries, strict=True)]
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
                cache.put(kinds[number], entry.files, result.to_json())
            report(Progress("check", number + 1, len(entries), "songs"))
            yield result
    finally:
        pool.shutdown(cancel_futures=True)


def _kind(entry: SongFiles, stems: tuple[str, ...]) -> str:
    """What the facts of a song depend on besides its files."""
    counts = "".join(f" {stem}:{len(paths)}" for stem, paths in entry.parts.items())
    return f"song {' '.join(stems)}{counts and f' of{counts}'}"


def _measure(entry: SongFiles, stems: tuple[str, ...]) -> SongFacts:
    try:
        return measure(entry, stems)
    except MssctlError as error:
        if error.exit_code == ExitCode.ENVIRONMENT:
            raise
        path = str(entry.folder)
        return SongFacts({stems[0]: FileFacts(path, error=error.message, hint=error.hint)})


def _known(cache: Cache, kind: str, entry: SongFiles) -> SongFacts | None:
    try:
        value = cache.get(kind, entry.files)
    except OSError:
        return None  # measuring says what is wrong with the file
    return SongFacts.from_json(value) if value else None


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
