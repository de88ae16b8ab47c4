"""A sound on a page: its spectrogram with the frequencies beside it, and a player."""

import base64
import io
from typing import Any

import numpy as np
import soundfile as sf
import torch
from numpy.typing import NDArray

from mssctl.audio.resample import resample
from mssctl.pages.spectrogram import LOWEST, place, spectrogram

_MP3_RATES = (16_000, 22_050, 24_000, 32_000, 44_100, 48_000)
_TICKS = {100.0: "100 Hz", 1_000.0: "1 kHz", 10_000.0: "10 kHz"}


def sound(
    name: str,
    about: str,
    audio: NDArray[np.floating],
    rate: int,
    loudest: float,
    *,
    wide: bool = False,
) -> dict[str, Any]:
    """What the macro ``player`` shows.

    Args:
        name: of the sound.
        about: words after the name.
        audio: ``(C, N)``.
        rate: samples per second.
        loudest: the brightest magnitude, see `spectrogram`.
        wide: over the whole width of the page.
    """
    return {
        "name": name,
        "about": about,
        "label": f"{name}{about.partition(',')[0]}",
        "image": base64.b64encode(spectrogram(audio, rate, loudest)).decode(),
        "audio": base64.b64encode(_mp3(audio, rate)).decode(),
        "ticks": [
            (100 * place(frequency, rate), words)
            for frequency, words in _TICKS.items()
            if LOWEST < frequency < 0.4 * rate
        ],
        "wide": wide,
    }


def _mp3(audio: NDArray[np.floating], rate: int) -> bytes:
    """MP3 of about 100 kbit/s: what every browser plays; more than two channels as their mean."""
    file = io.BytesIO()
    wanted = rate if rate in _MP3_RATES else 44_100
    if len(audio) > 2:
        audio = np.mean(audio, axis=0, keepdims=True)
    played = resample(torch.from_numpy(np.asarray(audio, np.float32)), rate, wanted).numpy()
    sf.write(file, played.T, wanted, format="MP3", subtype="MPEG_LAYER_III", compression_level=0.6)
    return file.getvalue()
