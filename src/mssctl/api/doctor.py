"""``mssctl doctor``: whether this machine will do what the presets promise.

The checks run in two child processes at once, one of them with PyTorch, so that the report gets
written whatever a broken driver or package does.
"""

import threading
import time
from collections.abc import Sequence
from typing import Any

from mssctl._version import __version__
from mssctl.checks.run import Check, Group
from mssctl.events import Progress, Reporter, silent
from mssctl.options.doctor import DoctorOptions
from mssctl.results.doctor import GROUPS, DoctorResult

_HERE = "mssctl.checks"
_TORCH = ("PyTorch",)
_DEVICE = ("PyTorch", "device")
_SEPARATE, _TRAIN, _GPU = GROUPS

LIGHT = (
    Check("Python", f"{_HERE}.python:python", _SEPARATE),
    Check("mssctl", f"{_HERE}.python:program", _SEPARATE),
    Check("NVIDIA driver", f"{_HERE}.gpu:driver", _GPU),
    Check("GPUs", f"{_HERE}.gpu:gpus", _GPU),
    Check("allocator's form", f"{_HERE}.python:allocator_form", _GPU),
    Check("memory", f"{_HERE}.machine:memory", _SEPARATE),
    Check("cores", f"{_HERE}.machine:cores", _TRAIN),
    Check("shared memory", f"{_HERE}.machine:shared_memory", _TRAIN),
    Check("locale", f"{_HERE}.machine:language", _SEPARATE),
    Check("output folder", f"{_HERE}.storage:output", _SEPARATE),
    Check("training data", f"{_HERE}.storage:data", _TRAIN),
    Check("libsndfile", f"{_HERE}.audio:sndfile", _SEPARATE),
    Check("PyAV", f"{_HERE}.audio:pyav", _SEPARATE),
    Check("default model", f"{_HERE}.python:default_model", _SEPARATE),
    Check("TensorBoard", f"{_HERE}.python:tensorboard", _TRAIN),
)
WITH_TORCH = (
    Check("PyTorch", f"{_HERE}.python:torch", _SEPARATE, seconds=120),
    Check("torchaudio", f"{_HERE}.python:torchaudio", _SEPARATE),
    Check("CUDA build", f"{_HERE}.gpu:build", _GPU, needs=_TORCH),
    Check("allocator", f"{_HERE}.device:allocator", _GPU, needs=_TORCH),
    Check("device", f"{_HERE}.device:device", _SEPARATE, needs=_TORCH),
    Check("precision", f"{_HERE}.device:precision", _GPU, needs=_DEVICE),
    Check("attention kernels", f"{_HERE}.kernels:kernels", _TRAIN, needs=_DEVICE),
    Check("fused AdamW", f"{_HERE}.device:optimizer", _TRAIN, needs=_DEVICE),
    Check("channels-last convolution", f"{_HERE}.device:convolutions", _TRAIN, needs=_DEVICE),
    Check("attention numerics", f"{_HERE}.numerics:attention_bf16", _TRAIN, needs=_DEVICE),
    Check("STFT", f"{_HERE}.numerics:stft", _SEPARATE, needs=_DEVICE),
    Check("separation speed", f"{_HERE}.speed:separation", _SEPARATE, needs=_DEVICE),
    Check("bundled weights", f"{_HERE}.python:weights", _SEPARATE, needs=_TORCH),
    Check("cache folder", f"{_HERE}.storage:cache", _TRAIN, needs=_TORCH),
    # Last, as both may compile: minutes on a slow machine.
    Check("scan", f"{_HERE}.numerics:scans", _TRAIN, seconds=180, needs=_DEVICE),
    Check("torch.compile", f"{_HERE}.device:compiler", _TRAIN, seconds=180, needs=_DEVICE),
)


def doctor(
    options: DoctorOptions | None = None, *, report: Reporter = silent, **changes: Any
) -> DoctorResult:
    """Check this machine.

    Args:
        options: what is looked at besides; the defaults if None.
        report: receives the progress.
        changes: fields of `DoctorOptions`, instead of those in ``options``.

    Returns:
        What was found. Nothing that is broken raises: it is a finding.
    """
    return examine((LIGHT, WITH_TORCH), DoctorOptions.given(options, changes), report)


def examine(
    groups: Sequence[Sequence[Check]], options: DoctorOptions, report: Reporter = silent
) -> DoctorResult:
    """Run groups of checks at the same time, each in order."""
    started = time.perf_counter()
    total, counted = sum(map(len, groups)), threading.Semaphore(0)
    running = [Group(checks, options, lambda _: counted.release()) for checks in groups]
    threads = [threading.Thread(target=group.run, daemon=True) for group in running]
    try:
        for thread in threads:
            thread.start()
        done, alive = 0, True
        while done < total and alive:
            # Looked at first: what the last threads have counted is then taken below.
            alive = any(thread.is_alive() for thread in threads)
            while done < total and counted.acquire(timeout=0.2 if alive else 0.0):
                done += 1
                report(Progress("doctor", done, total, "checks"))
        for thread in threads:
            thread.join()
    finally:
        for group in running:
            group.stop()
    findings = [
        finding
        for group in running
        for check in group.checks
        for finding in group.found[check.title]
    ]
    return DoctorResult(
        mssctl=__version__,
        findings=findings,
        fit=not any(finding.state in ("failed", "crashed") for finding in findings),
        seconds=time.perf_counter() - started,
    )
