"""Options as fields: type, default, bounds, help and flags in one place.

A class of options is what a function of `mssctl.api` takes. The command line builds its flags
from the fields, and turns parameters that a message names in backticks into flags.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal, Self, get_args, get_origin, get_type_hints

from mssctl.errors import ExitCode, MssctlError, did_you_mean

_KEY = "option"

PAIR = "KEY=VALUE"  # metavar of options that set one key each


@dataclass(frozen=True)
class Option:
    """How a field is spelled on the command line, and what it accepts.

    Attributes:
        flags: its flags; none for an argument.
        help: what it does, as a noun phrase or an imperative.
        metavar: what stands for its value in the help.
        bounds: smallest and largest value.
        shorthands: flag without a value -> the value that it stands for, and its help.
        switch: the values of an option that is ``--yes/--no``, of the first and the second flag.
        commas: several values in one word, separated by commas.
        repeatable: the flag may be given several times.
        required: the command line must give it.
        keys: of a preset, for which it is short.
    """

    flags: tuple[str, ...]
    help: str
    metavar: str | None = None
    bounds: tuple[float, float] | None = None
    shorthands: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    switch: tuple[str, str] | None = None
    commas: bool = False
    repeatable: bool = False
    required: bool = False
    keys: tuple[str, ...] = ()

    def flag_of(self, value: str | None) -> str:
        """The flag that gives ``value``, or the flag alone."""
        if value is None:
            return self.flags[0]
        if value == "False":
            return self.flags[0].split("/")[-1]
        if self.switch and value in self.switch:
            return self.flags[0].split("/")[self.switch.index(value)]
        for flag, (stands_for, _) in self.shorthands.items():
            if value == stands_for:
                return flag
        return f"{self.flags[0]} {value}"


def option(default: Any, *flags: str, help: str, **more: Any) -> Any:  # noqa: A002
    """A field of options; ``more`` as in `Option`."""
    return field(default=default, metadata={_KEY: Option(flags, help, **more)})


@dataclass(frozen=True, kw_only=True)
class Options:
    """Base of all options: words and numbers are checked when they are made.

    Raises:
        MssctlError: a word that is none of its parameter's, or a number out of bounds (exit 2).
    """

    def __post_init__(self) -> None:
        hints = get_type_hints(type(self))
        for name, described in described_fields(type(self)).items():
            value = getattr(self, name)
            if value is None:
                continue
            known = choices(hints[name])
            if known and value not in known:
                raise MssctlError(
                    f"`{name}` {value!r}: must be one of {', '.join(known)}",
                    exit_code=ExitCode.USAGE,
                )
            if described.bounds and not described.bounds[0] <= value <= described.bounds[1]:
                lowest, highest = described.bounds
                raise MssctlError(
                    f"`{name}` {value}: must be from {lowest} to {highest}",
                    exit_code=ExitCode.USAGE,
                )

    @classmethod
    def given(cls, options: Self | None, changes: Mapping[str, Any]) -> Self:
        """``options``, or the defaults, with some fields changed.

        Raises:
            MssctlError: there is no such field (exit 2).
        """
        known = [one.name for one in fields(cls)]
        for name in changes:
            if name not in known:
                raise MssctlError(
                    f"no option '{name}'",
                    hint=did_you_mean(name, known),
                    exit_code=ExitCode.USAGE,
                )
        return replace(options or cls(), **changes)


def described_fields(options: type[Options]) -> dict[str, Option]:
    """The fields of options, by name."""
    return {one.name: one.metadata[_KEY] for one in fields(options)}


def choices(hint: Any) -> tuple[str, ...]:
    """The words that a type accepts; none if it is not one of words."""
    if get_origin(hint) is Literal:
        return get_args(hint)
    found = [choices(part) for part in get_args(hint) if get_origin(part) is Literal]
    return found[0] if found else ()


def refuse(options: Options, way: str, names: Iterable[str], hint: str | None = None) -> None:
    """Refuse options that do nothing in one way to use a command: no silent setting.

    Raises:
        MssctlError: one of ``names`` differs from its default (exit 2).
    """
    defaults = {one.name: one.default for one in fields(options)}
    for name in names:
        if getattr(options, name) != defaults[name]:
            raise MssctlError(f"`{name}` does nothing with {way}", hint, ExitCode.USAGE)


def key_options(options: Options) -> dict[str, tuple[str, Any]]:
    """Key of a preset -> the option that is short for it, and its value."""
    return {
        key: (name, getattr(options, name))
        for name, described in described_fields(type(options)).items()
        for key in described.keys
    }


def as_overrides(given: Mapping[str, tuple[str, Any]], overrides: Sequence[str]) -> list[str]:
    """Options that are short for a key, as ``section.key=value``, and then ``overrides``.

    Args:
        given: key -> option and value; those without a value are left out.
        overrides: ``section.key=value``.

    Raises:
        MssctlError: a key is given both ways (exit 2).
    """
    short = {key: (name, value) for key, (name, value) in given.items() if value is not None}
    for item in overrides:
        key = item.partition("=")[0].strip()
        if key in short:
            raise MssctlError(
                f"`{short[key][0]}` and `overrides` {key} give the same setting",
                hint="leave out one of them",
                exit_code=ExitCode.USAGE,
            )
    return [*(f"{key}={value}" for key, (_, value) in short.items()), *overrides]
