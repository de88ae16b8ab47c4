"""Checks a training run's memory before it starts, and explains it where it runs out."""

import contextlib
from collections.abc import Iterator

import torch

from mssctl.errors import ExitCode, MssctlError
from mssctl.events import Notice, Reporter
from mssctl.hardware.device import check_training_dtype
from mssctl.hardware.machine import GIB
from mssctl.models.run_config import RunConfig
from mssctl.planning.cache import training_peak_of
from mssctl.planning.explain import remedies
from mssctl.planning.fit import Budget
from mssctl.planning.predict.fake_step import Peak


def check_memory(
    config: RunConfig, device: torch.device, *, force: bool, report: Reporter, processes: int = 1
) -> Peak | None:
    """Say what a run will need, and refuse what cannot fit.

    Only on CUDA: on a CPU other kernels run and the C library keeps what was freed, so that a
    prediction for it would be a guess.

    Args:
        config: of the run.
        device: to train on.
        force: only warn.
        report: gets the expectation as a `Notice`.
        processes: that train together, ``config`` being one's share.

    Raises:
        MssctlError: it needs more than the GPU has free (exit 4), or a dtype that this GPU lacks
            (exit 3).
    """
    if device.type != "cuda":
        return None
    capability = torch.cuda.get_device_capability(device)
    check_training_dtype(config.training.amp_dtype, capability)
    peak = training_peak_of(config, capability, None, processes)
    free, _total = torch.cuda.mem_get_info(device)  # CUDA's context is taken already
    budget = Budget((free + peak.context) / GIB)
    need = (
        f"segment {config.training.segment_length / config.audio.sample_rate:g} s, "
        f"batch {config.training.batch_size} needs {peak.device / GIB:.1f} GiB, "
        f"the card has {budget.vram:.1f} free"
    )
    if peak.allocated <= budget.allocated:
        report(Notice(f"{need}; risk {budget.risk(peak)}"))
        return peak
    if not force:
        raise MssctlError(
            need,
            hint=f"{next_setting(config, capability)}; `mssctl plan` says more, --force starts "
            "anyway",
            exit_code=ExitCode.BAD_INPUT,
        )
    report(Notice(f"{need}: started anyway (--force)", level="warning"))
    return peak


@contextlib.contextmanager
def explained(peak: Peak | None, config: RunConfig, device: torch.device) -> Iterator[None]:
    """Turn an out-of-memory error into one that says what was predicted and what to try.

    Raises:
        MssctlError: the memory ran out (exit 4).
    """
    try:
        yield
    except torch.OutOfMemoryError:
        if peak is None:
            raise MssctlError(
                "memory ran out, also with one example at a time and each path checkpointed",
                hint="a shorter training.segment_length or a smaller preset needs less",
                exit_code=ExitCode.BAD_INPUT,
            ) from None
        used = torch.cuda.max_memory_allocated(device)
        capability = torch.cuda.get_device_capability(device)
        raise MssctlError(
            f"the GPU's memory ran out: predicted {peak.allocated / GIB:.2f} GiB allocated, "
            f"measured {used / GIB:.2f} when it ran out",
            hint=next_setting(config, capability),
            exit_code=ExitCode.BAD_INPUT,
        ) from None


def next_setting(config: RunConfig, capability: tuple[int, int]) -> str:
    """The first thing to change so that a run needs less."""
    first = next(iter(remedies(config, None, capability)), None)
    if first is None:
        return "a smaller training.batch_size needs less"
    return f"{first.change} needs about {first.gib:.1f} GiB"
