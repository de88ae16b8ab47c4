"""Largest differences to museval: ``python tests/evaluation/compare_with_museval.py [TRACKS]``.

Compares every frame of SDR, ISR, SIR and SAR on generated stems and, with TRACKS, on a folder of
real ones (track folders with stems as wav or flac), and prints one Markdown row per case. museval
takes about as long as the audio. ``own`` is how far museval's answer moves when all audio is
scaled by 0.7, which should change nothing; measured where the case is marked ill-conditioned.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import scipy.signal
import soundfile as sf

from mssctl.evaluation.bsseval import bsseval
from mssctl.evaluation.bsseval.frames import museval_metrics

bss_eval = museval_metrics().bss_eval

RATE = 44_100
GRID = 32_768
Case = tuple[str, np.ndarray, np.ndarray]


def generated(stems: int, channels: int, seconds: float) -> tuple[np.ndarray, np.ndarray]:
    """Coloured noise ``(S, N, C)`` on the 16-bit grid, and estimates that leak."""
    noise = np.random.default_rng(stems)
    s = 0.1 * noise.standard_normal((stems, int(seconds * RATE), channels))
    s[:, 1:] += 0.8 * s[:, :-1]
    s = np.round(s * GRID) / GRID
    return s, leaking(s)


def leaking(s: np.ndarray) -> np.ndarray:
    """Estimates: nine tenths of each stem, a tenth of all, and a little noise."""
    noise = np.random.default_rng(0).standard_normal(s.shape)
    return 0.9 * s + 0.1 * s.sum(axis=0) + 1e-3 * noise


def cases(tracks: Path | None) -> Iterator[Case]:
    """Name, references, estimates."""
    for stems, channels in ((2, 1), (2, 2), (4, 1), (4, 2)):
        kind = "mono" if channels == 1 else "stereo"
        yield f"generated, 30 s, {stems} stems, {kind}", *generated(stems, channels, 30)
    s, e = generated(4, 2, 30)
    gaps = s.copy()
    gaps[1, 5 * RATE : 9 * RATE] = 0.0
    yield "generated, a stem silent for 4 s", gaps, leaking(gaps)
    yield "generated, near-identical estimates", s, s + 1e-4 * (e - s)
    yield "generated, identical estimates", s, s.copy()
    same = s.copy()
    same[1] = same[0]
    yield "generated, two identical references", same, leaking(same)
    if tracks is None:
        return
    songs = {path.name: stems_of(path) for path in sorted(tracks.iterdir()) if path.is_dir()}
    for name, s in songs.items():
        yield f"{name}, {s.shape[1] / RATE:.0f} s, {len(s)} stems", s, leaking(s)
    full = [s for s in songs.values() if len(s) >= 3]
    least = min(len(s) for s in full)
    row = np.concatenate([s[:least] for s in full] * 3, axis=1)
    for seconds in (60, 240):
        s = row[:, : seconds * RATE]
        yield f"excerpts in a row, {seconds} s, {least} stems", s, leaking(s)
    first = next(iter(songs.values()))
    taps = scipy.signal.firwin(1023, 12_000, fs=RATE, window=("kaiser", 14.0))
    low = scipy.signal.fftconvolve(first, taps[None, :, None], mode="same", axes=1)
    for bits in (16, 20, 24):
        grid = 2.0 ** (bits - 1)
        s = np.round(low * grid) / grid
        yield f"the first below 12 kHz, {bits} bit", s, leaking(s)
    yield "the first below 12 kHz, float", low.astype(np.float32).astype(float), leaking(low)


def stems_of(folder: Path) -> np.ndarray:
    """Stems that sound, ``(S, N, C)``."""
    files = [path for path in sorted(folder.glob("*.*a*")) if path.stem != "mixture"]
    audio = [sf.read(path)[0] for path in files if path.suffix in (".wav", ".flac")]
    return np.stack([x for x in audio if np.abs(x).max() > 1e-4])


def scores_of(s: np.ndarray, e: np.ndarray) -> np.ndarray:
    return np.stack(bss_eval(s, e, window=RATE, hop=RATE)[:4])


def largest(a: np.ndarray, b: np.ndarray, limit: float = np.inf) -> list[float]:
    """Per metric; undefined and infinite frames must be the same ones, rounding errors not."""
    if (np.isnan(a) != np.isnan(b)).any():
        return [float("inf")] * 4
    with np.errstate(invalid="ignore"):
        apart = np.abs(a - b)
    same = (np.isinf(a) & (a == b)) | ((a > limit) & (b > limit))
    return [float(np.nanmax(np.where(same[m], 0.0, apart[m]))) for m in range(4)]


def main() -> None:
    tracks = Path(sys.argv[1]) if len(sys.argv) > 1 else None
    sys.stdout.write("| case | SDR | ISR | SIR | SAR | condition | marked | own |\n")
    sys.stdout.write("| --- | ---: | ---: | ---: | ---: | ---: | --- | ---: |\n")
    for name, s, e in cases(tracks):
        found = bsseval(s, e)
        ours = np.stack([found.sdr, found.isr, found.sir, found.sar])
        theirs = scores_of(s, e)
        cells = [f"{value:.0e}" for value in largest(ours, theirs, found.limit)]
        marked = found.ill_conditioned
        own = f"{max(largest(scores_of(0.7 * s, 0.7 * e), theirs)):.0e}" if marked else ""
        row = [name, *cells, f"{found.condition:.0e}", "yes" if marked else "", own]
        sys.stdout.write(f"| {' | '.join(row)} |\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
