"""Refuses ambiguous command lines: blank values, options as values, options given twice."""

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from typer import BadParameter
from typer.core import TyperCommand

from mssctl.errors import ExitCode, MssctlError
from mssctl.options.base import PAIR


class StrictCommand(TyperCommand):
    """A command that refuses blank values, options given twice, and keys that are set twice."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Look at the words before they are converted.

        Raises:
            BadParameter: (exit 2).
            MssctlError: ``~NAME`` of no user (exit 3).
        """
        if not ctx.resilient_parsing:
            values, _, order = self.make_parser(ctx).parse_args(args=list(args))
            for parameter, times in Counter(order).items():
                _check(parameter, times, values.get(parameter.name), ctx)
        return super().parse_args(ctx, args)


def _check(parameter: Any, times: int, value: Any, ctx: Any) -> None:
    """Refuse one parameter's values, with the name of its flag."""
    for word in _words(value):
        if not word.strip():
            raise BadParameter("it is blank; is a variable not set?", ctx=ctx, param=parameter)
        if word.startswith("~") and _is_homeless(word):
            raise MssctlError(
                f"{word}: no user of that name, or none with a home folder",
                hint="write out the path",
                exit_code=ExitCode.ENVIRONMENT,
            )
    if parameter.param_type_name != "option":
        return
    flags = {
        flag for option in ctx.command.params for flag in (*option.opts, *option.secondary_opts)
    }
    if missing := next((word for word in _words(value) if word in flags), None):
        raise BadParameter(
            f"{missing} is an option; is a variable not set?", ctx=ctx, param=parameter
        )
    secondary = parameter.secondary_opts
    if parameter.multiple:
        if parameter.metavar == PAIR and (
            key := twice(word.partition("=")[0].strip() for word in _words(value))
        ):
            raise BadParameter(f"{key} is set twice", ctx=ctx, param=parameter)
    elif times > 1 and secondary:
        words = " and ".join([*parameter.opts, *secondary])
        raise BadParameter("give one of them, once", ctx=ctx, param=parameter, param_hint=words)
    elif times > 1 and not (parameter.is_flag or parameter.count):
        raise BadParameter("given more than once", ctx=ctx, param=parameter)


def _is_homeless(word: str) -> bool:
    """Whether ``word`` begins with the ``~`` of a user without a home folder."""
    try:
        Path(word).expanduser()
    except RuntimeError:
        return not os.path.lexists(word)
    return False


def _words(value: Any) -> Iterator[str]:
    """The words of a parameter that has one value, several, or several times several."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _words(item)


def twice(names: Iterable[str]) -> str | None:
    """The first of ``names`` that occurs more than once."""
    return next((name for name, times in Counter(names).items() if times > 1), None)


def listed(flag: str, text: str) -> list[str]:
    """The names in ``A,B,C``.

    Raises:
        MssctlError: one is blank or there twice (exit 2).
    """
    names = [name.strip() for name in text.split(",")]
    if not all(names):
        raise MssctlError(f"{flag} {text}: a name is blank", exit_code=ExitCode.USAGE)
    if double := twice(names):
        raise MssctlError(f"{flag} {text}: {double} is given twice", exit_code=ExitCode.USAGE)
    return names
