"""Norm, gate, rotation and convolutions written for few passes, against the plain formulas."""

from __future__ import annotations

import contextlib
import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from mssctl.hardware.device import autocast
from mssctl.models import rotary
from mssctl.models.rotary import RotaryEmbedding, RotatedHeads
from mssctl.models.tf_locoformer.blocks import LocoformerPath
from mssctl.models.tf_locoformer.config import TFLocoformerConfig
from mssctl.models.tf_locoformer.feed_forward import ConvSwiGLU, gated
from mssctl.models.tf_locoformer.norm import RMSGroupNorm, _written_out

CPU = torch.device("cpu")
EPS = 1e-2  # large enough to see where it stands


def wide(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, requires_grad=True)


def norm_formula(x: Tensor, groups: int, eps: float) -> Tensor:
    grouped = x.unflatten(-1, (groups, -1))
    return (grouped / (grouped.square().mean(-1, keepdim=True).sqrt() + eps)).flatten(-2)


def gate_formula(x: Tensor) -> Tensor:
    value, gate = x.chunk(2, dim=-1)
    return value * F.silu(gate)


def heads_formula(qkv: Tensor, angles: tuple[Tensor, Tensor]) -> list[Tensor]:
    cos, sin = angles
    q, k, v = qkv.permute(2, 0, 3, 1, 4)
    turned = []
    for x in (q, k):
        even, odd = x[..., ::2], x[..., 1::2]
        pairs = (even * cos - odd * sin, odd * cos + even * sin)
        turned.append(torch.stack(pairs, -1).flatten(-2))
    return [*turned, v]


def feed_forward_formula(ffn: ConvSwiGLU, x: Tensor, gain: Tensor) -> Tensor:
    """As it stands in the paper's code: zeros around, features in the middle."""
    pad = ffn.kernel - 1
    x = ffn.conv(F.pad((x * gain).transpose(1, 2), (pad, pad)))
    value, gate = x.chunk(2, dim=1)
    x = ffn.deconv(value * F.silu(gate))
    return x[..., pad : x.shape[-1] - pad].transpose(1, 2)


def test_the_gradients_are_those_of_finite_differences():
    torch.manual_seed(0)
    norm = RMSGroupNorm(2, 6, EPS)
    angles = tuple(x.double() for x in RotaryEmbedding(4).angles(3))
    assert torch.autograd.gradcheck(norm, wide(2, 3, 6))
    assert torch.autograd.gradcheck(gated, wide(2, 3, 8))
    assert torch.autograd.gradcheck(lambda x: RotatedHeads()(x, angles), wide(2, 3, 3, 2, 4))
    ffn = ConvSwiGLU(3, 4, 3, dropout=0.0).double()
    assert torch.autograd.gradcheck(ffn, (wide(2, 5, 3), wide(3)))


def both(new: Tensor, old: Tensor, leaves: list[Tensor], tolerance: float) -> None:
    """Values and gradients agree, relative to the largest."""
    weight = torch.randn(old.shape)
    grads = [
        torch.autograd.grad((y.float() * weight).sum(), leaves, retain_graph=True)
        for y in (new, old)
    ]
    for a, b in [(new, old), *zip(*grads, strict=True)]:
        assert (a.float() - b.float()).abs().max() <= tolerance * b.float().abs().max()


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 2e-6), ("bfloat16", 2e-2)])
def test_a_norm_is_the_formula(dtype, tolerance):
    torch.manual_seed(0)
    kind = getattr(torch, dtype)
    x = torch.randn(3, 7, 24).to(kind).requires_grad_()
    with autocast(CPU, dtype):
        y = RMSGroupNorm(4, 24, EPS)(x)
    assert y.dtype == kind
    both(y, norm_formula(x.float(), 4, EPS), [x], tolerance)
    both(_written_out(x, 4, EPS), norm_formula(x.float(), 4, EPS), [x], tolerance)


def test_the_compiled_norm_does_not_ask_for_the_state_of_autocast(monkeypatch):
    """A prediction replaces that function, and a compiler imported then takes it for unknown."""
    x = torch.randn(3, 8)
    wanted = RMSGroupNorm(2, 8, EPS)(x)

    def asked(*_: object) -> bool:
        raise AssertionError("asked")

    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    monkeypatch.setattr(torch, "is_autocast_enabled", asked)
    monkeypatch.setattr(torch, "get_autocast_dtype", asked)
    monkeypatch.setattr("mssctl.models.tf_locoformer.norm.full_precision", contextlib.nullcontext)
    torch.testing.assert_close(RMSGroupNorm(2, 8, EPS)(x), wanted)


def test_silence_stays_silent_and_has_a_gradient():
    x = torch.zeros(2, 8, requires_grad=True)
    y = RMSGroupNorm(2, 8, EPS)(x)
    y.sum().backward()
    assert torch.equal(y, torch.zeros(2, 8))
    assert x.grad is not None
    torch.testing.assert_close(x.grad, torch.full((2, 8), 1 / EPS))


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 2e-6), ("bfloat16", 2e-2)])
def test_a_gate_and_a_rotation_are_the_formulas(dtype, tolerance):
    torch.manual_seed(0)
    x = torch.randn(3, 7, 24).to(getattr(torch, dtype)).requires_grad_()
    both(gated(x), gate_formula(x.float()), [x], tolerance)
    qkv = torch.randn(2, 9, 3, 2, 8).to(x.dtype).requires_grad_()
    angles = RotaryEmbedding(8).angles(9)
    for new, old in zip(
        RotatedHeads()(qkv, angles), heads_formula(qkv.float(), angles), strict=True
    ):
        assert new.dtype == x.dtype
        both(new, old, [qkv], tolerance)
    for new, old in zip(RotatedHeads()(qkv, None), qkv.permute(2, 0, 3, 1, 4), strict=True):
        assert torch.equal(new, old)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_what_a_gpu_computes_of_a_rotation_is_the_same(dtype, monkeypatch):
    torch.manual_seed(0)
    qkv = torch.randn(2, 9, 3, 2, 8).to(getattr(torch, dtype)).requires_grad_()
    angles = RotaryEmbedding(8).angles(9)
    here = torch.cat(RotatedHeads()(qkv, angles))
    monkeypatch.setattr(rotary, "_turn", rotary._by_parts)
    both(torch.cat(RotatedHeads()(qkv, angles)), here, [qkv], 2e-6 if dtype == "float32" else 8e-3)


@pytest.mark.parametrize("kernel", [1, 4])
@pytest.mark.parametrize("length", [1, 11])
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 2e-6), ("bfloat16", 3e-2)])
def test_a_feed_forward_is_the_formula(kernel, length, dtype, tolerance):
    torch.manual_seed(0)
    ffn = ConvSwiGLU(6, 8, kernel, dropout=0.0)
    gain = torch.rand(6).requires_grad_()
    x = torch.randn(3, length, 6, requires_grad=True)
    with autocast(CPU, dtype):
        y = ffn(x, gain)
    both(y, feed_forward_formula(ffn, x, gain), [x, gain, *ffn.parameters()], tolerance)


def test_nothing_but_weights_is_copied_around_a_convolution():
    """Nor padded, nor cropped: of tensors of three sequences nothing is made but by products."""
    ffn = ConvSwiGLU(6, 8, 4, dropout=0.0)
    x = torch.randn(3, 11, 6, requires_grad=True)
    activities = [torch.profiler.ProfilerActivity.CPU]
    with torch.profiler.profile(
        activities=activities, acc_events=True, record_shapes=True
    ) as profile:
        y = ffn(x)
        y.backward(torch.ones_like(y))
    rows = profile.key_averages(group_by_input_shape=True)
    seen = {row.key for row in rows if row.input_shapes and row.input_shapes[0][:1] == [3]}
    assert {"aten::convolution", "aten::silu"} <= seen
    assert not seen & {"aten::constant_pad_nd", "aten::contiguous", "aten::clone", "aten::cat"}
    assert not seen & {"aten::copy_", "aten::slice_backward"}


class Plain(nn.Module):
    """A path as the paper's code has it, in steps, on the weights of another."""

    def __init__(self, path: LocoformerPath, masks: list[Tensor]) -> None:
        super().__init__()
        self.path, self.masks = path, masks

    def forward(self, x: Tensor, angles: tuple[Tensor, Tensor]) -> Tensor:
        for name in ("before", "attention", "after"):
            norm = getattr(self.path, f"norm_{name}")
            y = norm_formula(x, norm.groups, norm.eps)
            if name == "attention":
                y = self._attention(y * norm.gain, angles)
            else:
                y = self._feed_forward(getattr(self.path, f"ffn_{name}"), y * norm.gain)
            x = x + y
        return x

    def _attention(self, y: Tensor, angles: tuple[Tensor, Tensor]) -> Tensor:
        attention = self.path.attention
        qkv = attention.qkv(y).unflatten(-1, (3, attention.heads, -1))
        q, k, v = heads_formula(qkv, angles)
        weights = (q @ k.mT * q.shape[-1] ** -0.5).softmax(-1)
        return attention.out((weights @ v).transpose(1, 2).flatten(2)) * self.masks.pop(0)

    def _feed_forward(self, ffn: ConvSwiGLU, y: Tensor) -> Tensor:
        pad = ffn.kernel - 1
        value, gate = ffn.conv(F.pad(y.transpose(1, 2), (pad, pad))).chunk(2, dim=1)
        hidden = value * F.silu(gate) * self.masks.pop(0).transpose(1, 2)
        y = ffn.deconv(hidden)[..., pad : pad + y.shape[1]].transpose(1, 2)
        return y * self.masks.pop(0)


@pytest.mark.parametrize("dropout", [0.0, 0.2])
def test_twenty_steps_lose_what_the_plain_formulas_lose(dropout, monkeypatch):
    """The masks of dropout are drawn here and given to both."""
    torch.manual_seed(0)
    sizes = {"emb_dim": 8, "attention_dim": 8, "n_heads": 2, "ffn_hidden_dim": (12, 12)}
    model = TFLocoformerConfig(**sizes, num_groups=2)
    path = LocoformerPath(model)
    other = copy.deepcopy(path)
    masks: list[Tensor] = []

    def drop(x: Tensor) -> Tensor:
        masks.append((torch.rand(x.shape) >= dropout) / (1 - dropout))
        return x * masks[-1]

    monkeypatch.setattr("mssctl.hardware.dropout.Dropout.forward", lambda _self, x: drop(x))
    angles = RotaryEmbedding(4).angles(9)
    x, target = torch.randn(2, 4, 9, 8).unbind()
    runs = [(path, path), (other, Plain(other, masks))]
    optimizers = [torch.optim.AdamW(weights.parameters(), lr=1e-2) for weights, _ in runs]
    for _ in range(20):
        losses = []
        for (_, network), optimizer in zip(runs, optimizers, strict=True):
            loss = F.mse_loss(network(x, angles), target)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        assert not masks
        assert losses[0] == pytest.approx(losses[1], rel=1e-4)
