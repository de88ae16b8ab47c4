"""A training run from top to bottom; `resume` is the same function with the state loaded."""

from __future__ import annotations

import math
import time
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from mssctl.data.layouts import SongSets
from mssctl.data.loader import batches
from mssctl.data.mixing import Mixer
from mssctl.errors import ExitCode, MssctlError
from mssctl.events import Notice, Reporter
from mssctl.hardware.compiler import compile_modules
from mssctl.hardware.device import check_training_dtype, configure
from mssctl.models.base import Separator
from mssctl.models.build import build
from mssctl.models.run_config import RunConfig
from mssctl.training.board import Board
from mssctl.training.distributed import ALONE, World
from mssctl.training.interrupt import Interrupt
from mssctl.training.optim import LearningRate, MovingAverage, build_optimizer
from mssctl.training.receipt import make_receipt, receipt_text
from mssctl.training.record import Metrics, record_session
from mssctl.training.session import GIB, Session, validated_step
from mssctl.training.state import checkpoints, load_newest
from mssctl.training.step import TrainState, train_step


@dataclass(frozen=True)
class Fit:
    """How far a run got. ``finished`` is False when it was interrupted."""

    state: TrainState
    finished: bool
    checkpoint: Path


def fit(
    config: RunConfig,
    songs: SongSets,
    run: Path,
    device: torch.device,
    *,
    resuming: bool,
    report: Reporter,
    predicted_gib: float | None = None,
    changes: dict[str, str] | None = None,
    config_sha256: str | None = None,
    validation: str = "",
    world: World = ALONE,
) -> Fit:
    """Train until the last epoch is done, nothing improves any more, or someone interrupts.

    Seeds torch's global random generator. SIGINT or SIGTERM ends the run after the current step
    with a checkpoint; a second one raises KeyboardInterrupt at once.

    Args:
        config: resolved configuration; of several processes, this one's share of it.
        songs: to train on and to validate on.
        run: run folder with ``config.yaml``; checkpoints, metrics and ``best.safetensors`` go here.
        device: to compute on.
        resuming: go on from the newest checkpoint in ``run``.
        report: gets `Step`, `Validated`, `Saved`, `Progress` and `Notice`.
        predicted_gib: peak of GPU memory that the planner expects, for the receipt.
        changes: settings that ``resume --set`` changed, for ``environment.json``.
        config_sha256: of ``config.yaml`` before ``resume --set`` changed it.
        validation: hash of the held-out songs; scores on others are not compared.
        world: the processes that train together, and this one's place among them.

    Raises:
        MssctlError: unreadable audio, no usable checkpoint, a full disk, or a loss that stays
            NaN or infinite.
    """
    state = prepare(config, device)
    if not world.leads:
        torch.manual_seed(config.training.seed + world.rank)  # the same weights, other dropout
    if validation:
        state.judged_by += f", songs {validation}"
    loaded = _load(run, state, world, config_sha256, report) if resuming else None
    receipt = make_receipt(state, config, device, predicted_gib, world.size)
    report(Notice(receipt_text(receipt)))
    if world.leads:
        record_session(run, device, state.step, receipt, changes or {}, report)
    total = config.training.num_epochs * config.training.steps_per_epoch
    with ExitStack() as stack:
        stream = batches(
            Mixer(songs.train, config),
            config.training,
            first=state.step * config.training.gradient_accumulation_steps,
            end=total * config.training.gradient_accumulation_steps,
            rank=world.rank,
            processes=world.size,
            pin_memory=device.type == "cuda",
        )
        stack.enter_context(closing(stream))
        interrupt = stack.enter_context(Interrupt(report))
        metrics, board = None, None
        if world.leads:
            metrics = Metrics(run / "metrics.jsonl", state.step, validated_step(state), report)
            stack.enter_context(metrics)
        if world.leads and config.training.tensorboard:
            board = stack.enter_context(closing(Board(run / "tensorboard", state.step)))
        session = Session(
            config,
            songs,
            run,
            device,
            report,
            state,
            metrics,
            interrupt,
            loaded,
            stream,
            board,
            world,
        )
        while not world.any(interrupt.requested):
            if session.validation_is_due():
                session.validate()
            elif state.step < total and not session.stopped_early():
                session.step()
                if session.save_is_due():
                    session.save()
            else:
                break
        session.read_pending()
        checkpoint = session.save_if_new()
        done = state.step >= total or session.stopped_early()
        return Fit(state, done and not session.validation_is_due(), checkpoint)


def _load(
    run: Path, state: TrainState, world: World, config_sha256: str | None, report: Reporter
) -> Path | None:
    """Go back to the newest checkpoint, if there is one; the first process fixes their folder."""
    if not world.share(bool(checkpoints(run)) if world.leads else None):
        report(Notice("no checkpoint yet: starting from the first step"))
        return None
    return load_newest(
        run,
        state,
        report,
        rank=world.rank,
        processes=world.size,
        config_sha256=config_sha256,
    )


@dataclass(frozen=True)
class FirstStep:
    """What a dry run found. ``peak_gib`` is measured, on CUDA only."""

    receipt: dict[str, Any]
    loss: float
    seconds: float
    peak_gib: float | None


def try_step(
    config: RunConfig,
    songs: SongSets,
    device: torch.device,
    predicted_gib: float | None,
    report: Reporter,
) -> FirstStep:
    """The first step of a run on its real examples, without a file.

    Raises:
        MssctlError: unreadable audio, or a loss that is not finite.
    """
    state = prepare(config, device)
    receipt = make_receipt(state, config, device, predicted_gib)
    report(Notice(receipt_text(receipt)))
    micro = config.training.gradient_accumulation_steps
    stream = batches(
        Mixer(songs.train, config),
        config.training,
        first=0,
        end=micro,
        pin_memory=device.type == "cuda",
    )
    with closing(stream):
        examples = list(stream)
    started = time.perf_counter()
    loss = train_step(state, examples, config).loss.item()  # waits for the device
    seconds = time.perf_counter() - started
    if not math.isfinite(loss):
        raise MssctlError(f"the loss of the first step is {loss}", exit_code=ExitCode.BAD_INPUT)
    cuda = device.type == "cuda"
    peak = torch.cuda.max_memory_reserved(device) / GIB if cuda else None
    return FirstStep(receipt, loss, seconds, peak)


def prepare(config: RunConfig, device: torch.device) -> TrainState:
    """Put the settings into force and build what a run changes, from its seed.

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
    if training.compile:
        _compile(model, config, device)
    total = training.num_epochs * training.steps_per_epoch
    return TrainState(
        model,
        build_optimizer(model, config.optimizer),
        LearningRate(config.optimizer.lr, total, config.scheduler),
        MovingAverage(model, training.ema_momentum) if training.ema_momentum else None,
        judged_by=judges(config),
    )


def _compile(model: Separator, config: RunConfig, device: torch.device) -> None:
    regions = model.regions()
    if not regions:
        raise MssctlError(
            f"training.compile: nothing of {config.model.name} is compiled by it",
            hint="leave it out; its scan is compiled by model.scan_backend",
            exit_code=ExitCode.ENVIRONMENT,
        )
    compile_modules(regions, device)


def judges(config: RunConfig) -> str:
    """What scores of a run are comparable under: the metric, the songs, how they are cut."""
    training = config.training
    songs = training.validate_songs or "all"
    return f"{training.validate_metric} of {songs} songs, {config.separation!r}"
