"""A model of another package, seen by its entry point, does all that ours do."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

TOY = Path(__file__).parents[1] / "fixtures" / "toy"
WALK = """
import sys, torch
import mssctl
from mssctl.cli.app import main

torch.set_num_threads(1)

def run(*command):
    sys.argv = ["mssctl", *command]
    try:
        main()
    except SystemExit as end:
        assert end.code in (0, None), (command, end.code)

sets = "training.num_epochs=1 training.steps_per_epoch=2 training.segment_length=8000 "
sets += "training.num_workers=0 training.amp_dtype=float32"
sets = [part for item in sets.split() for part in ("--set", item)]
run("data", "synth", "songs", "--hours", "0.002", "--song-seconds", "2", "-q")
run("train", "toy.yaml", "--data", "songs", "-o", "run", "--device", "cpu", *sets)
run("resume", "run", "--set", "training.num_epochs=2", "--device", "cpu")
best = "run/best.safetensors"
run("separate", "songs/train/song-00000/mixture.wav", "-n", best, "-o", "stems")
run("eval", "score", "-n", best, "-r", "songs/train", "--out", "scores")
run("models", "info", best)
run("plan", "toy.yaml", "--vram", "8", *sets)
run("bench", "toy.yaml", "--steps", "1", "--warmup", "0", "--device", "cpu", *sets)
"""


def start(tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python with the toy's folder on its path."""
    path = os.pathsep.join([str(TOY), *filter(None, [os.environ.get("PYTHONPATH")])])
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_it_trains_resumes_plans_is_measured_separates_and_is_evaluated(tmp_path: Path) -> None:
    (tmp_path / "toy.yaml").write_text("model: {name: toy}\n")
    done = start(tmp_path, "-c", WALK)
    assert done.returncode == 0, done.stderr[-3000:]
    assert len(list((tmp_path / "stems").rglob("*.wav"))) == 4
    assert "stft" not in (tmp_path / "run" / "config.yaml").read_text()


def test_it_keeps_the_contract(tmp_path: Path) -> None:
    contract = str(Path(__file__).with_name("test_contract.py"))
    done = start(tmp_path, "-m", "pytest", "-q", "-p", "no:cacheprovider", contract, "-k", "toy")
    assert done.returncode == 0, done.stdout[-3000:]


def test_a_section_that_it_does_not_read_and_a_broken_package_are_named(tmp_path: Path) -> None:
    for text, message in {
        "model: {name: toy}\nstft: {hop_length: 64}\n": "toy uses no STFT; leave this section out",
        "model: {name: broken}\n": "model 'broken': its package cannot be used: AttributeError",
    }.items():
        (tmp_path / "x.yaml").write_text(text)
        done = start(tmp_path, "-m", "mssctl", "plan", "x.yaml", "--vram", "8")
        assert done.returncode == 3
        assert message in done.stderr
