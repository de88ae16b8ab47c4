"""The metrics by name: what each is, in which unit, and how tracks are put together."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

from mssctl.errors import ExitCode, MssctlError, did_you_mean
from mssctl.evaluation.metrics import spectral
from mssctl.evaluation.metrics.sdr import DEFINITIONS, Array, sdr, si_sdr

BSSEVAL = "bsseval"  # SDR, ISR, SIR and SAR by frames: see `mssctl.evaluation.bsseval.frames`
CSDR = "csdr"  # needs all stems of a track together
DEFAULT = ("sdr", "si_sdr", CSDR)


@dataclass(frozen=True)
class Metric:
    """One number per stem and track.

    Attributes:
        definition: in words, with formula, unit and source; part of every passport.
        of: ``(reference, estimate, rate)`` -> the number; None for those of all stems together.
        median: over tracks, instead of the mean.
        higher: whether a higher number is better.
    """

    definition: str
    of: Callable[[Array, Array, int], float] | None = None
    median: bool = False
    higher: bool = True


def _without_rate(metric: Callable[[Array, Array], float]) -> Callable[[Array, Array, int], float]:
    def of(reference: Array, estimate: Array, _rate: int) -> float:
        return metric(reference, estimate)

    return of


METRICS: dict[str, Metric] = {
    "sdr": Metric(DEFINITIONS["sdr"], _without_rate(sdr)),
    "si_sdr": Metric(DEFINITIONS["si_sdr"], _without_rate(si_sdr)),
    CSDR: Metric(
        "cSDR (museval v4's SDR, as SiSEC and MUSDB18 results have it): 10 log10(sum s^2 / "
        "sum (s - s')^2) dB per frame, both channels; median over frames, median over tracks; a "
        "frame with any silent stem is left out; limited to +-100 dB",
        median=True,
    ),
    "l1_freq": Metric(
        "L1 frequency: 100 / (1 + 10 mean | |S| - |E| |), 0 to 100, transform of 2048 samples, "
        "hop 1024, no window",
        _without_rate(spectral.l1_frequency),
    ),
    "lsd": Metric(
        "LSD, log-spectral distance: root mean square over bins of 20 log10(|S| / |E|) dB, mean "
        "over frames and transforms of 4096, 2048, 1024 and 512 samples, 80 dB deep; lower is "
        "better",
        _without_rate(spectral.log_spectral_distance),
        higher=False,
    ),
    "bleedless": Metric(
        "bleedless: 100 / (1 + mean excess in dB), 0 to 100, over 512 mel bands where the "
        "estimate is louder",
        spectral.bleedless,
    ),
    "fullness": Metric(
        "fullness: 100 / (1 + mean lack in dB), 0 to 100, over 512 mel bands where the estimate "
        "is quieter",
        spectral.fullness,
    ),
}


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


def scorer(name: str, rate: int) -> Callable[[Array, Array], float] | None:
    """``(reference, estimate)`` -> the number, at ``rate``; None for metrics of all stems."""
    of = METRICS[name].of
    return None if of is None else partial(_at, of, rate)


def _at(
    of: Callable[[Array, Array, int], float], rate: int, reference: Array, estimate: Array
) -> float:
    return of(reference, estimate, rate)
