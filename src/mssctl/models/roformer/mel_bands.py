"""Bands of equal width on the mel scale, which overlap."""

import numpy as np
from numpy.typing import NDArray

_BREAK = 1_000.0  # Hz: linear below, logarithmic above
_LINEAR = 200.0 / 3  # Hz per mel
_LOG = np.log(6.4) / 27  # per mel


def mel_bands(sample_rate: int, n_fft: int, bands: int) -> list[NDArray[np.intp]]:
    """The bins of each band: the support of a triangular filter on Slaney's mel scale.

    The lowest and the highest bin, which no triangle covers, belong to the outermost bands.

    Args:
        sample_rate: Hz.
        n_fft: transform length, samples.
        bands: how many.

    Raises:
        ValueError: a band without bins, or a bin without a band.
    """
    bins = np.linspace(0, sample_rate / 2, n_fft // 2 + 1)
    edges = _hertz(np.linspace(0, _mel(sample_rate / 2), bands + 2))
    inside = (bins > edges[:-2, None]) & (bins < edges[2:, None])  # (bands, bins)
    inside[0, 0] = inside[-1, -1] = True
    if not (inside.any(axis=0).all() and inside.any(axis=1).all()):
        raise ValueError(f"{bands} mel bands are too many for n_fft {n_fft}")
    return [np.flatnonzero(row) for row in inside]


def _mel(hertz: float) -> float:
    if hertz < _BREAK:
        return hertz / _LINEAR
    return float(_BREAK / _LINEAR + np.log(hertz / _BREAK) / _LOG)


def _hertz(mels: NDArray[np.float64]) -> NDArray[np.float64]:
    above = mels - _BREAK / _LINEAR
    return np.where(above < 0, mels * _LINEAR, _BREAK * np.exp(_LOG * np.maximum(above, 0)))
