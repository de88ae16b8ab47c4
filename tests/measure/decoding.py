"""How fast the reader decodes each format: times real time, on one core, page cache warm.

Run ``python tests/measure/decoding.py [MINUTES]``. The song is noise under a slow envelope with
tones, at 44.1 kHz in stereo; CPU seconds of this process are counted, the best of three.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile as sf

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from encoded import encode
from mssctl.audio import files

RATE = 44_100


def song(seconds: float) -> np.ndarray:
    """Music-like samples ``(2, n)``: an encoder has work to do, and silence is not all there is."""
    time_axis = np.arange(int(seconds * RATE)) / RATE
    rng = np.random.default_rng(0)
    notes = np.repeat(110.0 * 2 ** (rng.integers(0, 36, int(seconds * 4) + 1) / 12), RATE // 4)
    phase = np.cumsum(2 * np.pi * notes[: time_axis.size] / RATE)
    tones = sum(0.2 / k * np.sin(k * phase) for k in (1, 2, 3, 5))
    hits = np.exp(-12 * (time_axis % 0.5)) * rng.standard_normal((2, time_axis.size))
    return np.clip(tones + 0.1 * hits, -1, 1).astype(np.float32)


def write(folder: Path, audio: np.ndarray) -> list[Path]:
    """The song in each format."""
    paths = [folder / f"song.{suffix}" for suffix in ("wav", "flac", "mp3", "ogg", "m4a")]
    for path in paths:
        if path.suffix == ".ogg":  # libsndfile's Vorbis encoder overflows its stack on long blocks
            with sf.SoundFile(path, "w", RATE, 2, format="OGG", subtype="VORBIS") as file:
                for start in range(0, audio.shape[1], 4096):
                    file.write(audio[:, start : start + 4096].T)
        else:
            encode(path, audio, RATE, bit_rate=192_000 if path.suffix == ".mp3" else None)
    return paths


def main() -> None:
    """Measure and print."""
    minutes = float(sys.argv[1]) if len(sys.argv) > 1 else 4.0
    with tempfile.TemporaryDirectory() as name:
        for path in write(Path(name), song(60 * minutes)):
            best = float("inf")
            for _ in range(3):
                start = time.process_time()
                frames = sum(block.shape[1] for block in files.blocks(path, 65_536))
                best = min(best, time.process_time() - start)
            print(f"{path.suffix[1:]:5} {frames / RATE / best:7.0f} x real time")  # noqa: T201


if __name__ == "__main__":
    main()
