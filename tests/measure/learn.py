"""Does each trainable architecture learn? Two short trainings of its tiny configuration on the CPU.

`python tests/measure/learn.py --minutes 1.5 --results learn.json` runs each of

- **overfit**: the same 2 s of one generated song in every step; SI-SDR of the stems, aim 20 dB;
- **held out**: segments of four generated songs; mean SI-SDR of another song that has not been
  trained on, above that of its mixture; the aim is 1 dB.

Each gets so many minutes of CPU time, on one thread. The results file gets a line per finished
training, and a second call does what is not in it. `tests/models/test_contract.py` uses the same
configurations; they are far smaller than what a preset trains. The songs are generated at 8 kHz,
and the configurations take these samples as 44.1 kHz, for which their bands are made: a model sees
samples and no seconds.
"""

import argparse
import json
import platform
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import soundfile as sf
import torch
from torch import Tensor

from mssctl.evaluation.metrics.sdr import is_silent, si_sdr
from mssctl.models.registry import ARCHITECTURES
from mssctl.models.run_config import RunConfig, parse
from mssctl.options.data import SynthOptions
from mssctl.synth.generate import synthesize
from mssctl.training.prepare import prepare
from mssctl.training.step import train_step

RATE = 8_000  # Hz of the songs
SECONDS = 12.0
SONGS = 5  # the last one is held out
AIMS = {"overfit": 20.0, "held out": 1.0}  # dB
POINTS = 10  # of a curve
CPU = torch.device("cpu")


def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    options.add_argument("--minutes", type=float, default=1.5, help="CPU time of each training")
    options.add_argument("--results", type=Path, default=Path("learn.json"))
    options.add_argument(
        "--only", nargs="*", help="architectures; all that can be trained if left out"
    )
    options.add_argument("--lr", type=float, default=3e-3)
    given = options.parse_args()
    torch.set_num_threads(1)
    lines = given.results.read_text().splitlines() if given.results.exists() else []
    done = [json.loads(line) for line in lines]
    songs = generated()
    for name, one in ARCHITECTURES.items():
        for trial in AIMS:
            known = any((row["model"], row["trial"]) == (name, trial) for row in done)
            if known or not one.trainable or (given.only and name not in given.only):
                continue
            done.append(run(name, trial, songs, given.minutes, given.lr))
            with given.results.open("a") as file:
                file.write(json.dumps(done[-1]) + "\n")
            print(described(done[-1]), flush=True)
    date = time.strftime("%Y-%m-%d")
    print(f"\n{platform.machine()}, one thread, torch {torch.__version__}, {date}\n")
    print(table(done))


def generated() -> Tensor:
    """Songs ``(songs, stems, channels, samples)``; the same ones in every call."""
    with tempfile.TemporaryDirectory() as folder:
        options = SynthOptions(
            hours=SONGS * SECONDS / 3600,
            song_seconds=SECONDS,
            valid_fraction=0.0,
            seed=5,
            workers=1,
        )
        synthesize(Path(folder), options, sample_rate=RATE)
        found = []
        for song in sorted(Path(folder, "train").iterdir()):
            stems = [
                sf.read(song / f"{stem}.wav", dtype="float32")[0].T
                for stem in RunConfig().audio.stems
            ]
            found.append(np.stack(stems)[..., : int(SECONDS * RATE)])
    return torch.from_numpy(np.stack(found))


def run(name: str, trial: str, songs: Tensor, minutes: float, lr: float) -> dict[str, Any]:
    """One training; its curve is (minutes, steps, dB)."""
    overfit = trial == "overfit"
    length, batch = (2 * RATE, 1) if overfit else (RATE, 4)
    config = parse(
        {
            **ARCHITECTURES[name].tiny,
            "optimizer": {"lr": lr},
            "scheduler": {"name": "constant"},
            "training": {"segment_length": length, "batch_size": batch},
        },
        name,
    )
    torch.manual_seed(0)
    state = prepare(config, CPU)
    model = state.model
    passage = songs[0, ..., 4 * RATE : 6 * RATE] if overfit else songs[-1]
    batches = fixed(passage) if overfit else drawn(songs[:-1], length, batch)
    curve = [(0.0, 0, score(model, passage))]
    start = time.process_time()
    spent, looking = 0.0, 0.0
    while spent < minutes and not (overfit and curve[-1][2] >= AIMS[trial]):
        train_step(state, [next(batches)], config)
        spent = (time.process_time() - start - looking) / 60
        if spent >= minutes * len(curve) / POINTS:
            before = time.process_time()
            curve.append((round(spent, 3), state.step, score(model, passage)))
            looking += time.process_time() - before
    base = score(lambda mix: mix[:, None].expand(-1, passage.shape[0], -1, -1), passage)
    size = sum(parameter.numel() for parameter in model.parameters())
    return {"model": name, "trial": trial, "parameters": size, "mixture": base, "curve": curve}


def fixed(passage: Tensor) -> Iterator[Tensor]:
    while True:
        yield passage[None]


def drawn(songs: Tensor, length: int, batch: int) -> Iterator[Tensor]:
    """Segments of songs, each of one song: its stems belong together."""
    rng = np.random.default_rng(0)
    while True:
        picked = []
        for _ in range(batch):
            song, at = rng.integers(len(songs)), rng.integers(songs.shape[-1] - length)
            picked.append(songs[song, ..., at : at + length])
        yield torch.stack(picked)


@torch.inference_mode()
def score(model: Callable[[Tensor], Tensor], stems: Tensor) -> float:
    """Mean SI-SDR of the stems that are not silent, dB."""
    training = getattr(model, "training", False)
    if training:
        model.eval()
    estimate = model(stems.sum(0)[None])[0].numpy()
    if training:
        model.train()
    pairs = zip(stems.numpy(), estimate, strict=True)
    return float(np.mean([si_sdr(s, e) for s, e in pairs if not is_silent(s)]))


def described(row: dict[str, Any]) -> str:
    minutes, steps, last = row["curve"][-1]
    best = max(value for *_, value in row["curve"])
    gained = best - row["mixture"]
    reached = (best if row["trial"] == "overfit" else gained) >= AIMS[row["trial"]]
    return (
        f"| `{row['model']}` | {row['trial']} | {row['parameters']:,} | {steps} | {minutes:.1f} | "
        f"{row['mixture']:.1f} | {last:.1f} | {gained:+.1f} | {'yes' if reached else 'no'} |"
    )


def table(rows: list[dict[str, Any]]) -> str:
    names = [
        "model", "training", "parameters", "steps", "CPU minutes", "mixture", "at the end",
        "best gain", "aim",
    ]  # fmt: skip
    rule = ["---", "---", *["---:"] * 6, "---"]
    head = [f"| {' | '.join(cells)} |" for cells in (names, rule)]
    return "\n".join([*head, *map(described, rows)])


if __name__ == "__main__":
    main()
