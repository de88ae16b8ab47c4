"""Reading YAML and JSON: the one place that does."""

from __future__ import annotations

import re
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from mssctl.errors import ExitCode, MssctlError


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


def parse_yaml(text: str) -> Any:
    """Plain values out of YAML text.

    Raises:
        yaml.YAMLError: it is not valid.
    """
    return yaml.load(text, Loader=_Loader)  # noqa: S506 (safe)
