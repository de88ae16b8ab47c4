"""Weights on disk: one safetensors file that also holds the configuration and the model's card.

Nothing is ever unpickled. A file appears whole or not at all.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from mssctl.config.bundled import bundled_folder
from mssctl.config.parse import parse
from mssctl.config.schema import RunConfig
from mssctl.errors import ExitCode, MssctlError, did_you_mean
from mssctl.files import FileSet, storage_error
from mssctl.models.base import Separator
from mssctl.models.registry import build, parameter_count
from mssctl.results.models import ModelEntry

FORMAT = "1"


@dataclass(frozen=True)
class LoadedModel:
    """A separator ready to run, and where it came from.

    Attributes:
        separator: in eval mode, on the device asked for, float32.
        config: of the run that made it.
        card: licence, training data and the like, as free text by name.
        name: bundled name, or the file's name without its ending.
        path: the weights file.
        sha256: of that file.
    """

    separator: Separator
    config: RunConfig
    card: dict[str, str]
    name: str
    path: Path
    sha256: str


def save(
    path: Path,
    model: Separator,
    config: RunConfig,
    card: Mapping[str, str],
    dtype: torch.dtype | None = None,
    *,
    overwrite: bool = False,
) -> None:
    """Write weights, configuration and card to ``path``, atomically.

    Args:
        path: ends in ``.safetensors``.
        model: the separator.
        config: what `load` will rebuild it from.
        card: free text by name, e.g. ``licence``.
        dtype: of the tensors in the file; None keeps the model's.
        overwrite: replace an existing file.

    Raises:
        MssctlError: the file cannot be written (exit 3), or exists (exit 2).
    """
    tensors = {
        name: value.detach().to("cpu", dtype or value.dtype).contiguous()
        for name, value in model.state_dict().items()
    }
    metadata = {
        "format": FORMAT,
        "config": json.dumps(config.model_dump(mode="json")),
        "card": json.dumps(dict(card)),
    }
    try:
        with FileSet(path.parent, overwrite=overwrite) as files:
            temporary = files.add(path)
            save_file(tensors, temporary, metadata)
            temporary.chmod(0o644)  # safetensors makes files that only their owner can read
    except OSError as error:
        raise storage_error(path, error) from None
    except SafetensorError as error:  # how safetensors reports an error of the disk
        raise MssctlError(
            f"{path}: cannot be written: {error}", exit_code=ExitCode.ENVIRONMENT
        ) from None


def load(name: str, device: torch.device) -> LoadedModel:
    """Read a model by bundled name or by the path of a ``.safetensors`` file.

    Raises:
        MssctlError: no such model (exit 3); damaged or foreign file (exit 4).
    """
    path = find(name)
    config, card = read_metadata(path)
    separator = build(config)
    try:
        with safe_open(path, framework="pt") as file:
            state = {key: file.get_tensor(key).float() for key in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise _damaged(path, str(error)) from None
    expected = separator.state_dict()
    for key in sorted(expected.keys() | state.keys()):
        if key not in state or key not in expected or state[key].shape != expected[key].shape:
            raise _damaged(path, f"tensor '{key}' does not belong to its configuration")
    separator.load_state_dict(state)
    separator.to(device).eval()
    return LoadedModel(separator, config, card, path.stem, path, file_hash(path))


def find(name: str) -> Path:
    """Path of the weights of a model given by name or by path."""
    if name.endswith(".safetensors") or "/" in name:
        path = Path(name).expanduser()
        if not path.is_file():
            raise MssctlError(f"{name}: no such model file", exit_code=ExitCode.ENVIRONMENT)
        return path
    path = bundled_folder() / "weights" / f"{name}.safetensors"
    if not path.is_file():
        raise MssctlError(
            f"no model '{name}'",
            hint=did_you_mean(name, bundled()) or "give the path of a .safetensors file",
            exit_code=ExitCode.ENVIRONMENT,
        )
    return path


def bundled() -> list[str]:
    """Names of the models that come with the program, sorted."""
    return sorted(path.stem for path in (bundled_folder() / "weights").glob("*.safetensors"))


def describe(name: str) -> ModelEntry:
    """What a model is, without running it."""
    path = find(name)
    config, card = read_metadata(path)
    with torch.device("meta"):
        parameters = parameter_count(build(config))
    return ModelEntry(
        name=path.stem,
        path=str(path),
        architecture=config.model.name,
        stems=list(config.audio.outputs),
        sample_rate=config.audio.sample_rate,
        channels=config.audio.channels,
        parameters=parameters,
        licence=card.get("licence", "not stated"),
        sha256=file_hash(path),
    )


def read_metadata(path: Path) -> tuple[RunConfig, dict[str, str]]:
    """Configuration and card of a weights file.

    Raises:
        MssctlError: not safetensors, or not written by `save` (exit 4).
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
    except (OSError, SafetensorError) as error:
        raise _damaged(path, str(error)) from None
    if metadata.get("format") != FORMAT:
        raise MssctlError(
            f"{path}: safetensors without an mssctl configuration",
            hint="weights of other programs need converting first",
        )
    try:
        config, card = json.loads(metadata["config"]), json.loads(metadata["card"])
    except (KeyError, ValueError) as error:
        raise _damaged(path, f"its metadata: {error}") from None
    return parse(config, str(path)), card


def file_hash(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _damaged(path: Path, why: str) -> MssctlError:
    return MssctlError(f"{path}: damaged model file: {why}", hint="fetch or export it again")
