"""The helper that encodes test audio: what it writes has the samples it was given."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from encoded import FORMATS, encode, encode_stems

RATE = 48_000
TONES = 0.3 * np.sin(2 * np.pi * np.array([[440.0], [660.0]]) * np.arange(RATE // 2) / RATE)


def decode(path: Path, stream: int = 0) -> np.ndarray:
    with av.open(str(path)) as container:
        parts = [frame.to_ndarray() for frame in container.decode(audio=stream)]
        channels = container.streams.audio[stream].channels
        planar = container.streams.audio[stream].format.is_planar
    if planar:
        return np.concatenate(parts, axis=1)
    return np.concatenate(parts, axis=1).reshape(-1, channels).T


@pytest.mark.parametrize("suffix", sorted(set(FORMATS) - {".amr"}))
def test_every_format_holds_the_samples(suffix: str, tmp_path: Path) -> None:
    audio = decode(encode(tmp_path / f"song{suffix}", TONES, RATE))
    assert audio.shape[0] == 2
    assert abs(audio.shape[1] - TONES.shape[1]) <= 2048 + 1024  # delay, padding, a frame
    for channel, pitch in zip(audio, (440.0, 660.0), strict=True):
        spectrum = np.abs(np.fft.rfft(channel.astype(float)))
        assert spectrum.argmax() * RATE / len(channel) == pytest.approx(pitch, abs=3)


def test_a_stem_mp4_holds_five_streams(tmp_path: Path) -> None:
    stems = {name: k * TONES / 4 for k, name in enumerate(("drums", "bass", "other", "vocals"))}
    path = encode_stems(tmp_path / "song.stem.mp4", TONES, stems, RATE)
    levels = [float(decode(path, stream)[:, 4096:-4096].std()) for stream in range(5)]
    whole = 0.3 / np.sqrt(2)
    assert levels == pytest.approx([whole, 0, whole / 4, whole / 2, whole * 3 / 4], rel=0.05)
