"""Find references that are the sum of others, such as an accompaniment and its instruments."""

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np

from mssctl.evaluation.metrics.sdr import Array

_ALLOWED = 10.0 ** (-50.0 / 10.0)  # power relative to the sum; rounding to 16 bit stays below this
_BLOCK = 1 << 16  # frames added at once
_MOST = 12  # stems; with more, there are too many sums to try


def sums(stems: Mapping[str, Array]) -> dict[str, tuple[str, ...]]:
    """Each stem that is the sum of two or more others, and these.

    Silent stems are not part of a sum. With more than 12 stems there is no search.

    Args:
        stems: name -> audio ``(C, N)``; where their shapes differ there are no sums.
    """
    names = [name for name, audio in stems.items() if np.any(audio)]
    if not 3 <= len(names) <= _MOST or len({np.shape(audio) for audio in stems.values()}) > 1:
        return {}
    audio = [np.asarray(stems[name]) for name in names]
    energy = [_energy(sound) for sound in audio]
    left = {
        (whole, parts): 0.0
        for whole in range(len(names))
        for size in range(2, len(names))
        for parts in combinations([number for number in range(len(names)) if number != whole], size)
    }  # a stem and its parts -> energy of the difference so far
    for start in range(0, audio[0].shape[-1], _BLOCK):
        products = _products([sound[..., start : start + _BLOCK] for sound in audio])
        for (whole, parts), error in list(left.items()):
            total = error + _difference(products, whole, parts)
            if total > _ALLOWED * energy[whole]:
                del left[whole, parts]
            else:
                left[whole, parts] = total
        if not left:
            break
    # A stem may be several sums, of sums and of their parts: the one with the most parts is enough.
    found = {names[whole]: parts for whole, parts in left}
    return {name: tuple(names[part] for part in parts) for name, parts in found.items()}


def _energy(audio: Array) -> float:
    flat = audio.ravel()
    return float(np.einsum("i,i->", flat, flat, dtype=np.float64))


def _products(audio: Sequence[Array]) -> np.ndarray:
    """Inner products ``(S, S)`` of all with all."""
    flat = np.stack([sound.ravel() for sound in audio]).astype(np.float64)
    return flat @ flat.T


def _difference(products: np.ndarray, whole: int, parts: Sequence[int]) -> float:
    """Energy of a stem less the sum of others."""
    signs = np.zeros(len(products))
    signs[whole] = 1.0
    signs[list(parts)] = -1.0
    return float(signs @ products @ signs)
