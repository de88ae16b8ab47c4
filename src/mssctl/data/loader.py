"""Batches of examples in a fixed order, from any position on, by worker processes or without."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Generator, Iterator
from multiprocessing import forkserver

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from mssctl.config.schema import TrainingConfig
from mssctl.data.ahead import batches_ahead
from mssctl.data.mixing import Mixer
from mssctl.errors import ExitCode, MssctlError
from mssctl.hardware.processes import INTERRUPTIONS, start_tracker


class Batches(Dataset[Tensor | MssctlError]):
    """Batch ``number`` counted from the start of the run: ``(B, S, C, N)`` float32.

    Batches are counted over all ``processes`` that train together.

    An error comes back as a value, because a worker process can pass on its text only.
    """

    def __init__(self, mixer: Mixer, config: TrainingConfig, processes: int = 1) -> None:
        self.mixer = mixer
        self.batch_size = config.batch_size
        micro = config.gradient_accumulation_steps * processes
        self.per_epoch = config.steps_per_epoch * micro

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
    mixer: Mixer,
    config: TrainingConfig,
    *,
    first: int,
    end: int,
    rank: int = 0,
    processes: int = 1,
    pin_memory: bool = False,
) -> Generator[Tensor, None, None]:
    """Yield the batches ``first .. end - 1`` of a run, each ``(B, S, C, N)`` float32.

    Where several processes train together, ``first`` and ``end`` count the batches of one of them,
    and these are those of number ``rank``: of the examples that one process would see in a step,
    the part number ``rank``, however it is cut into batches.

    The workers live as long as the iterator, across epochs. They ignore what a
    terminal sends to the whole process group: they end with the process that started them.

    Raises:
        MssctlError: audio could not be read; it names the file. Or a worker was killed.
    """
    workers = config.num_workers
    # A clean process makes the workers: forking this one, which has threads, could hang.
    context = multiprocessing.get_context("forkserver") if workers else None
    if context:
        context.set_forkserver_preload([__name__])
        _start_forkserver()
    loader = _Loader(
        Batches(mixer, config, processes),
        batch_size=None,  # an item is a batch already
        sampler=_numbers(first, end, config.gradient_accumulation_steps, rank, processes),
        num_workers=workers,
        prefetch_factor=batches_ahead(config, mixer.audio) if workers else None,
        worker_init_fn=_start_worker if workers else None,
        multiprocessing_context=context,
        pin_memory=pin_memory,
        generator=torch.Generator(),  # else the iterator would advance torch's global generator
    )
    try:
        for batch in loader:
            if isinstance(batch, MssctlError):
                raise batch
            yield batch
    except (RuntimeError, EOFError, ConnectionError, FileNotFoundError) as error:
        # Depending on the moment, the loader notices itself, or a batch cannot be fetched from it.
        if isinstance(error, RuntimeError) and "exited unexpectedly" not in str(error):
            raise
        raise MssctlError(
            f"a data worker process was killed ({error})",
            hint="if memory ran out: lower training.num_workers or training.prefetch_factor in "
            "config.yaml; `mssctl resume` continues the run",
            exit_code=ExitCode.ENVIRONMENT,
        ) from error


class _Loader(DataLoader[Tensor | MssctlError]):
    def check_worker_number_rationality(self) -> None:
        """Stay silent: the receipt shows workers and cores, and `doctor` compares them."""


def _numbers(first: int, end: int, per_step: int, rank: int, processes: int) -> Iterator[int]:
    """Numbers, among the batches of all processes, of those that one of them takes."""
    for own in range(first, end):
        step, place = divmod(own, per_step)
        yield (step * processes + rank) * per_step + place


def _start_forkserver() -> None:
    """Start the clean process with interruptions blocked, which it passes on to the workers.

    It would die of a signal to the process group otherwise, and the workers with it.
    """
    start_tracker()  # first: starting it would unblock the signals again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, INTERRUPTIONS)
    try:
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _start_worker(_: int) -> None:
    """Leave signals to the process that trains, and end when that ends, also by SIGKILL.

    A worker's parent is the fork server, which in turn lives as long as its workers do.
    """
    for number in INTERRUPTIONS:
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_end_with_trainer, daemon=True).start()


def _end_with_trainer() -> None:
    trainer = multiprocessing.parent_process()
    assert trainer is not None, "runs in a worker process only"
    trainer.join()
    os._exit(1)
