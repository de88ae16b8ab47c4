"""Configurations of other training programs as presets: what is carried over, and what is not.

An architecture lists, for each program, a rule per foreign key. Imports neither torch nor numpy.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from mssctl.errors import shown

Flat = Mapping[str, Any]  # dotted foreign key -> value
Carry = Callable[[Any, Flat], Mapping[str, Any]]  # value, all values -> ours by dotted key
Rule = Carry | str  # a text says why there is no counterpart


class NotCarriedError(Exception):
    """This value has no counterpart; the message says why."""


@dataclass(frozen=True)
class ForeignPreset:
    """The files of one program.

    Attributes:
        marks: keys that a file of this program has.
        base: what all its models have in common, in our terms.
        rules: foreign key (``section.*``: all others of a section) -> our keys, or why there are
            none.
        bands: our keys that make a model of bins one of bands; empty if it has bands.
    """

    marks: tuple[str, ...]
    base: Mapping[str, Any]
    rules: Mapping[str, Rule]
    bands: Mapping[str, Any] = field(default_factory=dict)

    def recognizes(self, flat: Flat) -> bool:
        """Whether ``flat`` is such a file."""
        return all(any(_is_at(key, mark) for key in flat) for mark in self.marks)


@dataclass
class Translation:
    """A foreign configuration in our terms.

    Attributes:
        ours: dotted key -> value.
        carried: foreign key -> our keys, in words.
        left_out: foreign key -> why it has no counterpart.
    """

    ours: dict[str, Any]
    carried: dict[str, str] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)

    @property
    def tree(self) -> dict[str, dict[str, Any]]:
        """`ours` as sections."""
        tree: dict[str, dict[str, Any]] = {}
        for key, value in self.ours.items():
            section, _, name = key.partition(".")
            tree.setdefault(section, {})[name] = value
        return tree


def translate(tree: Mapping[str, Any], program: ForeignPreset) -> Translation:
    """Apply the rules of ``program`` to every key of its configuration."""
    flat = flatten(tree)
    found = Translation(dict(program.base))
    for key, value in flat.items():
        section = f"{key.partition('.')[0]}.*"
        rule = program.rules.get(key, program.rules.get(section, "unknown here"))
        if isinstance(rule, str):
            found.left_out[key] = rule
            continue
        try:
            ours = rule(value, flat)
        except NotCarriedError as reason:
            found.left_out[key] = str(reason)
        except (TypeError, ValueError, AttributeError, LookupError):
            found.left_out[key] = f"{shown(value)} is no value that is understood here"
        else:
            found.ours |= ours
            found.carried[key] = ", ".join(ours) or "always so here"
    return found


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Dotted key -> value; lists are values."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _is_at(key: str, mark: str) -> bool:
    return key == mark or key.startswith(f"{mark}.")


# --- kinds of rules


def to(*keys: str, convert: Callable[[Any], Any] = lambda value: value) -> Carry:
    """The same value under another name, converted."""
    return lambda value, _: dict.fromkeys(keys, convert(value))


def one_of(key: str, values: Mapping[Any, Any]) -> Carry:
    """A word or switch that is spelled differently here."""

    def carry(value: Any, _: Flat) -> Mapping[str, Any]:
        if value not in values:
            raise NotCarriedError(f"no counterpart of {shown(value)}")
        return {key: values[value]}

    return carry


def always(expected: Any, otherwise: str) -> Carry:
    """What is never different here; any other value has no counterpart, and why."""

    def carry(value: Any, _: Flat) -> Mapping[str, Any]:
        if value != expected:
            raise NotCarriedError(otherwise)
        return {}

    return carry


# --- what the files of many programs have

DATA_OPTION = "give it with `mssctl train --data`"
OUT_OPTION = "give it with `mssctl train --out`"
VALIDATION = "validation separates whole songs here, see the section separation"
DEVICE = "give it with `--device`; torchrun starts one process per GPU"
MEMORY = "nothing to set: memory is predicted, and allocated in segments that grow"
EPOCHS = "an epoch is validated and saved at its end; training.steps_per_epoch sets its length"
