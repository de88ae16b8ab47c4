"""A sound on a page: its spectrogram with the frequencies beside it, and a player."""

from __future__ import annotations

import base64
import io
from html import escape

import numpy as np
import soundfile as sf
import torch

from mssctl.audio.resample import resample
from mssctl.evaluation.metrics.sdr import Array
from mssctl.evaluation.report.spectrogram import LOWEST, place, spectrogram

_MP3_RATES = (16_000, 22_050, 24_000, 32_000, 44_100, 48_000)
_TICKS = {100.0: "100 Hz", 1_000.0: "1 kHz", 10_000.0: "10 kHz"}


def figure(
    caption: str, label: str, sound: Array, rate: int, loudest: float, *, whole: bool = False
) -> str:
    """HTML of a sound, with nothing outside it.

    Args:
        caption: HTML above the spectrogram.
        label: what it is, for readers who do not see it.
        sound: ``(C, N)``.
        rate: samples per second.
        loudest: the brightest magnitude, see `spectrogram`.
        whole: over the whole width of the page.
    """
    image = base64.b64encode(spectrogram(sound, rate, loudest)).decode()
    audio = base64.b64encode(_mp3(sound, rate)).decode()
    ticks = "".join(
        f'<i style="bottom:{100 * place(frequency, rate):.1f}%">{words}</i>'
        for frequency, words in _TICKS.items()
        if LOWEST < frequency < 0.4 * rate
    )
    name = escape(label, quote=True)
    return (
        f"<figure{' class=whole' * whole}><figcaption>{caption}</figcaption>"
        f'<div class="picture"><img alt="spectrogram of {name}" '
        f'src="data:image/png;base64,{image}"><span aria-hidden="true">{ticks}</span></div>'
        '<audio controls controlslist="nodownload noplaybackrate" preload="metadata" '
        f'aria-label="{name}" src="data:audio/mpeg;base64,{audio}"></audio></figure>'
    )


def _mp3(sound: Array, rate: int) -> bytes:
    """MP3 of about 100 kbit/s: what every browser plays; more than two channels as their mean."""
    file = io.BytesIO()
    wanted = rate if rate in _MP3_RATES else 44_100
    if len(sound) > 2:
        sound = np.mean(sound, axis=0, keepdims=True)
    played = resample(torch.from_numpy(np.asarray(sound, np.float32)), rate, wanted).numpy()
    sf.write(file, played.T, wanted, format="MP3", subtype="MPEG_LAYER_III", compression_level=0.6)
    return file.getvalue()
