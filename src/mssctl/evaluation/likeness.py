"""How alike two estimates of one stem are, where nobody knows the true stem."""

import math
from pathlib import Path

import numpy as np

from mssctl.audio import files
from mssctl.evaluation.metrics.sdr import SI_SDR_LIMIT, SILENCE

_BLOCK = 1 << 18  # frames read at once


def likeness(one: Path, other: Path) -> float | None:
    """SI-SDR of one file against the other, in dB; it is the same both ways.

    With ``c`` the cosine between the two signals, all channels joint, it is
    ``10 log10(c^2 / (1 - c^2))``: what `mssctl.evaluation.metrics.sdr.si_sdr` gives with either of
    them as the reference. A gain on one of them changes nothing. It says how much two models
    differ, not which is better. The files are read in blocks, so songs may be of any length.

    Returns:
        dB, from -100 to 100 (the same signal); None if one of them is silent.

    Raises:
        MssctlError: a file cannot be read.
        ValueError: their lengths or channels differ.
    """
    sums, loudest = np.zeros(3), np.zeros(2)
    pairs = zip(files.blocks(one, _BLOCK), files.blocks(other, _BLOCK), strict=True)
    for first, second in pairs:
        if first.shape != second.shape:
            raise ValueError(f"{one} and {other}: {first.shape} and {second.shape} samples")
        a, b = first.ravel().astype(np.float64), second.ravel().astype(np.float64)
        sums += np.dot(a, a), np.dot(b, b), np.dot(a, b)
        loudest = np.maximum(loudest, (np.abs(a).max(), np.abs(b).max()))
    if loudest.min() <= SILENCE:
        return None
    shared = sums[2] ** 2 / sums[0] / sums[1]
    if shared <= 0.0:
        return -SI_SDR_LIMIT
    if shared >= 1.0:
        return SI_SDR_LIMIT
    return float(np.clip(10 * math.log10(shared / (1 - shared)), -SI_SDR_LIMIT, SI_SDR_LIMIT))
