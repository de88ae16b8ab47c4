"""A step on a GPU waits for nothing, and its outcome is read without waiting for the next one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensor
from torch.utils._python_dispatch import TorchDispatchMode

from mssctl import presets
from mssctl.planning.predict import pretend_cuda
from mssctl.planning.predict.pretend_cuda import PretendCuda
from mssctl.planning.predictions import host_zeros
from mssctl.training import outcome as outcome_module
from mssctl.training.log import RunLog
from mssctl.training.outcome import Outbox
from mssctl.training.prepare import prepare
from mssctl.training.run import Run
from mssctl.training.step import StepOutcome, train_step
from presented_cuda import Event, presented_cuda

aten = torch.ops.aten
GPU = torch.device("cuda", 0)
WAITS = {aten._local_scalar_dense, aten.equal, aten.is_nonzero, aten.item, aten.nonzero}


class Waits(TorchDispatchMode):
    """Notes the operations for which the host would wait for the GPU."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.found: list[str] = []
        move = PretendCuda.move

        def noted(mode: PretendCuda, tensor: torch.Tensor, *rest: Any, **kwargs: Any) -> Any:
            moved = move(mode, tensor, *rest, **kwargs)
            if isinstance(tensor, FakeTensor) and not isinstance(moved, FakeTensor):
                self.found.append("to the host")
            return moved

        monkeypatch.setitem(pretend_cuda._SPECIAL, torch.Tensor.to, noted)
        monkeypatch.setitem(
            pretend_cuda._SPECIAL, torch.Tensor.cpu, lambda mode, x, *_, **__: noted(mode, x, "cpu")
        )

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Run an operation."""
        if func.overloadpacket in WAITS:
            self.found.append(str(func))
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("level", ["none", "path"])
def test_a_step_waits_for_nothing(level: str, monkeypatch: pytest.MonkeyPatch) -> None:
    small = ["model.n_layers=1", "training.segment_length=16384", "training.batch_size=1"]
    more = ["training.gradient_accumulation_steps=2", f"training.gradient_checkpointing={level}"]
    config = presets.load("starter", [*small, *more])
    audio = config.audio
    with presented_cuda() as shown, shown.pretending():
        state = prepare(config, GPU)
        batches = [host_zeros(1, len(audio.stems), audio.channels, 16384) for _ in range(2)]
        for _ in range(2):
            with Waits(monkeypatch) as waits:
                done = train_step(state, batches, config)
            assert waits.found == []
        with Waits(monkeypatch) as waits:
            done.loss.item()
            done.loss.cpu()
        assert waits.found == ["aten._local_scalar_dense.default", "to the host"]


def test_an_outcome_is_copied_behind_its_step_and_read_after_the_next(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    order: list[str] = []

    class Noted(Event):
        def record(self, stream: Any = None) -> None:
            order.append("sent")

        def synchronize(self) -> None:
            order.append("read")

    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda x: x)
    monkeypatch.setattr(RunLog, "_write_step", lambda self, event: losses.append(event.loss))
    monkeypatch.setattr(RunLog, "_memory", lambda self: None)
    losses: list[float] = []
    with presented_cuda():
        monkeypatch.setattr(outcome_module.torch.cuda, "Event", Noted)
        run = Run(tmp_path, None, GPU)  # type: ignore[arg-type]
        state: Any = type("State", (), {"step": 0, "bad_steps": 0})()
        log = RunLog(state, presets.load("starter").training, run, 0)
        log._gpu._index = None
        for step in (1, 2, 3):
            one = torch.tensor(1.0)
            log.add(step, StepOutcome(torch.tensor(float(step)), {"l1": one}, one, one, 1e-3))
        assert order == ["sent", "sent", "read", "sent", "read"]
        log.flush()
        log.close()
    assert losses == [1.0, 2.0, 3.0]


def test_a_cpu_reads_the_outcome_as_it_is() -> None:
    sent = Outbox(torch.device("cpu")).send(
        1, StepOutcome(torch.tensor(0.5), {"l1": torch.tensor(2.0)}, *torch.tensor([3.0, 0.0]), 0.1)
    )
    found = sent.read()
    assert (found.loss, found.terms, found.grad_norm, found.finite) == (
        0.5,
        {"l1": 2.0},
        3.0,
        False,
    )
