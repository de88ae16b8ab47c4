"""The official implementations' numbers come out of our modules."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from torch import Tensor

from mssctl.errors import MssctlError
from mssctl.models import official

GOLDEN = Path(__file__).parent.parent / "golden"


def fixture(name: str) -> tuple[dict[str, Tensor], dict[str, Any], Tensor, Tensor]:
    """Weights, configuration, input and output of an official run."""
    with safe_open(GOLDEN / f"{name}_dev.safetensors", framework="pt") as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        config = json.loads(file.metadata()["config"])
    state = {k.removeprefix("weight."): v for k, v in tensors.items() if k.startswith("weight.")}
    return state, config, tensors["input"], tensors["output"]


def relative_error(value: Tensor, truth: Tensor) -> float:
    return float(((value - truth).abs().square().sum() / truth.abs().square().sum()).sqrt())


@pytest.mark.parametrize("layout", ["tf_locoformer", "bs_locoformer"])
def test_official_weights_give_the_official_output(layout: str) -> None:
    state, config, x, y = fixture(layout)
    spec = torch.view_as_complex(x.contiguous()).transpose(-1, -2)  # (B, [M], F, T)
    wanted = torch.view_as_complex(y.contiguous()).transpose(-1, -2)  # (B, S, [M], F, T)
    if layout == "tf_locoformer":  # mono, without a channel axis
        spec, wanted = spec[:, None], wanted[:, :, None]
    with torch.inference_mode():
        estimate = official.load(state, layout, config).spectrum(spec)
    assert relative_error(estimate, wanted) < 1e-4


def test_official_bsmamba2_weights_give_the_official_output_and_loss():
    state, config, mix, wanted = fixture("bsmamba2")
    with safe_open(GOLDEN / "bsmamba2_dev.safetensors", framework="pt") as file:
        target, official_loss = file.get_tensor("target"), file.get_tensor("loss")
    separator = official.load(state, "bsmamba2", config)
    with torch.inference_mode():
        estimate = separator(mix)
    assert (separator.stems, separator.complete) == (("vocals",), False)
    assert relative_error(estimate, wanted) < 1e-4
    bare = official.load(state, "bsmamba2", {})  # all sizes can be told from the tensors
    with torch.inference_mode():
        assert torch.equal(bare(mix), estimate)
    error = (estimate - target).flatten(0, -2)
    loss = error.abs().mean()
    for window in (4096, 2048, 1024, 512, 256):
        hann = torch.hann_window(window)
        n_fft = max(window, 2048)
        loss += torch.stft(error, n_fft, 147, window, hann, return_complex=True).abs().mean()
    torch.testing.assert_close(loss, official_loss[0], rtol=1e-4, atol=0)


@pytest.mark.parametrize("layout", ["tf_locoformer", "bs_locoformer", "bsmamba2"])
@pytest.mark.parametrize(
    "config",
    [
        {"model": None}, {"model": [1]}, {"n_layers": "two"}, {"n_layers": 10**9}, {"emb_dim": 0},
        {"dim": 0}, {"depth": 10**9}, {"training": 3}, {"audio": []}, {"headdim": "x"},
        {"num_spk": 10**12}, {"num_spk": "x"}, {"ffn_hidden_dim": 3}, {"stft_size": "x"},
        {"stft_n_fft": [1]}, {"stems": 5}, {"n_heads": None}, {"num_stems": 10**12},
        {"conv1d_kernel": -1}, {"expand": 10**6}, {"sample_rate": "cd"},
    ],
)  # fmt: skip
def test_no_configuration_is_a_traceback_or_a_hang(layout: str, config: dict[str, Any]) -> None:
    state, own, _, _ = fixture(layout)
    own = {**own, **own.get("model", {})}
    own.pop("model", None)
    with contextlib.suppress(MssctlError):  # some keys are not of this layout
        official.load(state, layout, {**own, **config})


@pytest.mark.parametrize("layout", ["tf_locoformer", "bs_locoformer", "bsmamba2"])
def test_no_official_key_may_be_missing_or_left_over(layout: str) -> None:
    state, config, _, _ = fixture(layout)
    with pytest.raises(MssctlError, match=r"surplus key\(s\): not\.ours"):
        official.load({**state, "not.ours": torch.zeros(1)}, layout, config)
    lost = min(state)
    del state[lost]
    with pytest.raises(MssctlError, match=f"'{lost}' is missing"):
        official.load(state, layout, config)


def test_a_tensor_of_another_shape_is_named() -> None:
    state, config, _, _ = fixture("tf_locoformer")
    state["deconv.bias"] = torch.zeros(3)
    with pytest.raises(MssctlError, match=r"decoder\.deconv\.bias should be \(8,\)"):
        official.load(state, "tf_locoformer", config)


def test_an_unknown_layout_is_refused() -> None:
    with pytest.raises(MssctlError, match=r"known: .*bsmamba2.*, bs_locoformer, tf_locoformer"):
        official.load({}, "demucs", {})
