"""The formulas of the metrics: `mssctl.config.metrics` lists them by name, with what they are."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module

from mssctl.config.metrics import BSSEVAL, DEFAULT, METRICS, Metric
from mssctl.errors import ExitCode, MssctlError, did_you_mean
from mssctl.evaluation.metrics.sdr import Array


def compute(metric: Metric, reference: Array, estimate: Array, rate: int) -> float:
    """The number of one stem; ``metric`` needs no other stems.

    Args:
        metric: with a formula.
        reference: the true stem ``(C, N)``.
        estimate: the separated stem ``(C, N)``.
        rate: samples per second.

    Raises:
        ValueError: as the formula says; shapes that differ at least.
    """
    assert metric.formula is not None, f"{metric.name} needs all stems"
    module, function = metric.formula.split(".")
    formula = getattr(import_module(f"{__name__}.{module}"), function)
    more = (rate,) if metric.needs_rate else ()
    return float(formula(reference, estimate, *more))


def chosen(names: Iterable[str]) -> tuple[list[str], bool]:
    """The metrics that ``--metrics`` asks for, and whether BSSEval is among them.

    ``default`` is always there; ``all`` is every one.

    Raises:
        MssctlError: an unknown name (exit 2).
    """
    asked = {name for entry in names for name in entry.split(",")} - {"default", ""}
    known = [*METRICS, BSSEVAL, "all"]
    for name in sorted(asked - set(known)):
        raise MssctlError(
            f"`metrics`: no metric {name!r}",
            hint=did_you_mean(name, known),
            exit_code=ExitCode.USAGE,
        )
    everything = "all" in asked
    own = [name for name in METRICS if everything or name in asked or name in DEFAULT]
    return own, everything or BSSEVAL in asked


def definitions(names: Iterable[str]) -> dict[str, str]:
    """Metric -> what it is, in words."""
    return {name: METRICS[name].definition for name in names}
