"""From a tree of plain values (YAML, JSON, ``--set``) to a checked `RunConfig`, or an error."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from mssctl.config.schema import RunConfig
from mssctl.errors import ExitCode, MssctlError, did_you_mean


def parse(tree: Mapping[str, Any], source: str) -> RunConfig:
    """Check ``tree`` against the schema.

    Args:
        tree: nested mappings as read from a file.
        source: name of the file or origin, put in front of each error.

    Raises:
        MssctlError: unknown key, wrong type or value; all of them named in one message.
    """
    try:
        return RunConfig.model_validate(tree)
    except ValidationError as error:
        problems = [_explain(dict(item)) for item in error.errors(include_url=False)]
        hints = [hint for _, hint in problems if hint]
        raise MssctlError(
            "; ".join(f"{source}: {message}" for message, _ in problems),
            hint=hints[0] if hints else "the keys and their meaning are in docs/presets.md",
            exit_code=ExitCode.ENVIRONMENT,
        ) from None


def _explain(item: dict[str, Any]) -> tuple[str, str | None]:
    """Sentence and hint for one pydantic error."""
    path = [str(part) for part in item["loc"]]
    if item["type"] == "extra_forbidden":
        section = ".".join(path[:-1])
        known = keys_of(section)
        where = f"{section}: " if section else ""
        return f"{where}unknown key '{path[-1]}'", did_you_mean(path[-1], known)
    message = str(item["msg"]).removeprefix("Value error, ")
    shown = "" if item["type"] == "value_error" and len(path) < 2 else f", got {item['input']!r}"
    where = ".".join(path)
    return (f"{where}: {message}{shown}" if where else message), None


def keys_of(section: str) -> list[str]:
    """Names of the keys of a section given by its dotted path (``""`` is the top)."""
    model: type[BaseModel] = RunConfig
    for part in filter(None, section.split(".")):
        field = model.model_fields.get(part)
        annotation = field.annotation if field else None
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            return []
        model = annotation
    return list(model.model_fields)
