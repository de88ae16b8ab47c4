"""TensorBoard: the numbers of ``metrics.jsonl`` as curves, and what the model makes of songs."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mssctl.errors import ExitCode, MssctlError

LISTEN_SECONDS = 10  # of each validation song
LISTEN_SONGS = 3


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

    def close(self) -> None:
        """Write what is still waiting."""
        self._writer.close()
