"""What a run folder tells about the run: ``metrics.jsonl`` and ``environment.json``."""

from __future__ import annotations

import json
import os
import platform
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from mssctl.config.schema import RunConfig
from mssctl.errors import ExitCode, MssctlError
from mssctl.hardware.device import autocast
from mssctl.models.base import Separator


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Around what writes to ``path``: an OSError becomes an `MssctlError` that names it."""
    try:
        yield
    except OSError as error:
        raise MssctlError(
            f"{path}: cannot be written: {error.strerror or error}",
            hint="`mssctl resume` goes on from the last checkpoint as soon as it can be",
            exit_code=ExitCode.ENVIRONMENT,
        ) from None


class Metrics:
    """``metrics.jsonl``: one line per optimizer step and per validation.

    Lines of steps and validations that a resumed run does again, and a torn last line, are cut
    on opening, so that the file tells one story.

    Args:
        path: of the file; it need not exist.
        last_step: the step that the run goes on from.
        last_validated: the step of the last validation that it knows of.

    Raises:
        MssctlError: the file cannot be written; `add` and leaving the block raise it, too.
    """

    def __init__(self, path: Path, last_step: int, last_validated: int) -> None:
        self._path = path
        last = {"step": last_step, "validation": last_validated}
        with writing(path):
            if path.exists():
                kept = [line for line in path.read_text("utf-8").splitlines() if _upto(line, last)]
                _write_whole(path, "".join(f"{line}\n" for line in kept))
            self._file = path.open("a", encoding="utf-8")

    def add(self, kind: str, **values: Any) -> None:
        """Append one whole line and hand it to the operating system."""
        with writing(self._path):
            self._file.write(json.dumps({"kind": kind, **values}, allow_nan=False) + "\n")
            self._file.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with writing(self._path):
            self._file.close()


def _upto(line: str, last: dict[str, int]) -> bool:
    try:
        values = json.loads(line)
        kept: bool = values["step"] <= last[values["kind"]]
    except (ValueError, KeyError, TypeError):
        return False  # torn by a crash
    return kept


def _write_whole(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def versions() -> dict[str, str]:
    """Versions of what computes the numbers."""
    try:
        own = version("mssctl")
    except PackageNotFoundError:
        own = "source tree"
    return {
        "mssctl": own,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
    }


def record_environment(
    run: Path, model: Separator, config: RunConfig, device: torch.device, step: int
) -> None:
    """Add to ``environment.json`` what this session of the run really works with."""
    path = run / "environment.json"
    sessions = json.loads(path.read_text("utf-8"))["sessions"] if path.exists() else []
    cuda = device.type == "cuda"
    training = config.training
    sessions.append(
        {
            "started": datetime.now(UTC).isoformat(timespec="seconds"),
            "from_step": step,
            "versions": versions(),
            "machine": platform.platform(),
            "cores": os.cpu_count(),
            "threads": torch.get_num_threads(),
            "device": str(device),
            "gpu": torch.cuda.get_device_name(device) if cuda else None,
            "tf32": torch.backends.cuda.matmul.allow_tf32 if cuda else None,
            "cudnn_benchmark": torch.backends.cudnn.benchmark if cuda else None,
            "math_attention": torch.backends.cuda.math_sdp_enabled() if cuda else None,
            "backends": model.backends(),
            "fused_optimizer": config.optimizer.fused,
            "amp_dtype": training.amp_dtype,
            "dtypes_inside": dtypes_inside(model, training.amp_dtype, device),
            "workers": training.num_workers,
            "effective_batch": training.batch_size * training.gradient_accumulation_steps,
        }
    )
    with writing(path):
        _write_whole(path, json.dumps({"sessions": sessions}, indent=2))


@torch.no_grad()
def dtypes_inside(
    model: Separator, amp_dtype: str, device: torch.device
) -> dict[str, dict[str, int]]:
    """Which dtypes the layers give out under autocast: layer class -> dtype -> how many layers.

    Seen by running the model once, in eval mode, on a short noise-free signal.
    """
    seen: dict[str, Counter[str]] = {}

    def watch(layer: nn.Module, _: object, output: object) -> None:
        if isinstance(output, Tensor):
            dtype = str(output.dtype).removeprefix("torch.")
            seen.setdefault(type(layer).__name__, Counter())[dtype] += 1

    leaves = [layer for layer in model.modules() if not any(layer.children())]
    hooks = [layer.register_forward_hook(watch) for layer in leaves]
    training = model.training
    model.eval()
    try:
        with autocast(device, amp_dtype):
            model(torch.linspace(-1, 1, 8192, device=device).expand(1, model.channels, -1))
    finally:
        model.train(training)
        for hook in hooks:
            hook.remove()
    return {name: dict(counts) for name, counts in sorted(seen.items())}
