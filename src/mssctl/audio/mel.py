"""Mel filter banks."""

import warnings

import numpy as np
import torch
from numpy.typing import NDArray


def mel_filters(rate: int, n_fft: int, bands: int) -> NDArray[np.float64]:
    """Triangles of equal area on Slaney's mel scale from 0 to ``rate / 2`` Hz, ``(bands, bins)``.

    torchaudio's, in float64: in float32 the edges of narrow bands are off by 1e-5 of their peak.
    Bands that are narrower than a bin may be empty.
    """
    from torchaudio.functional import melscale_fbanks  # noqa: PLC0415 - slow to import

    before = torch.get_default_dtype()  # what torchaudio computes in
    torch.set_default_dtype(torch.float64)
    try:
        with warnings.catch_warnings():  # it warns of empty bands
            warnings.simplefilter("ignore", UserWarning)
            bank = melscale_fbanks(
                n_fft // 2 + 1, 0.0, rate / 2.0, bands, rate, norm="slaney", mel_scale="slaney"
            )
    finally:
        torch.set_default_dtype(before)
    return np.asarray(bank.T)
