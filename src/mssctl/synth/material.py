"""Finds the sample files for generated songs, reads what is known about them, and decodes them.

Convention: ``DIR/{vocals,drums,bass,other,ir}/PACK/**/*.{ogg,wav,flac}`` and, optionally,
``DIR/index.csv`` with the columns path, midi_pitch_from_name, measured_f0_midi, bpm and key.
"""

import csv
import re
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path

import numpy as np
import soundfile

from mssctl.audio.filters import Audio
from mssctl.data.folders import is_folder, refuse_broken_link, walk
from mssctl.errors import MssctlError

STEMS = ("vocals", "drums", "bass", "other")
_CLASSES = (*STEMS, "ir")
_SUFFIXES = {".ogg", ".wav", ".flac"}
_PITCH_CLASSES = {"c": 0, "d": 2, "e": 4, "f": 5, "g": 7, "a": 9, "b": 11}
_ACCIDENTALS = {"": 0, "#": 1, "s": 1, "b": -1}
_NOTE = re.compile(r"(?:^|[_\-\s])([a-g])([#bs]?)(-?\d)(?=[_\-\s.]|[pmf]+$|$)", re.IGNORECASE)
_KEY = re.compile(r"([a-g])([#bs]?)[ _-]?(m|min|minor|j|maj|major)?", re.IGNORECASE)


@dataclass(frozen=True)
class Sample:
    """One audio file.

    Attributes:
        path: where it is.
        name: path relative to the samples folder, with forward slashes.
        kind: vocals, drums, bass, other or ir.
        pack: the folder below the class folder; the class itself for files directly in it.
        midi: pitch as a MIDI note number, None when unknown.
        bpm: tempo, None when it has none.
        key: pitch class of the tonic 0-11 and whether it is minor; None when unknown.
    """

    path: Path
    name: str
    kind: str
    pack: str
    midi: float | None = None
    bpm: float | None = None
    key: tuple[int, bool] | None = None


Library = Mapping[str, Sequence[Sample]]  # class -> its samples, in a fixed order


def grouped(samples: Iterable[Sample], name: Callable[[Sample], str]) -> dict[str, list[Sample]]:
    """The samples by what ``name`` says of them, in the order in which the groups appear."""
    groups: dict[str, list[Sample]] = {}
    for sample in samples:
        groups.setdefault(name(sample), []).append(sample)
    return groups


def note_in_name(name: str) -> float | None:
    """The MIDI number of a note written in a file name ('twang_c#4_f' -> 61), or None."""
    found = _NOTE.search(name)
    if found is None:
        return None
    letter, accidental, octave = found.groups()
    pitch = _PITCH_CLASSES[letter.lower()] + _ACCIDENTALS[accidental.lower()]
    return float(12 * (int(octave) + 1) + pitch)


def parse_key(text: str, name: str = "") -> tuple[int, bool] | None:
    """Read 'ab', 'fs', 'ebm' or 'C minor' as (pitch class, is minor)."""
    found = _KEY.fullmatch(text.strip())
    if found is None:
        return None
    letter, accidental, mode = found.groups()
    minor = (mode or "").lower() in ("m", "min", "minor") or "minor" in name.lower()
    return (_PITCH_CLASSES[letter.lower()] + _ACCIDENTALS[accidental.lower()]) % 12, minor


def _number(text: str | None) -> float | None:
    try:
        return float(text) if text else None
    except ValueError:
        return None


def _read_index(folder: Path) -> dict[str, dict[str, str]]:
    path = folder / "index.csv"
    if not path.is_file():
        return {}
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return {row["path"]: row for row in csv.DictReader(file)}
    except (KeyError, UnicodeDecodeError, csv.Error) as error:
        raise MssctlError(
            f"{path}: not a CSV table with a column 'path' ({error})",
            hint="remove index.csv to do without it",
            exit_code=4,
        ) from None


def find_samples(folder: Path) -> Library:
    """Index the samples below ``folder``; no audio is decoded.

    Raises:
        MssctlError: the folder does not exist or has no class folder with audio in it.
    """
    hint = f"expected {folder}/{{vocals,drums,bass,other}}/PACK/*.wav (or .ogg, .flac)"
    if not folder.is_dir():
        raise MssctlError(f"{folder}: no such samples folder", hint=hint, exit_code=4)
    index = _read_index(folder)
    found = [
        _describe(path, folder, kind, index)
        for kind in _CLASSES
        if is_folder(folder / kind)
        for path in sorted(walk(folder / kind))
        if path.suffix.lower() in _SUFFIXES
    ]
    if not any(sample.kind in STEMS for sample in found):
        raise MssctlError(f"{folder}: no samples in it", hint=hint, exit_code=4)
    return grouped(found, lambda sample: sample.kind)


def _describe(path: Path, folder: Path, kind: str, index: dict[str, dict[str, str]]) -> Sample:
    relative = path.relative_to(folder)
    pack = relative.parts[1] if len(relative.parts) > 2 else kind
    sample = Sample(path, relative.as_posix(), kind, pack)
    row = index.get(sample.name, {})
    bpm = _number(row.get("bpm"))
    if kind in ("drums", "ir"):
        return replace(sample, bpm=bpm)
    midi = _number(row.get("midi_pitch_from_name"))
    if midi is None and bpm is None:
        midi = note_in_name(path.stem)
    measured = _number(row.get("measured_f0_midi"))
    # A name may lie by octaves or name another voice's note; a measurement near it is better.
    if measured is not None and bpm is None and (midi is None or abs(measured - midi) < 1):
        midi = measured
    return replace(sample, midi=midi, bpm=bpm, key=parse_key(row.get("key", ""), sample.name))


def keep_aside(library: Library, fraction: float) -> dict[str, list[str]]:
    """Choose whole packs for validation, per class with at least three packs.

    The smallest packs (bytes on disk) are taken, at most a third of them and no more than
    ``fraction`` of the class's material, but always one: training keeps most of the variety.
    """
    aside: dict[str, list[str]] = {}
    for kind in STEMS if fraction > 0 else ():
        sizes: Counter[str] = Counter()
        for sample in library.get(kind, ()):
            sizes[sample.pack] += sample.path.stat().st_size
        if len(sizes) >= 3:
            smallest = sorted(sizes, key=lambda name: (sizes[name], name))[: len(sizes) // 3]
            totals = accumulate(sizes[name] for name in smallest)
            count = sum(total <= fraction * sizes.total() for total in totals) or 1
            aside[kind] = sorted(smallest[:count])
    return aside


def split_library(library: Library, aside: Mapping[str, list[str]]) -> dict[str, Library]:
    """The libraries for train and valid; a class without packs kept aside is in both."""
    train, valid = dict(library), dict(library)
    for kind, packs in aside.items():
        train[kind] = [sample for sample in library[kind] if sample.pack not in packs]
        valid[kind] = [sample for sample in library[kind] if sample.pack in packs]
    return {"train": train, "valid": valid}


def estimate_midi(audio: Audio, rate: int) -> float | None:
    """The pitch of a steady note as a MIDI number, or None when nothing periodic is found.

    Autocorrelation of up to 0.4 s after the attack, between 30 Hz and 1200 Hz.
    """
    mono = audio.mean(axis=0)
    start = min(int(0.08 * rate), mono.size // 4)
    part = mono[start : start + int(0.4 * rate)]
    if part.size < int(0.1 * rate) or float(np.abs(part).max()) < 1e-4:
        return None
    part = part - part.mean()
    power = np.abs(np.fft.rfft(part, 2 * part.size)) ** 2
    likeness = np.fft.irfft(power)[: part.size // 2]
    likeness = likeness / (likeness[0] + 1e-12) * part.size / (part.size - np.arange(likeness.size))
    low, high = int(rate / 1200), min(int(rate / 30), likeness.size - 1)
    window = likeness[low:high]
    if window.size < 3 or window.max() < 0.6:
        return None
    # The first peak nearly as high as the best one: later ones are multiples of the period.
    good = (window[1:-1] >= window[:-2]) & (window[1:-1] > window[2:])
    peaks = np.flatnonzero(good & (window[1:-1] > 0.9 * window.max())) + 1
    if peaks.size == 0:
        return None
    return float(69 + 12 * np.log2(rate / (low + int(peaks[0])) / 440))


def _convert(audio: Audio, rate: int, wanted: int) -> Audio:
    """Change the sample rate by cutting or padding the spectrum (band-limited, zero phase)."""
    count = max(round(audio.shape[1] * wanted / rate), 1)
    spectrum = np.fft.rfft(audio)
    resized = np.zeros((audio.shape[0], count // 2 + 1), spectrum.dtype)
    keep = min(resized.shape[1], spectrum.shape[1])
    resized[:, :keep] = spectrum[:, :keep]
    return np.asarray(np.fft.irfft(resized, count) * (count / audio.shape[1]), np.float32)


class SampleReader:
    """Decodes samples at one rate, peak-normalized, and remembers the last ones used.

    Args:
        sample_rate: rate of the audio it returns, in Hz.
        max_bytes: decoded audio kept in memory at most.
    """

    def __init__(self, sample_rate: int, max_bytes: int = 600_000_000) -> None:
        """Start with an empty memory."""
        self.sample_rate = sample_rate
        self._max_bytes = max_bytes
        self._kept: OrderedDict[Path, Audio] = OrderedDict()
        self._bytes = 0
        self._pitches: dict[Path, float | None] = {}

    def read(self, sample: Sample) -> Audio:
        """The sample as ``(C, N)`` float32, ``C`` 1 or 2, with a peak of 1.

        Raises:
            MssctlError: the file cannot be decoded or holds no audio.
        """
        if sample.path in self._kept:
            self._kept.move_to_end(sample.path)
            return self._kept[sample.path]
        refuse_broken_link(sample.path)
        try:
            if not sample.path.is_file():  # opening a named pipe would wait forever
                raise MssctlError(f"{sample.path}: not a regular file")
            data, rate = soundfile.read(sample.path, dtype="float32", always_2d=True)
        except (soundfile.LibsndfileError, OSError) as error:
            raise MssctlError(
                f"{sample.path}: cannot be read as audio ({error})",
                hint="repair the file or take it out of the samples folder",
                exit_code=4,
            ) from None
        audio = np.ascontiguousarray(data.T[:2])
        peak = float(np.abs(audio).max()) if audio.size else 0.0
        if not np.isfinite(peak) or audio.shape[1] < 16:
            raise MssctlError(
                f"{sample.path}: {audio.shape[1]} frames, or values that are not numbers",
                hint="take the file out of the samples folder",
                exit_code=4,
            )
        if rate != self.sample_rate:
            audio = _convert(audio, rate, self.sample_rate)
        audio = np.asarray(audio / max(peak, 1e-6), np.float32)
        self._kept[sample.path] = audio
        self._bytes += audio.nbytes
        while self._bytes > self._max_bytes and len(self._kept) > 1:
            _, oldest = self._kept.popitem(last=False)
            self._bytes -= oldest.nbytes
        return audio

    def pitch(self, sample: Sample) -> float | None:
        """The sample's MIDI pitch: the known one, else an estimate from the audio."""
        if sample.midi is not None:
            return sample.midi
        if sample.path not in self._pitches:
            self._pitches[sample.path] = estimate_midi(self.read(sample), self.sample_rate)
        return self._pitches[sample.path]
