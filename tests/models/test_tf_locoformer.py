"""What is particular to TF-Locoformer: its sizes, its reach and its precision."""

from __future__ import annotations

import pytest
import torch

from mssctl import presets
from mssctl.hardware.device import autocast
from mssctl.models.build import build, parameter_count
from mssctl.models.rotary import RotaryEmbedding
from mssctl.models.tf_locoformer.blocks import ConvSwiGLU, RMSGroupNorm
from mssctl.models.tf_locoformer.model import TFLocoformer

# Parameters of the per-bin, mono, mapping form, the frozen rotary frequencies among them.
PER_BIN = {
    "small": 11_092_344,
    "base": 59_064_800,
    "xlarge": 157_439_256,
    "memory_optimized": 19_704_984,
    "ultra_safe": 7_397_888,
}
# Parameters of the presets as they are: band-split, stereo, complex mask. Millions.
BAND_SPLIT = {
    "small": 35.6,
    "base": 156.9,
    "xlarge": 308.2,
    "memory_optimized": 57.5,
    "ultra_safe": 31.9,
}
TINY = [
    "model.n_layers=1",
    "model.emb_dim=8",
    "model.attention_dim=8",
    "model.n_heads=2",
    "model.ffn_hidden_dim=[12, 12]",
    "model.freqs_per_bands=rule",
    "model.dropout=0.0",
    "stft.n_fft=256",
    "stft.hop_length=64",
]


@pytest.mark.parametrize("name", PER_BIN)
def test_the_per_bin_form_has_the_published_number_of_parameters(name: str) -> None:
    per_bin = ["model.front_end=bins", "audio.channels=1", "model.masking=mapping"]
    with torch.device("meta"):
        assert parameter_count(build(presets.load(name, per_bin))) == PER_BIN[name]


@pytest.mark.parametrize("name", BAND_SPLIT)
def test_the_band_split_form_has_the_expected_number_of_parameters(name: str) -> None:
    with torch.device("meta"):
        millions = parameter_count(build(presets.load(name))) / 1e6
    assert millions == pytest.approx(BAND_SPLIT[name], abs=0.05)


@pytest.mark.parametrize("kernel", [1, 4, 8])
def test_the_feed_forward_looks_kernel_minus_one_positions_to_either_side(kernel: int) -> None:
    torch.manual_seed(0)
    ffn = ConvSwiGLU(dim=4, hidden=6, kernel=kernel, dropout=0.0)
    x = torch.randn(1, 41, 4, requires_grad=True)
    ffn(x)[0, 20].sum().backward()
    assert x.grad is not None
    touched = x.grad[0].abs().sum(-1).nonzero().flatten().tolist()
    assert touched == list(range(20 - (kernel - 1), 20 + kernel))


def test_the_rotary_embedding_turns_interleaved_pairs() -> None:
    rope = RotaryEmbedding(4)
    turned = rope(torch.tensor([[1.0, 0, 0, 0], [1.0, 0, 0, 0]]))
    assert turned[0].tolist() == [1, 0, 0, 0]
    assert turned[1].tolist() == pytest.approx([0.540302, 0.841471, 0, 0], abs=1e-6)


def test_the_group_norm_adds_eps_to_the_rms_outside_the_root() -> None:
    norm = RMSGroupNorm(2, 4, eps=0.5)
    y = norm(torch.tensor([3.0, 4.0, 0.0, 0.0]))
    rms = (12.5) ** 0.5
    assert y.tolist() == pytest.approx([3 / (rms + 0.5), 4 / (rms + 0.5), 0, 0])


@pytest.mark.parametrize("front_end", ["bands", "bins"])
def test_bfloat16_is_really_in_force_inside_the_model(front_end: str) -> None:
    model = build(presets.load("ultra_safe", [*TINY, f"model.front_end={front_end}"])).eval()
    seen: dict[str, torch.dtype] = {}
    for name, module in model.named_modules():
        if name.endswith(("attention.rope", "ffn_before.drop")):  # what the products give
            module.register_forward_hook(
                lambda _m, _i, out, name=name: seen.update({name: out[0].dtype})
            )
    with autocast(torch.device("cpu"), "bfloat16"):
        out = model(torch.randn(1, 2, 1000))
    assert set(seen.values()) == {torch.bfloat16}
    assert len(seen) == 4  # two paths, two modules each
    assert out.dtype == torch.float32


def test_an_untrained_band_split_model_starts_near_an_equal_split() -> None:
    torch.manual_seed(0)
    model = build(presets.load("ultra_safe", TINY)).eval()
    mix = torch.randn(1, 2, 4000)
    with torch.inference_mode():
        stems = model(mix)
    correlation = (stems * mix[:, None]).sum() / mix.square().sum() / len(model.stems)
    assert correlation == pytest.approx(0.25, abs=0.1)


def test_the_order_of_paths_is_a_setting() -> None:
    outputs = []
    for order in ("ft", "tf"):
        torch.manual_seed(0)
        model = build(presets.load("ultra_safe", [*TINY, f"model.tf_order={order}"])).eval()
        with torch.inference_mode():
            outputs.append(model(torch.linspace(-1, 1, 2000).sin().expand(1, 2, -1)))
    assert not torch.allclose(outputs[0], outputs[1])


@pytest.mark.parametrize("level", ["none", "block", "path"])
def test_checkpointing_changes_memory_but_no_gradient(level: str) -> None:
    gradients = []
    for setting in ("none", level):
        torch.manual_seed(0)
        model = build(presets.load("ultra_safe", [*TINY, "model.dropout=0.1"])).train()
        model.set_checkpointing(setting)  # type: ignore[arg-type]
        model(torch.linspace(0, 9, 3000).sin().expand(2, 2, -1)).square().sum().backward()
        gradients.append([p.grad for p in model.parameters() if p.grad is not None])
    for first, second in zip(*gradients, strict=True):
        torch.testing.assert_close(first, second)


@pytest.mark.parametrize(("level", "calls"), [("block", 1), ("path", 2)])
def test_checkpointing_really_recomputes(
    level: str, calls: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mssctl.models import base

    count = 0
    original = base.checkpoint

    def counting(*args: object, **kwargs: object) -> object:
        nonlocal count
        count += 1
        return original(*args, **kwargs)

    monkeypatch.setattr(base, "checkpoint", counting)
    model = build(presets.load("ultra_safe", TINY))
    model.set_checkpointing(level)  # type: ignore[arg-type]
    model(torch.randn(1, 2, 1000))
    assert count == calls


def test_the_scale_of_the_input_passes_through() -> None:
    torch.manual_seed(0)
    model = build(presets.load("ultra_safe", [*TINY, "model.front_end=bins"])).eval()
    assert isinstance(model, TFLocoformer)
    mix = torch.randn(1, 2, 2000)
    with torch.inference_mode():
        torch.testing.assert_close(model(mix * 1e-3), model(mix) * 1e-3, rtol=1e-3, atol=1e-7)
