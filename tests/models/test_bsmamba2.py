"""What is particular to BSMamba2: its sizes, its axes, its start and its memory."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional as F  # noqa: N812

from mssctl import presets
from mssctl.hardware.compiler import GRAPHS
from mssctl.hardware.device import autocast
from mssctl.models.bsmamba2 import scans
from mssctl.models.bsmamba2.config import BSMamba2Config
from mssctl.models.bsmamba2.mamba2 import Mamba2, RMSNorm
from mssctl.models.bsmamba2.model import BSMamba2, Direction
from mssctl.models.build import build, parameter_count
from mssctl.models.rms_bands import RMSBandSplit, StemMask
from mssctl.training.optim import build_optimizer

TINY = [
    "model.n_layers=2",
    "model.emb_dim=8",
    "model.expand=2",
    "model.headdim=4",
    "model.d_state=8",
    "model.chunk_size=16",
    "model.freqs_per_bands=rule",
    "stft.n_fft=256",
    "stft.hop_length=64",
]


def tiny(*overrides: str) -> BSMamba2:
    torch.manual_seed(0)
    model = build(presets.load("bsmamba2", [*TINY, *overrides]))
    assert isinstance(model, BSMamba2)
    return model


def signal(length: int = 3000) -> Tensor:
    return torch.linspace(0, 90, length).square().sin().expand(2, 2, -1)


def test_the_published_model_has_48_098_188_parameters():
    with torch.device("meta"):
        model = build(presets.load("bsmamba2"))
        assert parameter_count(model) == 48_098_188
        assert sum(p.numel() for p in model.blocks[0].time_path.ahead.mixer.parameters()) == 863_536
        assert parameter_count(build(presets.load("bsmamba2_4stem"))) == 122_262_436


def test_paths_that_do_nothing_map_every_position_onto_itself(monkeypatch):
    model = tiny()
    monkeypatch.setattr(Direction, "forward", lambda self, x: torch.zeros_like(x))
    for path in (path for block in model.blocks for path in (block.time_path, block.band_path)):
        nn.init.zeros_(path.bias)
    x = torch.arange(2 * 50 * 7 * 8.0).view(2, 50, 7, 8)
    for block in model.blocks:
        assert torch.equal(model._block(block, x), x)


@pytest.mark.parametrize("axis", ["time", "band"])
def test_a_path_mixes_along_its_own_axis_and_no_other(axis):
    model = tiny()
    block = model.blocks[0]
    x = torch.randn(1, 6, 5, 8)
    changed = x.clone()
    changed[0, 2, 3] += 1

    def run(values: Tensor) -> Tensor:
        if axis == "band":
            return model._along(block.band_path, values)
        return model._along(block.time_path, values.transpose(1, 2)).transpose(1, 2)

    touched = (run(changed) - run(x)).abs().amax((0, 3)) > 1e-7  # (T, K)
    expected = torch.zeros(6, 5, dtype=torch.bool)
    expected[(slice(None), 3) if axis == "time" else (2, slice(None))] = True
    assert torch.equal(touched, expected)


def test_each_direction_sees_only_its_own_past():
    model = tiny()
    path = model.blocks[0].time_path
    x = torch.randn(1, 9, 8)
    changed = x.clone()
    changed[0, 4] += 1
    ahead = ((path.ahead(changed) - path.ahead(x)).abs().amax(-1)[0] > 1e-7).nonzero().flatten()
    back = ((path.back(changed) - path.back(x)).abs().amax(-1)[0] > 1e-7).nonzero().flatten()
    assert ahead.tolist() == [4, 5, 6, 7, 8]
    assert back.tolist() == [0, 1, 2, 3, 4]


def test_the_mixer_is_the_recurrence_of_its_formula():
    torch.manual_seed(0)
    model = presets.load("bsmamba2", TINY).model
    assert isinstance(model, BSMamba2Config)
    mixer = Mamba2(model)
    inner, state, heads, x = 16, 8, 4, torch.randn(1, 20, 8)
    z, mixed, dt = (x @ mixer.in_proj.weight.T).split([inner, inner + 2 * state, heads], -1)
    padded = F.pad(mixed, (0, 0, 3, 0))
    kernel = mixer.conv.weight[:, 0]  # (channels, 4)
    mixed = sum(padded[:, k : k + 20] * kernel[:, k] for k in range(4)) + mixer.conv.bias
    values, B, C = F.silu(mixed).split([inner, state, state], -1)
    dt, A = F.softplus(dt + mixer.dt_bias), -mixer.A_log.exp()
    S = torch.zeros(heads, inner // heads, state)
    outputs = []
    for t in range(20):
        v = values[0, t].view(heads, -1)
        drive = (dt[0, t, :, None] * v)[..., None] * B[0, t]
        S = (dt[0, t] * A).exp()[:, None, None] * S + drive
        outputs.append(((S @ C[0, t]) + mixer.D[:, None] * v).flatten())
    y = torch.stack(outputs)[None] * F.silu(z)
    y = y / (y.square().mean(-1, keepdim=True) + 1e-5).sqrt() * mixer.norm.gain
    torch.testing.assert_close(mixer(x), y @ mixer.out_proj.weight.T, rtol=1e-4, atol=1e-5)


def test_the_start_is_the_published_one():
    torch.manual_seed(0)
    model = presets.load("bsmamba2").model
    assert isinstance(model, BSMamba2Config)
    direction = Direction(model, reverse=False)
    mixer = direction.mixer
    dt = F.softplus(mixer.dt_bias)
    assert dt.min() >= 1e-3 * 0.999
    assert dt.max() <= 0.1 * 1.001
    assert mixer.A_log.exp().min() >= 1
    assert mixer.A_log.exp().max() <= 16
    assert mixer.D.tolist() == [1.0] * 16
    bound = 256**-0.5  # of the released transposed convolution
    assert bound * 0.98 < direction.join.weight.abs().max() <= bound
    assert mixer.out_proj.weight.abs().max() <= 1024**-0.5


def test_decay_rates_step_biases_and_skips_get_no_weight_decay():
    model = tiny()
    config = presets.load("bsmamba2", TINY)
    free = {
        id(parameter)
        for group in build_optimizer(model, config.optimizer).param_groups
        if group["weight_decay"] == 0.0
        for parameter in group["params"]
    }
    for name, parameter in model.named_parameters():
        if name.endswith(("A_log", "dt_bias", ".D")):
            assert id(parameter) in free, name


def test_the_norm_adds_eps_inside_the_root():
    norm = RMSNorm(2, eps=0.5)
    y = norm(torch.tensor([3.0, 4.0]))
    assert y.tolist() == pytest.approx([3 / 13**0.5, 4 / 13**0.5])


def test_the_band_split_normalises_each_band_of_each_frame():
    torch.manual_seed(0)
    split = RMSBandSplit([2, 2, 5], channels=2, dim=6)
    spec = torch.randn(1, 2, 9, 4, 2)
    louder = spec.clone()
    louder[:, :, 2:4, 1] *= 7.0
    torch.testing.assert_close(split(louder), split(spec))
    louder[:, :, 2:4, 1] = louder[:, :, 2:4, 1].flip(-1)
    changed = (split(louder) - split(spec)).abs().amax((0, 3)) > 1e-4
    assert changed.nonzero().tolist() == [[1, 1]]
    silent = split(torch.zeros_like(spec))
    assert silent.isfinite().all()


def test_features_are_ordered_by_bin_then_channel_then_part():
    split = RMSBandSplit([3], channels=2, dim=12)
    with torch.no_grad():
        split.linear[0].weight.copy_(torch.eye(12))
        split.linear[0].bias.zero_()
    spec = torch.randn(1, 2, 3, 1, 2)
    wanted = [spec[0, c, f, 0, part] for f in range(3) for c in range(2) for part in range(2)]
    values = torch.stack(wanted)
    torch.testing.assert_close(split(spec).flatten(), values / values.norm() * math.sqrt(12))


def test_the_mask_of_a_band_comes_from_its_own_features():
    torch.manual_seed(0)
    mask = StemMask([2, 2, 5], channels=2, dim=6, expansion=4)
    x = torch.randn(1, 4, 3, 6)
    before = mask(x)
    assert before.shape == (1, 2, 9, 4, 2)
    x[:, :, 2] += torch.randn(6)
    changed = (mask(x) - before).abs().amax((0, 1, 3, 4)) > 1e-6
    assert changed.tolist() == [False] * 4 + [True] * 5


def test_the_mask_is_multiplied_as_a_complex_number(monkeypatch):
    model = tiny()
    mask = torch.tensor([0.0, 1.0]).expand(1, 2, 129, 5, 2)
    monkeypatch.setattr(StemMask, "forward", lambda self, x: mask)
    spec = torch.randn(1, 2, 129, 5, dtype=torch.complex64)
    torch.testing.assert_close(model.spectrum(spec), (1j * spec)[:, None])


@pytest.mark.parametrize("overrides", [["model.slice_positions=1"], ["model.chunk_size=3"]])
def test_slices_and_chunks_change_no_result(overrides):
    wanted, sliced = tiny().eval(), tiny(*overrides).eval()
    with torch.inference_mode():
        torch.testing.assert_close(sliced(signal()), wanted(signal()), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("level", ["block", "path"])
def test_checkpointing_changes_memory_but_no_gradient(level):
    gradients, kept = [], []
    for setting in ("none", level):
        model = tiny("model.slice_positions=100")
        model.set_checkpointing(setting)
        saved: dict[int, int] = {}

        def keep(tensor: Tensor, saved: dict[int, int] = saved) -> Tensor:
            saved[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            out = model(signal())
        out.square().sum().backward()
        gradients.append([p.grad for p in model.parameters()])
        kept.append(sum(saved.values()))
    for first, second in zip(*gradients, strict=True):
        torch.testing.assert_close(first, second, rtol=1e-4, atol=1e-5)
    assert kept[1] < kept[0] / 3


def test_bfloat16_is_really_in_force_inside_the_model():
    model = tiny().eval()
    seen: dict[str, torch.dtype] = {}
    for name, module in model.named_modules():
        if name.endswith(("in_proj", "conv", "out_proj", "join", "norm")):
            module.register_forward_hook(
                lambda _m, _i, out, name=name: seen.update({name: out.dtype})
            )
    with autocast(torch.device("cpu"), "bfloat16"):
        out = model(signal())
    norms = {dtype for name, dtype in seen.items() if name.endswith("norm")}
    others = {dtype for name, dtype in seen.items() if not name.endswith("norm")}
    assert (norms, others) == ({torch.float32}, {torch.bfloat16})
    assert out.dtype == torch.float32


@pytest.mark.parametrize("level", ["none", "block", "path"])
def test_the_network_can_be_traced_with_fake_tensors_forward_and_backward(level):
    with FakeTensorMode():
        model = tiny()
        model.set_checkpointing(level)
        out = model.spectrum(torch.zeros(1, 2, 129, 40, dtype=torch.complex64))
        out.abs().sum().backward()
        assert out.shape == (1, 1, 2, 129, 40)
        assert all(p.grad is not None for p in model.parameters())


def test_the_backend_in_force_is_stated():
    assert tiny().backends() == {"scan": "torch: the default on cpu"}
    assert tiny("model.scan_backend=torch").backends() == {"scan": "torch: asked for"}


def test_the_compiled_scan_has_room_for_all_its_shapes(monkeypatch):
    """Dynamo's own limit is 8 graphs of a function; what comes after ran uncompiled."""
    monkeypatch.setattr(torch, "compile", lambda function: function)  # it is lazy anyway
    with torch._dynamo.config.patch(recompile_limit=8):
        scans._compiled.__wrapped__()  # past what is kept of another test
        assert torch._dynamo.config.recompile_limit == GRAPHS
