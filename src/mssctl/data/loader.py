"""Batches of examples in a fixed order, from any position on, by worker processes or without."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Generator

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from mssctl.config.schema import TrainingConfig
from mssctl.data.mixing import Mixer
from mssctl.errors import MssctlError


class Batches(Dataset[Tensor | MssctlError]):
    """Batch ``number`` counted from the start of the run: ``(B, S, C, N)`` float32.

    An error comes back as a value, because a worker process can pass on its text only.
    """

    def __init__(self, mixer: Mixer, config: TrainingConfig) -> None:
        self.mixer = mixer
        self.batch_size = config.batch_size
        self.per_epoch = config.steps_per_epoch * config.gradient_accumulation_steps

    def __getitem__(self, number: int) -> Tensor | MssctlError:
        epoch, place = divmod(number, self.per_epoch)
        batch = np.empty((self.batch_size, *self.mixer.shape), np.float32)
        try:
            for row in range(self.batch_size):
                self.mixer.fill(batch[row], epoch, place * self.batch_size + row)
        except MssctlError as error:
            return error
        return torch.from_numpy(batch)


def batches(
    mixer: Mixer, config: TrainingConfig, *, first: int, end: int, pin_memory: bool = False
) -> Generator[Tensor, None, None]:
    """Yield the batches ``first .. end - 1`` of a run, each ``(B, S, C, N)`` float32.

    The workers live as long as the iterator, across epochs. They ignore SIGINT and SIGTERM, which
    a terminal sends to the whole process group: they end with the process that started them.

    Raises:
        MssctlError: audio could not be read; it names the file.
    """
    workers = config.num_workers
    # A clean process makes the workers: forking this one, which has threads, could hang.
    context = multiprocessing.get_context("forkserver") if workers else None
    if context:
        context.set_forkserver_preload([__name__])
    loader = DataLoader(
        Batches(mixer, config),
        batch_size=None,  # an item is a batch already
        sampler=range(first, end),
        num_workers=workers,
        prefetch_factor=config.prefetch_factor if workers else None,
        worker_init_fn=_ignore_signals if workers else None,
        multiprocessing_context=context,
        pin_memory=pin_memory,
        generator=torch.Generator(),  # else the iterator would advance torch's global generator
    )
    for batch in loader:
        if isinstance(batch, MssctlError):
            raise batch
        yield batch


def _ignore_signals(_: int) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
