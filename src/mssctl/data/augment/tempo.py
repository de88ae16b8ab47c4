"""Pitch and tempo, by the library Signalsmith Stretch (package python-stretch, MIT)."""

from importlib.util import find_spec

import numpy as np

from mssctl.data.segments import Audio
from mssctl.errors import ExitCode, MssctlError


def require() -> None:
    """Refuse to start what would fail at the first example.

    Raises:
        MssctlError: the package is not installed.
    """
    if find_spec("python_stretch") is None:
        raise MssctlError(
            "data.pitch and data.tempo need the package python-stretch, which is not installed",
            hint="pip install python-stretch, or set both to 0",
            exit_code=ExitCode.ENVIRONMENT,
        )


def stretch(
    audio: Audio, sample_rate: int, *, semitones: float, tempo: float, frames: int
) -> Audio:
    """Transpose ``(C, N)`` by ``semitones`` and play it ``tempo`` times as fast.

    Returns:
        The first ``frames`` of it, with silence where there is less.
    """
    from python_stretch import Signalsmith  # noqa: PLC0415 (an optional package)

    machine = Signalsmith.Stretch(0)  # the seed of its own random numbers
    machine.preset(len(audio), sample_rate)
    machine.setTransposeSemitones(semitones)
    machine.timeFactor = tempo
    made = np.asarray(machine.process(np.ascontiguousarray(audio)), np.float32)[:, :frames]
    out = np.zeros((len(audio), frames), np.float32)
    out[:, : made.shape[1]] = made
    return out
