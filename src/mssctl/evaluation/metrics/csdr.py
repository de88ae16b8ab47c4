"""cSDR: the SDR of museval's frames, which needs all stems of a track together."""

from collections.abc import Mapping

import numpy as np

from mssctl.evaluation.bsseval import framewise_sdr
from mssctl.evaluation.metrics.sdr import SI_SDR_LIMIT, Array


def csdr(
    references: Mapping[str, Array],
    estimates: Mapping[str, Array],
    rate: int,
    window: float = 1.0,
    hop: float = 1.0,
) -> dict[str, float]:
    """Median over frames of each stem's SDR, dB: museval v4's, limited to +-100 dB.

    Frames in which any reference or estimate is silent are left out for all stems.

    Args:
        references: stem -> true audio ``(C, N)``; they are scored together.
        estimates: stem -> separated audio ``(C, N)``.
        rate: samples per second.
        window: seconds of a frame.
        hop: seconds from one frame to the next.

    Returns:
        Stem -> dB; empty if no frame is left.
    """
    true, found = (
        np.stack([np.asarray(audio[stem]).T for stem in references])
        for audio in (references, estimates)
    )  # (S, N, C)
    frames = framewise_sdr(true, found, window=window * rate, hop=hop * rate)
    frames = np.clip(frames[:, ~np.isnan(frames).any(axis=0)], -SI_SDR_LIMIT, SI_SDR_LIMIT)
    if not frames.size:
        return {}
    return dict(zip(references, np.median(frames, axis=1).tolist(), strict=True))
