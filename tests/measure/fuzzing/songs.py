"""Intact audio files to damage: every format in the variants that matter to a reader."""

from __future__ import annotations

import struct
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
import soundfile

sys.path.insert(0, str(Path(__file__).parents[2]))
from encoded import NO_XING, VBR, encode

RATE = 44_100


@dataclass(frozen=True)
class Intact:
    """One whole file.

    Attributes:
        row: its format, a row of the table.
        name: of the variant.
        path: the file.
        lossless: its samples are those that were encoded.
        checked: its format has a checksum over everything.
        measured: its header states how long it is.
        optional: the program may refuse it, though whole.
    """

    row: str
    name: str
    path: Path
    lossless: bool
    checked: bool = False
    measured: bool = True
    optional: bool = False

    @property
    def head(self) -> int:
        """Where the header ends that states the length; 0 where that is stated more than once."""
        if self.row == "old pcm":
            return 1_024
        data = self.path.read_bytes()
        at = max(data.find(b"Xing"), data.find(b"Info"))
        return at + 160 if self.row.startswith("mp3") and at >= 0 else 0


def song(seconds: float, rate: int, channels: int, seed: int) -> np.ndarray:
    """A rising tone and bursts of noise ``(C, n)``: no two places sound alike."""
    rng = np.random.default_rng(seed)
    time = np.arange(int(seconds * rate)) / rate
    tone = np.sin(2 * np.pi * (200 + 400 * time / seconds) * time)
    noise = rng.standard_normal((channels, len(time))) * (np.sin(2 * np.pi * 3 * time) > 0.3)
    return np.clip(0.2 * tone + 0.05 * noise, -0.9, 0.9).astype(np.float32)


def decoded(path: Path) -> tuple[np.ndarray, int]:
    """All samples ``(n, C)`` of the first audio stream as FFmpeg decodes them, and their rate."""
    parts = []
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        resampler = av.AudioResampler(format="fltp", layout=stream.layout, rate=stream.rate)
        for frame in container.decode(stream):
            parts += [part.to_ndarray() for part in resampler.resample(frame)]
        parts += [part.to_ndarray() for part in resampler.resample(None)]
        rate = stream.rate
    return np.concatenate(parts, axis=1).T, int(rate)


def make_all(folder: Path) -> list[Intact]:
    """Write all intact files into ``folder``, each under its own name."""
    folder.mkdir(parents=True)
    makers = (_pcm, _old_pcm, _flac, _mp3, _ogg, _mp4, _other)
    made = [file for make in makers for file in make(folder)]
    return sorted(made, key=lambda file: (file.row, file.name))


def _pcm(folder: Path) -> list[Intact]:
    kinds = [
        ("wav", "16", {"subtype": "PCM_16"}, RATE, 2),
        ("wav", "24_mono", {"subtype": "PCM_24"}, 48_000, 1),
        ("wav", "float", {"subtype": "FLOAT"}, RATE, 2),
        ("wav", "extensible", {"format": "WAVEX", "subtype": "PCM_16"}, RATE, 2),
        ("caf", "16", {"subtype": "PCM_16"}, RATE, 2),
        ("caf", "float_mono", {"subtype": "FLOAT"}, 22_050, 1),
        ("aiff", "16", {"subtype": "PCM_16"}, RATE, 2),
        ("w64", "24", {"subtype": "PCM_24"}, RATE, 2),
        ("rf64", "16", {"format": "RF64", "subtype": "PCM_16"}, RATE, 2),
        ("au", "16", {"subtype": "PCM_16"}, RATE, 2),
    ]
    made = []
    for number, (row, name, how, rate, channels) in enumerate(kinds):
        path = folder / f"{row}_{name}.{row}"
        samples = song(0.6 + 0.1 * number, rate, channels, number).T
        soundfile.write(path, samples, rate, **how)
        shown = row if row in ("wav", "caf") else "other pcm"
        made.append(Intact(shown, path.stem, path, True))
    path = folder / "wav_tags.wav"  # a chunk of tags behind the samples
    soundfile.write(path, song(0.7, RATE, 2, 30).T, RATE, subtype="PCM_16")
    path.write_bytes(_with_list_chunk(path.read_bytes()))
    return [*made, Intact("wav", "tags", path, True)]


def _old_pcm(folder: Path) -> list[Intact]:
    made = []
    for number, name in enumerate(("voc", "nist", "svx", "avr", "pvf", "ircam", "mat5")):
        path = folder / f"{name}.{name}"
        rate, channels = (8_000, 1) if name == "svx" else (22_050, 2)
        samples = song(0.6, rate, channels, 80 + number).T
        soundfile.write(path, samples, rate, format=name.upper(), subtype="PCM_16")
        made.append(Intact("old pcm", name, path, True, optional=True))
    return made


def _with_list_chunk(data: bytes) -> bytes:
    title = b"INFOINAM" + struct.pack("<I", 8) + b"a title\0"
    data += b"LIST" + struct.pack("<I", len(title)) + title
    return data[:4] + struct.pack("<I", len(data) - 8) + data[8:]


def _flac(folder: Path) -> list[Intact]:
    made = []
    for name, subtype, rate, channels in (
        ("16", "PCM_16", RATE, 2),
        ("24_mono", "PCM_24", 48_000, 1),
    ):
        path = folder / f"flac_{name}.flac"
        samples = song(0.9, rate, channels, 40 + channels).T
        soundfile.write(path, samples, rate, subtype=subtype)
        made.append(Intact("flac", path.stem, path, True, checked=True))
    path = folder / "flac_ffmpeg.flac"
    encode(path, song(1.1, RATE, 2, 43), RATE, sample_format="s16", metadata={"title": "t" * 300})
    return [*made, Intact("flac", path.stem, path, True, checked=True)]


def _mp3(folder: Path) -> list[Intact]:
    kinds: list[tuple[str, dict[str, Any], bool]] = [
        ("header_cbr", {"bit_rate": 128_000}, True),
        ("header_vbr", {"options": VBR}, True),
        ("no_header_cbr", {"bit_rate": 96_000, "container_options": NO_XING}, False),
        ("no_header_vbr", {"options": VBR, "container_options": NO_XING}, False),
    ]
    made = []
    for number, (name, how, measured) in enumerate(kinds):
        path = folder / f"mp3_{name}.mp3"
        encode(path, song(1.2, RATE, 2, 50 + number), RATE, **how)
        row = "mp3 with header" if measured else "mp3 without"
        made.append(Intact(row, path.stem, path, False, measured=measured))
    return made


def _ogg(folder: Path) -> list[Intact]:
    made = []
    for name, rate, channels in (("vorbis", RATE, 2), ("vorbis_mono", 22_050, 1)):
        path = folder / f"ogg_{name}.ogg"
        samples = song(3.0, rate, channels, 60 + channels).T
        soundfile.write(path, samples, rate, format="OGG", subtype="VORBIS")
        made.append(Intact("ogg", path.stem, path, False, checked=True))
    path = folder / "ogg_flac.oga"
    encode(path, song(0.8, RATE, 2, 63), RATE, sample_format="s16")
    made.append(Intact("ogg", path.stem, path, True, checked=True))
    path = folder / "opus_sndfile.opus"
    soundfile.write(path, song(3.0, 48_000, 2, 64).T, 48_000, format="OGG", subtype="OPUS")
    made.append(Intact("opus", path.stem, path, False, checked=True))
    path = folder / "opus_ffmpeg.opus"
    encode(path, song(2.0, 48_000, 1, 65), 48_000)
    return [*made, Intact("opus", path.stem, path, False, checked=True)]


def _mp4(folder: Path) -> list[Intact]:
    made = []
    for name, how in (
        ("aac", {}),
        ("aac_faststart", {"container_options": {"movflags": "+faststart"}}),
        ("alac", {"codec": "alac", "sample_format": "s16p"}),
    ):
        path = folder / f"m4a_{name}.m4a"
        encode(path, song(1.3, RATE, 2, 70), RATE, **how)
        made.append(Intact("m4a", path.stem, path, name == "alac"))
    return made


def _other(folder: Path) -> list[Intact]:
    """What else FFmpeg reads: held to no checksum and no length, only to an end in order."""
    kinds: list[tuple[str, dict[str, Any]]] = [
        ("aac", {}),
        ("mp2", {}),
        ("ac3", {}),
        ("wma", {}),
        ("webm", {}),
        ("mka", {}),
        ("mkv", {"video": True}),
        ("mp4", {"video": True}),
        ("mov", {}),
        ("avi", {"video": True}),
        ("ts", {}),
        ("tta", {}),
        ("wv", {}),
    ]
    made = []
    for suffix, how in kinds:
        path = folder / f"other_{suffix}.{suffix}"
        encode(path, song(0.8, 48_000, 2, 90), 48_000, **how)
        made.append(Intact("other", path.stem, path, False, measured=False))
    path = folder / "other_stem.stem.mp4"
    encode(path, song(0.8, RATE, 2, 91), RATE, format="mp4", streams=5)
    return [*made, Intact("other", path.stem, path, False, measured=False)]
