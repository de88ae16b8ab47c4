"""BSSEval of one track as a document in museval's form, and its summary over tracks.

A track's document has ``targets``: per stem a name and its frames, each with ``time``,
``duration`` and ``metrics``, as museval writes them. A value that is not defined is left out of
``metrics``: museval's schema has numbers only, and its readers take what is absent for NaN.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from mssctl.errors import ExitCode, MssctlError
from mssctl.evaluation.bsseval import METRICS, TAPS, bsseval
from mssctl.evaluation.bsseval.spectra import Real
from mssctl.evaluation.metrics.sdr import SI_SDR_LIMIT, Array
from mssctl.results.evaluate import Spread

LIMIT = SI_SDR_LIMIT  # dB: where an estimate is exact, scores are infinite, or rounding
GRID = 32_768  # steps of 16-bit audio

DEFINITION = {
    "metric": "BSSEval v4",
    "numbers_of": "museval 0.4.1",
    "aggregation": "median over frames, then median over tracks; beyond +-100 dB counts as that",
    "silent_frames": "a frame with any silent reference or estimate is left out for every stem",
}


def bsseval_settings(
    window: float, hop: float, grid16: bool, engine: str = "mssctl"
) -> dict[str, Any]:
    """What the scores depend on beside the audio.

    Args:
        window: seconds.
        hop: seconds.
        grid16: references are rounded to 16 bit first.
        engine: that computes them.
    """
    return {
        **DEFINITION,
        "engine": f"museval {version('museval')}" if engine == "museval" else "mssctl",
        "filter_taps": TAPS,
        "window_seconds": window,
        "hop_seconds": hop,
        "references": "rounded to 16 bit" if grid16 else "as in the files",
        "gain": "estimates as they are",
    }


def score_frames(
    references: Mapping[str, Array],
    estimates: Mapping[str, Array],
    *,
    rate: int,
    window: float,
    hop: float,
    grid16: bool,
    engine: str = "mssctl",
) -> dict[str, Any]:
    """Score the stems of a track together.

    Args:
        references: stem -> true audio ``(C, N)``, none silent.
        estimates: stem -> separated audio; those of ``references`` are used.
        rate: samples per second.
        window: seconds.
        hop: seconds.
        grid16: round the references to the 16-bit grid, on which published numbers are.
        engine: ``mssctl``, or ``museval``: the reference, which is slow.

    Returns:
        ``targets`` in museval's form, and how far they can be trusted.

    Raises:
        ValueError: see `bsseval`.
        MssctlError: museval is asked for and cannot be used (exit 3).
    """
    stems = list(references)
    s = np.stack([np.asarray(references[stem], np.float64).T for stem in stems])  # (S, N, C)
    e = np.stack([np.asarray(estimates[stem], np.float64).T for stem in stems])
    if grid16:
        s = np.round(s * GRID) / GRID
    if engine == "museval":
        return _document(stems, museval_scores(s, e, window * rate, hop * rate), window, hop)
    found = bsseval(s, e, window=window * rate, hop=hop * rate)
    condition = float(f"{found.condition:.2e}")  # its last digits depend on threads
    scores = np.stack([found.sdr, found.isr, found.sir, found.sar])
    return _document(stems, scores, window, hop) | {
        "condition": condition if math.isfinite(condition) else None,
        "ill_conditioned": found.ill_conditioned,
        "solver": found.solver,
        "dropped_channels": found.dropped,
    }


def museval_scores(references: Real, estimates: Real, window: float, hop: float) -> Real:
    """SDR, ISR, SIR and SAR by museval itself, ``(4, S, T)``.

    Args:
        references: ``(S, N, C)``.
        estimates: of the same shape.
        window: samples.
        hop: samples.

    Raises:
        MssctlError: museval is not installed, or its metrics cannot be imported (exit 3).
    """
    scores = museval_metrics().bss_eval(references, estimates, window=window, hop=hop)
    return np.stack(scores[:4])  # the fifth are permutations


@cache
def museval_metrics() -> ModuleType:
    """The module ``museval.metrics``, loaded without the package around it.

    The package imports readers of ``.stem.mp4`` that look for an ffmpeg program; the metrics
    need numpy and scipy only.

    Raises:
        MssctlError: museval is not installed, or its metrics cannot be imported (exit 3).
    """
    package = find_spec("museval")
    file = Path(package.origin).with_name("metrics.py") if package and package.origin else None
    found = spec_from_file_location("museval_metrics", file) if file and file.is_file() else None
    try:
        if found is None or found.loader is None:
            raise ImportError("it is not installed")
        module = module_from_spec(found)
        found.loader.exec_module(module)
    except (ImportError, RuntimeError, OSError) as error:
        raise MssctlError(
            f"--engine museval: museval's metrics cannot be imported: {error}",
            hint="install museval; without --engine the scores are the same",
            exit_code=ExitCode.ENVIRONMENT,
        ) from None
    return module


def _document(stems: Sequence[str], scores: Real, window: float, hop: float) -> dict[str, Any]:
    """Scores ``(4, S, T)`` in museval's form."""
    frames = range(scores.shape[2])
    targets = [
        {
            "name": stem,
            "frames": [
                {
                    "time": t * hop,
                    "duration": window,
                    "metrics": {
                        name: float(row[j, t])
                        for name, row in zip(METRICS, scores, strict=True)
                        if math.isfinite(row[j, t])
                    },
                }
                for t in frames
            ],
        }
        for j, stem in enumerate(stems)
    ]
    infinite = {
        stem: {
            name: [t for t in frames if np.isposinf(row[j, t])]
            for name, row in zip(METRICS, scores, strict=True)
            if np.isposinf(row[j]).any()
        }
        for j, stem in enumerate(stems)
        if np.isposinf(scores[:, j]).any()
    }
    return {
        "targets": targets,
        "infinite_frames": infinite,
        "target_set": list(stems),
        "silent_frames": [t for t in frames if np.isnan(scores[0, 0, t])],
    }


def readable_by_museval(document: Mapping[str, Any]) -> bool:
    """Whether museval's readers take this document of a track.

    One without a value of each metric ends their reading of the whole folder with a `KeyError`.
    """
    values = [
        frame["metrics"] for target in document.get("targets", ()) for frame in target["frames"]
    ]
    return all(any(row.get(name) is not None for row in values) for name in METRICS)


def spreads(documents: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Spread]]:
    """Stem -> metric -> distribution over tracks of the medians over frames."""
    medians: dict[str, dict[str, list[float]]] = {}
    frames: Counter[str] = Counter()
    for document in documents:
        for target in document.get("targets", ()):
            stem = target["name"]
            rows = [frame["metrics"] for frame in target["frames"]]
            exact = document["infinite_frames"].get(stem, {})
            for name in METRICS:
                # Older documents have null where a value is not defined.
                found = [row[name] for row in rows if row.get(name) is not None]
                found += [LIMIT] * len(exact.get(name, ()))
                if found:
                    median = float(np.median(np.clip(found, -LIMIT, LIMIT)))
                    medians.setdefault(stem, {}).setdefault(name, []).append(median)
            frames[stem] += sum(row.get("SDR") is not None for row in rows)
            frames[stem] += len(exact.get("SDR", ()))
    return {
        stem: {name: _spread(values, frames[stem]) for name, values in table.items()}
        for stem, table in medians.items()
    }


def _spread(values: Sequence[float], frames: int) -> Spread:
    low, middle, high = (float(q) for q in np.quantile(values, (0.25, 0.5, 0.75)))
    return Spread(middle, float(np.mean(values)), low, high, len(values), frames)
