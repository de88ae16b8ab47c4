"""Keeps predictions between runs, by configuration, question and versions."""

import hashlib
import json
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from mssctl._version import __version__
from mssctl.documents import read_json, sealed, unsealed
from mssctl.errors import MssctlError
from mssctl.files import write_whole
from mssctl.models.run_config import RunConfig
from mssctl.planning.predict.fake_step import Peak
from mssctl.planning.predict.tracker import Allocation
from mssctl.planning.predictions import training_peak

_PACKAGE = Path(__file__).parents[1]


def remembered(config: RunConfig, question: dict[str, Any], compute: Callable[[], Peak]) -> Peak:
    """``compute()``, or what it gave for the same question with the same code and PyTorch."""
    sections = ("audio", "stft", "model", "loss", "optimizer", "training")
    key = {
        "config": {name: getattr(config, name).model_dump(mode="json") for name in sections},
        "question": question,
        "versions": [__version__, str(torch.__version__), _fingerprint()],
    }
    name = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:32]
    path = folder() / f"{name}.json"
    try:
        return _from_json(unsealed(read_json(path), str(path)))
    except (MssctlError, ValueError, KeyError, TypeError):
        peak = compute()
        with suppress(OSError):  # a cache that cannot be written is no reason to fail
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, json.dumps(sealed(asdict(peak))))
        return peak


def training_peak_of(
    config: RunConfig, capability: tuple[int, int], attention: str | None, processes: int = 1
) -> Peak:
    """`training_peak`, from the cache where it is known."""
    question: dict[str, Any] = {"mode": "train", "capability": capability, "attention": attention}
    if processes > 1:
        question["several"] = True

    def compute() -> Peak:
        return training_peak(config, capability, attention, several=processes > 1)

    return remembered(config, question, compute)


def folder() -> Path:
    """Where predictions are kept: ``$XDG_CACHE_HOME/mssctl/plan``, ``~/.cache`` by default."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "mssctl" / "plan"


def _fingerprint() -> str:
    """A hash of the package's files: an edited model is another model, a touched file is not."""
    whole = hashlib.sha256()
    for path in sorted(_PACKAGE.glob("**/*.py")):
        contents = path.read_bytes()
        whole.update(f"{path.relative_to(_PACKAGE).as_posix()} {len(contents)}\n".encode())
        whole.update(contents)
    return whole.hexdigest()[:16]


def _from_json(values: dict[str, Any]) -> Peak:
    largest = [Allocation(**{**item, "shape": tuple(item["shape"])}) for item in values["largest"]]
    work = [(flops, moved, times) for flops, moved, times in values["work"]]
    tuples = {"largest": tuple(largest), "kernels": tuple(values["kernels"]), "work": tuple(work)}
    return Peak(**{**values, **tuples})
