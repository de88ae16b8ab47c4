"""From fields to flags, and from parameters in messages to flags."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import pytest

from mssctl.cli.command import values, with_flags
from mssctl.errors import ExitCode, MssctlError
from mssctl.options.base import Options, option
from mssctl.options.bench import BenchOptions
from mssctl.options.data import CheckOptions, SynthOptions
from mssctl.options.evaluate import EvaluateOptions
from mssctl.options.separate import SeparateOptions
from mssctl.options.train import ResumeOptions, TrainOptions

ALL = [
    BenchOptions, CheckOptions, SynthOptions, EvaluateOptions, SeparateOptions, ResumeOptions,
    TrainOptions,
]  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Toy(Options):
    """One field of each kind."""

    name: str = option("x", "--name", "-n", help="A name.")
    kind: Literal["a", "b"] = option("a", "--kind", help=".", shorthands={"--bee": ("b", "B.")})
    old: Literal["error", "skip", "replace"] = option(
        "error", "--skip/--replace", help=".", switch=("skip", "replace")
    )
    round16: bool = option(True, "--round/--no-round", help=".")
    count: int = option(1, "--count", help=".", bounds=(1, 9))


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("`name` is blank", "--name is blank"),
        ("use `kind=b`", "use --bee"),
        ("use `kind=a`", "use --kind a"),
        ("`old=replace` replaces it", "--replace replaces it"),
        ("`round16=False`: only with bees", "--no-round: only with bees"),
        ("`mssctl plan` and `other` stay", "`mssctl plan` and `other` stay"),
    ],
)
def test_parameters_in_messages_become_flags(message, shown):
    assert with_flags(message, Toy) == shown


def test_flags_that_say_the_same_exclude_each_other():
    given = {"name": "x", "old": None, "round16": True, "count": 1}
    assert values(Toy, {**given, "kind": None, "bee": True})["kind"] == "b"
    assert "kind" not in values(Toy, {**given, "kind": None, "bee": False})
    with pytest.raises(MssctlError, match="--kind and --bee exclude each other"):
        values(Toy, {**given, "kind": "a", "bee": True})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"count": 10}, "`count` 10: must be from 1 to 9"),
        ({"kind": "c"}, "`kind` 'c': must be one of a, b"),
        ({"coumt": 1}, "no option 'coumt'"),
    ],
)
def test_what_a_field_does_not_accept_is_refused_by_name(changes, message):
    with pytest.raises(MssctlError, match=message) as caught:
        Toy.given(None, changes)
    assert caught.value.exit_code == ExitCode.USAGE


@pytest.mark.parametrize("options", ALL)
def test_options_and_keywords_are_the_same(options):
    assert options.given(None, {}) == options()
    assert options.given(options(), vars(options())) == options()
