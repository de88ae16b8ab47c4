"""TensorBoard: the numbers of ``metrics.jsonl`` as curves, and what the model makes of songs."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mssctl.errors import ExitCode, MssctlError

LISTEN_SECONDS = 10  # of each validation song
LISTEN_SONGS = 3
_FFT = 1024  # samples
_FLOOR_DB = -80.0  # below the loudest: black
_SIDE = 512  # pixels along time, at most


class TensorBoard:
    """Writes TensorBoard's event files.

    Args:
        folder: for the files; made if needed.
        step: the run continues from here: entries of later steps are hidden.

    Raises:
        MssctlError: the package ``tensorboard`` is not installed.
    """

    def __init__(self, folder: Path, step: int) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415 (an extra)
        except ImportError:
            raise MssctlError(
                "training.tensorboard is on, and the package tensorboard is not installed",
                hint="pip install 'mssctl[tensorboard]', or --set training.tensorboard=false",
                exit_code=ExitCode.ENVIRONMENT,
            ) from None
        self._writer: Any = SummaryWriter(folder, purge_step=step + 1)

    def scalars(self, step: int, values: Mapping[str, float | None]) -> None:
        """Add one point to each curve; None and what is not finite leaves a gap."""
        for name, value in values.items():
            if value is not None and np.isfinite(value):
                self._writer.add_scalar(name, value, step)

    def audio(self, step: int, name: str, sound: NDArray[np.float32], rate: int) -> None:
        """Add the first `LISTEN_SECONDS` of ``sound``, ``(C, N)``, as one channel."""
        mono = sound[:, : LISTEN_SECONDS * rate].mean(0)
        self._writer.add_audio(name, np.clip(mono, -1.0, 1.0)[None], step, sample_rate=rate)

    def spectrogram(self, step: int, name: str, sound: NDArray[np.float32], rate: int) -> None:
        """Add a picture of what `audio` adds: time to the right, frequency upward, in decibels."""
        mono = sound[:, : LISTEN_SECONDS * rate].mean(0)
        self._writer.add_image(f"{name}/spectrogram", _picture(mono)[None], step)

    def settings(self, config: Mapping[str, Any], metric: str) -> None:
        """Add the configuration, for the table of hyper-parameters, which shows ``metric``."""
        from torch.utils.tensorboard.summary import hparams  # noqa: PLC0415 (an extra)

        for summary in hparams(dict(_flat(config)), {metric: 0.0}):
            self._writer.file_writer.add_summary(summary)

    def close(self) -> None:
        """Write what is still waiting."""
        self._writer.close()


def _picture(mono: NDArray[np.float32]) -> NDArray[np.float32]:
    """A spectrogram ``(F, T)`` from 0 to 1, high frequencies first; ``mono`` is ``(N,)``."""
    padded = np.pad(mono, (0, max(0, _FFT - len(mono))))
    hop = max(_FFT // 4, -(-(len(padded) - _FFT) // _SIDE))
    frames = np.lib.stride_tricks.sliding_window_view(padded, _FFT)[::hop]
    power = np.abs(np.fft.rfft(frames * np.hanning(_FFT), axis=1)) ** 2  # (T, F)
    level = 10.0 * np.log10(np.maximum(power, 1e-10))
    bright = 1.0 - (level - level.max()) / _FLOOR_DB
    picture: NDArray[np.float32] = np.clip(bright, 0.0, 1.0).T[::-1].astype(np.float32)
    return picture


def _flat(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """``section.key`` -> number, boolean or text."""
    for key, value in config.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        elif isinstance(value, bool | int | float | str):
            yield f"{prefix}{key}", value
        elif value is not None:
            yield f"{prefix}{key}", str(value)
