"""One optimizer step: the same function for training, for the planner and for the benchmark."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from mssctl.errors import ExitCode, MssctlError
from mssctl.hardware.compiler import plain_errors
from mssctl.hardware.device import autocast
from mssctl.models.base import Separator
from mssctl.models.run_config import RunConfig
from mssctl.training.distributed import ALONE, World
from mssctl.training.losses import Terms, compute_loss
from mssctl.training.optim import LearningRate, MovingAverage


@dataclass
class TrainState:
    """All that changes during a run; `mssctl.training.checkpoint` writes and reads it.

    Attributes:
        step: finished optimizer steps. The position in the data follows from it.
        best_score: highest validation score, and the step where it was reached.
        history: one entry per validation: ``step``, ``epoch``, ``scores``.
        bad_steps: steps skipped in a row because the loss or a gradient was not finite.
        validation_fingerprint: how the scores came about; they compare with others of the same
            text only.
    """

    model: Separator
    optimizer: torch.optim.AdamW
    schedule: LearningRate
    average: MovingAverage | None
    step: int = 0
    best_score: float | None = None
    best_step: int | None = None
    history: list[dict[str, Any]] = field(default_factory=list)
    bad_steps: int = 0
    validation_fingerprint: str = ""

    @property
    def validated_model(self) -> Separator:
        """The weights to validate and to export: the moving average where there is one."""
        return self.average.model if self.average else self.model


@dataclass(frozen=True)
class StepOutcome:
    """What one step measured, still on the device, so that nobody waits for it.

    Attributes:
        loss: mean over the micro-batches of all processes, scalar.
        terms: name -> part of the loss, scalars.
        grad_norm: of all gradients before clipping, scalar.
        finite: 1.0 if the weights were updated, 0.0 if the step was skipped.
        lr: learning rate of this step.
    """

    loss: Tensor
    terms: Terms
    grad_norm: Tensor
    finite: Tensor
    lr: float


def train_step(
    state: TrainState, batches: Iterable[Tensor], config: RunConfig, world: World = ALONE
) -> StepOutcome:
    """Accumulate gradients over micro-batches, clip them, update weights and average.

    A loss or gradient that is not finite leaves weights and optimizer as they were. Nothing here
    waits for the device, except where ``optimizer.fused`` is off.

    Args:
        state: is changed.
        batches: ``training.gradient_accumulation_steps`` micro-batches of all the stems that make
            up the mixtures, ``(B, S, C, N)`` float32, on any device.
        config: of the run; its batches are those of this process.
        world: the processes that do this step together.

    Raises:
        torch.OutOfMemoryError: in all processes, if in one.
    """
    training = config.training
    with world.enough_memory(), plain_errors():
        loss, terms = _accumulate(state, batches, config, world)
        gradients = world.flattened(state.model.parameters())
    try:
        world.sum_gradients(gradients)
        loss, terms = _mean_of_all(loss, terms, world)
        norm = torch.nn.utils.clip_grad_norm_(state.model.parameters(), training.gradient_clip)
        finite = (torch.isfinite(norm) & torch.isfinite(loss)).float()
        lr = state.schedule.at(state.step)
        _update(state.optimizer, lr, finite)
        if state.average:
            state.average.update(state.model, state.step + 1)
    except torch.OutOfMemoryError:
        # Some weights may be new and others old, or other processes further on: there is no state
        # to do the step again from.
        raise MssctlError(
            "memory ran out while the weights were updated",
            hint="the last checkpoint is intact; this model needs a larger GPU",
            exit_code=ExitCode.BAD_INPUT,
        ) from None
    state.step += 1
    return StepOutcome(loss, terms, norm, finite, lr)


def _accumulate(
    state: TrainState, batches: Iterable[Tensor], config: RunConfig, world: World
) -> tuple[Tensor, Terms]:
    """Add up this process's part of the gradients; its loss and terms, means of micro-batches."""
    training = config.training
    device = next(state.model.parameters()).device
    count = training.gradient_accumulation_steps
    losses: list[Tensor] = []
    all_terms: list[Terms] = []
    state.optimizer.zero_grad(set_to_none=True)
    for batch in batches:
        sources = batch.to(device, non_blocking=True)
        mix = sources.sum(1)  # (B, C, N)
        with autocast(device, training.amp_dtype):
            estimate = state.model(mix)  # (B, S, C, N)
        loss, terms = compute_loss(estimate, state.model.targets(sources), config.loss, mix)
        (loss / (count * world.size)).backward()
        losses.append(loss.detach())
        all_terms.append(terms)
    if len(losses) != count:
        raise ValueError(f"expected {count} micro-batches, got {len(losses)}")
    names = list(all_terms[0])
    means = {name: torch.stack([terms[name] for terms in all_terms]).mean() for name in names}
    return torch.stack(losses).mean(), means


def _mean_of_all(loss: Tensor, terms: Terms, world: World) -> tuple[Tensor, Terms]:
    """Loss and terms, means over the processes."""
    loss, *values = world.mean(torch.stack([loss, *terms.values()])).unbind()
    return loss, dict(zip(terms, values, strict=True))


def _update(optimizer: torch.optim.AdamW, lr: float, finite: Tensor) -> None:
    """Step with rate ``lr``, or leave everything as it is where ``finite`` is 0."""
    for group in optimizer.param_groups:
        group["lr"] = lr
    if optimizer.defaults["fused"]:
        # The fused kernel skips the update on the device where found_inf is 1: the way of
        # torch.amp.GradScaler, and no wait for the host.
        optimizer.grad_scale, optimizer.found_inf = None, 1.0 - finite  # type: ignore[attr-defined]
        optimizer.step()
    elif finite.item():
        optimizer.step()
