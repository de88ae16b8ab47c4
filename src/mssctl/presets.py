"""Presets: find, read, override and resolve into a `RunConfig`; write a resolved one.

A preset is a YAML file that lists what differs from the schema's defaults. ``name`` is that of a
bundled preset or the path of a file of one's own.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Any

import yaml

from mssctl.config.bundled import bundled_folder
from mssctl.config.parse import parse
from mssctl.config.schema import RunConfig
from mssctl.errors import ExitCode, MssctlError, did_you_mean


class _Loader(yaml.SafeLoader):
    """Safe YAML that reads ``1e-4`` as a number and refuses a key given twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key_node, _ in node.value:
            key = str(self.construct_object(key_node, deep=True))
            if key in seen:
                line = key_node.start_mark.line + 1
                raise yaml.constructor.ConstructorError(
                    None, None, f"line {line}: key '{key}' is given twice", None
                )
            seen.add(key)
        return super().construct_mapping(node, deep)


# YAML 1.1 wants a dot and a signed exponent in a float; people write 1e-4.
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\d[\d_]*\.?[\d_]*|\.\d[\d_]*)[eE][-+]?\d+$"),
    list("-+0123456789."),
)


class _ForeignLoader(_Loader):
    """Also reads the tuples that other programs' files hold, as lists; still makes no objects."""


_ForeignLoader.add_constructor(
    "tag:yaml.org,2002:python/tuple",
    lambda loader, node: loader.construct_sequence(node, deep=True),  # type: ignore[arg-type]
)


def names() -> list[str]:
    """Names of the bundled presets, sorted.

    Raises:
        MssctlError: there are none (exit 3).
    """
    found = sorted(path.stem for path in bundled_folder().glob("*.yaml"))
    if not found:
        raise MssctlError(
            f"{bundled_folder()}: no presets: this installation is not whole",
            hint="install mssctl again",
            exit_code=ExitCode.ENVIRONMENT,
        )
    return found


def load(name: str, overrides: Sequence[str] = ()) -> RunConfig:
    """Read a preset and apply ``section.key=value`` overrides.

    Args:
        name: bundled preset, or path of a ``.yaml`` file.
        overrides: values are YAML, so ``training.betas=[0.9, 0.95]`` works.

    Raises:
        MssctlError: no such preset, broken YAML, unknown key or bad value.
    """
    path = find(name)
    tree = read_yaml(path)
    source = path.name
    for override in overrides:
        _apply(tree, override)
        source = f"{path.name} with --set"
    return parse(tree, source)


def override(config: RunConfig, overrides: Sequence[str]) -> RunConfig:
    """A copy of ``config`` with ``section.key=value`` overrides applied and checked."""
    tree = config.model_dump(mode="json")
    for item in overrides:
        _apply(tree, item)
    return parse(tree, "--set")


def find(name: str) -> Path:
    """Path of a preset given by name or by path."""
    if name.endswith((".yaml", ".yml")) or "/" in name:
        path = Path(name).expanduser()
        if not path.is_file():
            raise MssctlError(f"{name}: no such preset file", exit_code=ExitCode.ENVIRONMENT)
        return path
    path = bundled_folder() / f"{name}.yaml"
    if not path.is_file():
        raise MssctlError(
            f"no preset '{name}'",
            hint=did_you_mean(name, names()),
            exit_code=ExitCode.ENVIRONMENT,
        )
    return path


def read_yaml(path: Path, *, foreign: bool = False) -> dict[str, Any]:
    """Read one YAML mapping, safely.

    Args:
        path: of the file.
        foreign: a configuration of another program: ``!!python/tuple`` is read as a list.

    Raises:
        MssctlError: unreadable, not YAML, a duplicate key, or not a mapping.
    """
    try:
        text = path.read_text(encoding="utf-8")
        tree = yaml.load(text, Loader=_ForeignLoader if foreign else _Loader)  # noqa: S506 (safe)
    except (OSError, UnicodeDecodeError) as error:
        raise MssctlError(
            f"{path}: cannot be read: {error}", exit_code=ExitCode.ENVIRONMENT
        ) from None
    except yaml.YAMLError as error:
        detail = " ".join(str(error).split())
        raise MssctlError(
            f"{path.name}: not valid YAML: {detail}", exit_code=ExitCode.ENVIRONMENT
        ) from None
    if not isinstance(tree, dict):
        raise MssctlError(
            f"{path.name}: expected sections like 'model:'", exit_code=ExitCode.ENVIRONMENT
        )
    return tree


def dump(config: RunConfig) -> str:
    """The whole resolved configuration as YAML text that `load` reads back to an equal one."""
    text: str = yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
    return text


def _apply(tree: dict[str, Any], override: str) -> None:
    """Set one ``section.key=value`` in a tree of plain values."""
    key, equals, text = override.partition("=")
    parts = key.strip().split(".")
    if not equals or not all(parts):
        raise MssctlError(
            f"--set {override}: expected section.key=value",
            hint="for example --set training.batch_size=8",
            exit_code=ExitCode.USAGE,
        )
    try:
        value = yaml.load(text, Loader=_Loader)  # noqa: S506 (safe)
    except yaml.YAMLError:
        raise MssctlError(
            f"--set {override}: the value is not valid YAML", exit_code=ExitCode.USAGE
        ) from None
    for part in parts[:-1]:
        tree = tree.setdefault(part, {})
        if not isinstance(tree, dict):
            raise MssctlError(
                f"--set {override}: '{part}' is not a section", exit_code=ExitCode.ENVIRONMENT
            )
    tree[parts[-1]] = value
