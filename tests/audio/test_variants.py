"""What real encoders, taggers, editors and crashes make of files: one set of laws for all.

A whole file is never refused; a length that is stated is the length that is read; an excerpt is
the same samples as in the whole file; damage that a format shows is an error.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from encoded import NO_XING, encode
from mssctl.audio import files
from mssctl.audio.ogg import _crc
from mssctl.audio.part import Part
from mssctl.errors import MssctlError

RATE = 44_100
FRAMES = 20_000
Edit = Callable[[bytes], bytes]


def music(frames: int = FRAMES, channels: int = 2) -> np.ndarray:
    time = np.arange(frames) / RATE
    tones = 0.3 * np.sin(2 * np.pi * 220 * np.arange(1, channels + 1)[:, None] * time)
    return tones + 0.02 * np.random.default_rng(0).standard_normal((channels, frames))


def junk(size: int) -> bytes:
    return np.random.default_rng(1).integers(0, 256, size, dtype=np.uint8).tobytes()


# --- tags


def id3(body: bytes, *, footer: bool = False) -> bytes:
    size = bytes(len(body) >> 7 * i & 0x7F for i in (3, 2, 1, 0))
    head = b"\4\0" + bytes([0x10 if footer else 0]) + size
    return b"ID3" + head + body + (b"3DI" + head if footer else b"")


def ape(items: bytes, *, header: bool = True) -> bytes:
    size, flags = len(items) + 32, 0x8000_0000 if header else 0
    foot = b"APETAGEX" + struct.pack("<IIII", 2_000, size, 1, flags) + bytes(8)
    head = b"APETAGEX" + struct.pack("<IIII", 2_000, size, 1, 0xA000_0000) + bytes(8)
    return (head if header else b"") + items + foot


ID3V1 = b"TAG" + b" " * 125
LYRICS = b"LYRICSBEGININD0000210LYR00005hello"
LYRICS += b"%06dLYRICS200" % len(LYRICS)
PICTURE = b"\xff\xfb\x90\x64" * 3_000  # looks like frames
TAGS: dict[str, tuple[bytes, bytes]] = {
    "footer": (id3(bytes(5_000), footer=True), b""),
    "two": (id3(bytes(5_000)) + id3(b"x" * 100), b""),
    "picture": (id3(PICTURE), b""),
    "ape-first": (ape(b"x" * 3_000), b""),
    "ape-footer": (b"", ape(b"x" * 9_000, header=False)),
    "ape-id3v1": (b"", ape(PICTURE) + ID3V1),
    "lyrics": (b"", LYRICS + ID3V1),
    "id3-last": (b"", id3(b"x" * 2_000, footer=True)),
}


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], bytes]:
    """The bytes of a file, encoded once."""
    folder = tmp_path_factory.mktemp("base")

    def get(name: str) -> bytes:
        path = folder / name
        if not path.exists():
            match name:
                case "info.mp3":
                    encode(path, music(), RATE)
                case "bare.mp3":
                    encode(path, music(), RATE, container_options=NO_XING)
                case "vorbis.ogg" | "silk.opus":
                    kind = ("VORBIS", RATE) if name == "vorbis.ogg" else ("OPUS", 16_000)
                    sf.write(path, music().T, kind[1], format="OGG", subtype=kind[0])
                case "song.m4a":
                    container_options = {"use_editlist": "0"}
                    encode(path, music(), RATE, container_options=container_options)
                case _:
                    encode(path, music(), RATE)
        data = path.read_bytes()
        return data[45:] if data.startswith(b"ID3") else data  # FFmpeg's own tag

    return get


def frames_of(data: bytes, notes: list[str] | None = None, *, folder: Path) -> int:
    """The length of a file, after the laws have been checked on it."""
    path = folder / "song"  # the name does not matter
    path.write_bytes(data)
    told: list[str] = []
    audio = np.concatenate(list(files.blocks(path, 10_000, told.append)), axis=1)
    length = audio.shape[1]
    assert files.probe(path).frames == length
    for start, count in [(0, 9), (length // 3, 50), (length - 5, 9), (length, 1), (9 * length, 1)]:
        np.testing.assert_array_equal(
            files.read(path, start, count), audio[:, start : start + count]
        )
    if notes is not None:
        notes += told
    return length


@pytest.mark.parametrize(
    ("name", "tag"),
    [
        *((name, tag) for name in ("info.mp3", "bare.mp3", "song.aac") for tag in TAGS),
        *(("song.flac", tag) for tag in TAGS if not tag.startswith("ape-f")),
    ],
)
def test_tags_of_every_kind_change_nothing(base, tmp_path, name, tag):
    data = base(name)
    before, after = TAGS[tag]
    notes: list[str] = []
    tagged = frames_of(before + data + after, notes, folder=tmp_path)
    assert tagged == frames_of(data, folder=tmp_path)
    assert not notes


@pytest.mark.parametrize(
    ("name", "where"),
    [
        *((n, w) for n in ("info.mp3", "bare.mp3", "song.aac") for w in ("before", "after")),
        ("vorbis.ogg", "after"),
    ],
)
@pytest.mark.parametrize("what", [bytes(10_000), junk(10_000)], ids=["zeros", "junk"])
def test_bytes_around_the_audio_change_nothing_and_are_noted(base, tmp_path, name, what, where):
    data = base(name)
    notes: list[str] = []
    found = what + data if where == "before" else data + what
    assert frames_of(found, notes, folder=tmp_path) == frames_of(data, folder=tmp_path)
    assert len(notes) == 1
    assert "10000 bytes" in notes[0]
    # All frames that the header counts are there, or all pages up to the end mark.
    if name in ("info.mp3", "vorbis.ogg"):
        assert "cut off" not in notes[0]


@pytest.mark.parametrize("size", [2_000, 3_000_000])
def test_zeros_after_a_flac_are_no_audio(base, tmp_path, size):
    notes: list[str] = []
    assert frames_of(base("song.flac") + bytes(size), notes, folder=tmp_path) == FRAMES
    assert notes[0].endswith("bytes after the end of the container are not read")


def middle(data: bytes) -> int:
    """Where a frame in the middle of an MPEG file begins."""
    from mssctl.audio.mpeg import _aac_frame, _mp3_frame

    at, parse = 0, _aac_frame if data[1] & 6 == 0 else _mp3_frame
    while at < len(data) // 2:
        frame = parse(data[at : at + 7])
        assert frame
        at += frame.size
    return at


@pytest.mark.parametrize("name", ["info.mp3", "bare.mp3", "song.aac"])
def test_a_tag_in_the_middle_is_passed_over(base, tmp_path, name):
    data = base(name)
    at = middle(data)
    tagged = data[:at] + id3(b"x" * 500) + ID3V1 + data[at:]
    assert frames_of(tagged, folder=tmp_path) == frames_of(data, folder=tmp_path)


@pytest.mark.parametrize("name", ["info.mp3", "bare.mp3", "song.aac"])
@pytest.mark.parametrize("put", [b"", bytes(300), junk(300)], ids=["cut", "zeros", "junk"])
def test_damage_between_frames_is_found(base, tmp_path, name, put):
    data = base(name)
    at = middle(data)
    path = tmp_path / "song"
    path.write_bytes(data[:at] + put + data[at if put else at + 99 :])
    with pytest.raises(MssctlError, match=r"damaged at 0\.2\d s: bytes between two frames"):
        files.inspect(path)


@pytest.mark.parametrize("name", ["info.mp3", "bare.mp3", "song.aac"])
def test_an_incomplete_last_frame_is_noted(base, tmp_path, name):
    notes: list[str] = []
    frames_of(base(name)[:-50], notes, folder=tmp_path)
    assert notes == ["its last frame is incomplete and not read"]


def info(data: bytes, *, frames: int = 0, gaps: bytes | None = None) -> bytes:
    """An mp3 with another count of frames in its Info header, or other gaps."""
    at = data.index(b"Info")
    (count,) = struct.unpack_from(">I", data, at + 8)
    edited = bytearray(data)
    edited[at + 8 : at + 12] = struct.pack(">I", count + frames)
    if gaps is not None:
        edited[at + 141 : at + 144] = gaps
    return bytes(edited)


@pytest.mark.parametrize("gaps", [None, bytes(3), b"\xff\xff\xff"])
@pytest.mark.parametrize("frames", [-9, -1, 0, 1])
def test_an_mp3_whose_header_is_wrong_has_one_length(base, tmp_path, frames, gaps):
    notes: list[str] = []
    data = info(base("info.mp3"), frames=frames, gaps=gaps)
    length = frames_of(data, notes, folder=tmp_path)
    assert length >= FRAMES or gaps == b"\xff\xff\xff"
    assert any("its header states" in note for note in notes) == (frames < 0)


def test_an_mp3_with_fewer_frames_than_its_header_counts_is_cut_off(base, tmp_path):
    path = tmp_path / "song"
    path.write_bytes(info(base("info.mp3"), frames=9))
    with pytest.raises(MssctlError, match=r"cut off: 0\.\d+ s of audio instead of 0\.\d+ s"):
        files.inspect(path)


@pytest.mark.parametrize("rate", [8_000, 22_050])
def test_a_header_at_low_rates_is_not_a_beginning_in_the_middle(tmp_path, rate):
    path = encode(tmp_path / "low.mp3", music(9_000)[:1], rate)
    notes: list[str] = []
    assert frames_of(path.read_bytes(), notes, folder=tmp_path) == 9_000
    assert not notes


# --- files joined


@pytest.mark.parametrize("name", ["info.mp3", "vorbis.ogg", "song.flac"])
def test_a_file_joined_to_itself_is_twice_as_long(base, tmp_path, name):
    assert frames_of(base(name) * 3, folder=tmp_path) == 3 * FRAMES


@pytest.mark.parametrize("first", [True, False])
def test_a_short_flac_joined_to_a_long_one_is_found(base, tmp_path, first):
    short = encode(tmp_path / "short.flac", music(500), RATE).read_bytes()
    long = encode(tmp_path / "long.flac", music(200_000), RATE).read_bytes()
    data = short + long if first else long + short
    assert frames_of(data, folder=tmp_path) == 200_500


def test_a_flac_without_metadata_blocks_joined(base, tmp_path):
    data = base("song.flac")
    bare = data[:4] + b"\x80" + data[5:42] + data[data.index(b"\xff\xf8") :]
    assert frames_of(bare + bare, folder=tmp_path) == 2 * FRAMES


# --- Ogg


def paged(data: bytes, edit: Callable[[bytearray], None]) -> bytes:
    """An Ogg file after ``edit`` of each page, with checksums made anew."""
    out, at = bytearray(), 0
    while at < len(data):
        count = data[at + 26]
        size = 27 + count + sum(data[at + 27 : at + 27 + count])
        page = bytearray(data[at : at + size])
        edit(page)
        page[22:26] = bytes(4)
        page[22:26] = struct.pack("<I", _crc(bytes(page)))
        out += page
        at += size
    return bytes(out)


def shift(by: int, page: bytearray) -> None:
    (granule,) = struct.unpack_from("<q", page, 6)
    if granule > 0:
        page[6:14] = struct.pack("<q", granule + by)


@pytest.mark.parametrize("name", ["vorbis.ogg", "silk.opus"])
def test_a_stream_cut_out_of_a_longer_one_is_whole(base, tmp_path, name):
    data = base(name)
    length = frames_of(data, folder=tmp_path)
    assert frames_of(paged(data, partial(shift, 1_000_000)), folder=tmp_path) == length


# --- other containers


def box(name: bytes, *body: bytes) -> bytes:
    data = b"".join(body)
    return struct.pack(">I4s", len(data) + 8, name) + data


def test_an_m4a_with_itunes_delay_and_no_edit_list_is_whole(base, tmp_path):
    text = b" 00000000 00000840 00000100 0000000000004E20" + b" 00000000" * 8
    item = box(
        b"----",
        box(b"mean", bytes(4), b"com.apple.iTunes"),
        box(b"name", bytes(4), b"iTunSMPB"),
        box(b"data", struct.pack(">II", 1, 0), text),
    )
    handler = box(b"hdlr", bytes(8), b"mdirappl", bytes(9))
    udta = box(b"udta", box(b"meta", bytes(4), handler, box(b"ilst", item)))
    data = base("song.m4a")
    at = data.rindex(b"moov") - 4
    old = data.index(b"udta", at) - 4
    moov = data[at + 8 : old] + udta
    plain = frames_of(data, folder=tmp_path)
    assert frames_of(data[:at] + box(b"moov", moov), folder=tmp_path) == plain - 0x840


@pytest.mark.parametrize("codec", ["ac3", "adpcm_swf", "wmav2"])
def test_excerpts_of_codecs_that_carry_a_state_on_are_exact(tmp_path, codec):
    path = encode(tmp_path / "song.wav", music(), RATE, codec=codec)
    assert frames_of(path.read_bytes(), folder=tmp_path) > FRAMES - 2_048


def test_a_live_recording_that_was_cut_off_is_found(tmp_path):
    path = encode(tmp_path / "live.mka", music(), RATE, codec="flac", seekable=False)
    data = path.read_bytes()
    assert frames_of(data, folder=tmp_path) == FRAMES
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(MssctlError, match="cut off"):
        files.inspect(path)


def chunk(name: bytes, data: bytes, order: str = "<") -> bytes:
    return name + struct.pack(f"{order}I", len(data)) + data + b"\0" * (len(data) % 2)


def wave(*chunks: bytes, mark: bytes = b"RIFF", order: str = "<") -> bytes:
    body = b"WAVE" + b"".join(chunks)
    return mark + struct.pack(f"{order}I", len(body)) + body


def form(bits: int = 16, order: str = "<") -> bytes:
    width = bits // 8 * 2
    return chunk(
        b"fmt ", struct.pack(f"{order}HHIIHH", 1, 2, RATE, RATE * width, width, bits), order
    )


SAMPLES = bytes(4 * 500)
LIST = chunk(b"LIST", b"INFOx" * 7)
BROADCAST = chunk(b"JUNK", bytes(28)) + chunk(b"bext", bytes(602))
WAVES = {
    "list after": wave(form(), chunk(b"data", SAMPLES), LIST),
    "broadcast": wave(BROADCAST, form(), chunk(b"data", SAMPLES)),
    "big endian": wave(form(order=">"), chunk(b"data", SAMPLES, ">"), mark=b"RIFX", order=">"),
    "part of a frame": wave(form(), chunk(b"data", SAMPLES + b"x")),
    "list beyond": wave(form(), chunk(b"data", SAMPLES)) + LIST,
}


@pytest.mark.parametrize("name", WAVES)
def test_waves_of_every_kind_have_the_samples_of_their_data_chunk(tmp_path, name):
    assert frames_of(WAVES[name], folder=tmp_path) == 500


def test_big_endian_waves_that_were_cut_off_are_refused(tmp_path):
    path = tmp_path / "song.wav"
    path.write_bytes(WAVES["big endian"][:-400])
    with pytest.raises(MssctlError, match="cut off: 400 bytes"):
        files.inspect(path)


def test_a_chunk_after_an_empty_data_chunk_is_no_audio(tmp_path):
    path = tmp_path / "song.wav"
    path.write_bytes(wave(form(), chunk(b"data", b""), LIST))
    with pytest.raises(MssctlError, match="no audio frames"):
        files.inspect(path)


@pytest.mark.parametrize(
    ("kind", "subtype"), [("W64", "IMA_ADPCM"), ("SVX", "PCM_16"), ("VOC", "PCM_U8")]
)
def test_bytes_after_the_end_are_never_samples(tmp_path, kind, subtype):
    path = tmp_path / "song"
    sf.write(path, music(3_000, 1).T, RATE, format=kind, subtype=subtype)
    data = path.read_bytes()
    notes: list[str] = []
    length = frames_of(data, folder=tmp_path)
    assert frames_of(data + b"garbage" * 99, notes, folder=tmp_path) == length
    assert notes == ["693 bytes after the end that the header states are not read"]


def test_integers_of_64_bits_are_refused_in_one_sentence(tmp_path):
    path = tmp_path / "song.wav"
    path.write_bytes(wave(form(64), chunk(b"data", bytes(1_600))))
    with pytest.raises(MssctlError, match="audio of an unknown kind"):
        files.inspect(path)


@pytest.mark.parametrize("kept", [180, 2_000, None])
def test_mp3_in_a_wave_file_is_not_given_to_a_decoder_that_prints(tmp_path, capfd, kept):
    path = encode(tmp_path / "song.wav", music(), RATE, codec="libmp3lame")
    data = path.read_bytes()
    if kept:
        path.write_bytes(data[:kept])
        with pytest.raises(MssctlError, match="cut off"):
            files.inspect(path)
    else:
        assert frames_of(data, folder=tmp_path) >= FRAMES
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("short", [0, 5_000])
def test_a_dsf_file_may_end_inside_a_block(tmp_path, short):
    bits = 8 * 4_096 * 3
    data = junk(2 * bits // 8)
    layout = struct.pack("<QIIIIIIQII", 52, 1, 0, 2, 2, 2_822_400, 1, bits - short, 4_096, 0)
    head = b"DSD " + struct.pack("<QQQ", 28, 92 + len(data), 0) + b"fmt " + layout
    found = head + b"data" + struct.pack("<Q", 12 + len(data)) + data
    assert frames_of(found, folder=tmp_path) == (bits - short) // 8


def test_a_header_without_an_end_is_not_searched_for_ever(tmp_path, monkeypatch):
    taken = []

    def read(self: Part, size: int = -1, read: Callable[..., bytes] = Part.read) -> bytes:
        taken.append(data := read(self, size))
        return data

    monkeypatch.setattr(Part, "read", read)
    monkeypatch.setattr("mssctl.audio.coded._LOOK", 1 << 22)
    path = tmp_path / "sparse.mp3"
    with path.open("wb") as file:
        file.write(id3(b"")[:6] + b"\x7f" * 4)  # a tag of 256 MB
        file.truncate(1 << 30)
    with pytest.raises(MssctlError, match=r"not an audio file|no audio frames"):
        files.inspect(path)
    assert 0 < sum(map(len, taken)) <= 1 << 22
