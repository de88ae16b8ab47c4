"""Predicts what this project's own training step and separation need, for a configuration."""

import contextlib
from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor

from mssctl.hardware.attention import allow_math_attention
from mssctl.hardware.device import autocast, configure
from mssctl.models.base import Separator
from mssctl.models.build import build
from mssctl.models.registry import architecture
from mssctl.models.run_config import RunConfig
from mssctl.planning.predict.fake_step import Peak, predict_peak
from mssctl.planning.predict.tracker import GRADIENTS, labelled
from mssctl.planning.predict.traffic import Traffic, count_traffic
from mssctl.training.distributed import ALONE, Rehearsal, World
from mssctl.training.optim import LearningRate, MovingAverage, build_optimizer
from mssctl.training.step import TrainState, train_step

WEIGHTS, AVERAGE, OPTIMIZER, BATCH = "weights", "moving average", "optimizer", "batch"


def training_peak(
    config: RunConfig,
    capability: tuple[int, int] = (9, 0),
    attention: str | None = None,
    *,
    several: bool = False,
) -> Peak:
    """Peak memory of one training step of ``config``, the optimizer's state being there.

    Args:
        config: of one process.
        capability: compute capability of the card.
        attention: pins an attention kernel.
        several: this is one of several processes, which exchange copies of the gradients.
    """
    world = Rehearsal(size=2) if several else ALONE
    with _switches(config):
        return predict_peak(
            partial(_train_state, config),
            partial(_train, config=config, world=world),
            capability=capability,
            attention=attention,
            steps=1,
        )


def training_traffic(
    config: RunConfig, capability: tuple[int, int] = (9, 0), attention: str | None = None
) -> dict[str, Traffic]:
    """What one micro-batch of a training step and the update of the weights move, by part."""
    with _switches(config):
        return count_traffic(
            partial(_train_state, config),
            partial(_train, config=config),
            architecture(config.model).operations,
            capability=capability,
            attention=attention,
        )


def separation_peak(
    config: RunConfig,
    *,
    segment: int,
    batch_size: int,
    amp_dtype: str,
    capability: tuple[int, int] = (9, 0),
    attention: str | None = None,
) -> Peak:
    """Peak memory of separating ``batch_size`` segments of ``segment`` samples at a time."""

    def model() -> Separator:
        with labelled(WEIGHTS):
            return build(config).eval()

    def separate(separator: Separator) -> None:
        mix = host_zeros(batch_size, config.audio.channels, segment)
        device = next(separator.parameters()).device
        with torch.inference_mode(), autocast(device, amp_dtype):
            separator(mix.to(device)).float().cpu()

    with _switches(config):
        return predict_peak(model, separate, capability=capability, attention=attention, steps=1)


def host_zeros(*shape: int) -> Tensor:
    """A tensor on the host that needs no memory."""
    return torch.zeros(()).expand(shape)


def _train_state(config: RunConfig) -> TrainState:
    """What `mssctl.training.trainer.Trainer` builds, after a first step of the optimizer."""
    training = config.training
    with labelled(WEIGHTS):
        model = build(config).train()
    model.set_checkpointing(training.gradient_checkpointing)
    optimizer = build_optimizer(model, config.optimizer)
    with labelled(OPTIMIZER):
        for parameter in model.parameters():
            parameter.grad = torch.empty_like(parameter) if parameter.requires_grad else None
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    schedule = LearningRate(config.optimizer.lr, 1_000_000, config.scheduler)
    with labelled(AVERAGE):
        average = MovingAverage(model, training.ema_momentum) if training.ema_momentum else None
    return TrainState(model, optimizer, schedule, average, step=1)


def _train(state: TrainState, config: RunConfig, world: World = ALONE) -> None:
    """The last micro-batch of a step: where there are several, the first has left gradients."""
    training, audio = config.training, config.audio
    accumulating = training.gradient_accumulation_steps > 1
    last = training.model_copy(update={"gradient_accumulation_steps": 1})

    def batches() -> Iterator[Tensor]:
        with labelled(GRADIENTS):
            for parameter in state.model.parameters():
                if accumulating and parameter.requires_grad:
                    parameter.grad = torch.empty_like(parameter)
        yield host_zeros(
            training.batch_size, len(audio.stems), audio.channels, training.segment_length
        )

    train_step(state, batches(), config.model_copy(update={"training": last}), world)


@contextlib.contextmanager
def _switches(config: RunConfig) -> Iterator[None]:
    """The process-wide switches of a run in force, and restored afterwards."""
    cuda, cudnn = torch.backends.cuda, torch.backends.cudnn
    math = cuda.math_sdp_enabled()
    precision = torch.get_float32_matmul_precision()
    before = cudnn.allow_tf32, cudnn.benchmark
    training = config.training
    configure(
        torch.device("cuda"),
        tf32=training.tf32,
        cudnn_benchmark=training.cudnn_benchmark,
        flash_attention=training.flash_attention,
    )
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(precision)
        cudnn.allow_tf32, cudnn.benchmark = before
        allow_math_attention(math)
