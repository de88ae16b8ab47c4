"""Weights of the official implementations, under their key layouts, loaded into our modules.

Each layout is a table of how one of our tensors is made from official ones, so a missing or
surplus key can be named. The key layouts are facts read from published checkpoints. Nothing in
their files is ever run.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from mssctl.errors import ExitCode, MssctlError
from mssctl.models import pickles
from mssctl.models.base import Separator
from mssctl.models.build import build, outline
from mssctl.models.kinds import SAFETENSORS, TORCH, hint_for, kind_of
from mssctl.models.layouts import Layout, Source, State
from mssctl.models.packages import with_state
from mssctl.models.registry import ARCHITECTURES
from mssctl.models.run_config import RunConfig

CHECKPOINTS = (".ckpt", ".pt", ".pth", ".th", ".safetensors")


def layouts() -> dict[str, Layout]:
    """The layouts of all architectures; the first whose mark is found is a file's."""
    known = reversed(ARCHITECTURES.values())
    return {name: layout for one in known for name, layout in one.layouts().items()}


def chosen(layout: str = "auto") -> dict[str, Layout]:
    """The layouts that a file may have: all, or one.

    Raises:
        MssctlError: no such layout (exit 2).
    """
    if layout == "auto":
        return layouts()
    return {layout: _known(layout)}


def _known(layout: str) -> Layout:
    known = layouts()
    if layout not in known:
        raise MssctlError(
            f"unknown layout '{layout}'",
            hint=f"known: {', '.join(known)}",
            exit_code=ExitCode.USAGE,
        )
    return known[layout]


def load(state: State, layout: str, config: Mapping[str, Any]) -> Separator:
    """Build the separator an official state dict belongs to, in eval mode.

    Args:
        state: the official tensors by their official names.
        layout: ``tf_locoformer`` (per bin, mapping), ``bs_locoformer`` (band-split) or
            ``bsmamba2``.
        config: the official configuration, under its own names, flat or with a section ``model``.

    Raises:
        MssctlError: unknown layout, a missing or surplus key, or a shape that does not fit.
    """
    return load_with_config(state, layout, config)[0]


def load_with_config(
    state: State, layout: str, config: Mapping[str, Any]
) -> tuple[Separator, RunConfig]:
    """`load`, and the configuration in our terms that it was built from."""
    known, source = _known(layout), Source(state, layout)
    try:
        run = known.translate(config, source)
        ours = known.collect(source, run)
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError):
        # What a tensor of other dimensions, or a text in place of a number, leads to.
        raise MssctlError(
            f"{layout}: the configuration or a tensor has another form than official ones",
            hint="does the configuration belong to this file?",
        ) from None
    source.assert_all_used()
    expected = outline(run).state_dict()  # compared before any memory is taken
    for name in expected.keys() | ours.keys():
        wanted, given = expected.get(name), ours.get(name)
        if wanted is None or given is None or wanted.shape != given.shape:
            raise MssctlError(
                f"{layout}: {name} should be {_shape(wanted)}, the file gives {_shape(given)}",
                hint="does the configuration belong to this file?",
            )
    separator = build(run)
    separator.load_state_dict(ours)
    return separator.eval(), run


def _shape(tensor: Tensor | None) -> str:
    return "missing" if tensor is None else str(tuple(tensor.shape))


def files_of(path: Path) -> list[Path]:
    """The file itself, or all checkpoints in a folder by name: one model in several files.

    Raises:
        MssctlError: a folder without checkpoints (exit 4).
    """
    if not path.is_dir():
        return [path]
    files = [file for file in sorted(path.iterdir()) if file.suffix in CHECKPOINTS]
    if not files:
        raise MssctlError(
            f"{path}: a folder without checkpoints", hint=f"they end in {', '.join(CHECKPOINTS)}"
        )
    return files


def read_tree(path: Path) -> Any:
    """What a checkpoint holds: dictionaries, lists, numbers and tensors on the CPU.

    Args:
        path: a file that safetensors or PyTorch wrote, recognized by its content.

    Raises:
        MssctlError: no such file (exit 3); a file of another kind, damaged, or with objects that
            would have to be run to be read (exit 4).
    """
    try:
        kind = kind_of(path)
    except FileNotFoundError:
        raise MssctlError(f"{path}: no such file", exit_code=ExitCode.ENVIRONMENT) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise MssctlError(f"{path}: cannot be read: {reason}") from None
    if kind == SAFETENSORS:
        try:
            with safe_open(path, framework="pt") as file:
                metadata = file.metadata() or {}
            return with_state(metadata, load_file(path))
        except (OSError, SafetensorError) as error:
            raise MssctlError(f"{path}: cannot be read: {error}") from None
    if kind != TORCH:
        raise MssctlError(f"{path}: {kind}, not a checkpoint", hint=hint_for(kind, path))
    return pickles.read(path)
