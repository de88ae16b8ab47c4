"""`predict_peak` of modules and steps small enough to count by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812
from torch.utils.checkpoint import checkpoint

from mssctl import presets
from mssctl.planning.closed_form import parameter_count
from mssctl.planning.predict.fake_step import predict_peak
from mssctl.planning.predict.tracker import labelled
from mssctl.planning.predictions import training_peak

MIB = 2**20


def _vector(mib: int) -> torch.Tensor:
    return torch.empty(mib * MIB // 4, device="cuda")


def test_a_peak_is_the_most_that_is_alive_at_once():
    def step(kept: torch.Tensor) -> None:
        a = _vector(8)
        b = _vector(4)
        del a
        _vector(2)
        del b

    peak = predict_peak(lambda: _vector(3), step, steps=1)
    assert peak.tensors == (3 + 8 + 4) * MIB


def test_views_and_changes_in_place_need_nothing():
    def step(kept: torch.Tensor) -> None:
        kept.view(2, -1)[1].mul_(2).add_(1)
        kept.detach().unsqueeze(0)

    assert predict_peak(lambda: _vector(4), step).tensors == 4 * MIB


def test_the_host_counts_nothing_and_looks_at_its_values():
    def step(kept: torch.Tensor) -> None:
        edges = torch.tensor([3, 1, 2]).cumsum(0).tolist()
        assert edges == [3, 4, 6]
        torch.zeros(MIB).mul(2)
        assert not torch.zeros(1).is_cuda

    assert predict_peak(lambda: _vector(1), step).tensors == MIB


def test_moving_to_the_device_and_back_needs_memory_only_there():
    def step(kept: torch.Tensor) -> None:
        batch = torch.zeros(()).expand(MIB).to(kept.device)
        assert batch.device.type == "cuda"
        assert batch.is_cuda
        assert batch.cpu().device.type == "cpu"

    assert predict_peak(lambda: _vector(1), step).tensors == 5 * MIB


def test_a_linear_layer_keeps_its_input_and_gets_gradients():
    size, rows = 512, 1024  # 1 MiB of weights, 2 MiB of values

    def step(model: nn.Module) -> None:
        model.zero_grad(set_to_none=True)
        x = torch.empty(rows, size, device="cuda")
        model(x).square().sum().backward()

    peak = predict_peak(lambda: nn.Linear(size, size, bias=False), step)
    # weights, input, output, 2 · output for square's gradient, and one for autograd's product
    assert 1 * MIB + 3 * 2 * MIB <= peak.tensors <= 1 * MIB + 5 * 2 * MIB + MIB
    assert peak.flops == 2 * 2 * rows * size * size  # forward, and the gradient of the weights


def test_the_first_adam_step_makes_a_state_that_the_second_finds():
    def build() -> tuple[nn.Module, torch.optim.Optimizer]:
        model = nn.Linear(512, 512, bias=False)
        return model, torch.optim.AdamW(model.parameters(), fused=True)

    def step(state: tuple[nn.Module, torch.optim.Optimizer]) -> None:
        model, optimizer = state
        optimizer.zero_grad(set_to_none=True)
        model(torch.empty(1, 512, device="cuda")).sum().backward()
        optimizer.step()

    first, second = (predict_peak(build, step, steps=steps).tensors for steps in (1, 2))
    assert 4 * MIB <= second < 4.1 * MIB  # weights, gradients and two moments
    assert first <= second


def test_autocast_computes_in_bfloat16_as_on_cuda():
    seen = {}

    def step(model: nn.Module) -> None:
        x = torch.empty(4, 8, device="cuda")
        with torch.autocast("cuda", dtype=torch.bfloat16):
            assert torch.is_autocast_enabled("cuda")
            y = model(x)
            seen["linear"], seen["sum"], seen["exp"] = y.dtype, y.sum(-1).dtype, y.exp().dtype
            with torch.autocast("cuda", enabled=False):
                seen["island"] = model(x).dtype

    predict_peak(lambda: nn.Linear(8, 8), step, steps=1)
    assert seen == {
        "linear": torch.bfloat16,
        "sum": torch.float32,
        "exp": torch.float32,
        "island": torch.float32,
    }
    assert not torch.is_autocast_enabled("cuda")


def test_dropout_saves_one_byte_per_value():
    def step(x: nn.Parameter) -> None:
        y = F.dropout(x, 0.5)
        _vector(32)
        y.sum().backward()

    def plain(x: nn.Parameter) -> None:
        y = x * 1.0
        _vector(32)
        y.sum().backward()

    def build() -> nn.ParameterList:
        return nn.ParameterList([torch.empty(MIB)])

    with_dropout = predict_peak(build, lambda held: step(held[0]))
    without = predict_peak(build, lambda held: plain(held[0]))
    assert with_dropout.tensors - without.tensors == MIB


@pytest.mark.parametrize(
    ("dtype", "head", "capability", "kernel"),
    [
        (torch.bfloat16, 16, (9, 0), "flash"),
        (torch.bfloat16, 20, (8, 6), "flash"),
        (torch.float32, 16, (12, 0), "efficient"),
        (torch.float16, 16, (7, 5), "efficient"),
    ],
)
def test_the_attention_kernel_follows_from_dtype_head_and_card(dtype, head, capability, kernel):
    from mssctl.hardware.attention import attention

    def step(qkv: torch.Tensor) -> None:
        attention(*qkv)

    def build() -> torch.Tensor:
        return torch.empty(3, 2, 4, 300, head, dtype=dtype)

    peak = predict_peak(build, step, capability=capability)
    assert peak.kernels == (kernel,)


def test_math_attention_keeps_its_scores_and_a_fused_kernel_does_not():
    length = 512
    scores = 4 * 8 * length**2 * 4

    def step(model: nn.Module) -> None:
        q = model(torch.empty(4, 8, length, 16, device="cuda"))
        F.scaled_dot_product_attention(q, q, q).sum().backward()

    def build() -> nn.Module:
        return nn.Linear(16, 16)

    math = predict_peak(build, step, attention="math")
    fused = predict_peak(build, step, attention="efficient")
    assert math.tensors >= 2 * scores
    assert fused.tensors < scores
    assert (32, length, length) in [item.shape for item in math.largest] or (
        4, 8, length, length) in [item.shape for item in math.largest]  # fmt: skip


def test_checkpointing_needs_less_and_computes_more():
    def build() -> nn.Module:
        parts = [nn.Sequential(nn.Linear(64, 256), nn.GELU(), nn.Linear(256, 64)) for _ in range(4)]
        return nn.Sequential(*parts)

    def run(model: nn.Module, again: bool) -> None:
        x = torch.empty(4096, 64, device="cuda")
        for part in model:
            x = checkpoint(part, x, use_reentrant=False) if again else part(x)
        x.sum().backward()
        model.zero_grad(set_to_none=True)

    plain = predict_peak(build, lambda model: run(model, again=False))
    checkpointed = predict_peak(build, lambda model: run(model, again=True))
    assert checkpointed.tensors < 0.7 * plain.tensors
    assert checkpointed.flops > 1.1 * plain.flops
    assert any(label.endswith("again") for label in checkpointed.parts)


def test_parts_add_up_and_labels_are_kept():
    def build() -> nn.Module:
        with labelled("weights"):
            return nn.Linear(512, 512, bias=False)

    def step(model: nn.Module) -> None:
        model(torch.empty(8, 512, device="cuda")).sum().backward()

    peak = predict_peak(build, step)
    assert sum(peak.parts.values()) + peak.workspace == peak.tensors
    assert peak.parts["weights"] == MIB
    assert peak.device == peak.tensors + peak.cublas + peak.context
    assert peak.reserved >= peak.tensors


def test_the_same_question_has_the_same_answer_and_leaves_no_trace():
    def build() -> nn.Module:
        return nn.Sequential(nn.Linear(64, 64), nn.LayerNorm(64), nn.Dropout(0.1))

    def step(model: nn.Module) -> None:
        with torch.autocast("cuda", dtype=torch.bfloat16):
            out = model(torch.empty(8, 64, device="cuda"))
        out.float().sum().backward()

    before = torch.is_autocast_enabled, torch.get_autocast_dtype
    assert predict_peak(build, step) == predict_peak(build, step)
    assert (torch.is_autocast_enabled, torch.get_autocast_dtype) == before
    x = torch.ones(2, 64)
    assert build()(x).device.type == "cpu"


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_what_is_inside_composed_operators_counts(mode):
    """They come whole in inference mode, in which songs are separated."""

    def step(kept: torch.Tensor) -> None:
        with mode():
            F.linear(kept.view(4, 8, -1), kept.view(32, -1))
            torch.einsum("i,j->ij", kept[:1024], kept[:1024])
            F.dropout(kept, 0.1, training=False)  # nothing is copied

    peak = predict_peak(lambda: _vector(1), step, steps=1)
    assert peak.flops == 2 * 32 * 32 * (MIB // 4 // 32)
    assert peak.tensors == (1 + 4) * MIB


def test_an_lstm_is_built_and_run_without_a_word_on_addresses(recwarn):
    def step(model: nn.Module) -> None:
        model(torch.empty(3, 2, 4, device="cuda"))[0].sum().backward()

    assert predict_peak(lambda: nn.LSTM(4, 5), step).tensors > 0
    assert not [str(warning.message) for warning in recwarn]


def test_several_processes_keep_a_copy_of_the_gradients():
    """As long tensors that are summed: 4 bytes a parameter, where the weights are updated."""
    short = ["training.segment_length=8192", "training.batch_size=1"]
    config = presets.load("starter", short)
    alone, several = (training_peak(config, several=several) for several in (False, True))
    assert several.allocated > alone.allocated
    # Weights, their average, two moments, gradients and the copies.
    assert several.tensors == pytest.approx(6 * 4 * parameter_count(config), rel=0.02)
