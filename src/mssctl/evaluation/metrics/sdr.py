"""How close an estimate is to its reference: uSDR and SI-SDR of one stem, in dB.

Arrays are ``(C, N)`` (channels, samples) of any real dtype; all sums run in float64 over the
channels and samples jointly.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating[Any]]

EPSILON = 1e-7  # of the MDX challenge: keeps uSDR finite for a silent or a perfect estimate
SI_SDR_LIMIT = 100.0  # dB
SILENCE = 2.0**-15  # one step of 16-bit audio, full scale 1


def sdr(reference: Array, estimate: Array) -> float:
    """Signal-to-distortion ratio of the whole track (uSDR, "new SDR" of MDX).

    ``10 log10((sum |s|^2 + e) / (sum |s - s'|^2 + e))``, ``e = 1e-7``, with one sum over all
    samples and channels. Some papers average a per-channel SDR instead: that is another number.
    Source: Mitsufuji et al., "Music Demixing Challenge 2021" (arXiv:2108.13559).

    Args:
        reference: the true stem ``s``, ``(C, N)``.
        estimate: the separated stem ``s'``, ``(C, N)``.

    Returns:
        dB; higher is better. An exact copy gives a large finite value.

    Raises:
        ValueError: shapes differ, no samples, or samples that are NaN or infinite.
    """
    s, e = _pair(reference, estimate)
    return _decibels(_energy(s) + EPSILON, _energy(s - e) + EPSILON)


def si_sdr(reference: Array, estimate: Array) -> float:
    """Scale-invariant SDR: a gain on the estimate changes nothing.

    ``10 log10(|a s|^2 / |a s - s'|^2)`` with ``a = <s', s> / |s|^2``; channels joint (one gain for
    all), mean not removed. Limited to +-100 dB, so that an exact copy and an estimate that is
    silent or has nothing of the reference in it stay finite.
    Source: Le Roux et al., "SDR - half-baked or well done?" (arXiv:1811.02508).

    Args:
        reference: the true stem ``s``, ``(C, N)``; not all zero.
        estimate: the separated stem ``s'``, ``(C, N)``.

    Returns:
        dB; higher is better.

    Raises:
        ValueError: shapes differ, no samples, NaN or infinite samples, or a reference of zeros.
    """
    s, e = _pair(reference, estimate)
    energy = _energy(s)
    if energy == 0.0:
        raise ValueError("SI-SDR is not defined for a reference of zeros")
    target = s * (float(np.dot(e, s)) / energy)
    kept, lost = _energy(target), _energy(target - e)
    if kept == 0.0:
        return -SI_SDR_LIMIT
    if lost == 0.0:
        return SI_SDR_LIMIT
    return min(max(_decibels(kept, lost), -SI_SDR_LIMIT), SI_SDR_LIMIT)


def is_silent(reference: Array) -> bool:
    """Whether no sample exceeds one step of 16-bit audio: digital silence or its dither.

    Scores against such a reference say nothing about separation.

    Args:
        reference: ``(C, N)``, full scale 1.
    """
    return reference.size == 0 or bool(np.max(np.abs(reference)) <= SILENCE)


def check_shapes(reference: Array, estimate: Array) -> None:
    """Refuse what cannot be compared.

    Raises:
        ValueError: shapes differ, or no samples.
    """
    if reference.shape != estimate.shape:
        raise ValueError(f"reference is {reference.shape}, estimate {estimate.shape}")
    if reference.size == 0:
        raise ValueError("no samples")


def _pair(reference: Array, estimate: Array) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Both signals flat and in float64."""
    check_shapes(reference, estimate)
    s = np.ravel(reference).astype(np.float64)
    e = np.ravel(estimate).astype(np.float64)
    for name, signal in (("reference", s), ("estimate", e)):
        if not np.isfinite(signal).all():
            raise ValueError(f"the {name} has samples that are NaN or infinite")
    return s, e


def _energy(signal: NDArray[np.float64]) -> float:
    return float(np.dot(signal, signal))


def _decibels(signal: float, noise: float) -> float:
    return 10.0 * math.log10(signal / noise)
