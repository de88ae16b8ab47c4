"""Put the settings of a run into force and build what it changes."""

from collections.abc import Sequence

import torch

from mssctl.errors import ExitCode, MssctlError, shown
from mssctl.hardware.compiler import compile_modules
from mssctl.hardware.device import check_training_dtype, configure
from mssctl.models.base import Separator
from mssctl.models.build import build
from mssctl.models.run_config import RunConfig
from mssctl.training.optim import LearningRate, MovingAverage, build_optimizer
from mssctl.training.step import TrainState


def prepare(config: RunConfig, device: torch.device) -> TrainState:
    """Build model, optimizer, schedule and average from the run's seed.

    Seeds torch's global random generator.

    Raises:
        MssctlError: the GPU lacks the dtype, or nothing can be compiled (exit 3).
    """
    training = config.training
    if device.type == "cuda":
        check_training_dtype(training.amp_dtype, torch.cuda.get_device_capability(device))
    configure(
        device,
        tf32=training.tf32,
        cudnn_benchmark=training.cudnn_benchmark,
        flash_attention=training.flash_attention,
    )
    torch.manual_seed(training.seed)
    model = build(config).to(device).train()
    model.set_checkpointing(training.gradient_checkpointing)
    freeze(model, training.freeze)
    if training.compile:
        _compile(model, config, device)
    total = training.num_epochs * training.steps_per_epoch
    return TrainState(
        model,
        build_optimizer(model, config.optimizer),
        LearningRate(config.optimizer.lr, total, config.scheduler),
        MovingAverage(model, training.ema_momentum) if training.ema_momentum else None,
        validation_fingerprint=_fingerprint(config),
    )


def freeze(model: Separator, prefixes: Sequence[str]) -> None:
    """Take the parameters whose names start with one of ``prefixes`` out of training.

    Raises:
        MssctlError: a prefix without parameters, or nothing is left to train (exit 2).
    """
    parameters = dict(model.named_parameters())
    for prefix in prefixes:
        named = [one for name, one in parameters.items() if name.startswith(prefix)]
        if not named:
            known = ", ".join(dict.fromkeys(name.partition(".")[0] for name in parameters))
            raise MssctlError(
                f"training.freeze: no parameter's name starts with {shown(prefix)}",
                hint=f"the model's parts: {known}",
                exit_code=ExitCode.USAGE,
            )
        for parameter in named:
            parameter.requires_grad_(False)
    if not any(parameter.requires_grad for parameter in parameters.values()):
        raise MssctlError("training.freeze: nothing is left to train", exit_code=ExitCode.USAGE)


def _compile(model: Separator, config: RunConfig, device: torch.device) -> None:
    regions = model.regions()
    if not regions:
        raise MssctlError(
            f"training.compile: it compiles no part of {config.model.name}",
            hint="leave it out",
            exit_code=ExitCode.ENVIRONMENT,
        )
    compile_modules(regions, device)


def _fingerprint(config: RunConfig) -> str:
    """What scores of a run are comparable under: the metric, the songs, how they are cut."""
    training = config.training
    songs = training.validate_songs or "all"
    return f"{training.validate_metric} of {songs} songs, {config.separation!r}"
