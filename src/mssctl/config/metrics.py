"""The metrics by name: what each is, in facts that help, docs, reports and training read.

The formulas are in `mssctl.evaluation.metrics`, named here by module and function, so that nothing
numerical is imported for a help text.
"""

from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Literal


@dataclass(frozen=True)
class Metric:
    """One number per stem and track, or per frame.

    Attributes:
        name: in documents and options.
        title: in tables and plots.
        unit: of the number; empty for none.
        definition: in words, with formula and source; part of every result.
        formula: ``module.function`` in `mssctl.evaluation.metrics`; see `measure` there. Empty for
            those of BSSEval, which are computed together.
        source: who defined it.
        needs_all_stems: whether it depends on which stems of a track are scored together.
        needs_rate: whether the formula takes the sample rate, too.
        better: which numbers are better.
        range: the smallest and largest possible number.
        median: whether tracks are summarized by their median instead of their mean.
    """

    name: str
    title: str
    unit: str
    definition: str
    formula: str = ""
    source: str = ""
    needs_all_stems: bool = False
    needs_rate: bool = False
    better: Literal["higher", "lower"] = "higher"
    range: tuple[float, float] = (-inf, inf)
    median: bool = False

    @property
    def sign(self) -> int:
        """1, or -1 where lower is better: times this, higher is always better."""
        return 1 if self.better == "higher" else -1


DEFAULT = ("sdr", "si_sdr", "csdr")
BSSEVAL = "bsseval"  # the four of `FRAMEWISE` together
_COMMUNITY = "Music-Source-Separation-Training"  # scripts of the Music Demixing community

_ALL = (
    Metric(
        "sdr",
        title="SDR",
        unit="dB",
        definition="SDR is uSDR (MDX 2021): 10 log10((sum s^2 + 1e-7) / (sum (s - s')^2 + 1e-7)) "
        "dB, sums over all samples and channels of a track",
        formula="sdr.sdr",
        source="Mitsufuji et al. 2021",
    ),
    Metric(
        "si_sdr",
        title="SI-SDR",
        unit="dB",
        definition="SI-SDR (Le Roux et al. 2019): 10 log10(|a s|^2 / |a s - s'|^2) dB, "
        "a = <s', s> / |s|^2, channels joint, mean not removed, limited to +-100 dB",
        formula="sdr.si_sdr",
        source="Le Roux et al. 2019",
        range=(-100.0, 100.0),
    ),
    Metric(
        "csdr",
        title="cSDR",
        unit="dB",
        definition="cSDR (museval v4's SDR, as SiSEC and MUSDB18 results have it): "
        "10 log10(sum s^2 / sum (s - s')^2) dB per frame, both channels; median over frames, "
        "median over tracks; a frame with any silent stem is left out; limited to +-100 dB",
        formula="csdr.csdr",
        source="Stöter et al. 2018",
        needs_all_stems=True,
        range=(-100.0, 100.0),
        median=True,
    ),
    Metric(
        "l1_freq",
        title="L1 freq",
        unit="",
        definition="L1 frequency: 100 / (1 + 10 mean | |S| - |E| |), 0 to 100, transform of 2048 "
        "samples, hop 1024, no window",
        formula="spectral.l1_frequency",
        source=_COMMUNITY,
        range=(0.0, 100.0),
    ),
    Metric(
        "lsd",
        title="LSD",
        unit="dB",
        definition="LSD, log-spectral distance: root mean square over bins of 20 log10(|S| / |E|) "
        "dB, mean over frames and transforms of 4096, 2048, 1024 and 512 samples, 80 dB deep; "
        "lower is better",
        formula="spectral.log_spectral_distance",
        source="Gray and Markel 1976",
        better="lower",
        range=(0.0, 80.0),
    ),
    Metric(
        "bleedless",
        title="bleedless",
        unit="",
        definition="bleedless: 100 / (1 + mean excess in dB), 0 to 100, over 512 mel bands where "
        "the estimate is louder",
        formula="spectral.bleedless",
        source=_COMMUNITY,
        needs_rate=True,
        range=(0.0, 100.0),
    ),
    Metric(
        "fullness",
        title="fullness",
        unit="",
        definition="fullness: 100 / (1 + mean lack in dB), 0 to 100, over 512 mel bands where the "
        "estimate is quieter",
        formula="spectral.fullness",
        source=_COMMUNITY,
        needs_rate=True,
        range=(0.0, 100.0),
    ),
)
METRICS = {metric.name: metric for metric in _ALL}
_FRAMEWISE = {
    "SDR": "target to all errors",
    "ISR": "target to its spatial distortion",
    "SIR": "target to interference of the other stems",
    "SAR": "target to artifacts",
}
FRAMEWISE = {
    name: Metric(
        name,
        title=name,
        unit="dB",
        definition=f"{name} of BSSEval v4, with museval's numbers: {what}, per frame",
        source="Vincent et al. 2007, Stöter et al. 2018",
        needs_all_stems=True,
        range=(-100.0, 100.0),
        median=True,
    )
    for name, what in _FRAMEWISE.items()
}

if TYPE_CHECKING:
    MetricName = str
else:
    MetricName = Literal[tuple(METRICS)]


def metric_of(name: str) -> Metric:
    """The metric of a name in a result; one of another version has a title and no unit."""
    known = METRICS.get(name) or FRAMEWISE.get(name)
    return known or Metric(name, title=name, unit="", definition="", needs_all_stems=True)
