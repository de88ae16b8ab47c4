"""Turns options into a command: typer's parameters from the fields, and flags into messages."""

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any, get_args, get_type_hints

import typer
from typer.models import OptionInfo

from mssctl.cli.arguments import listed
from mssctl.cli.options import Json
from mssctl.cli.session import session
from mssctl.errors import ExitCode, MssctlError
from mssctl.options.base import Option, Options, described_fields

_NAMED = re.compile(r"`(\w+)(?:=(\w+))?`")


def command(
    options: type[Options], *, trains: bool = False
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Make a command of ``body(ui, options, *, arguments of its own)``.

    Args:
        options: what the command takes beside the arguments of its body.
        trains: see `mssctl.cli.session.session`.
    """

    def decorate(body: Callable[..., None]) -> Callable[..., None]:
        own = [
            one
            for one in inspect.signature(body, eval_str=True).parameters.values()
            if one.kind is inspect.Parameter.KEYWORD_ONLY
        ]
        arguments = [one.name for one in own]

        def run(*, json: bool = False, **given: Any) -> None:
            with session(
                json=json, trains=trains, flags=lambda text: with_flags(text, options)
            ) as ui:
                taken = {name: given.pop(name) for name in arguments}
                body(ui, options(**values(options, given)), **taken)

        run.__doc__ = body.__doc__
        first = [one for one in own if not _is_option(one)]
        last = [*filter(_is_option, own), _parameter("json", Json, False)]
        described = [*first, *parameters(options), *last]
        run.__signature__ = inspect.Signature(described)  # type: ignore[attr-defined]
        return run

    return decorate


def parameters(options: type[Options]) -> list[inspect.Parameter]:
    """Typer's parameters for the fields of options."""
    hints = get_type_hints(options)
    found = []
    for one in fields(options):
        described, hint = described_fields(options)[one.name], hints[one.name]
        default: Any = one.default
        if described.switch:
            hint, default = bool | None, None
        elif described.shorthands:
            hint, default = hint | None, None
        elif described.commas:
            hint, default = str | None, ",".join(default or ()) or None
        elif described.repeatable:
            hint, default = list[_item(hint)] | None, None  # type: ignore[misc]
        elif Path in get_args(hint):
            hint = Path | None
        if described.required:
            default = inspect.Parameter.empty
        found.append(_parameter(one.name, Annotated[hint, _typer(described)], default))
        for flag, (_, text) in described.shorthands.items():
            spelled = Annotated[bool, typer.Option(flag, help=text)]
            found.append(_parameter(_name(flag), spelled, False))
    return found


def _is_option(parameter: inspect.Parameter) -> bool:
    return isinstance(parameter.annotation.__metadata__[0], OptionInfo)


def _item(hint: Any) -> type:
    """What a list of ``hint`` holds, on the command line."""
    return Path if "Path" in str(hint) else str


def _parameter(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    kind = inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(name, kind, default=default, annotation=annotation)


def _typer(described: Option) -> Any:
    if not described.flags:
        return typer.Argument(help=described.help, metavar=described.metavar)
    lowest, highest = described.bounds or (None, None)
    return typer.Option(
        *described.flags,
        help=described.help,
        metavar=described.metavar,
        min=lowest,
        max=highest,
        show_default=not described.switch,
    )


def _name(flag: str) -> str:
    return flag.removeprefix("--").replace("-", "_")


def values(options: type[Options], given: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of options, from what typer has parsed.

    Raises:
        MssctlError: two flags say the same thing (exit 2).
    """
    found = {}
    for name, described in described_fields(options).items():
        value = given[name]
        if described.shorthands:
            value = _one_of(described, value, given)
        elif described.switch and value is not None:
            value = described.switch[0 if value else 1]
        elif described.commas and value is not None:
            value = listed(described.flags[0], value)
        elif described.repeatable:
            value = value or None
        if value is not None:
            found[name] = value
    return found


def _one_of(described: Option, value: Any, given: Mapping[str, Any]) -> Any:
    """The value of an option that has shorthands; at most one of them is given."""
    flags = [flag for flag in described.shorthands if given[_name(flag)]]
    used = [described.flags[0], *flags] if value else flags
    if len(used) > 1:
        raise MssctlError(f"{' and '.join(used)} exclude each other", exit_code=ExitCode.USAGE)
    return described.shorthands[flags[0]][0] if flags else value


def with_flags(text: str, options: type[Options]) -> str:
    """A message in which the parameters named in backticks are flags."""
    known = described_fields(options)

    def flag(match: re.Match[str]) -> str:
        described = known.get(match[1])
        return described.flag_of(match[2]) if described and described.flags else match[0]

    return _NAMED.sub(flag, text)
