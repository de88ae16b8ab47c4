"""Finds the weights in what training programs save around and in front of them.

Programs nest the state dict (``model``, ``state_dict``, ``ema`` ...), put prefixes in front of its
keys (``module.``, ``_orig_mod.``, ``model.`` ...) and keep buffers next to it. The rule: whatever
stands before the keys of a known layout is removed, wherever in the file they are.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from mssctl.errors import ExitCode, MssctlError, shown
from mssctl.models import unsupported
from mssctl.models.layouts import Layout

DEPTH = 4  # how deep state dicts are looked for
# What PyTorch puts into keys wherever a part was compiled, sharded or checkpointed.
_WRAPPED = re.compile(r"(?<![^.])(_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.")


@dataclass(frozen=True)
class Weights:
    """A state dict that was found.

    Attributes:
        place: of it in the file, as for ``--key``; empty if its keys stand there bare.
        layout: that its keys follow.
        state: its tensors under the keys of the layout.
        averaged: whether it is a moving average of the weights.
        extra: keys in the same table that belong to no state dict.
    """

    place: str
    layout: str
    state: dict[str, Tensor]
    averaged: bool
    extra: tuple[str, ...]


def find_weights(
    tree: Any, layouts: Mapping[str, Layout], key: str | None
) -> tuple[Weights, list[str]]:
    """The weights in a checkpoint, and sentences on what was chosen and left out.

    A moving average is taken before the weights themselves: programs that keep one score with it.

    Args:
        tree: what the file holds.
        layouts: name -> layout that the file may have.
        key: the place to take them from; None for the rule above.

    Raises:
        MssctlError: no such weights, several among which only ``key`` can choose, or those of a
            network that is not computed here.
    """
    unsupported.refuse(_keys(tree, set()))
    tables = list(_tables(tree, (), set()))
    if not tables:
        raise MssctlError("no state dict in it")
    found = [weights for path, table in tables for weights in _in_table(path, table, layouts)]
    if not found:
        keys = sorted(str(name) for _, table in tables for name in table)
        raise MssctlError(
            f"the keys follow no layout known here; the first ones: "
            f"{', '.join(shown(name)[1:-1] for name in keys[:3])}",
            hint=f"known: {', '.join(layouts)}",
        )
    chosen = _choose(found, key)
    notes = []
    if chosen.place:
        what = "a moving average of the weights" if chosen.averaged else "weights"
        notes.append(f"{what}, from '{chosen.place}'")
    others = [f"'{other.place}'" for other in found if other is not chosen]
    if others:
        notes.append(f"also in the file: {_some(others)}; choose with --key")
    counters = [name for name, value in chosen.state.items() if not value.is_floating_point()]
    left_out = [*chosen.extra, *counters]
    if left_out:
        notes.append(f"left out, no weights of the model: {_some(left_out)}")
    state = {name: value for name, value in chosen.state.items() if name not in counters}
    return Weights(chosen.place, chosen.layout, state, chosen.averaged, chosen.extra), notes


def joined(found: Sequence[tuple[Weights, list[str]]], several: bool) -> tuple[Weights, list[str]]:
    """The weights of several files as one state dict, whose keys begin with the file's number.

    Args:
        found: what `find_weights` gave for each file, in order.
        several: whether a model of this layout is made of several state dicts.

    Raises:
        MssctlError: the files are of several kinds, or of a kind that has one file only.
    """
    first = found[0][0]
    if not several:
        if len(found) > 1:
            raise MssctlError(f"{len(found)} files: a model of this kind ({first.layout}) is one")
        return found[0]
    kinds = {weights.layout for weights, _ in found}
    if len(kinds) > 1:
        raise MssctlError(f"files of several kinds: {', '.join(sorted(kinds))}")
    state = {
        f"{number}.{name}": value
        for number, (weights, _) in enumerate(found)
        for name, value in weights.state.items()
    }
    return replace(first, state=state), [note for _, notes in found for note in notes]


def _tables(
    tree: Any, path: tuple[str, ...], seen: set[int]
) -> Iterator[tuple[tuple[str, ...], Mapping[Any, Any]]]:
    """Every mapping that holds tensors, with its path."""
    if not isinstance(tree, Mapping) or id(tree) in seen or len(path) > DEPTH:
        return
    seen.add(id(tree))
    if any(isinstance(value, Tensor) for value in tree.values()):
        yield path, tree
    for name, value in tree.items():
        yield from _tables(value, (*path, str(name)), seen)


def _keys(tree: Any, seen: set[int], depth: int = 0) -> Iterator[str]:
    """The keys of all mappings, each without what is around it."""
    if not isinstance(tree, Mapping) or id(tree) in seen or depth > DEPTH:
        return
    seen.add(id(tree))
    for name, value in tree.items():
        yield str(name)
        yield from _keys(value, seen, depth + 1)


def _in_table(
    path: tuple[str, ...], table: Mapping[Any, Any], layouts: Mapping[str, Layout]
) -> list[Weights]:
    """The state dicts of known layouts in one table, distinguished by their prefixes."""
    tensors = {
        _WRAPPED.sub("", str(name)): value
        for name, value in table.items()
        if isinstance(value, Tensor)
    }
    prefixes: dict[str, str] = {}  # -> layout
    for name in tensors:
        for layout, known in layouts.items():
            before = _before(name, known.mark)
            if before is not None and not _has(tensors, before, known.unless):
                prefixes.setdefault(before, layout)
    owners = {name: _owner(name, prefixes) for name in tensors}
    extra = tuple(name for name, prefix in owners.items() if prefix is None)
    averages = "n_averaged" in tensors
    return [
        Weights(
            place=".".join([*path, prefix]).strip("."),
            layout=layout,
            state={
                name.removeprefix(prefix): value
                for name, value in tensors.items()
                if owners[name] == prefix
            },
            averaged=averages or any(_names_an_average(p) for p in (*path, *prefix.split("."))),
            extra=extra,
        )
        for prefix, layout in prefixes.items()
    ]


def _before(name: str, mark: str) -> str | None:
    """What stands before ``mark`` where a part of ``name`` begins with it."""
    if name.startswith(mark):
        return ""
    place = name.find(f".{mark}")
    return None if place < 0 else name[: place + 1]


def _has(names: Iterable[str], before: str, start: str) -> bool:
    """Whether a name begins with ``start`` behind ``before``; none does with an empty one."""
    return bool(start) and any(name.startswith(before + start) for name in names)


def _owner(name: str, prefixes: Mapping[str, str]) -> str | None:
    """The longest prefix that ``name`` begins with."""
    return max((p for p in prefixes if name.startswith(p)), key=len, default=None)


def _names_an_average(part: str) -> bool:
    words = part.lower()
    return words.startswith("ema") or words.endswith("ema") or "averag" in words or words == "swa"


def _choose(found: list[Weights], key: str | None) -> Weights:
    places = ", ".join(f"'{weights.place}'" for weights in found[:6])
    if key is not None:
        key = key.strip(".")
        fitting = [w for w in found if w.place == key or w.place.startswith(f"{key}.")]
        if not fitting:
            raise MssctlError(
                f"no weights at {shown(key)} in it",
                hint=f"it has some at {places}",
                exit_code=ExitCode.USAGE,
            )
    else:
        fitting = found
    averaged = [weights for weights in fitting if weights.averaged]
    best = averaged or fitting
    if len(best) > 1:
        raise MssctlError(f"several weights in it: {places}", hint="choose one of them with --key")
    return best[0]


def _some(names: list[str]) -> str:
    more = f" and {len(names) - 4} more" if len(names) > 4 else ""
    return ", ".join(name[:80] for name in names[:4]) + more
