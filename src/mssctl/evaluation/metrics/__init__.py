"""The formulas of the metrics: `mssctl.config.metrics` lists them by name, with what they are."""

from collections.abc import Iterable, Mapping
from importlib import import_module

from mssctl.config.metrics import BSSEVAL, DEFAULT, METRICS, Metric
from mssctl.errors import ExitCode, MssctlError, did_you_mean
from mssctl.evaluation.metrics.sdr import Array


def measure(
    metric: Metric,
    references: Mapping[str, Array],
    estimates: Mapping[str, Array],
    rate: int,
    frames: tuple[float, float] = (1.0, 1.0),
) -> dict[str, float]:
    """The numbers of the stems of a track.

    Args:
        metric: with a formula. One of a single stem takes (reference, estimate), one of all stems
            takes them by stem, with the rate and the frames.
        references: stem -> true audio ``(C, N)``.
        estimates: stem -> separated audio ``(C, N)``, of these stems at least.
        rate: samples per second.
        frames: seconds of a frame, and from one to the next.

    Returns:
        Stem -> number; none for a stem for which the metric is not defined.

    Raises:
        ValueError: as the formula says; shapes that differ at least.
    """
    module, function = metric.formula.split(".")
    formula = getattr(import_module(f"{__name__}.{module}"), function)
    if metric.needs_all_stems:
        return dict(formula(references, estimates, rate, *frames))
    more = (rate,) if metric.needs_rate else ()
    return {stem: float(formula(true, estimates[stem], *more)) for stem, true in references.items()}


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
