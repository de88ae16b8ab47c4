"""How the keys of an official implementation become ours: the parts that layouts share."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mssctl.errors import MssctlError, shown
from mssctl.models.run_config import RunConfig

State = Mapping[str, Tensor]


class Source:
    """The official tensors; remembers which were used, so that none is lost silently."""

    def __init__(self, state: State, layout: str) -> None:
        self.state, self.layout = dict(state), layout
        self.used: set[str] = set()

    def __call__(self, key: str) -> Tensor:
        """The tensor ``key``.

        Raises:
            MssctlError: there is none.
        """
        if key not in self.state:
            raise MssctlError(
                f"{self.layout}: key '{key}' is missing",
                hint="is this the right layout and configuration?",
            )
        self.used.add(key)
        return self.state[key]

    def count(self, start: str) -> int:
        """How many numbered parts there are under ``start``, or at all."""
        start = f"{start}." if start else ""
        rests = [key.removeprefix(start) for key in self.state if key.startswith(start)]
        return 1 + max((int(rest.split(".")[0]) for rest in rests), default=-1)

    def assert_all_used(self) -> None:
        """Refuse tensors that nothing has asked for.

        Raises:
            MssctlError: there are some.
        """
        surplus = sorted(set(self.state) - self.used)
        if surplus:
            shown = ", ".join(surplus[:5]) + (" ..." if len(surplus) > 5 else "")
            raise MssctlError(
                f"{self.layout}: {len(surplus)} surplus key(s): {shown}",
                hint="is this the right layout and configuration?",
            )


@dataclass(frozen=True)
class Layout:
    """How the keys of one implementation become ours.

    Attributes:
        mark: start of keys that files of this layout have.
        translate: from the official configuration and tensors to our configuration.
        collect: from the official tensors to ours.
        unless: start of keys that they do not have, where ``mark`` is not theirs alone.
        assumed: what a configuration says and no tensor shows, besides names of the stems, as it is
            without one.
        parts: a model may be several state dicts; their keys begin with a number, from ``0.`` on.
    """

    mark: str
    translate: Callable[[Mapping[str, Any], Source], RunConfig]
    collect: Callable[[Source, RunConfig], dict[str, Tensor]]
    unless: str = ""
    assumed: str = ""
    parts: bool = False


def stem_count(count: Any) -> int:
    """A number of stems, as a foreign configuration gives it.

    Raises:
        MssctlError: it is none.
    """
    if type(count) is not int or not 1 <= count <= 64:
        raise MssctlError(f"the configuration has {shown(count)} stems, expected 1 to 64")
    return count


def vectors(source: Source, pattern: str, bands: range) -> Tensor:
    """Stack per-band vectors ``(n,)`` into ``(K, 1, n)``."""
    return torch.stack([source(pattern.format(band)) for band in bands])[:, None]


def linears(source: Source, ours: str, pattern: str, bands: range) -> dict[str, Tensor]:
    """One `BandLinear` of per-band linear maps ``(out, in)``, or 1 x 1 convolutions."""
    weights = [source(f"{pattern.format(band)}.weight").flatten(1).T for band in bands]
    return {
        f"{ours}.weight": torch.stack(weights).contiguous(),
        f"{ours}.bias": vectors(source, f"{pattern}.bias", bands),
    }
