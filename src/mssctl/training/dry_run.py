"""The first step of a run on its real examples, without a file."""

import math
import time
from contextlib import closing

import torch
from torch import Tensor

from mssctl.data.loader import batches
from mssctl.data.mixing import Mixer
from mssctl.errors import ExitCode, MssctlError
from mssctl.events import Notice
from mssctl.hardware.machine import GIB
from mssctl.models.run_config import RunConfig
from mssctl.results.train import DryRunResult
from mssctl.training.prepare import prepare
from mssctl.training.receipt import make_receipt, receipt_text
from mssctl.training.run import Run
from mssctl.training.step import TrainState, train_step


def dry_run(
    config: RunConfig,
    run: Run,
    predicted_gib: float | None,
    predicted_allocated: float | None = None,
) -> DryRunResult:
    """Do the first step; on a GPU a second one, whose memory is that of all later ones.

    Args:
        config: this process's share of it.
        run: where the run would work.
        predicted_gib: what the card must have free, for the receipt.
        predicted_allocated: GiB that PyTorch is predicted to report as allocated.

    Raises:
        MssctlError: unreadable audio, or a loss that is not finite.
    """
    training, device, songs = config.training, run.device, run.songs
    state = prepare(config, device)
    if run.init:
        run.init.apply(state, config, run.report)
    receipt = make_receipt(state, config, device, predicted_gib, initial=run.initial_weights)
    run.report(Notice(receipt_text(receipt)))
    micro = training.gradient_accumulation_steps
    cuda = device.type == "cuda"
    stream = batches(Mixer(songs.train, config), training, first=0, end=micro, pin_memory=cuda)
    with closing(stream):
        examples = list(stream)
    started = time.perf_counter()
    loss = train_step(state, examples, config, run.world).loss.item()  # waits for the device
    seconds = time.perf_counter() - started
    if not math.isfinite(loss):
        raise MssctlError(f"the loss of the first step is {loss}", exit_code=ExitCode.BAD_INPUT)
    allocated = _later_peak(state, examples, config, run) if cuda else None
    return DryRunResult(
        run=str(run.folder),
        training_songs=len(songs.train),
        validation_songs=len(songs.valid),
        steps=training.num_epochs * training.steps_per_epoch,
        effective_batch=training.batch_size * micro,
        loss=loss,
        seconds=seconds,
        peak_gib=allocated,
        predicted_gib=predicted_allocated if cuda else None,
        receipt=receipt,
    )


def _later_peak(state: TrainState, examples: list[Tensor], config: RunConfig, run: Run) -> float:
    """GiB allocated at the peak of one more step: the optimizer has its state now."""
    torch.cuda.reset_peak_memory_stats(run.device)
    train_step(state, examples, config, run.world)
    return torch.cuda.max_memory_allocated(run.device) / GIB
