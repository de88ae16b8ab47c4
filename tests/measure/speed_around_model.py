"""How fast `separate` is around the model: with one that gives each stem a share of its input.

`python tests/measure/speed_around_model.py --seconds 600`; no start-up, best of `--runs`, and with
`--profile` the functions that take longest.
"""

import argparse
import cProfile
import pstats
import shutil
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile as sf
import torch
from torch import Tensor

from mssctl.hardware.device import configure
from mssctl.models.base import Separator
from mssctl.presets import load
from mssctl.separation.formats import StemFormat
from mssctl.separation.inputs import Song
from mssctl.separation.outputs import Namer
from mssctl.separation.song import SongSeparation
from mssctl.separation.stems import select
from mssctl.separation.stream import SeparationSettings


class Copy(Separator):
    """Each stem is a quarter of the mixture."""

    def forward(self, mix: Tensor) -> Tensor:
        """``(B, C, N) -> (B, S, C, N)``."""
        return (mix / len(self.stems))[:, None].expand(-1, len(self.stems), -1, -1)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=600, help="of the song")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--format", nargs="+", default=["wav", "flac"])
    parser.add_argument("--profile", action="store_true")
    options = parser.parse_args()
    config = load("starter")
    model = Copy(config.audio)
    configure(torch.device("cpu"), tf32=False, cudnn_benchmark=False)
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        song = Path(folder) / "song.wav"
        with sf.SoundFile(song, "w", 44_100, 2, "PCM_16") as file:
            for _ in range(options.seconds):
                file.write(0.1 * rng.standard_normal((44_100, 2)))
        for format_ in options.format:
            out = Path(folder) / "out"
            run = SongSeparation(
                Namer(out, "{track}/{stem}.{ext}", "copy", format_),
                select(config.audio.stems),
                SeparationSettings.from_config(config, mix_consistent=False),
                StemFormat(format_),
            )
            best = (float("inf"), 0.0)
            for _ in range(options.runs):
                shutil.rmtree(out, ignore_errors=True)
                out.mkdir()
                wall, cpu = time.perf_counter(), time.process_time()
                run.separate(Song(song, ""), model)
                best = min(best, (time.perf_counter() - wall, time.process_time() - cpu))
            print(
                f"{format_}: {options.seconds / best[0]:.0f} x real time "
                f"({options.seconds / best[1]:.0f} x by processor time), "
                f"{torch.get_num_threads()} threads"
            )
            if options.profile:
                shutil.rmtree(out)
                out.mkdir()
                profile = cProfile.Profile()
                profile.runcall(run.separate, Song(song, ""), model)
                pstats.Stats(profile).sort_stats("tottime").print_stats(25)


if __name__ == "__main__":
    main()
