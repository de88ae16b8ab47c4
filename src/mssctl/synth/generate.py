"""Generates multitrack training songs: plans, renders and writes them, whole or not at all."""

import json
import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache, partial
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from mssctl.audio.filters import Audio
from mssctl.audio.writer import AtomicWriter
from mssctl.documents import read_json
from mssctl.errors import MssctlError
from mssctl.events import Progress, Reporter, silent
from mssctl.files import FileSet, write_whole
from mssctl.hardware.processes import serve, start_tracker
from mssctl.options.data import SynthOptions
from mssctl.results.data import SynthResult
from mssctl.synth.bass import play_bass
from mssctl.synth.drums import play_drums
from mssctl.synth.material import (
    STEMS,
    Library,
    SampleReader,
    find_samples,
    keep_aside,
    split_library,
)
from mssctl.synth.mix import balance, codec_bands, coded, master, treat
from mssctl.synth.other import play_other
from mssctl.synth.score import write_score
from mssctl.synth.studio import Studio
from mssctl.synth.vocals import choose_voice, play_vocals
from mssctl.synth.vocoder import check_pyworld

# Part of every song's seed: raise it when the same seed no longer gives the same song.
_VERSION = 7
_SPLITS = ("train", "valid")
_NOTE_NAMES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
_UNRELATED = 0.6  # part of the songs whose stems share neither tempo nor key
_CODED = 0.2  # part of the varied songs that went through MP3
_SILENT = 0.06  # chance of a stem to be silent in the whole song


@dataclass(frozen=True)
class Job:
    """All that one song depends on."""

    folder: Path
    split: str
    number: int
    seed: int
    seconds: float
    sample_rate: int
    library: Library
    varied: bool = False


def synthesize(
    out: Path, options: SynthOptions, *, sample_rate: int = 44_100, report: Reporter = silent
) -> SynthResult:
    """Write generated songs to ``out/{train,valid}/song-00000/{mixture,STEM}.wav``.

    Each mixture is the exact integer sum of its four 16-bit stereo stems. The same options give the
    same bytes, however many processes work. An interrupted run with the same options is continued:
    songs that exist are kept. Songs of ``valid`` use sample packs kept aside where a class has
    three packs or more (``index.json`` names them).

    Args:
        out: folder to create.
        options: how many songs, and from what.
        sample_rate: in Hz.
        report: receives the progress.

    Raises:
        MssctlError: ``samples`` has no samples or one is unreadable, or ``out`` holds something
            else.
    """
    if options.varied:
        check_pyworld()
    library = {} if options.samples is None else find_samples(Path(options.samples))
    aside = keep_aside(library, options.valid_fraction)
    index = _index(options, sample_rate, library, aside)
    _open(out, index)
    seed, seconds = options.seed, options.song_seconds
    jobs = [
        Job(out / split, split, number, seed, seconds, sample_rate, part, options.varied)
        for split, part in split_library(library, aside).items()
        for number in range(index["songs"][split])
    ]
    missing = [job for job in jobs if not _song_folder(job).exists()]
    workers = options.workers or os.cpu_count() or 1
    for done, _ in enumerate(_run(missing, workers), start=len(jobs) - len(missing) + 1):
        report(Progress("synth", done, len(jobs), "songs"))
    _write_index(out, {**index, "complete": True})
    where = None if options.samples is None else str(options.samples)
    return SynthResult(
        str(out), len(jobs), index["seconds"], dict(index["songs"]), options.seed, where
    )


def _index(
    options: SynthOptions, sample_rate: int, library: Library, aside: Mapping[str, Any]
) -> dict[str, Any]:
    """What identifies a set of songs: ``index.json``."""
    total = max(round(options.hours * 3600 / options.song_seconds), 1)
    valid = 0
    if options.valid_fraction > 0:
        valid = min(max(round(total * options.valid_fraction), 1), total - 1)
    return {
        "parameters": {
            "hours": options.hours,
            "seed": options.seed,
            "song_seconds": options.song_seconds,
            "valid_fraction": options.valid_fraction,
            "sample_rate": sample_rate,
            "samples": _fingerprint(options.samples, library),
            **({"varied": True} if options.varied else {}),
        },
        "versions": {
            "generator": _VERSION,
            "numpy": np.__version__,
            **({"pyworld": version("pyworld")} if options.varied else {}),
        },
        "packs_kept_aside_for_valid": aside,
        "songs": {"train": total - valid, "valid": valid},
        "seconds": total * options.song_seconds,
    }


def _fingerprint(folder: Path | str | None, library: Library) -> dict[str, Any] | None:
    """What identifies a samples folder, so that a changed one is not mistaken for the same."""
    if folder is None:
        return None
    sizes = [sample.path.stat().st_size for samples in library.values() for sample in samples]
    return {"folder": str(folder), "files": len(sizes), "bytes": sum(sizes)}


def _open(out: Path, index: dict[str, Any]) -> None:
    """Make ``out`` ready: new, empty, or the unfinished result of the same options."""
    if out.exists() and not out.is_dir():
        raise MssctlError(f"{out}: is a file", hint="name a new folder", exit_code=4)
    if out.is_dir() and any(out.iterdir()):
        before: dict[str, Any] = {}
        with suppress(MssctlError):
            before = read_json(out / "index.json")
        if before != {**index, "complete": False}:
            finished = before.get("complete")
            what = "holds a finished set of songs" if finished else "exists and is not empty"
            raise MssctlError(
                f"{out}: {what}",
                hint="name a new folder; only an interrupted run with the same options continues",
                exit_code=4,
            )
    for split in _SPLITS:
        (out / split).mkdir(parents=True, exist_ok=True)
    _write_index(out, {**index, "complete": False})


def _write_index(out: Path, index: dict[str, Any]) -> None:
    write_whole(out / "index.json", json.dumps(index, indent=2) + "\n")


def _song_folder(job: Job) -> Path:
    return job.folder / f"song-{job.number:05d}"


def _run(jobs: list[Job], workers: int) -> Iterator[Path]:
    """Make songs and yield their folders, in the order of the jobs."""
    if workers == 1 or len(jobs) < 2:
        yield from map(make_song, jobs)
        return
    # spawn: a fork would copy the threads' locks of whatever the caller runs.
    start_tracker()
    count, context = min(workers, len(jobs)), get_context("spawn")
    pool = ProcessPoolExecutor(count, context, serve, (os.getpid(),))
    try:
        yield from pool.map(make_song, jobs)
    finally:
        pool.shutdown(cancel_futures=True)


@lru_cache(maxsize=1)
def _reader(sample_rate: int) -> SampleReader:
    """One reader per process: decoded samples serve many songs."""
    return SampleReader(sample_rate)


def make_song(job: Job) -> Path:
    """Render and publish one song; returns its folder."""
    stems, facts = render_song(job)
    final = _song_folder(job)
    with FileSet(final.parent) as files:
        folder = files.add_folder(final)
        for name, audio in stems.items():
            with AtomicWriter(folder / f"{name}.wav", job.sample_rate, audio.shape[1]) as writer:
                writer.write(audio.T)
        (folder / "song.json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    return final


def render_song(
    job: Job,
) -> tuple[dict[str, np.ndarray[tuple[int, int], np.dtype[np.int16]]], dict[str, Any]]:
    """Make the audio of one song.

    Returns:
        mixture and stems as int16 ``(N, 2)``, and the facts for ``song.json``.
    """
    key = [job.seed, _VERSION, _SPLITS.index(job.split), job.number]
    plan, *streams = (
        np.random.Generator(np.random.PCG64(s)) for s in np.random.SeedSequence(key).spawn(6)
    )
    studio = Studio(job.library, _reader(job.sample_rate), job.seconds, varied=job.varied)
    voice = choose_voice(studio, plan)
    # Without samples the songs are for tests and demonstrations: all stems, and mostly in tune.
    unrelated, silence = (_UNRELATED, _SILENT) if job.library else (0.1, 0.0)
    related = bool(plan.random() >= unrelated)
    # One score for all stems, or one each; the vocals' always fits the voice.
    first = write_score(plan, job.seconds, voice.bpm, voice.key)
    scores = {
        kind: first if related or kind == "vocals" else write_score(plan, job.seconds)
        for kind in STEMS
    }
    silent = {kind for kind in STEMS if plan.random() < silence}
    if len(silent) > 2:
        silent = set()
    common = codec_bands(plan)
    rest = {kind: float(plan.choice([0, 0.1, 0.3])) for kind in STEMS}
    stems = {kind: studio.silence() for kind in STEMS}
    players: dict[str, Callable[..., Audio]] = {
        "vocals": partial(play_vocals, voice=voice),
        "drums": play_drums,
        "bass": play_bass,
        "other": play_other,
    }
    for kind, rng in zip(STEMS, streams, strict=False):
        if kind not in silent:
            track = players[kind](studio, scores[kind], rng, rest[kind])
            stems[kind] = treat(track, kind, studio, rng, beat=scores[kind].beat, common=common)
    stems = balance(stems, streams[4], job.sample_rate, varied=job.varied)
    if job.varied and streams[4].random() < _CODED:
        stems = coded(stems, float(streams[4].uniform(0.15, 0.5)), job.sample_rate)
    whole = master(stems, float(streams[4].uniform(0.2, 3)))
    facts = {
        "seed": key,
        "related_stems": related,
        "voice": voice.kind,
        "bpm": {kind: round(score.bpm, 3) for kind, score in scores.items()},
        "key": {
            kind: f"{_NOTE_NAMES[score.root]} {'minor' if score.minor else 'major'}"
            for kind, score in scores.items()
        },
        "silent": [kind for kind in STEMS if not whole[kind].any()],
        "samples": {kind: sorted(names) for kind, names in sorted(studio.used.items())},
    }
    return whole, facts
