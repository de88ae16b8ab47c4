"""From a tree of plain values (YAML, JSON, ``--set``) to a checked `RunConfig`, or an error."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from mssctl.config.schema import RunConfig
from mssctl.errors import ExitCode, MssctlError, did_you_mean, shown

NAMED = 4  # problems in one message


def parse(tree: Mapping[str, Any], source: str) -> RunConfig:
    """Check ``tree`` against the schema.

    Args:
        tree: nested mappings as read from a file.
        source: name of the file or origin, put in front of each error.

    Raises:
        MssctlError: unknown key, wrong type or value; the first few are named, the others counted.
    """
    try:
        return RunConfig.model_validate(tree)
    except ValidationError as error:
        found = error.errors(include_url=False)
        problems = [_explain(dict(item)) for item in found[:NAMED]]
        hints = [hint for _, hint in problems if hint]
        more = f"; and {len(found) - NAMED} more" if len(found) > NAMED else ""
        raise MssctlError(
            "; ".join(f"{source}: {message}" for message, _ in problems) + more,
            hint=hints[0] if hints else "the keys and their meaning are in docs/presets.md",
            exit_code=ExitCode.ENVIRONMENT,
        ) from None


def _explain(item: dict[str, Any]) -> tuple[str, str | None]:
    """Sentence and hint for one pydantic error."""
    path, known = _place([str(part) for part in item["loc"]])
    path = [shown(part)[1:-1] for part in path]
    if item["type"] == "extra_forbidden":
        section = ".".join(path[:-1])
        where = f"{section}: " if section else ""
        return f"{where}unknown key '{path[-1]}'", did_you_mean(path[-1], known)
    where = ".".join(path)
    if item["type"] == "union_tag_invalid":
        forms = list(forms_of(path[0]))
        tag = str(item["ctx"]["tag"])
        return f"{where}.name: unknown {shown(tag)}", did_you_mean(tag, forms)
    message = str(item["msg"]).removeprefix("Value error, ")[:200]
    got = "" if item["type"] == "value_error" and len(path) < 2 else f", got {shown(item['input'])}"
    return (f"{where}: {message}{got}" if where else message), None


def _place(path: list[str]) -> tuple[list[str], list[str]]:
    """The path as written in a preset, and the keys known where it ends.

    Where a section has several forms, pydantic puts the form's name after the section's.
    """
    if len(path) < 2:
        return path, list(RunConfig.model_fields)
    section, *rest = path
    forms = forms_of(section)
    if len(forms) > 1 and rest[0] in forms:
        return [section, *rest[1:]], list(forms[rest[0]].model_fields)
    return path, [key for form in forms.values() for key in form.model_fields]


def forms_of(section: str) -> dict[str, type[BaseModel]]:
    """The forms that a section can have, by name; most have one. Empty for what is no section."""
    field = RunConfig.model_fields.get(section)
    annotation = field.annotation if field else None
    options = get_args(annotation) or (annotation,)
    forms = [get_args(option)[0] if get_args(option) else option for option in options]
    return {
        str(form.model_fields["name"].default if "name" in form.model_fields else section): form
        for form in forms
        if isinstance(form, type) and issubclass(form, BaseModel)
    }
