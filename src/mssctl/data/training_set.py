"""The songs of a training run: where they lie, which split they belong to, and what they lack.

Only headers are read here, and those once: `mssctl.data.cache` keeps them.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from mssctl.audio.files import probe
from mssctl.config.schema import AudioConfig
from mssctl.data import musdb18
from mssctl.data.cache import Cache
from mssctl.data.folders import real, refuse_broken_link, split_folder, unreadable
from mssctl.data.layouts import list_place, list_songs
from mssctl.data.names import split_of
from mssctl.data.songs import Listing, Song, SongFiles, SongSets, StemFile
from mssctl.errors import MssctlError
from mssctl.events import Notice, Progress, Reporter, silent


def find_songs(
    roots: Sequence[Path],
    audio: AudioConfig,
    *,
    layout: str = "auto",
    valid: Path | None = None,
    table: Mapping[str, str] | None = None,
    report: Reporter = silent,
) -> SongSets:
    """Find the training and validation songs.

    Each root either holds the split folders ``train`` and ``valid``, or is itself a folder of
    training songs, or a CSV file; ``valid`` names the held-out songs otherwise. A test split is
    never read.

    Args:
        roots: one or several data folders; their songs are pooled.
        audio: stems, sample rate and channels that the model works with.
        layout: a name in `layouts.LAYOUTS`, or ``auto``.
        valid: folder of held-out songs, instead of the ones in ``roots``.
        table: name of a file -> stem, see `mssctl.data.stem_map`.
        report: receives what the songs lack.

    Raises:
        MssctlError: no songs, no held-out songs, a song in both splits, a file that cannot be
            read, another sample rate, or channels that do not go together.
    """
    if not roots:
        raise MssctlError(
            "no training data",
            hint="name a folder of songs with --data; `mssctl data synth` makes one",
        )
    for root in [*roots, *([valid] if valid else [])]:
        _refuse_test(root)
    splits = ("train",) if valid else ("train", "valid")
    listings = [
        list_songs(root, audio.stems, layout=layout, splits=splits, table=table) for root in roots
    ]
    held_out = [list_place(valid, audio.stems, table=table)] if valid else listings
    _refuse_none(roots, listings, held_out)
    _refuse_samples(held_out)
    both = listings if held_out is listings else [*listings, *held_out]
    for sentence in dict.fromkeys(sentence for listing in both for sentence in listing.skipped):
        _notice(report, sentence)
    for listing in listings:
        if listing.layout.startswith("musdb18"):
            _tell_whose_split_it_is(listing, valid, report)
    with Cache(report) as cache:
        train = _open(listings, "train", audio, cache, report)
        validation = _open(held_out, "valid", audio, cache, report)
    _no_song_twice(train, validation)
    for songs, split in ((train, "training"), (validation, "validation")):
        _check_audio(songs, audio)
        _tell_what_is_missing(songs, split, audio, report)
    return SongSets(tuple(train), tuple(validation))


def _refuse_none(
    roots: Sequence[Path], listings: Sequence[Listing], held_out: Sequence[Listing]
) -> None:
    if not any(listing.splits.get("train") for listing in listings):
        raise MssctlError(f"{', '.join(map(str, roots))}: no songs to train on")
    if not any(listing.splits.get("valid") for listing in held_out):
        raise MssctlError(
            f"{', '.join(map(str, roots))}: no held-out songs to validate on",
            hint="put some songs into a 'valid' folder beside 'train', or name one with --valid",
        )


def _open(
    listings: Sequence[Listing], split: str, audio: AudioConfig, cache: Cache, report: Reporter
) -> list[Song]:
    """Read the headers of all songs of a split."""
    entries = [
        (number, entry)
        for number, listing in enumerate(listings)
        for entry in listing.splits.get(split, [])
    ]
    songs = []
    for count, (number, entry) in enumerate(entries):
        _refuse_test_files(entry)
        files = entry.unpacked().stems
        if entry.packed:
            report(Progress("decode", count + 1, len(entries), "songs"))
        stems = {stem: _header(files[stem], cache) for stem in audio.stems if stem in files}
        if not stems:
            raise MssctlError(f"{entry.folder}: has none of the stems {', '.join(audio.stems)}")
        songs.append(Song(entry.name, entry.folder, stems, number, entry.loose))
    return songs


def _header(path: Path, cache: Cache) -> StemFile:
    refuse_broken_link(path)
    try:
        known = cache.get("header", [path])
    except OSError as error:
        raise unreadable(path, error) from None
    if known is None:
        info = probe(path)
        known = {
            "frames": info.frames,
            "sample_rate": info.sample_rate,
            "channels": info.channels,
        }
        cache.put("header", [path], known)
    return StemFile(path, **known)


def _refuse_test(root: Path) -> None:
    if split_of(real(root).name) == "test":
        raise MssctlError(
            f"{root}: a test split is not for training or choosing models",
            hint="name another folder; scores on a test split come from `mssctl eval`",
        )


def _refuse_test_files(entry: SongFiles) -> None:
    """Refuse files that lie in a test split and got here by a table or a link."""
    for path in (path for paths in entry.parts.values() for path in paths):
        for suspect in real(path).parents[1:4]:  # the song, the split above it, and one more
            _refuse_test(suspect)
    for path in entry.stems.values() or [entry.folder]:
        folder, *above = real(path).parents[:2]
        if entry.loose:
            suspects = [folder, *above]
        elif entry.stems:
            suspects = above
        else:  # a .stem.mp4 lies in the split itself
            suspects = [folder]
        for suspect in suspects:
            _refuse_test(suspect)


def _no_song_twice(train: Iterable[Song], valid: Iterable[Song]) -> None:
    seen = {real(stem.path) for song in train for stem in song.stems.values()}
    for song in valid:
        if any(real(stem.path) in seen for stem in song.stems.values()):
            raise MssctlError(
                f"{song.folder}: the same song is in training and validation",
                hint="validation songs must not be trained on",
            )


def _check_audio(songs: Iterable[Song], audio: AudioConfig) -> None:
    for stem in (stem for song in songs for stem in song.stems.values()):
        if stem.sample_rate != audio.sample_rate:
            raise MssctlError(
                f"{stem.path}: {stem.sample_rate} Hz, the model works at {audio.sample_rate} Hz",
                hint=f"resample the stems, or --set audio.sample_rate={stem.sample_rate}",
            )
        if stem.channels != audio.channels and 1 not in (stem.channels, audio.channels):
            raise MssctlError(
                f"{stem.path}: {stem.channels} channels, the model has {audio.channels}",
                hint="mix the stems down first",
            )


def _refuse_samples(held_out: Sequence[Listing]) -> None:
    for listing in held_out:
        if any(entry.loose for entry in listing.splits.get("valid", [])):
            raise MssctlError(
                f"{listing.root}: samples of single stems cannot be validated on",
                hint="name a folder of whole songs with --valid",
            )


def _tell_whose_split_it_is(listing: Listing, valid: Path | None, report: Reporter) -> None:
    """Say which tracks of MUSDB18 are held out, or that none are."""
    names, train = musdb18.validation_tracks(), listing.splits["train"]
    if valid:
        trained = sum(entry.name in names for entry in train)
        if trained:
            _notice(
                report,
                f"{listing.root}: {trained} validation tracks of musdb are trained on, "
                "because --valid names others",
            )
    elif split_folder(listing.root, "valid") is None:
        held = len(listing.splits.get("valid", []))
        report(
            Notice(
                f"{listing.root}: MUSDB18 split, {len(train)} tracks to train on, "
                f"{held} of musdb's {len(names)} held out"
            )
        )


def _tell_what_is_missing(
    songs: Sequence[Song], split: str, audio: AudioConfig, report: Reporter
) -> None:
    whole = [song for song in songs if not song.loose]
    for name in audio.stems:
        if not any(name in song.stems for song in songs):
            raise MssctlError(
                f"{songs[0].folder.parent}: no {split} song has the stem '{name}'",
                hint="name the stems there are with --set audio.stems=[...]",
            )
        without = [song for song in whole if name not in song.stems]
        if without:
            some = f"{len(without)} of {len(whole)} {split} songs"
            _notice(report, f"{some} have no {name} (first: {without[0].name}): silence")
    uneven = [song for song in whole if len({stem.frames for stem in song.stems.values()}) > 1]
    if uneven:
        some = f"{len(uneven)} {split} songs have stems of unequal length"
        _notice(report, f"{some} (first: {uneven[0].name}): silence after the end")
    other = sum(stem.channels != audio.channels for song in songs for stem in song.stems.values())
    if other:
        change = (
            "averaged to one channel" if audio.channels == 1 else "mono: copied to both channels"
        )
        _notice(report, f"{other} {split} stems are {change}")


def _notice(report: Reporter, message: str) -> None:
    report(Notice(message, level="warning"))
