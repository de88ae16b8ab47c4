"""Groups of commands. The module of a command is imported when the command is asked for."""

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup
from typer.main import get_command

from mssctl.cli.arguments import StrictCommand
from mssctl.cli.options import with_display


class Group(TyperGroup):
    """Commands; ``train.resume`` is `resume_command` of the module `mssctl.cli.train`."""

    places: tuple[str, ...] = ()

    def __init__(self, **settings: Any) -> None:
        groups = settings.pop("commands", None) or {}
        super().__init__(**settings)
        self.commands = _Commands(self.places, groups)  # type: ignore[assignment]


class _Commands(Mapping[str, Any]):
    """Commands by name, made when they are looked up; then groups, which are there already."""

    def __init__(self, places: tuple[str, ...], groups: Mapping[str, Any]) -> None:
        self._places = {place.rpartition(".")[2]: place for place in places}
        self._made = dict(groups)

    def __getitem__(self, name: str) -> Any:
        if name not in self._made:
            self._made[name] = _command(name, self._places[name])
        return self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._places | self._made)

    def __len__(self) -> int:
        return len(self._places | self._made)


def _command(name: str, place: str) -> Any:
    module = import_module(f"mssctl.cli.{place.partition('.')[0]}")
    alone = typer.Typer(add_completion=False, rich_markup_mode=None)
    alone.command(name, cls=StrictCommand)(with_display(getattr(module, f"{name}_command")))
    return get_command(alone)


class Main(Group):
    """The program's own commands."""

    places = ("separate", "listen", "train", "train.resume", "plan", "bench", "doctor")


class Eval(Group):
    """``mssctl eval DIR …`` is ``mssctl eval score DIR …``."""

    places = ("eval.score", "eval.compare")

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the command's name where it was left out."""
        if not args or args[0] not in {*self.commands, "-h", "--help"}:
            args = ["score", *args]
        return super().parse_args(ctx, args)


class Data(Group):
    """Commands about training data."""

    places = ("data.check", "data.synth")


class Runs(Group):
    """``mssctl runs`` is ``mssctl runs list``."""

    places = ("runs.list", "runs.show")

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the command's name where it was left out."""
        if not args or args[0] not in {*self.commands, "-h", "--help"}:
            args = ["list", *args]
        return super().parse_args(ctx, args)


class Preset(Group):
    """Commands about presets."""

    places = ("preset.import",)


class Job(Group):
    """Commands about jobs of many songs."""

    places = ("job.make", "job.run", "job.status", "job.retry")


class Models(Group):
    """Commands about models."""

    places = (
        "models.list",
        "models.info",
        "models.pull",
        "models.try",
        "models.use",
        "models.import",
        "models.export",
    )
