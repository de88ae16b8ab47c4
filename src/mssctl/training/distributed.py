"""Several processes that train one model: who is who, their share of a step, what they exchange.

Started by ``torchrun``, which sets ``RANK``, ``WORLD_SIZE`` and ``LOCAL_RANK``. Forward and
backward are each process's own; gradients are summed once per optimizer step, after the last
micro-batch. PyTorch's DistributedDataParallel would exchange them during backward, and a process
whose memory runs out there would leave the others waiting; so all learn of it, and do the step
again together.
"""

import os
import signal
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch._utils import _flatten_dense_tensors, _take_tensors, _unflatten_dense_tensors

from mssctl.errors import ExitCode, MssctlError
from mssctl.hardware.device import choose_device
from mssctl.hardware.processes import place
from mssctl.models.run_config import RunConfig

Value = TypeVar("Value")

# One process validates and writes while the others wait for it, in the group of the hosts.
PATIENCE = timedelta(hours=6)
# GPUs exchange gradients only: who does not come within this time has hung.
GPU_PATIENCE = timedelta(minutes=30)
BUCKET = 64 * 2**20  # bytes of gradients that are summed in one go
Bucket = tuple[list[Tensor], Tensor]


@dataclass(frozen=True)
class World:
    """The processes of a run, and the place of this one among them.

    Attributes:
        rank: number of this process; 0 leads: it validates, writes and reports.
        size: number of processes.
        control: group for messages between the hosts, apart from the GPUs' own.
    """

    rank: int = 0
    size: int = 1
    control: Any = None

    @property
    def leads(self) -> bool:
        """Whether this process writes and reports for all."""
        return self.rank == 0

    def any(self, flag: bool) -> bool:
        """Whether ``flag`` holds in any process."""
        if self.size == 1:
            return flag
        found = torch.tensor(int(flag))
        dist.all_reduce(found, dist.ReduceOp.MAX, group=self.control)
        return bool(found.item())

    def share(self, value: Value) -> Value:
        """The leader's ``value``, in every process; others wait for it."""
        if self.size == 1:
            return value
        box: list[Any] = [value if self.leads else None]
        dist.broadcast_object_list(box, src=0, group=self.control)
        return box[0]  # type: ignore[no-any-return]

    def gather(self, value: Value) -> list[Value]:
        """The value of each process, by rank, in every process."""
        if self.size == 1:
            return [value]
        found: list[Any] = [None] * self.size
        dist.all_gather_object(found, value, group=self.control)
        return found

    @contextmanager
    def enough_memory(self) -> Iterator[None]:
        """Memory that runs out in the body of one process has run out in every process.

        Raises:
            torch.OutOfMemoryError: in every process.
        """
        if self.size == 1:
            yield
            return
        own = False
        try:
            yield
        except torch.OutOfMemoryError:
            own = True
        if self.any(own):
            raise torch.OutOfMemoryError("in one of the processes")

    def flattened(self, parameters: Iterable[Tensor]) -> list[Bucket]:
        """The gradients, and copies of them in a few long tensors; alone, there are none."""
        if self.size == 1:
            return []
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        return [
            (bucket, _flatten_dense_tensors(bucket)) for bucket in _take_tensors(gradients, BUCKET)
        ]

    def sum_gradients(self, buckets: list[Bucket]) -> None:
        """Replace each gradient by its sum over the processes; nobody waits for the device."""
        for gradients, flat in buckets:
            self.sum(flat)
            torch._foreach_copy_(gradients, _unflatten_dense_tensors(flat, gradients))

    def mean(self, numbers: Tensor) -> Tensor:
        """The mean of ``numbers`` over the processes."""
        if self.size > 1:
            self.sum(numbers)
            numbers = numbers / self.size
        return numbers

    def sum(self, numbers: Tensor) -> None:
        """Replace ``numbers`` by their sum over the processes."""
        dist.all_reduce(numbers)


class Rehearsal(World):
    """One of several processes as the planner runs it, without the others."""

    def any(self, flag: bool) -> bool:
        """Its own ``flag``."""
        return flag

    def sum(self, numbers: Tensor) -> None:
        """Leave ``numbers`` as they are: NCCL's buffers are outside the allocator."""


ALONE = World()


def launched() -> bool:
    """Whether ``torchrun`` started this process as one of several.

    Raises:
        MssctlError: the environment does not say clearly (exit 3).
    """
    return place().size > 1


def own_device(name: str) -> torch.device:
    """The device of this process, made PyTorch's current one where it is a GPU.

    Of several processes on a machine each takes the GPU of its local rank, or the one that it
    sees, where the launcher has hidden the others.

    Args:
        name: as `choose_device` takes it.

    Raises:
        MssctlError: no such device, no GPU for this process, or one GPU named for several
            processes (exit 3).
    """
    several, device = launched(), choose_device(name).device
    if device.type != "cuda":
        return device
    if several:
        device = _own_gpu(name)
    torch.cuda.set_device(device)
    return device


def _own_gpu(name: str) -> torch.device:
    number, count = place().local_rank, torch.cuda.device_count()
    if ":" in name and count > 1:
        raise MssctlError(
            f"--device {name}: each process of this run takes a GPU of its own",
            hint="use --device cuda; CUDA_VISIBLE_DEVICES chooses among the GPUs",
            exit_code=ExitCode.ENVIRONMENT,
        )
    if count == 1 and "CUDA_VISIBLE_DEVICES" in os.environ:  # as Slurm gives one to each process
        number = 0
    if number >= count:
        raise MssctlError(
            f"environment: LOCAL_RANK={number}, but this machine has {count} GPUs",
            hint="start one process per GPU: torchrun --nproc-per-node",
            exit_code=ExitCode.ENVIRONMENT,
        )
    return torch.device("cuda", number)


@contextmanager
def joined(device: torch.device) -> Iterator[World]:
    """Join the other processes for the length of the body; alone, there is nothing to join.

    Raises:
        MssctlError: the others cannot be reached (exit 3).
    """
    if not launched():
        yield ALONE
        return
    try:
        with _killable():
            if device.type == "cuda":
                dist.init_process_group("nccl", timeout=GPU_PATIENCE, device_id=device)
            else:
                dist.init_process_group("gloo", timeout=PATIENCE)
    except (RuntimeError, ValueError) as error:
        raise MssctlError(
            f"the processes of this run cannot reach each other: {error}",
            hint="start them with torchrun",
            exit_code=ExitCode.ENVIRONMENT,
        ) from None
    try:
        with _killable():
            control = dist.new_group(backend="gloo", timeout=PATIENCE)
            # NCCL takes its memory at the first call: now, before the model takes all there is.
            dist.all_reduce(torch.zeros(1, device=device))
        yield World(dist.get_rank(), dist.get_world_size(), control)
    except RuntimeError as error:
        if not isinstance(error, dist.DistError) and "gloo" not in str(error):
            raise
        raise MssctlError(
            f"process {dist.get_rank()}: another process of this run has ended",
            hint="its own message says why; `mssctl resume` continues from the last checkpoint",
            exit_code=ExitCode.ENVIRONMENT,
        ) from error
    finally:
        dist.destroy_process_group()


@contextmanager
def _killable() -> Iterator[None]:
    """Let SIGTERM end the process at once: while it waits here, Python's handlers do not run."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def share_of(config: RunConfig, world: World) -> RunConfig:
    """One process's part of a step: as many examples per step as without the others.

    The micro-batch stays as large as it can be, so accumulation is what shrinks first.

    Raises:
        MssctlError: the effective batch cannot be divided among the processes (exit 3).
    """
    if world.size == 1:
        return config
    training = config.training
    effective = training.batch_size * training.gradient_accumulation_steps
    own, rest = divmod(effective, world.size)
    if rest:
        raise MssctlError(
            f"{effective} examples per step cannot be divided among {world.size} processes",
            hint="change training.batch_size or training.gradient_accumulation_steps",
            exit_code=ExitCode.ENVIRONMENT,
        )
    batch = max(size for size in range(1, training.batch_size + 1) if own % size == 0)
    return _cut(config, batch, own // batch)


def whole_of(own: RunConfig, world: World) -> RunConfig:
    """The configuration whose `share_of` is ``own``: what ``config.yaml`` holds."""
    training = own.training
    return _cut(own, training.batch_size, training.gradient_accumulation_steps * world.size)


def _cut(config: RunConfig, batch: int, count: int) -> RunConfig:
    part = {"batch_size": batch, "gradient_accumulation_steps": count}
    return config.model_copy(update={"training": config.training.model_copy(update=part)})
