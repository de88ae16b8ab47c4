"""Static shares of a job, from ``i/n`` or from the variables of what started the process."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass

from mssctl.errors import ExitCode, MssctlError

_FAMILIES = {
    "a Slurm array": (
        "SLURM_ARRAY_TASK_ID",
        "SLURM_ARRAY_TASK_MIN",
        "SLURM_ARRAY_TASK_STEP",
        "SLURM_ARRAY_TASK_COUNT",
    ),
    "a Kubernetes indexed job": ("JOB_COMPLETION_INDEX", "JOB_COMPLETIONS"),
    "torchrun": ("RANK", "WORLD_SIZE"),
}


@dataclass(frozen=True)
class Shard:
    """Share ``index`` (from 0) of ``count``; ``source`` says where that was read."""

    index: int
    count: int
    source: str = ""

    def has(self, song: str) -> bool:
        """Whether the song of this id belongs to the share."""
        return int(song, 16) % self.count == self.index

    def part(self, index: int, count: int) -> "Shard":
        """Share ``index`` of ``count`` of this share."""
        return Shard(self.index + self.count * index, self.count * count)

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"


def parse_shard(text: str, environment: Mapping[str, str] = os.environ) -> Shard:
    """The share that ``i/n`` or ``auto`` means.

    Raises:
        MssctlError: neither; or, of auto, no complete family of variables, two, or one whose
            numbers contradict each other (exit 2).
    """
    if text == "auto":
        return _automatic(environment)
    match = re.fullmatch(r"(\d{1,9})/(\d{1,9})", text)
    if not match or int(match[1]) >= int(match[2]):
        raise _usage(
            f"`shard` {text}: must be auto or i/n with i from 0 to n-1",
            "the first of four shares is 0/4, the last 3/4",
        )
    return Shard(int(match[1]), int(match[2]))


def unused_variables(environment: Mapping[str, str] = os.environ) -> str | None:
    """What started this process as one of several, if that is set and not asked for."""
    return next((name for name, family in _FAMILIES.items() if family[0] in environment), None)


def _automatic(environment: Mapping[str, str]) -> Shard:
    found = {
        name: {key: environment[key] for key in family if key in environment}
        for name, family in _FAMILIES.items()
    }
    found = {name: values for name, values in found.items() if values}
    if len(found) != 1:
        has = f"variables of {' and '.join(found)}" if found else "no variables to read it from"
        raise _usage(f"`shard` auto: {has}", "give the share as i/n")
    [(name, values)] = found.items()
    shown = ", ".join(f"{key}={value}" for key, value in values.items())
    missing = [key for key in _FAMILIES[name] if key not in values]
    if missing:
        raise _usage(f"`shard` auto: {shown}, but no {', '.join(missing)}", "set all, or give i/n")
    if not all(re.fullmatch(r"\d{1,9}", value) for value in values.values()):
        raise _usage(f"`shard` auto: {shown}: not all are numbers", "give the share as i/n")
    index, *between, count = (int(values[key]) for key in _FAMILIES[name])
    rest = 0
    if between:
        first, step = between
        index, rest = divmod(index - first, step) if step else (-1, 0)
    if rest or not 0 <= index < count:
        raise _usage(f"`shard` auto: {shown} contradict each other", "give the share as i/n")
    return Shard(index, count, f"{name}: {shown}")


def _usage(message: str, hint: str) -> MssctlError:
    return MssctlError(message, hint, ExitCode.USAGE)
