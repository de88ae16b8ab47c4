"""Weights on disk: one safetensors file that also holds the configuration and the model's card.

Nothing is ever unpickled. A file appears complete or not at all.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from mssctl.config.bundled import bundled_folder
from mssctl.config.user import in_user_folder
from mssctl.documents import parse_json
from mssctl.errors import ExitCode, MssctlError, did_you_mean
from mssctl.files import FileSet, sha256, storage_error
from mssctl.models.base import Separator
from mssctl.models.build import outline, parameter_count
from mssctl.models.kinds import NO_FILE, SAFETENSORS, hint_for, kind_of
from mssctl.models.run_config import RunConfig, parse
from mssctl.results.models import ModelEntry

FORMAT = "1"
_DTYPES = {"F16", "BF16", "F32", "F64"}


@dataclass(frozen=True)
class LoadedModel:
    """A separator ready to run, and where it came from.

    Attributes:
        separator: in eval mode, on the device asked for, float32.
        config: of the run that made it.
        card: free text by key: license, training data and the like.
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
        card: free text by key, e.g. ``license``.
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
    metadata["sha256"] = content_hash(tensors, metadata)
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
    with _opened(path) as (file, metadata):
        config, card = parse_metadata(metadata, path)
        separator = _outline_like(file, config, path)
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    # Files of earlier versions have no checksum.
    if "sha256" in metadata and metadata["sha256"] != content_hash(tensors, metadata):
        raise _damaged(path, "its content is not what was written (its checksum differs)")
    separator.load_state_dict({key: x.float() for key, x in tensors.items()}, assign=True)
    separator.to(device).eval()
    return LoadedModel(separator, config, card, path.stem, path, sha256(path))


def content_hash(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> str:
    """SHA-256 over CPU tensors (names, types, shapes, bytes), configuration and card, in hex."""
    digest = hashlib.sha256(json.dumps([metadata["config"], metadata["card"]]).encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode())
        digest.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _outline_like(file: Any, config: RunConfig, path: Path) -> Separator:
    """The model of a configuration, without memory for its weights, checked against the file.

    A configuration of a huge model would ask for all memory there is; and weights that the file
    replaces need not be drawn.

    Raises:
        MssctlError: the file's tensors are not those of the configuration (exit 4).
    """
    separator = outline(config)
    stated = {key: file.get_slice(key) for key in file.keys()}  # noqa: SIM118
    expected = {name: list(value.shape) for name, value in separator.state_dict().items()}
    for key in sorted(expected.keys() | stated.keys()):
        if key not in expected or key not in stated or stated[key].get_shape() != expected[key]:
            raise _damaged(path, f"tensor '{key[:80]}' does not belong to its configuration")
        if (dtype := stated[key].get_dtype()) not in _DTYPES:
            raise _damaged(path, f"tensor '{key[:80]}' is of type {dtype}")
    return separator


def find(name: str) -> Path:
    """Path of the weights of a model, given its name or path.

    Raises:
        MssctlError: there is none (exit 3), or it is not a file (exit 4).
    """
    if "/" not in name:
        if _is_there(path := bundled_folder() / "weights" / f"{name}.safetensors"):
            return path
        if pulled := in_user_folder(f"models/{name}.safetensors"):
            return pulled
    try:
        path = Path(name).expanduser()
    except RuntimeError:  # ~ of a user who does not exist
        path = Path(name)
    if _is_there(path):
        if path.is_file():
            return path
        if not path.is_dir():
            raise MssctlError(f"{name}: {NO_FILE}, not a model file")
        best = path / "best.safetensors"
        hint = f"the best model of this run: {best}" if _is_there(best) else None
        raise MssctlError(f"{name}: a folder, not a model file", hint=hint)
    if "/" in name or path.suffix:
        raise MssctlError(f"{name}: no such model file", exit_code=ExitCode.ENVIRONMENT)
    raise MssctlError(
        f"no model '{name}'",
        hint=did_you_mean(name, bundled()) or "give the path of a .safetensors file",
        exit_code=ExitCode.ENVIRONMENT,
    )


def _is_there(path: Path) -> bool:
    """Whether ``path`` exists.

    Raises:
        MssctlError: it cannot even be looked for (exit 3).
    """
    try:
        return path.exists()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise MssctlError(
            f"{str(path)[:200]}: cannot be read: {reason}", exit_code=ExitCode.ENVIRONMENT
        ) from None


def bundled() -> list[str]:
    """Names of the models that come with the program, sorted."""
    return sorted(path.stem for path in (bundled_folder() / "weights").glob("*.safetensors"))


def describe(name: str) -> ModelEntry:
    """What a model is, without running it."""
    path = find(name)
    config, card = read_metadata(path)
    own = path.parent == bundled_folder() / "weights"
    return ModelEntry(
        name=path.stem,
        path=str(path),
        architecture=config.model.name,
        stems=list(config.audio.outputs),
        sample_rate=config.audio.sample_rate,
        channels=config.audio.channels,
        parameters=parameter_count(outline(config)),
        license=card.get("license", "not stated"),
        sha256=sha256(path),
        state="bundled" if own else "here",
        card=card,
    )


def read_metadata(path: Path) -> tuple[RunConfig, dict[str, str]]:
    """Configuration and card of a weights file.

    Raises:
        MssctlError: not safetensors, or not written by `save` (exit 4).
    """
    with _opened(path) as (_, metadata):
        return parse_metadata(metadata, path)


@contextmanager
def _opened(path: Path) -> Iterator[tuple[Any, dict[str, str]]]:
    """A safetensors file and its metadata.

    Raises:
        MssctlError: it is damaged, or of another kind (exit 4).
    """
    try:
        with safe_open(path, framework="pt") as file:
            yield file, file.metadata() or {}
    except (OSError, SafetensorError) as error:
        raise _unreadable(path, error) from None


def parse_metadata(metadata: Mapping[str, str], path: Path) -> tuple[RunConfig, dict[str, str]]:
    """Configuration and card in the metadata of the weights file ``path``.

    Raises:
        MssctlError: they are not of `save`, or damaged (exit 4).
    """
    if metadata.get("format") != FORMAT:
        raise MssctlError(
            f"{path}: safetensors without an mssctl configuration",
            hint=f"weights of other programs: `mssctl models import {path} -o MODEL.safetensors`",
        )
    try:
        tree = parse_json(metadata.get("config", ""), "its metadata: config")
        card = parse_json(metadata.get("card", ""), "its metadata: card")
        if not isinstance(tree, dict):
            raise MssctlError("its metadata: config is not an object")
        config = parse(tree, "its metadata")
    except MssctlError as error:
        raise _damaged(path, error.message) from None
    if not isinstance(card, dict) or not all(isinstance(text, str) for text in card.values()):
        raise _damaged(path, "its metadata: card is not a mapping of text")
    if "licence" in card:  # how earlier versions spelled it
        card.setdefault("license", card.pop("licence"))
    return config, card


def _unreadable(path: Path, error: Exception) -> MssctlError:
    """Why a file could not be opened as safetensors: perhaps it is of another kind."""
    try:
        kind = kind_of(path)
    except (OSError, ValueError) as problem:
        reason = getattr(problem, "strerror", None) or problem
        return MssctlError(f"{path}: cannot be read: {reason}", exit_code=ExitCode.ENVIRONMENT)
    if kind in (SAFETENSORS, "an empty file") or path.suffix == ".safetensors":
        return _damaged(path, str(error)[:200] if kind == SAFETENSORS else f"it is {kind}")
    return MssctlError(f"{path}: {kind}, not a model file", hint=hint_for(kind, path))


def _damaged(path: Path, why: str) -> MssctlError:
    return MssctlError(f"{path}: damaged model file: {why}", hint="fetch or export it again")
