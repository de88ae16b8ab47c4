"""Bands of equal width on the mel scale, which overlap. Imports neither torch nor numpy."""

import math
from itertools import pairwise

_BREAK = 1_000.0  # Hz: linear below, logarithmic above
_LINEAR = 200.0 / 3  # Hz per mel
_LOG = math.log(6.4) / 27  # per mel


def mel_bands(sample_rate: int, n_fft: int, bands: int) -> list[range]:
    """The bins of each band: the support of a triangular filter on Slaney's mel scale.

    The lowest and the highest bin, which no triangle covers, belong to the outermost bands.

    Args:
        sample_rate: Hz.
        n_fft: transform length, samples.
        bands: how many.

    Raises:
        ValueError: a band without bins, or a bin without a band.
    """
    nyquist, top = sample_rate / 2, n_fft // 2
    step = _mel(nyquist) / (bands + 1)
    # Edges in bins; a triangle is above zero strictly between its outer edges.
    edges = [_hertz(step * edge) * n_fft / sample_rate for edge in range(bands + 1)] + [top]
    found = [
        range(math.floor(low) + 1, math.ceil(high))
        for low, high in zip(edges[:-2], edges[2:], strict=True)
    ]
    found[0] = range(found[0].stop)
    found[-1] = range(found[-1].start, top + 1)
    gap = any(below.stop < above.start for below, above in pairwise(found))
    if gap or not all(found):
        raise ValueError(f"model.num_bands: {bands} are too many for n_fft {n_fft}")
    return found


def _mel(hertz: float) -> float:
    if hertz < _BREAK:
        return hertz / _LINEAR
    return _BREAK / _LINEAR + math.log(hertz / _BREAK) / _LOG


def _hertz(mel: float) -> float:
    above = mel - _BREAK / _LINEAR
    return mel * _LINEAR if above < 0 else _BREAK * math.exp(_LOG * above)
