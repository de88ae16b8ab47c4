"""Arithmetic on stems: which ones are wanted, and how they keep adding up to the mixture."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mssctl.errors import ExitCode, MssctlError, did_you_mean
from mssctl.models.base import Separator
from mssctl.options.separate import OtherMethod


def project(stems: Tensor, mix: Tensor, taker: int | None = None) -> Tensor:
    """Share what the stems lack of the mixture equally, or give it to one: then they add up to it.

    Shared equally it is the orthogonal projection onto all sets of stems with that sum, so the
    squared error over all stems together never grows. Source: Wisdom et al., "Differentiable
    consistency constraints for improved deep speech enhancement" (arXiv:1811.08521).

    Shape:
        ``(S, C, n)``, ``(C, n) -> (S, C, n)``.
    """
    missing = mix - stems.sum(dim=0)
    if taker is None:
        return stems + missing / stems.shape[0]
    return torch.cat((stems[:taker], stems[taker : taker + 1] + missing, stems[taker + 1 :]))


def with_rest(stems: Tensor, mix: Tensor) -> Tensor:
    """Add what the stems lack of the mixture as one more: then they add up to it.

    For a model of some instruments only, whose stems are not to change.

    Shape:
        ``(S, C, n)``, ``(C, n) -> (S + 1, C, n)``.
    """
    return torch.cat((stems, (mix - stems.sum(dim=0))[None]))


@dataclass(frozen=True)
class Selection:
    """The outputs that are written, each a sum of stems that add up to the mixture.

    Attributes:
        names: of the outputs.
        sums: per output, indices of the stems that it is the sum of; the rest comes last where
            the model's stems are not the whole mixture, see `with_rest`.
        complete: the outputs add up to the mixture.
    """

    names: tuple[str, ...]
    sums: tuple[tuple[int, ...], ...]
    complete: bool

    def apply(self, stems: Tensor) -> Tensor:
        """``(S, C, n)`` stems -> ``(O, C, n)`` outputs."""
        if all(len(indices) == 1 for indices in self.sums):
            return stems[[indices[0] for indices in self.sums]]
        return torch.stack([stems[list(indices)].sum(dim=0) for indices in self.sums])

    def narrowed(self, model: Separator) -> Self:
        """The same outputs of a model that computes no more than these need, where it can.

        Stems that are written are computed; a sum of all others is then the rest of the mixture.
        A model without a head for each stem computes all of them as before.
        """
        written = sorted({i for i, *more in self.sums if not more and i < len(model.stems)})
        if len(written) == len(model.stems) or not model.keep([model.stems[i] for i in written]):
            return self
        sums = [(written.index(i) if i in written else len(written),) for i, *_ in self.sums]
        return replace(self, sums=tuple(sums))


def select(
    stems: tuple[str, ...],
    *,
    only: Sequence[str] | None = None,
    two_stems: str | None = None,
    other_method: OtherMethod | None = None,
    whole: bool = True,
) -> Selection:
    """Choose outputs among a model's ``stems``.

    Args:
        stems: what the model gives.
        only: write these stems.
        two_stems: write this stem and the rest: ``no_X``, the sum of the other stems (``add``),
            or ``minus_X``, the mixture less the stem (``minus``), or nothing (``none``). As the
            stems add up to the mixture, ``add`` and ``minus`` hold the same samples.
        other_method: of ``two_stems``; None is ``add``.
        whole: the stems make up the whole mixture. Else its rest counts as one of the others.

    Raises:
        MssctlError: no such stem, both ways of choosing at once, or ``other_method`` without
            ``two_stems`` (exit 2).
    """
    if only is not None and two_stems is not None:
        raise MssctlError(
            "`stems` and `two_stems` exclude each other",
            hint="`two_stems` X `other_method=none` writes X alone",
            exit_code=ExitCode.USAGE,
        )
    if other_method is not None and two_stems is None:
        raise MssctlError("`other_method` goes with `two_stems`", exit_code=ExitCode.USAGE)
    if two_stems is not None:
        chosen = _index(stems, two_stems)
        others = tuple(i for i in range(len(stems) + (not whole)) if i != chosen)
        if other_method == "none" or not others:
            return Selection((two_stems,), ((chosen,),), complete=not others)
        prefix = "minus" if other_method == "minus" else "no"
        return Selection((two_stems, f"{prefix}_{two_stems}"), ((chosen,), others), complete=True)
    names = tuple(dict.fromkeys(only)) if only is not None else stems
    indices = tuple((_index(stems, name),) for name in names)
    return Selection(names, indices, complete=whole and len(names) == len(stems))


def _index(stems: tuple[str, ...], name: str) -> int:
    if name not in stems:
        raise MssctlError(
            f"the model has no stem '{name}'; it has {', '.join(stems)}",
            hint=did_you_mean(name, list(stems)),
            exit_code=ExitCode.USAGE,
        )
    return stems.index(name)


def quantize(
    stems: NDArray[np.float32], bits: int, total: NDArray[np.float32] | None = None
) -> tuple[NDArray[np.int32], int]:
    """Round to integers of ``bits`` bits so that the rounded stems still add up.

    Rounded one by one, S stems can be off by S/2 steps in sum. Here each is rounded down or up
    (less than one step away) such that their sum is the rounded ``total`` (largest remainders).

    Args:
        stems: ``(S, C, n)``, full scale 1.
        bits: of the integers.
        total: ``(C, n)``, what the stems add up to; None to round each stem to the nearest.

    Returns:
        Integers ``(S, C, n)``, and how many had to be clipped to the range.
    """
    scale = float(1 << (bits - 1))
    exact = stems.astype(np.float64) * scale
    if total is None:
        rounded = np.rint(exact)
    else:
        rounded = np.floor(exact)
        missing = np.rint(total.astype(np.float64) * scale) - rounded.sum(axis=0)
        rounded += _ranks(exact - rounded) < missing
    clipped = int(((rounded > scale - 1) | (rounded < -scale)).sum())
    return np.clip(rounded, -scale, scale - 1).astype(np.int32), clipped


def _ranks(values: NDArray[np.float64]) -> NDArray[np.int8]:
    """Rank of each value along the first axis, 0 for the largest, ties in order."""
    ranks = np.zeros(values.shape, dtype=np.int8)
    for i in range(len(values)):
        for j in range(i):
            larger = values[i] > values[j]
            ranks[j] += larger
            ranks[i] += ~larger
    return ranks
