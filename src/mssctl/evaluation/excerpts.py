"""A few seconds of each track, kept beside its scores for listening."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from mssctl.audio.encoding import FLAC_16
from mssctl.audio.writer import AtomicWriter
from mssctl.data.names import MIXTURE
from mssctl.evaluation.metrics.sdr import Array
from mssctl.evaluation.references import ReferenceAudio

SECONDS = 8.0


def loudest(audio: Array, length: int, step: int) -> int:
    """Where the ``length`` samples with the most energy begin, on a grid of ``step``.

    Args:
        audio: ``(C, N)``.
        length: samples.
        step: samples.
    """
    energy = np.square(audio.astype(np.float64)).sum(axis=0)
    total = np.concatenate([[0.0], np.cumsum(energy)])
    starts = np.arange(0, max(1, audio.shape[1] - length + 1), step)
    ends = np.minimum(starts + length, audio.shape[1])
    return int(starts[np.argmax(total[ends] - total[starts])])


def write_excerpt(folder: Path, audio: ReferenceAudio, estimates: Mapping[str, Array]) -> None:
    """Write the loudest seconds as 16-bit FLAC.

    Args:
        folder: an empty one; gets ``mixture.flac``, ``STEM.reference.flac`` and
            ``STEM.estimate.flac``.
        audio: the references and, where there is one, the mixture.
        estimates: stem -> ``(C, N)``.

    Raises:
        MssctlError: it cannot be written (exit 3).
    """
    mixture = audio.mixture
    if mixture is None:
        mixture = np.sum(list(audio.stems.values()), axis=0)
    length = int(SECONDS * audio.rate)
    start = loudest(mixture, length, audio.rate)
    sounds: dict[str, Array] = {MIXTURE: mixture}
    for stem, estimate in estimates.items():
        if stem in audio.stems:
            sounds |= {f"{stem}.reference": audio.stems[stem], f"{stem}.estimate": estimate}
    for name, sound in sounds.items():
        piece = np.clip(sound[:, start : start + length], -1.0, 1.0).astype(np.float32)
        path = folder / f"{name}.flac"
        with AtomicWriter(path, audio.rate, len(piece), FLAC_16) as file:
            file.write(piece)
