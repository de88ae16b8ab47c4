"""`training.compile`: the same numbers, one piece per path, and never a silent way back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mssctl import presets
from mssctl.errors import ExitCode, MssctlError
from mssctl.hardware import attention as kernels
from mssctl.hardware import compiler
from mssctl.hardware import device as hardware
from mssctl.models.rotary import RotaryEmbedding
from mssctl.models.run_config import RunConfig
from mssctl.models.tf_locoformer.blocks import LocoformerPath
from mssctl.models.tf_locoformer.config import TFLocoformerConfig
from mssctl.training.prepare import prepare
from mssctl.training.receipt import make_receipt, receipt_text
from mssctl.training.step import train_step

CPU = torch.device("cpu")

# The tracer looks at the gradient of activations, and PyTorch warns it.
pytestmark = pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    """What was compiled before does not count."""
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    yield
    torch._dynamo.reset()


@pytest.fixture
def make_config(monkeypatch: pytest.MonkeyPatch) -> Callable[..., RunConfig]:
    """A tiny model; `aot_eager` traces as the default does, and leaves out making code."""
    monkeypatch.setattr(compiler, "BACKEND", "aot_eager")

    def make(*overrides: str) -> RunConfig:
        tree: dict[str, Any] = {
            "audio": {"sample_rate": 8000},
            "stft": {"n_fft": 256, "hop_length": 128},
            "model": {"freqs_per_bands": [64, 65], "n_layers": 2, "emb_dim": 16, "n_heads": 2,
                      "attention_dim": 16, "ffn_hidden_dim": [8, 8], "mask_expansion": 1},
            "training": {"segment_length": 2048, "batch_size": 1, "amp_dtype": "float32"},
        }  # fmt: skip
        return presets.override(RunConfig.model_validate(tree), overrides)

    return make


def _losses(config: RunConfig, steps: int = 3) -> list[float]:
    state = prepare(config, CPU)
    noise = torch.randn(1, 4, 2, 2048, generator=torch.Generator().manual_seed(0))
    return [train_step(state, [noise], config).loss.item() for _ in range(steps)]


def _graphs() -> int:
    return int(torch._dynamo.utils.counters["stats"]["unique_graphs"])


@pytest.mark.parametrize("level", ["none", "block", "path"])
def test_losses_are_those_without(make_config: Callable[..., RunConfig], level: str) -> None:
    setting = f"training.gradient_checkpointing={level}"
    plain = _losses(make_config(setting))
    assert _graphs() == 0
    assert _losses(make_config(setting, "training.compile=true")) == pytest.approx(plain, abs=1e-5)
    assert _graphs() == 3  # the trial, and one for each axis, which both blocks share


@pytest.mark.parametrize("level", ["none", "path"])
def test_dropout_under_the_compiler_repeats(
    make_config: Callable[..., RunConfig], level: str
) -> None:
    config = make_config(
        "training.compile=true", "model.dropout=0.2", f"training.gradient_checkpointing={level}"
    )
    assert _losses(config) == _losses(config)


@pytest.mark.slow
def test_smaller_and_smaller_batches_stay_compiled(make_config: Callable[..., RunConfig]) -> None:
    """PyTorch's own limit of graphs would leave the fifth batch size uncompiled, without a word."""
    config = make_config("training.compile=true")
    state = prepare(config, CPU)
    for batch in (7, 6, 5, 4, 3, 2, 1):
        before = _graphs()
        train_step(state, [torch.randn(batch, 4, 2, 2048)], config)
        assert _graphs() == before + 2


def test_a_compiled_scan_stays_compiled_where_the_paths_are_not() -> None:
    """BSMamba2 compiles a function, which is no module of it."""
    scan = torch.compile(lambda x: x * 2 + 1, backend="eager")
    before = _graphs()
    with compiler.uncompiled(nn.Linear(1, 1)):
        scan(torch.ones(3))
    assert _graphs() == before + 1


def test_the_receipt_counts_what_is_compiled(make_config: Callable[..., RunConfig]) -> None:
    config = make_config("training.compile=true")
    state = prepare(config, CPU)
    receipt = make_receipt(state, config, CPU, None)
    assert receipt["compiled_modules"] == 4  # two paths of two blocks
    assert "4 modules" in receipt_text(receipt)
    assert _graphs() <= 1  # the trial only
    assert state.average is not None
    assert not any(part._compiled_call_impl for part in state.average.model.modules())


def test_weights_keep_their_names(make_config: Callable[..., RunConfig]) -> None:
    compiled, plain = (
        prepare(make_config(f"training.compile={on}"), CPU).model for on in ("true", "false")
    )
    assert list(compiled.state_dict()) == list(plain.state_dict())


def test_songs_are_separated_without_compiling(make_config: Callable[..., RunConfig]) -> None:
    config = make_config("training.compile=true")
    model = prepare(config, CPU).model.eval()
    before = _graphs()
    with compiler.uncompiled(model), torch.inference_mode():
        model(torch.randn(1, 2, 5000))
    assert _graphs() == before
    model(torch.randn(1, 2, 5000))
    assert _graphs() > before


def test_a_model_without_such_parts_refuses_it() -> None:
    overrides = ["training.compile=true", "model.n_layers=1"]
    with pytest.raises(
        MssctlError, match=r"training.compile: it compiles no part of bsmamba2"
    ) as caught:
        prepare(presets.load("bsmamba2", overrides), CPU)
    assert caught.value.exit_code == ExitCode.ENVIRONMENT


def test_a_compiler_that_does_not_work_is_an_error_at_the_start(
    make_config: Callable[..., RunConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("no compiler\nand a long story")

    monkeypatch.setattr(compiler, "BACKEND", broken)
    with pytest.raises(MssctlError, match=r"does not work here: .*no compiler") as caught:
        prepare(make_config("training.compile=true"), CPU)
    assert caught.value.exit_code == ExitCode.ENVIRONMENT


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (torch.OutOfMemoryError("no more"), torch.OutOfMemoryError),
        (MssctlError("no fused kernel"), MssctlError),
        (RuntimeError("something else"), MssctlError),
    ],
)
def test_errors_while_compiling_are_those_without(
    make_config: Callable[..., RunConfig],
    monkeypatch: pytest.MonkeyPatch,
    raised: Exception,
    expected: type[Exception],
) -> None:
    config = make_config("training.compile=true")
    calls = []

    def fails_later(graph: torch.fx.GraphModule, _: object) -> Callable[..., Any]:
        calls.append(graph)
        if len(calls) > 1:  # the first is the trial
            raise raised
        return graph.forward

    monkeypatch.setattr(compiler, "BACKEND", fails_later)
    state = prepare(config, CPU)
    with pytest.raises(expected, match=r"while a part|no fused|cannot be compiled: something else"):
        train_step(state, [torch.randn(1, 4, 2, 2048)], config)


@pytest.mark.parametrize("dropout", [0.0, 0.1])
@pytest.mark.parametrize("gpu", [False, True])
def test_a_path_is_one_piece(dropout: float, gpu: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing in it sends the compiler back to Python, neither here nor on a GPU."""
    if gpu:
        monkeypatch.setitem(kernels._ALLOWED, "math", dropout > 0.0)  # a CPU's flash has none
        monkeypatch.setattr("mssctl.models.tf_locoformer.blocks.attention", _attention_of_a_gpu)
    model = TFLocoformerConfig(
        emb_dim=16, attention_dim=16, n_heads=2, ffn_hidden_dim=(8, 8), dropout=dropout
    )
    path = LocoformerPath(model)
    path.compile(backend="eager", fullgraph=True, dynamic=False)
    rope = RotaryEmbedding(8)
    for length in (30, kernels.SHORT_AXIS + 10):
        x = torch.randn(2, length, 16, requires_grad=True)
        with hardware.autocast(CPU, "bfloat16"):
            path(x, rope.angles(length)).sum().backward()
        assert x.grad is not None


def _attention_of_a_gpu(q: Tensor, k: Tensor, v: Tensor, dropout: float) -> Tensor:
    """What `attention` does on CUDA, whose kernels are chosen in the same way on a CPU."""
    with kernels._kernels(q.shape[-2]):
        return nn.functional.scaled_dot_product_attention(q, k, v, dropout_p=dropout)


@pytest.mark.slow
@pytest.mark.compiler
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the code maker's own parts
def test_real_code_gives_the_same_losses(
    make_config: Callable[..., RunConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = _losses(make_config(), steps=20)
    monkeypatch.setattr(compiler, "BACKEND", "inductor")
    assert _losses(make_config("training.compile=true"), 20) == pytest.approx(plain, abs=1e-3)
