"""Encode test audio with PyAV: every format that a test needs, without an ``ffmpeg`` program.

Tests import it as ``from encoded import encode``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

STEM_MP4 = ".stem.mp4"

# suffix -> muxer, audio encoder
FORMATS = {
    ".mp3": ("mp3", "libmp3lame"),
    ".mp2": ("mp2", "mp2"),
    ".aac": ("adts", "aac"),
    ".m4a": ("ipod", "aac"),
    ".mp4": ("mp4", "aac"),
    ".mov": ("mov", "aac"),
    ".3gp": ("3gp", "aac"),
    ".ogg": ("ogg", "vorbis"),
    ".oga": ("ogg", "flac"),
    ".opus": ("ogg", "libopus"),
    ".webm": ("webm", "libopus"),
    ".mka": ("matroska", "libopus"),
    ".mkv": ("matroska", "aac"),
    ".avi": ("avi", "libmp3lame"),
    ".ts": ("mpegts", "aac"),
    ".flac": ("flac", "flac"),
    ".wma": ("asf", "wmav2"),
    ".ac3": ("ac3", "ac3"),
    ".eac3": ("eac3", "eac3"),
    ".tta": ("tta", "tta"),
    ".wv": ("wv", "wavpack"),
    ".amr": ("amr", "libopencore_amrnb"),
    ".caf": ("caf", "alac"),
    ".wav": ("wav", "pcm_s16le"),
    ".aiff": ("aiff", "pcm_s16be"),
}
VBR = {"flags": "+qscale", "global_quality": str(4 * 118)}  # mp3: -q 4, in FF_QP2LAMBDA
NO_XING = {"write_xing": "0"}
_VIDEO = {"webm": "libvpx", "avi": "mjpeg"}  # elsewhere mpeg4
_LAYOUTS = {1: "mono", 2: "stereo", 6: "5.1"}
_EXPERIMENTAL = ("vorbis", "opus")  # FFmpeg's own encoders; vorbis takes stereo only
_NEEDS_BIT_RATE = ("wmav1", "wmav2")
_CHUNK = 8192


def encode(
    path: Path,
    samples: np.ndarray,
    rate: int,
    *,
    codec: str | None = None,
    format: str | None = None,  # noqa: A002 - PyAV's word
    video: bool = False,
    streams: int = 1,
    options: Mapping[str, str] | None = None,
    bit_rate: int | None = None,
    sample_format: str | None = None,
    container_options: Mapping[str, str] | None = None,
    metadata: Mapping[str, str] | None = None,
    seekable: bool = True,
) -> Path:
    """Write ``samples`` to ``path`` and return it.

    Args:
        path: Its suffix chooses muxer and encoder (``FORMATS``), unless named.
        samples: ``(C, n)`` float, full scale 1; ``(S, C, n)`` for S audio streams, each its own.
        rate: Sample rate in Hz; the encoder must take it (Opus: 8, 12, 16, 24 or 48 kHz;
            AMR: 8 kHz mono).
        codec: Encoder by FFmpeg's name, such as ``alac`` or ``aac``.
        format: Muxer by FFmpeg's name, such as ``mp4`` or ``matroska``.
        video: Put a video stream first.
        streams: How many audio streams hold the same ``(C, n)`` samples.
        options: Of the encoder, such as ``VBR`` for mp3 of variable bit rate.
        bit_rate: Bits per second, for lossy encoders.
        sample_format: The encoder's sample format, such as ``s32``; the first it has but u8.
        container_options: Of the muxer, such as ``NO_XING`` for mp3 without a Xing/Info header.
        metadata: Tags.
        seekable: False writes as to a pipe: lengths that stand in a header stay unknown.
    """
    import av

    muxer, encoder = FORMATS.get(path.suffix.lower(), (format, codec))
    muxer, encoder = format or muxer, codec or encoder
    assert muxer is not None, f"{path}: name a format"
    assert encoder is not None, f"{path}: name a codec"
    songs = np.asarray(samples, dtype=np.float32)
    songs = songs if songs.ndim == 3 else np.repeat(songs[None], streams, axis=0)
    layout = _LAYOUTS[songs.shape[1]]
    private = dict(options or {})
    if encoder in _EXPERIMENTAL:
        private["strict"] = "experimental"
    path.parent.mkdir(parents=True, exist_ok=True)
    with (
        path.open("wb") as file,
        av.open(
            str(path) if seekable else _Pipe(file),
            "w",
            format=muxer,
            options=dict(container_options or {}),
        ) as container,
    ):
        container.metadata.update(metadata or {})
        picture = _add_video(container, muxer) if video else None
        tracks = []
        for _ in songs:
            track = container.add_stream(encoder, rate=rate, options=private, layout=layout)
            wanted = sample_format or _sample_format(encoder)
            if wanted:
                track.format = wanted
            if bit_rate or encoder in _NEEDS_BIT_RATE:
                track.bit_rate = bit_rate or 128_000
            tracks.append(track)
        frames = songs.shape[-1]
        for start in range(0, frames, _CHUNK):  # side by side, as muxers want it
            for track, song in zip(tracks, songs, strict=True):
                part = np.ascontiguousarray(song[:, start : start + _CHUNK])
                frame = av.AudioFrame.from_ndarray(part, format="fltp", layout=layout)
                frame.sample_rate = rate
                frame.pts = start
                container.mux(track.encode(frame))
            if picture is not None:
                _write_video(container, picture, start / rate, (start + _CHUNK) / rate)
        for track in [*tracks, *([picture] if picture is not None else [])]:
            container.mux(track.encode(None))
    return path


def encode_stems(
    path: Path, mixture: np.ndarray, stems: Mapping[str, np.ndarray], rate: int
) -> Path:
    """Write a ``.stem.mp4`` as MUSDB18 has them: the mixture, then drums, bass, other, vocals."""
    parts = [mixture, *(stems[name] for name in ("drums", "bass", "other", "vocals"))]
    return encode(path, np.stack(parts), rate, format="mp4", bit_rate=256_000)


class _Pipe:
    """A sink that cannot seek."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def write(self, data: bytes) -> int:
        return self._file.write(data)


def _sample_format(encoder: str) -> str | None:
    import av

    formats = [one.name for one in av.Codec(encoder, "w").audio_formats or ()]
    return next((one for one in formats if not one.startswith("u8")), None)


def _add_video(container: Any, muxer: str) -> Any:
    picture = container.add_stream(_VIDEO.get(muxer, "mpeg4"), rate=5)
    picture.width, picture.height = 64, 48
    picture.pix_fmt = "yuvj420p" if picture.codec_context.name == "mjpeg" else "yuv420p"
    return picture


def _write_video(container: Any, picture: Any, start: float, end: float) -> None:
    """Write the pictures whose time lies in ``[start, end)`` seconds, five each second."""
    import av

    for number in range(int(np.ceil(start * 5)), int(np.ceil(end * 5))):
        shade = np.full((48, 64, 3), (number * 16) % 256, dtype=np.uint8)
        frame = av.VideoFrame.from_ndarray(shade, format="rgb24").reformat(format=picture.pix_fmt)
        frame.pts = number
        container.mux(picture.encode(frame))
