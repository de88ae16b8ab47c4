"""Presets: find, read, override and resolve into a `RunConfig`; write a resolved one.

A preset is a YAML file that lists what differs from the schema's defaults. ``name`` is that of a
bundled preset or the path of a file of one's own.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mssctl.config.bundled import bundled_folder
from mssctl.documents import dump_yaml, parse_yaml, read_yaml
from mssctl.errors import ExitCode, MssctlError, did_you_mean, shown
from mssctl.models.run_config import RunConfig, forms_of, parse


def names() -> list[str]:
    """Names of the bundled presets, sorted.

    Raises:
        MssctlError: there are none (exit 3).
    """
    found = sorted(path.stem for path in bundled_folder().glob("*.yaml"))
    if not found:
        raise MssctlError(
            f"{bundled_folder()}: no presets: this installation is incomplete",
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


def dump(config: RunConfig) -> str:
    """The whole resolved configuration as YAML text that `load` reads back to an equal one."""
    return dump_yaml(config.model_dump(mode="json"))


def _apply(tree: dict[str, Any], override: str) -> None:
    """Set one ``section.key=value`` in a tree of plain values."""
    key, equals, text = override.partition("=")
    parts = key.strip().split(".")
    where = f"--set {shown(override)[1:-1]}"
    if not equals or not all(parts) or len(parts) > 2:
        raise MssctlError(
            f"{where}: expected section.key=value",
            hint="for example --set training.batch_size=8",
            exit_code=ExitCode.USAGE,
        )
    value = parse_yaml(text, where, exit_code=ExitCode.USAGE)
    *sections, last = parts
    if not sections and forms_of(last):
        raise MssctlError(
            f"{where}: '{last}' is a section, expected section.key=value",
            hint=f"set its keys one by one, for example --set {_example(last)}",
            exit_code=ExitCode.USAGE,
        )
    for section in sections:
        tree = tree.setdefault(section, {})
        if not isinstance(tree, dict):
            raise MssctlError(
                f"{where}: '{section}' is not a section", exit_code=ExitCode.ENVIRONMENT
            )
    tree[last] = value


def _example(section: str) -> str:
    """A setting of a section as one would write it."""
    form = next(iter(forms_of(section).values()))
    key = next(key for key in form.model_fields if key != "name")
    return f"{section}.{key}=..."
