"""Files of lossy codecs, and the tags of a song in all formats."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import av
import numpy as np
import pytest

from mssctl.audio import files, ogg
from mssctl.audio.encoding import Encoding
from mssctl.audio.metadata import Tags, read_tags
from mssctl.audio.writer import AtomicWriter

MP3 = Encoding("MP3", "MPEG_LAYER_III", None, 320)
M4A = Encoding("M4A", "AAC", None, 256)
OPUS = Encoding("OPUS", "OPUS", None, 192)
OGG = Encoding("OGG", "VORBIS", None)
FLAC = Encoding("FLAC", "PCM_24", 24)
RATE = 48_000
TEXT = {"title": "Tïtle", "artist": "Someone", "album": "Album", "date": "2026", "genre": "Pop"}


def sines(length: int) -> np.ndarray:
    time = np.arange(length) / RATE
    return np.stack([np.sin(2_764 * time) * 0.3, np.sin(5_529 * time) * 0.2]).astype(np.float32)


def png() -> bytes:
    """A red square."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 4, 4, 8, 2, 0, 0, 0))
    rows = zlib.compress((b"\0" + bytes([200, 0, 0]) * 4) * 4)
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def write(path: Path, audio: np.ndarray, encoding: Encoding, tags: Tags = Tags()) -> None:  # noqa: B008
    with AtomicWriter(path, RATE, len(audio), encoding, tags=tags) as writer:
        for start in range(0, audio.shape[1], 5_000):
            writer.write(audio[:, start : start + 5_000])


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("length", [12_345, 48_000])
@pytest.mark.parametrize("encoding", [MP3, M4A, OPUS, OGG])
def test_a_lossy_file_has_the_length_of_what_was_written_and_lines_up(
    tmp_path, encoding, length, channels
):
    wanted = sines(length)[:channels]
    path = tmp_path / "x"
    write(path, wanted, encoding)
    read = files.read(path)
    assert read.shape == wanted.shape
    inside = slice(2_000, -2_000)  # codecs ring where a tone begins
    assert np.abs(read - wanted)[:, inside].max() < 0.02


def test_a_bit_rate_is_what_a_file_has(tmp_path):
    sizes = []
    for bitrate in (64, 256):
        path = tmp_path / f"{bitrate}.mp3"
        write(path, np.random.default_rng(0).uniform(-0.3, 0.3, (2, RATE)).astype(np.float32),
              Encoding("MP3", "MPEG_LAYER_III", None, bitrate))  # fmt: skip
        sizes.append(path.stat().st_size * 8 / 1_000)
    assert sizes == pytest.approx([64, 256], rel=0.08)


@pytest.mark.parametrize("encoding", [Encoding(), FLAC, Encoding("AIFF"), OGG, MP3, M4A, OPUS])
def test_tags_come_back(tmp_path, encoding):
    path = tmp_path / "x"
    tags = Tags(TEXT, png(), "png")
    write(path, sines(9_000), encoding, tags)
    assert files.probe(path).frames == 9_000
    found = read_tags(path)
    kept = {"title", "artist"} if encoding.container == "AIFF" else set(TEXT)
    assert {name: found.text.get(name) for name in kept} == {name: TEXT[name] for name in kept}
    assert bool(found.cover) == (encoding.container in ("MP3", "M4A", "FLAC"))
    assert found.cover in (b"", png())
    assert [one.name for one in tmp_path.iterdir()] == ["x"]


def test_a_flac_file_with_tags_holds_the_same_samples(tmp_path):
    write(tmp_path / "plain", sines(50_000), FLAC)
    write(tmp_path / "tagged", sines(50_000), FLAC, Tags(TEXT, png(), "png"))
    plain, tagged = (files.read(tmp_path / name) for name in ("plain", "tagged"))
    np.testing.assert_array_equal(plain, tagged)


@pytest.mark.parametrize("cover", [b"no picture", png()[:20], b""])
def test_a_damaged_picture_is_left_out(tmp_path, cover):
    path = tmp_path / "x"
    write(path, sines(9_000), MP3, Tags(TEXT, cover, "png"))
    assert files.probe(path).frames == 9_000
    assert read_tags(path).text["title"] == TEXT["title"]


def test_a_file_without_tags_and_one_that_is_no_audio_have_none(tmp_path):
    write(tmp_path / "x.wav", sines(100), Encoding())
    (tmp_path / "y.mp3").write_bytes(b"nothing of the kind" * 99)
    assert not read_tags(tmp_path / "x.wav")
    assert not read_tags(tmp_path / "y.mp3")


def test_tags_are_bounded_and_only_known_names_are_taken(tmp_path):
    path = tmp_path / "x.mp3"
    with av.open(str(path), "w", format="mp3") as container:
        stream = container.add_stream("libmp3lame", rate=RATE, layout="mono")
        container.metadata.update({"title": "x" * 99_999, "encoded_by": "me"})
        frame = av.AudioFrame.from_ndarray(sines(9_000)[:1], format="fltp", layout="mono")
        frame.sample_rate = RATE
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    text = read_tags(path).text
    assert len(text["title"]) == 4_096
    assert "encoded_by" not in text


def test_an_ogg_file_that_states_too_early_an_end_is_read_whole(tmp_path):
    path = tmp_path / "x.ogg"
    write(path, sines(96_000), OGG)
    data = bytearray(path.read_bytes())
    last = data.rfind(b"OggS")
    data[last + 6 : last + 14] = (60_000).to_bytes(8, "little")
    data[last + 22 : last + 26] = bytes(4)
    data[last + 22 : last + 26] = ogg._crc(bytes(data[last:])).to_bytes(4, "little")
    path.write_bytes(data)
    notes: list[str] = []
    read = np.concatenate(list(files.blocks(path, 65_536, notes.append)), axis=1)
    assert read.shape[1] >= 96_000
    assert any("its header states" in note for note in notes)
