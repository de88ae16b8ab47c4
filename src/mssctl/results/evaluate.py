"""What `mssctl eval` gives."""

from dataclasses import dataclass, field
from typing import Any

from mssctl.results.common import FileFailure


@dataclass(frozen=True)
class Score:
    """One metric: of the estimate, of the unprocessed mixture, and the difference.

    The last two are None where there is no mixture.
    """

    estimate: float
    mixture: float | None
    improvement: float | None


@dataclass(frozen=True)
class StemScore:
    """Scores of one stem of one track: metric -> score."""

    track: str
    stem: str
    metrics: dict[str, Score]


@dataclass(frozen=True)
class Spread:
    """Distribution over tracks of a stem's median over frames, dB; ``frames`` that are defined."""

    median: float
    mean: float
    lower_quartile: float
    upper_quartile: float
    tracks: int
    frames: int


@dataclass(frozen=True)
class EvalResult:
    """Scores of a model on reference tracks.

    Attributes:
        model: name of the model (``sha256`` of its weights file), of the folder of estimates, or
            of the oracle.
        device: where it ran, and ``dtype`` in force inside it; empty without a model.
        reference: folder of the reference tracks; ``tracks`` of them were scored.
        definitions: metric -> what it is, in words.
        settings: how the songs were cut.
        means: stem (and ``mean``, the mean over stems) -> metric -> mean over tracks; of cSDR the
            median.
        counts: stem -> tracks its mean is over.
        scores: every stem of every track.
        skipped: stems left out, and why (silent reference, no reference file).
        failures: tracks, and files of estimates, that cannot be read or worked on; what they would
            have is left out, and named in ``skipped`` as well.
        notes: what had to be decided on the way, e.g. a mixture made as the sum of the stems.
        marks: why the scores must not be read as others', e.g. trained on these tracks.
        provenance: what the scores depend on beside the audio; ``bsseval`` in it is empty if that
            was not asked for.
        bsseval: stem -> metric of BSSEval v4 -> its distribution over tracks.
        medians: track -> stem -> metric of BSSEval -> median over its frames.
        ill_conditioned: tracks whose ISR, SIR and SAR are not defined to 1e-3 dB.
        out: folder of the tracks' documents, if any was asked for.
        per_track: whether to show every track.
    """

    model: str
    sha256: str
    device: str
    dtype: str
    reference: str
    tracks: int
    definitions: dict[str, str]
    settings: dict[str, str | int | float | bool]
    means: dict[str, dict[str, Score]]
    counts: dict[str, int]
    scores: list[StemScore]
    skipped: list[str]
    notes: list[str]
    marks: list[str] = field(default_factory=list)
    provenance: dict[str, Any] = field(default_factory=dict)
    bsseval: dict[str, dict[str, Spread]] = field(default_factory=dict)
    medians: dict[str, dict[str, dict[str, float]]] = field(default_factory=dict)
    ill_conditioned: list[str] = field(default_factory=list)
    out: str | None = None
    per_track: bool = False
    failures: list[FileFailure] = field(default_factory=list)


@dataclass(frozen=True)
class PairedDifference:
    """A result less the first one, over the ``tracks`` that both have.

    ``low`` and ``high`` bound 95 % of the mean's bootstrap distribution over tracks; ``wins`` is
    the number of tracks on which the result is better.
    """

    stem: str
    metric: str
    mean: float
    median: float
    low: float
    high: float
    wins: int
    tracks: int


@dataclass(frozen=True)
class ComparedResult:
    """One result beside the first: its differences, and the tracks that only one of both has.

    ``left_out`` says which differences would mean nothing, and why.
    """

    name: str
    differences: list[PairedDifference]
    left_out: list[str]
    only_here: list[str]
    missing: list[str]


@dataclass(frozen=True)
class EvalComparison:
    """Results of ``mssctl eval`` beside the ``first``; ``resamples`` of the bootstrap."""

    first: str
    others: list[ComparedResult]
    definitions: dict[str, str]
    resamples: int
