"""Metrics on magnitude spectrograms: L1 frequency, log-spectral distance, bleedless, fullness.

Arrays are ``(C, N)`` (channels, samples) of any real dtype, full scale 1. Each metric is a mean
over channels and frames of a track, computed in float64 a channel at a time.
"""

from collections.abc import Iterator

import numpy as np
import scipy.signal
from numpy.typing import NDArray

from mssctl.audio.mel import mel_filters
from mssctl.evaluation.metrics.sdr import Array, check_shapes

Real = NDArray[np.float64]

_FLOOR_DB = 80.0  # below the loudest bin of the two signals, all counts as equally quiet
_RESOLUTIONS = (4096, 2048, 1024, 512)
_MEL_BANDS = 512


def l1_frequency(reference: Array, estimate: Array) -> float:
    """L1 frequency, 0 to 100, higher is better: ``100 / (1 + 10 mean | |S| - |E| |)``.

    Magnitudes of a transform of 2048 samples, hop 1024, without a window. It depends on the level:
    two quiet signals are close. Source: the metric ``l1_freq`` of Music-Source-Separation-Training,
    as the Music Demixing community uses it.

    Args:
        reference: the true stem ``(C, N)``.
        estimate: the separated stem ``(C, N)``.

    Raises:
        ValueError: shapes differ, or no samples.
    """
    total, count = 0.0, 0
    for s, e in _channels(reference, estimate):
        distance = np.abs(
            _magnitudes(s, 2048, 1024, "boxcar") - _magnitudes(e, 2048, 1024, "boxcar")
        )
        total, count = total + float(distance.sum()), count + distance.size
    return 100.0 / (1.0 + 10.0 * total / count)


def log_spectral_distance(reference: Array, estimate: Array) -> float:
    """Multi-resolution log-spectral distance, dB, lower is better.

    The root of the mean square over bins of ``20 log10 |S| - 20 log10 |E|``, mean over frames and
    over transforms of 4096, 2048, 1024 and 512 samples (Hann, hop a quarter). Levels more than 80
    dB below the loudest bin of the two count as 80 dB below. Source: Gray and Markel, "Distance
    measures for speech processing" (1976), at several resolutions.

    Args:
        reference: the true stem ``(C, N)``.
        estimate: the separated stem ``(C, N)``.

    Raises:
        ValueError: shapes differ, or no samples.
    """
    distances = []
    for n_fft in _RESOLUTIONS:
        for s, e in _channels(reference, estimate):
            S, E = (_magnitudes(x, n_fft, n_fft // 4, "hann") for x in (s, e))
            a, b = _levels(S, E)
            distances.append(np.sqrt(np.square(a - b).mean(axis=0)).mean())
    return float(np.mean(distances))


def bleedless(reference: Array, estimate: Array, rate: int) -> float:
    """How little is heard that is not in the reference, 0 to 100, higher is better.

    ``100 / (1 + d)`` with ``d`` the mean over the mel bins and frames where the estimate is louder
    of its excess in dB. Transform of 4096 samples, Hann, hop 1024; 512 mel bands (Slaney); each
    signal's levels end 80 dB below its loudest. Source: bleedless and fullness of
    Music-Source-Separation-Training.

    Args:
        reference: the true stem ``(C, N)``.
        estimate: the separated stem ``(C, N)``.
        rate: samples per second.

    Raises:
        ValueError: shapes differ, or no samples.
    """
    excess, _ = _mel_differences(reference, estimate, rate)
    return 100.0 / (1.0 + excess)


def fullness(reference: Array, estimate: Array, rate: int) -> float:
    """How little of the reference is missing, 0 to 100, higher is better: see `bleedless`.

    Here ``d`` is the mean lack in dB over the mel bins and frames where the estimate is quieter.
    """
    _, lack = _mel_differences(reference, estimate, rate)
    return 100.0 / (1.0 + lack)


def _mel_differences(reference: Array, estimate: Array, rate: int) -> tuple[float, float]:
    """Mean excess and mean lack of the estimate, dB."""
    bank = mel_filters(rate, 4096, _MEL_BANDS)
    more, less = [], []
    for s, e in _channels(reference, estimate):
        S, E = (bank @ _magnitudes(x, 4096, 1024, "hann") for x in (s, e))
        difference = _decibels(E) - _decibels(S)
        more.append(difference[difference > 0.0])
        less.append(-difference[difference < 0.0])
    return _mean(np.concatenate(more)), _mean(np.concatenate(less))


def _channels(reference: Array, estimate: Array) -> Iterator[tuple[Real, Real]]:
    check_shapes(reference, estimate)
    for s, e in zip(reference, estimate, strict=True):
        yield s.astype(np.float64), e.astype(np.float64)


def _magnitudes(x: Real, n_fft: int, hop: int, window: str) -> Real:
    """``(bins, frames)``; half a transform of silence before and after, more to fill a hop."""
    padded = np.pad(x, n_fft // 2)
    padded = np.pad(padded, (0, -(len(padded) - n_fft) % hop))
    frames = np.lib.stride_tricks.sliding_window_view(padded, n_fft)[::hop]
    spectra = np.fft.rfft(frames * scipy.signal.get_window(window, n_fft), axis=1)
    return np.asarray(np.abs(spectra).T)


def _levels(S: Real, E: Real) -> tuple[Real, Real]:
    """Both in dB, not below the common floor."""
    loudest = max(float(S.max()), float(E.max()))
    floor = loudest * 10.0 ** (-_FLOOR_DB / 20.0) or 1.0
    return 20.0 * np.log10(np.maximum(S, floor)), 20.0 * np.log10(np.maximum(E, floor))


def _decibels(S: Real) -> Real:
    level: Real = 20.0 * np.log10(np.maximum(S, 1e-5))
    return np.maximum(level, float(level.max()) - _FLOOR_DB)


def _mean(values: Real) -> float:
    return float(values.mean()) if values.size else 0.0
