"""The first step of a run on its real examples, without a file."""

from __future__ import annotations

import math
import time
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import torch

from mssctl.data.layouts import SongSets
from mssctl.data.loader import batches
from mssctl.data.mixing import Mixer
from mssctl.errors import ExitCode, MssctlError
from mssctl.events import Notice, Reporter
from mssctl.hardware.machine import GIB
from mssctl.models.run_config import RunConfig
from mssctl.training.prepare import prepare
from mssctl.training.receipt import make_receipt, receipt_text
from mssctl.training.step import train_step


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
    """Do the first step.

    Raises:
        MssctlError: unreadable audio, or a loss that is not finite.
    """
    state = prepare(config, device)
    receipt = make_receipt(state, config, device, predicted_gib)
    report(Notice(receipt_text(receipt)))
    micro = config.training.gradient_accumulation_steps
    cuda = device.type == "cuda"
    stream = batches(
        Mixer(songs.train, config), config.training, first=0, end=micro, pin_memory=cuda
    )
    with closing(stream):
        examples = list(stream)
    started = time.perf_counter()
    loss = train_step(state, examples, config).loss.item()  # waits for the device
    seconds = time.perf_counter() - started
    if not math.isfinite(loss):
        raise MssctlError(f"the loss of the first step is {loss}", exit_code=ExitCode.BAD_INPUT)
    peak = torch.cuda.max_memory_reserved(device) / GIB if cuda else None
    return FirstStep(receipt, loss, seconds, peak)
