"""SCNet: official numbers, published sizes, its bands and its frames."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from torch._subclasses.fake_tensor import FakeTensorMode

from mssctl import presets
from mssctl.errors import MssctlError
from mssctl.models import official
from mssctl.models.build import build, outline, parameter_count
from mssctl.models.registry import ARCHITECTURES
from mssctl.models.run_config import parse
from mssctl.models.scnet import model as scnet
from mssctl.models.scnet.model import _padded, _to_rate, _to_time
from mssctl.planning.predict.tracker import MemoryTracker

GOLDEN = Path(__file__).parent.parent / "golden" / "scnet_dev.safetensors"


@pytest.fixture
def golden() -> tuple[dict[str, torch.Tensor], dict[str, Any], torch.Tensor, torch.Tensor]:
    with safe_open(GOLDEN, framework="pt") as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        settings = json.loads(file.metadata()["config"])
    state = {k.removeprefix("weight."): v for k, v in tensors.items() if k.startswith("weight.")}
    return state, settings, tensors["input"], tensors["output"]


def test_official_weights_give_the_official_output(golden):
    state, settings, mix, wanted = golden
    model, run = official.load_with_config(state, "scnet", settings)
    assert run.audio.stems == ("drums", "bass", "other", "vocals")
    with torch.inference_mode():
        estimate = model(mix)
    assert estimate.shape == (1, 4, 2, 22_050)
    estimate = estimate[..., 8000:12_096]
    assert float((estimate - wanted).norm() / wanted.norm()) < 1e-5


@pytest.mark.parametrize(("preset", "count"), [("scnet", 10_578_768), ("scnet_large", 42_181_232)])
def test_sizes(preset, count):
    """The paper counts 10.1 M and 41.2 M for what its authors' configurations build here."""
    assert parameter_count(outline(presets.load(preset))) == count


@pytest.mark.parametrize("bins", range(1, 40))
@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (4, 4), (16, 16)])
def test_padding_lets_the_convolution_divide(bins, kernel, stride):
    padded = _padded(torch.zeros(1, 1, bins, 1), kernel, stride).shape[2]
    assert (padded - kernel) % stride == 0
    assert (padded - kernel) // stride + 1 == (bins if stride == 1 else -(-bins // stride))


def test_the_transform_between_layers_is_inverted():
    x = torch.randn(2, 3, 5, 12)
    rates = _to_rate(x)
    assert rates.shape == (2, 6, 5, 7)
    torch.testing.assert_close(_to_time(rates), x)


@pytest.mark.parametrize("length", [1, 127, 128, 129, 255, 256, 257, 1000])
def test_the_network_sees_an_even_number_of_frames(length):
    seen = []
    model = build(parse(ARCHITECTURES["scnet"].tiny, "test")).eval()
    model.encoder[0].register_forward_pre_hook(lambda _, args: seen.append(args[0].shape[-1]))
    with torch.inference_mode():
        assert model(torch.randn(1, 2, length)).shape[-1] == length
    assert seen[0] % 2 == 0


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("values", [1, 1000, 5000])
def test_pieces_do_not_change_the_output(monkeypatch, values, batch):
    model = build(parse(ARCHITECTURES["scnet"].tiny, "test")).eval()
    mix = torch.randn(batch, 2, 5000)
    whole = model(mix).detach()  # with gradients, so all at once
    monkeypatch.setattr(scnet, "_VALUES", values)
    monkeypatch.setattr(scnet, "_ROWS", 1 + values // 1000)
    with torch.inference_mode():
        torch.testing.assert_close(model(mix), whole, rtol=1e-5, atol=1e-6)


def test_a_segment_needs_little_more_memory_than_its_skips(monkeypatch):
    """In units of the first level's skip: 4.8 in pieces, 6.2 all at once, 6.5 before."""

    def peak() -> float:
        tracker, spec = MemoryTracker(), torch.empty(1, 2, 2049, 476, 2)
        with torch.inference_mode(), tracker:
            model.spectrum_real(spec)
        return tracker.peak / (64 * 705 * 476 * 4)

    with FakeTensorMode():
        model = build(presets.load("scnet_large")).eval()
        assert peak() < 5.1
        monkeypatch.setattr(scnet, "_VALUES", 1 << 40)
        monkeypatch.setattr(scnet, "_ROWS", 1 << 40)
        assert peak() > 6


def test_other_variants_are_refused(golden):
    state, settings, _, _ = golden
    with pytest.raises(MssctlError, match="normalized"):
        official.load(state, "scnet", {**settings, "normalized": False})
