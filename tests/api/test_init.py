"""`train --init` and `--freeze`: what a run starts from, what it says about it, what it keeps."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from mssctl import presets
from mssctl.api.train import resume, train
from mssctl.errors import ExitCode, MssctlError
from mssctl.events import Event, Notice
from mssctl.models import weights
from mssctl.models.build import build

TOY = """
audio: {{sample_rate: 8000, stems: [{stems}]}}
stft: {{n_fft: 256, hop_length: 64}}
model: {{name: bsmamba2, n_layers: 1, emb_dim: 8, expand: 2, headdim: 4, d_state: 8, chunk_size: 16,
        freqs_per_bands: [16, 16, 32, 65], mask_expansion: 1}}
loss: {{spectral_n_fft: [256]}}
training: {{num_epochs: 1, steps_per_epoch: 2, segment_length: 1024, batch_size: 2,
           amp_dtype: float32, num_workers: 0, validate_songs: 1}}
"""
CPU = torch.device("cpu")


@pytest.fixture
def toy(tmp_path, make_song) -> Path:
    for name in ("train/a", "train/b", "valid/c"):
        make_song(tmp_path / "data" / name, frames=4_000)
    (tmp_path / "toy.yaml").write_text(TOY.format(stems="vocals, drums, bass, other"))
    (tmp_path / "two.yaml").write_text(TOY.format(stems="drums, vocals"))
    return tmp_path


@pytest.fixture
def two_stems(toy) -> Path:
    """A model of drums and vocals, with weights that no seed of the run draws."""
    config = presets.load(str(toy / "two.yaml"))
    torch.manual_seed(99)
    path = toy / "two.safetensors"
    weights.save(path, build(config), config, {})
    return path


def start(toy: Path, **options: Any) -> tuple[Path, list[str]]:
    told: list[str] = []

    def report(event: Event) -> None:
        if isinstance(event, Notice):
            told.append(event.message)

    train(
        str(toy / "toy.yaml"), data=toy / "data", out=toy / "run", device="cpu", report=report,
        **options,
    )  # fmt: skip
    return toy / "run", told


def best(run: Path) -> dict[str, torch.Tensor]:
    return weights.load(str(run / "best.safetensors"), CPU).separator.state_dict()


def test_stems_find_their_own_heads_and_new_ones_are_fresh(toy, two_stems):
    run, told = start(toy, init=str(two_stems), freeze=["encoder", "blocks", "norm", "masks"][:3])
    source, result = weights.load(str(two_stems), CPU).separator.state_dict(), best(run)
    for name, value in source.items():
        if not name.startswith("masks."):
            assert torch.equal(result[name], value), name  # frozen since it was loaded
    text = "\n".join(told)
    assert "loaded blocks (" in text
    assert "fresh: masks (" in text
    assert "frozen: encoder, blocks, norm" in text
    session = json.loads((run / "environment.json").read_text())["sessions"][0]
    assert session["initial_weights"].startswith("two.safetensors (sha256 ")
    assert 0 < session["trained_parameters"] < session["parameters"]
    assert weights.read_metadata(run / "best.safetensors")[1]["initial_weights"].startswith("two.")


def test_heads_follow_the_names_of_stems(toy, two_stems):
    run, _ = start(toy, init=str(two_stems), init_prefix=["masks"], freeze=["masks.0.", "masks.1."])
    source, result = weights.load(str(two_stems), CPU).separator.state_dict(), best(run)
    for name in source:
        if name.startswith("masks.0."):  # drums there; vocals are first here
            assert torch.equal(result[name.replace("masks.0.", "masks.1.")], source[name])
        if name.startswith("masks.1."):
            assert torch.equal(result[name.replace("masks.1.", "masks.0.")], source[name])
    assert not torch.equal(result["norm.gain"], source["norm.gain"])


def test_a_run_killed_before_its_first_checkpoint_starts_from_the_same_weights(toy, two_stems):
    run, _ = start(toy, init=str(two_stems))
    expected = best(run)
    for name in ("checkpoints", "best.safetensors", "environment.json", "metrics.jsonl"):
        path = run / name
        if path.is_dir():
            for file in sorted(path.rglob("*"), reverse=True):
                file.rmdir() if file.is_dir() else file.unlink()
            path.rmdir()
        else:
            path.unlink()
    resume(run, device="cpu")
    assert all(torch.equal(value, expected[name]) for name, value in best(run).items())
    for file in (run / "checkpoints").rglob("*"):
        if file.is_file():
            file.unlink()


def test_weights_that_changed_since_are_refused(toy, two_stems):
    run, _ = start(toy, init=str(two_stems))
    stored = json.loads((run / "init.json").read_text())
    (run / "init.json").write_text(json.dumps({**stored, "sha256": "0" * 64}))
    assert resume(run, device="cpu").finished  # a checkpoint has all that is needed


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        ({"init": "nowhere.safetensors"}, ExitCode.ENVIRONMENT, "no such model file"),
        ({"init": "starter"}, ExitCode.BAD_INPUT, "none of its tensors fits"),
        ({"init": "two.safetensors", "init_prefix": ["decoder"]}, ExitCode.USAGE, "decoder"),
        ({"init_prefix": ["masks"]}, ExitCode.USAGE, "fresh weights"),
        ({"freeze": ["decoder"]}, ExitCode.USAGE, "decoder"),
        ({"freeze": [""]}, ExitCode.USAGE, "nothing is left to train"),
    ],
)
def test_what_cannot_be_is_refused(toy, two_stems, monkeypatch, options, code, words):
    monkeypatch.chdir(toy)
    with pytest.raises(MssctlError, match=words) as caught:
        start(toy, **options)
    assert caught.value.exit_code == code
