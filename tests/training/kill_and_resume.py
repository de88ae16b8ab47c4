"""Kill a tiny run with SIGKILL at random moments, resume it each time, compare with a whole run.

Run as ``python tests/training/kill_and_resume.py --kills 20 --seed 0``; the tests do it with fewer.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

PRESET = """
audio: {sample_rate: 8000, stems: [vocals, drums]}
stft: {n_fft: 256, hop_length: 128}
model: {name: tf_locoformer, freqs_per_bands: [16, 16, 32, 65], n_layers: 1, emb_dim: 8,
        attention_dim: 8, n_heads: 2, ffn_hidden_dim: [8, 8], num_groups: 2, mask_expansion: 1,
        dropout: 0.1}
loss: {spectral_n_fft: [256]}
training: {num_epochs: 4, steps_per_epoch: 25, segment_length: 2048, batch_size: 2,
           gradient_accumulation_steps: 2, amp_dtype: float32, num_workers: 0,
           save_every_steps: 3}
"""


def main(kills: int, seed: int, folder: Path) -> int:
    """Return how many kills hit a run at work; an assertion fails where something is lost."""
    prepare(folder)
    whole, parts = folder / "whole", folder / "parts"
    started = time.monotonic()
    run_to_end("train", folder, whole)
    seconds = time.monotonic() - started
    draw = random.Random(seed)
    hit = finished = 0
    while hit < kills:
        words = "resume" if (parts / "config.yaml").exists() else "train"
        process = launch(words, folder, parts)
        # From the import of torch to the last step: a moment of a whole run, but not its end.
        try:
            process.wait(timeout=draw.uniform(0.1, seconds))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            hit += 1
        else:
            assert process.returncode == 0, (folder / "stderr.txt").read_text()
            compare(whole, parts)
            finished += 1
            parts.rename(folder / f"done-{finished}")  # before the kill: begin again
    run_to_end("resume" if (parts / "config.yaml").exists() else "train", folder, parts)
    compare(whole, parts)
    return hit


def prepare(folder: Path) -> None:
    """Songs of noise and the preset."""
    generator = np.random.default_rng(0)
    for song in ("train/a", "train/b", "valid/c"):
        (folder / "data" / song).mkdir(parents=True)
        for stem in ("vocals", "drums"):
            sound = 0.1 * generator.standard_normal((8_000, 2))
            soundfile.write(folder / "data" / song / f"{stem}.wav", sound, 8_000)
    (folder / "toy.yaml").write_text(PRESET)


def launch(words: str, folder: Path, run: Path) -> subprocess.Popen[bytes]:
    """Start ``mssctl train`` or ``mssctl resume`` as a process of its own."""
    start = [str(folder / "toy.yaml"), "--data", str(folder / "data"), "--out", str(run)]
    arguments = start if words == "train" else [str(run)]
    with (folder / "stderr.txt").open("ab") as errors:
        return subprocess.Popen(
            [sys.executable, "-m", "mssctl", words, *arguments, "--device", "cpu"],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdout=subprocess.DEVNULL,
            stderr=errors,
        )


def run_to_end(words: str, folder: Path, run: Path) -> None:
    """Train or resume without a kill."""
    process = launch(words, folder, run)
    assert process.wait() == 0


def compare(whole: Path, parts: Path) -> None:
    """The same story, the same bits of every tensor, and nothing half-written."""
    assert story(parts) == story(whole)
    for name in ("model", "ema", "optimizer", "rng"):
        file = Path("checkpoints") / "step-00000100" / f"{name}.safetensors"
        assert (parts / file).read_bytes() == (whole / file).read_bytes(), name
    assert not [path for path in parts.rglob(".*") if path.name.endswith(".tmp")]


def story(run: Path) -> list[dict[str, Any]]:
    """The lines of ``metrics.jsonl`` without times."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [
        {key: line[key] for key in line if key not in ("seconds", "resources")} for line in lines
    ]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        count = main(options.kills, options.seed, Path(name))
    words = f"{count} kills, seed {options.seed}: the same losses and weights, to the bit"
    sys.stdout.write(f"{words}\n")
