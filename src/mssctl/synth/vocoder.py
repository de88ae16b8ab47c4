"""The WORLD vocoder: one recorded voice as many singers. Needs the package pyworld.

Source: Morise, Yokomori & Ozawa, "WORLD: a vocoder-based high-quality speech synthesis system for
real-time applications", IEICE Trans. Inf. & Syst. E99-D (2016).
"""

import warnings
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np

from mssctl.audio.effects import Curve, fade, pan_gains, place
from mssctl.audio.filters import Audio
from mssctl.errors import ExitCode, MssctlError

_FRAME = 0.005  # seconds between two values of all curves
_LONGEST = 20.0  # seconds analyzed at once: bounds the memory
_PITCHES = (60.0, 1100.0)  # Hz


@dataclass(frozen=True)
class Singer:
    """How a recording is sung again.

    Attributes:
        pitch: semitones up.
        formants: factor of the formant frequencies.
        vibrato: its depth in cents, which comes and goes.
        vibrato_hz: its speed.
        breath: share of the voiced sound that becomes noise, at 4 kHz and above.
        effort: change of the spectral slope above 500 Hz in dB per octave; more is louder singing.
        timing: largest shift of a sound, in seconds.
    """

    pitch: float = 0.0
    formants: float = 1.0
    vibrato: float = 0.0
    vibrato_hz: float = 5.5
    breath: float = 0.0
    effort: float = 0.0
    timing: float = 0.0


class Analysis(NamedTuple):
    """Pitch in Hz ``(T,)`` (0: unvoiced), power envelope and aperiodicity ``(T, F)``."""

    hz: Curve
    envelope: Curve
    noise: Curve


def check_pyworld() -> None:
    """Require pyworld, and what it imports.

    Raises:
        MssctlError: it is not installed (exit 3).
    """
    missing = [name for name in ("pyworld", "pkg_resources") if find_spec(name) is None]
    if missing:
        raise MssctlError(
            f"`varied` needs the package pyworld: {' and '.join(missing)} cannot be imported",
            hint="pip install 'mssctl[synth]', or leave `varied` out",
            exit_code=ExitCode.ENVIRONMENT,
        )


def _world() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pyworld 0.3 reads its version from pkg_resources
        import pyworld  # noqa: PLC0415 (an optional package)
    return pyworld


def draw_singer(rng: np.random.Generator, pitch: float) -> Singer:
    """Another singer, ``pitch`` semitones higher: lower voices tend to have lower formants."""
    return Singer(
        pitch=pitch,
        formants=float(np.clip(2 ** (pitch / 24) * rng.uniform(0.85, 1.18), 0.8, 1.25)),
        vibrato=float(rng.choice([0, 0, 1]) * rng.uniform(15, 70)),
        vibrato_hz=float(rng.uniform(4.5, 6.8)),
        breath=float(rng.choice([0, 1]) * rng.uniform(0.05, 0.7)),
        effort=float(rng.normal(0, 1.5)),
        timing=float(rng.uniform(0, 0.06)),
    )


def analyze(mono: Audio, rate: int) -> Analysis:
    """Take a voice ``(N,)`` apart."""
    world, sound = _world(), np.asarray(mono, np.float64)
    low, high = _PITCHES
    hz, times = world.dio(sound, rate, f0_floor=low, f0_ceil=high, frame_period=1000 * _FRAME)
    hz = world.stonemask(sound, hz, times, rate)
    envelope = world.cheaptrick(sound, hz, times, rate)
    return Analysis(hz, envelope, world.d4c(sound, hz, times, rate))


def sing(
    voice: Analysis, singer: Singer, frames: int, rate: int, rng: np.random.Generator
) -> Audio:
    """Sing what was analyzed as ``singer`` would; returns ``(1, frames)``."""
    t = np.arange(voice.hz.size)
    shift = _wander(rng, t.size, 0.7) * singer.timing / _FRAME
    edges = np.minimum(np.minimum(t, t[::-1]) * _FRAME / 0.2, 1)  # both ends stay where they are
    where = np.clip(np.rint(t + shift * edges), 0, t.size - 1).astype(np.int64)
    swing = singer.vibrato * np.abs(_wander(rng, t.size, 0.9))
    swing *= np.sin(2 * np.pi * singer.vibrato_hz * _FRAME * t + rng.uniform(0, 6))
    cents = swing + 8 * _wander(rng, t.size, 0.15)
    hz = voice.hz[where] * 2 ** (singer.pitch / 12 + cents / 1200)
    bins = voice.envelope.shape[1]
    source = np.clip(np.arange(bins) / singer.formants, 0, bins - 1.001)
    low, part = source.astype(np.int64), source % 1
    octaves = np.log2(np.maximum(np.arange(bins) * rate / 2 / (bins - 1), 500) / 500)
    level = np.log(voice.envelope[where] + 1e-16)
    level = level[:, low] * (1 - part) + level[:, low + 1] * part
    envelope = np.exp(level + singer.effort * np.log(10) / 10 * np.minimum(octaves, 4))
    noise = voice.noise[where]
    noise = noise[:, low] * (1 - part) + noise[:, low + 1] * part
    noise = 1 - (1 - noise) * (1 - singer.breath * np.clip(octaves / 3, 0, 1))
    sound = _world().synthesize(
        hz, np.ascontiguousarray(envelope), np.ascontiguousarray(noise), rate, 1000 * _FRAME
    )[:frames]
    return np.asarray(np.pad(sound, (0, frames - sound.size)), np.float32)[None]


def _wander(rng: np.random.Generator, count: int, seconds: float) -> Curve:
    """A smooth random curve ``(count,)`` within -1 and 1, with a new value every ``seconds``."""
    points = rng.uniform(-1, 1, int(count * _FRAME / seconds) + 3)
    where = np.arange(count) * _FRAME / seconds
    return np.asarray(np.interp(where, np.arange(points.size), points), np.float64)


class Take(NamedTuple):
    """One of the voices that sing together: who, how loud, and where from left to right."""

    singer: Singer
    gain: float
    place: float


def draw_takes(rng: np.random.Generator, lead: Singer) -> list[Take]:
    """Who sings in a song: the lead alone, doubled, in two or three parts, or in a choir."""
    takes = [Take(lead, 1.0, 0.0)]

    def add(interval: float, gain: float, place: float, **other: float) -> None:
        detuned = lead.pitch + interval + rng.normal(0, 0.07)
        singer = replace(lead, pitch=detuned, timing=rng.uniform(0.02, 0.06), **other)
        takes.append(Take(singer, gain, place))

    if rng.random() < 0.3:
        gain, wide = rng.uniform(0.25, 0.8), rng.uniform(0.3, 1)
        add(0, gain, -wide)
        add(0, gain, wide)
    if rng.random() < 0.25:
        for _ in range(int(rng.integers(1, 3))):
            interval = float(rng.choice([3, 4, 5, 7, -5, -8, -9, 12, -12]))
            add(interval, rng.uniform(0.25, 0.8), rng.uniform(-0.8, 0.8))
    if rng.random() < 0.08:
        for _ in range(int(rng.integers(3, 6))):
            size = float(np.clip(lead.formants * rng.uniform(0.9, 1.1), 0.8, 1.25))
            add(0, rng.uniform(0.4, 0.9), rng.uniform(-1, 1), formants=size)
    return takes


def sing_again(track: Audio, takes: list[Take], rng: np.random.Generator, rate: int) -> Audio:
    """The voice of ``track (2, N)`` sung by all of ``takes``, cut where it is quietest."""
    out, mono = np.zeros_like(track), track.mean(axis=0)
    for first, last in _parts(mono, rate):
        part = mono[first:last]
        if not np.abs(part).max() > 1e-4:
            continue
        voice = analyze(part, rate)
        for take in takes:
            sound = fade(sing(voice, take.singer, part.size, rate, rng), 0.003, 0.003, rate)
            place(out, sound, first / rate, pan_gains(take.place) * take.gain, rate)
    return out


def _parts(mono: Audio, rate: int) -> list[tuple[int, int]]:
    """Where to cut: the quietest 10 ms of the second half of each part."""
    block, cuts = max(rate // 100, 1), [0]
    longest = int(_LONGEST * rate)
    while mono.size - cuts[-1] > longest:
        middle = cuts[-1] + longest // 2
        blocks = mono[middle : middle + longest // 2 // block * block].reshape(-1, block)
        cuts.append(middle + int(np.square(blocks).sum(axis=1).argmin()) * block + block // 2)
    return list(zip(cuts, [*cuts[1:], mono.size], strict=True))
