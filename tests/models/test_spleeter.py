"""Spleeter: its files, its ratio masks, and what it does not do."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from mssctl.api.models import import_model
from mssctl.api.train import train
from mssctl.errors import MssctlError
from mssctl.models import pickles, weights
from mssctl.models.build import build
from mssctl.models.registry import ARCHITECTURES
from mssctl.models.run_config import parse
from mssctl.models.spleeter.model import UNet

CPU = torch.device("cpu")


def published(seed: int, width: int = 2) -> dict[str, np.ndarray]:
    """Random weights under the names, and in the types, of the published files."""
    torch.manual_seed(seed)
    net = UNet(2, width)
    state = {}
    for level in range(6):
        parts = {f"down{level + 1}_conv.1": net.down[level], f"up{level + 1}.0": net.up[level]}
        for name, part in parts.items():
            state |= {f"{name}.{key}": value for key, value in part.state_dict().items()}
        size = len(net.down[level].bias)
        norm = net.down_norm[level].state_dict() if level < 5 else _norm(size)
        state |= {f"down{level + 1}_act.0.{key}": value for key, value in norm.items()}
        up = net.up_norm[level].state_dict()
        state |= {f"up{level + 1}.3.{key}": value for key, value in up.items()}
    state |= {f"up7.0.{key}": value for key, value in net.mask.state_dict().items()}
    return {name: value.detach().numpy() for name, value in state.items()}


def _norm(size: int) -> dict[str, torch.Tensor]:
    names = ("weight", "bias", "running_mean", "running_var")
    return {name: torch.ones(size) for name in names}


@pytest.fixture
def folder(tmp_path) -> Path:
    """Two files as they are published, one per stem."""
    folder = tmp_path / "2stems"
    folder.mkdir()
    for stem in range(2):
        torch.save(published(stem), folder / f"checkpoint{stem}.ckpt")
    return folder


def test_a_folder_of_two_files_is_one_model(folder, tmp_path):
    out = tmp_path / "model.safetensors"
    entry = import_model(folder, out)
    assert entry.architecture == "spleeter"
    assert entry.stems == ["vocals", "accompaniment"]
    model = weights.load(str(out), CPU).separator
    wanted = published(1)["down3_conv.1.weight"]
    assert np.array_equal(model.nets[1].down[2].weight.detach().numpy(), wanted)


def test_published_size():
    values = sum(value.numel() for value in UNet(2, 16).state_dict().values())
    assert values + 4 * 512 == 9_826_759  # a file also has the norm of the sixth convolution


def test_masks_add_up_below_the_highest_bin_and_are_0_above():
    model = build(parse(ARCHITECTURES["spleeter"].tiny, "test")).eval()
    spec = torch.randn(1, 2, 129, 70, dtype=torch.complex64)
    with torch.inference_mode():
        stems = model.spectrum(spec)
    assert stems.shape == (1, 2, 2, 129, 70)
    torch.testing.assert_close(stems.sum(1)[:, :, :64], spec[:, :, :64], rtol=1e-4, atol=1e-5)
    assert not stems[..., 64:, :].any()


def test_pieces_of_512_frames_do_not_see_each_other():
    model = build(parse(ARCHITECTURES["spleeter"].tiny, "test")).eval()
    spec = torch.randn(1, 2, 129, 128, dtype=torch.complex64)
    with torch.inference_mode():
        whole = model.spectrum(spec)
        half = model.spectrum(spec[..., 64:])
    torch.testing.assert_close(whole[..., 64:], half)


def test_it_is_not_trained(tmp_path, make_song):
    for name in ("train/a", "valid/b"):
        make_song(tmp_path / name, stems=("vocals", "accompaniment"))
    preset = tmp_path / "spleeter.yaml"
    preset.write_text("model: {name: spleeter}\nstft: {n_fft: 4096, hop_length: 1024}\n")
    with pytest.raises(MssctlError, match="spleeter cannot be trained"):
        train(str(preset), data=tmp_path, out=tmp_path / "run", device="cpu")
    assert not (tmp_path / "run").exists()


# --- reading pickles


class Hostile:
    """Runs when it is unpickled by Python's own reader."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize("wrap", [lambda bad: bad, lambda bad: {"state": {"w": bad}}])
def test_a_hostile_pickle_runs_nothing(tmp_path, wrap):
    proof, path = tmp_path / "proof", tmp_path / "bad.ckpt"
    torch.save(wrap(Hostile(proof)), path)
    with pytest.raises(MssctlError, match="would have to be run"):
        pickles.read(path)
    path.write_bytes(pickle.dumps(wrap(Hostile(proof)), protocol=2))
    with pytest.raises(MssctlError, match=r"would have to be run|damaged"):
        pickles.read(path)
    assert not proof.exists()


def test_an_array_of_objects_is_refused(tmp_path):
    path = tmp_path / "bad.ckpt"
    torch.save({"down1_conv.1.weight": np.array([{}, "x"], dtype=object)}, path)
    with pytest.raises(MssctlError, match="NumPy array of Python objects"):
        pickles.read(path)


def test_arrays_come_back_as_tensors(tmp_path):
    path = tmp_path / "good.ckpt"
    torch.save({"a": {"b": np.arange(6, dtype=np.float32).reshape(2, 3)[:, ::-1]}}, path)
    assert torch.equal(pickles.read(path)["a"]["b"], torch.tensor([[2.0, 1, 0], [5, 4, 3]]))
