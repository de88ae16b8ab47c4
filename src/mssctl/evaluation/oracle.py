"""What a mask could do at best: the ideal ratio mask."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import scipy.signal
from numpy.typing import NDArray

from mssctl.evaluation.metrics.sdr import Array

_N_FFT, _HOP = 4096, 1024


def ideal_ratio_masks(
    references: Mapping[str, Array], mixture: Array
) -> dict[str, NDArray[np.float32]]:
    """Each stem's share of the magnitudes, ``|S_j| / sum_k |S_k|``, applied to the mixture.

    Per channel and bin of a transform of 4096 samples, Hann, hop 1024. Source: the IRM1 oracle of
    Liutkus and Stöter's "2018 signal separation evaluation campaign" (arXiv:1804.06267).

    Args:
        references: stem -> true audio ``(C, N)``: all that make up the mixture.
        mixture: ``(C, N)``.

    Returns:
        stem -> ``(C, N)``; their sum is the mixture wherever any stem sounds.
    """
    length = mixture.shape[-1]
    window = scipy.signal.get_window("hann", _N_FFT)
    transform = scipy.signal.ShortTimeFFT(window, _HOP, fs=1.0)
    out = {stem: np.empty(mixture.shape, np.float32) for stem in references}
    for channel, mixed in enumerate(np.asarray(mixture, np.float64)):
        padded = np.pad(mixed, _N_FFT)  # so that every sample is under whole windows
        X = transform.stft(padded)
        shares = {
            stem: np.abs(transform.stft(np.pad(np.asarray(audio[channel], np.float64), _N_FFT)))
            for stem, audio in references.items()
        }
        total = np.maximum(np.sum(list(shares.values()), axis=0), 1e-12)
        for stem, share in shares.items():
            sound = transform.istft(X * share / total, k1=len(padded))
            out[stem][channel] = sound[_N_FFT : _N_FFT + length]
    return out
