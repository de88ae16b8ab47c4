"""The one reader on every format: laws that hold for all, and what each format lets it find."""

from __future__ import annotations

import socket
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile as sf

from encoded import NO_XING, VBR, encode
from mssctl.audio import files
from mssctl.audio.errors import UnknownFormatError
from mssctl.audio.extent import extent
from mssctl.errors import MssctlError

RATE = 44_100
FRAMES = 60_000

# name -> how to encode it
KINDS: dict[str, dict[str, object]] = {
    "cbr.mp3": {},
    "vbr.mp3": {"options": VBR},
    "cbr_no_header.mp3": {"container_options": NO_XING},
    "vbr_no_header.mp3": {"options": VBR, "container_options": NO_XING},
    "song.m4a": {},
    "alac.m4a": {"codec": "alac", "sample_format": "s16p"},
    "video.mp4": {"video": True},
    "song.aac": {},
    "song.mka": {"codec": "flac"},
    "video.mkv": {"video": True},
    "video.avi": {"video": True},
    "song.flac": {},
    "deep.flac": {"sample_format": "s32"},
    "streamed.flac": {"seekable": False},
    "flac.oga": {},
    "song.wma": {},
    "song.ts": {},
    "song.wv": {},
    "song.tta": {},
    "alac.caf": {},
}
OPUS: dict[str, dict[str, object]] = {"song.opus": {}, "video.webm": {"video": True}}
SNDFILE = {
    "vorbis.ogg": ("OGG", "VORBIS"),
    "song.wav": ("WAV", "PCM_16"),
    "song.rf64": ("RF64", "PCM_24"),
    "song.w64": ("W64", "FLOAT"),
    "song.aiff": ("AIFF", "PCM_16"),
    "song.au": ("AU", "PCM_16"),
    "song.caf": ("CAF", "PCM_16"),
    "song.voc": ("VOC", "PCM_16"),
    "song.nist": ("NIST", "PCM_16"),
}
PCM = [name for name in SNDFILE if name != "vorbis.ogg"]
LOSSLESS = {"alac.m4a", "song.mka", "song.flac", "streamed.flac", "flac.oga", "song.wv", "song.tta"}


def music(frames: int = FRAMES, rate: int = RATE) -> np.ndarray:
    """Two channels of tones and noise, ``(2, n)``, at values that 16 bits hold exactly."""
    rng = np.random.default_rng(0)
    time = np.arange(frames) / rate
    tones = 0.3 * np.sin(2 * np.pi * np.array([[220.0], [331.0]]) * time)
    return np.round((tones + 0.02 * rng.standard_normal((2, frames))) * 32_768) / 32_768


@pytest.fixture(scope="session")
def encoded(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The path of a file of `KINDS`, `OPUS` or `SNDFILE`, encoded once."""
    folder = tmp_path_factory.mktemp("encoded")

    def get(name: str) -> Path:
        path = folder / name
        if not path.exists():
            if name in SNDFILE:
                format_, subtype = SNDFILE[name]
                sf.write(path, music().T, RATE, format=format_, subtype=subtype)
            elif name in OPUS:
                encode(path, music(rate=48_000), 48_000, **OPUS[name])
            else:
                encode(path, music(), RATE, **KINDS[name])
        return path

    return get


def whole(path: Path, notes: list[str] | None = None) -> np.ndarray:
    return np.concatenate(
        list(files.blocks(path, 10_000, [].append if notes is None else notes.append)), axis=1
    )


@pytest.mark.parametrize("name", [*KINDS, *OPUS, *SNDFILE])
def test_a_file_has_the_length_that_it_was_made_with_and_nothing_to_note(encoded, name):
    notes: list[str] = []
    audio = whole(encoded(name), notes)
    info = files.probe(encoded(name))
    assert audio.shape == (2, info.frames)
    assert not notes
    # Without a statement of delay and padding, both stay in.
    free = name.endswith(("no_header.mp3", ".aac", ".mkv", ".avi", ".wma", ".ts"))
    assert abs(info.frames - FRAMES) < 4_096 if free else info.frames == FRAMES
    if name in LOSSLESS:
        np.testing.assert_array_equal(audio, music().astype(np.float32))


@pytest.mark.parametrize("name", [*KINDS, *OPUS, *SNDFILE])
def test_an_excerpt_is_the_whole_files_samples_at_its_place(encoded, name):
    path = encoded(name)
    audio = whole(path)
    # Opus' decoder converges to the same state within rounding.
    tolerance = 1e-6 if name in OPUS else 0.0
    for start, count in [(0, 10), (1, 1), (1_151, 3_000), (40_007, 2_000), (FRAMES - 5, 5)]:
        np.testing.assert_allclose(
            files.read(path, start, count), audio[:, start : start + count], atol=tolerance, rtol=0
        )
    assert files.read(path, 10 * FRAMES, 5).shape == (2, 0)


@pytest.mark.parametrize("suffix", ["ogg", "wma", "mka"])
def test_short_files_and_coarse_clocks_have_one_length_and_exact_excerpts(tmp_path, suffix):
    path = encode(tmp_path / f"song.{suffix}", music(12_000, 48_000), 48_000)
    audio = whole(path)
    assert files.probe(path).frames == audio.shape[1] == files.read(path, 0, 99_999).shape[1]
    np.testing.assert_allclose(
        files.read(path, 7_001, 500), audio[:, 7_001:7_501], atol=1e-6, rtol=0
    )


@pytest.mark.parametrize("name", ["cbr.mp3", "song.m4a", "song.opus", "video.webm"])
def test_stems_line_up_with_what_players_play(encoded, name):
    reference = music(rate=48_000 if name in OPUS else RATE)
    audio = whole(encoded(name))
    likeness = {lag: float(np.vdot(audio, np.roll(reference, lag))) for lag in range(-3, 4)}
    assert max(likeness, key=likeness.__getitem__) == 0


@pytest.mark.parametrize(
    ("name", "subtype"),
    [
        ("song.flac", "PCM_16"),
        ("deep.flac", "PCM_24"),
        ("alac.m4a", "PCM_16"),
        ("cbr.mp3", "MP3"),
        ("song.opus", "OPUS"),
    ],
)
def test_the_depth_of_the_samples_is_known(encoded, name, subtype):
    assert files.inspect(encoded(name)).subtype == subtype


def id3(size: int) -> bytes:
    return b"ID3\3\0\0" + bytes(size >> 7 * i & 0x7F for i in (3, 2, 1, 0)) + bytes(size)


def ape(size: int) -> bytes:
    footer = b"APETAGEX" + struct.pack("<IIII", 2000, size + 32, 1, 0) + bytes(8)
    return footer[:20] + struct.pack("<I", 0xA000_0000) + bytes(8) + bytes(size) + footer


@pytest.mark.parametrize("name", ["cbr.mp3", "cbr_no_header.mp3", "vbr_no_header.mp3"])
@pytest.mark.parametrize("tag", ["picture", "ape", "id3v1"])
def test_tags_of_any_size_change_nothing(encoded, tmp_path, name, tag):
    data = encoded(name).read_bytes()
    path = tmp_path / "song.mp3"
    before = id3(60_000) if tag == "picture" else b""
    after = {"picture": b"", "ape": ape(60_000), "id3v1": b"TAG" + bytes(125)}[tag]
    path.write_bytes(before + data + after)
    notes: list[str] = []
    np.testing.assert_array_equal(whole(path, notes), whole(encoded(name)))
    assert not notes
    assert files.probe(path).frames == files.probe(encoded(name)).frames


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("cbr.mp3", "vbr.mp3"),
        ("cbr_no_header.mp3", "cbr_no_header.mp3"),
        ("vorbis.ogg", "vorbis.ogg"),
        ("song.opus", "song.opus"),
        ("song.flac", "song.flac"),
    ],
)
def test_files_joined_are_read_to_the_end(encoded, tmp_path, first, second):
    one, two = encoded(first), encoded(second)
    path = tmp_path / f"joined{one.suffix}"
    path.write_bytes(one.read_bytes() + renumbered(two.read_bytes()))
    notes: list[str] = []
    audio = whole(path, notes)
    wanted = whole(one).shape[1] + whole(two).shape[1]
    assert wanted - 1_200 <= audio.shape[1] <= wanted + 4_000
    np.testing.assert_array_equal(audio[:, : FRAMES - 3_000], whole(one)[:, : FRAMES - 3_000])
    assert notes or first == "cbr_no_header.mp3"  # which is one stream by all that can be known
    assert files.probe(path).frames in (audio.shape[1], FRAMES)


def renumbered(data: bytes) -> bytes:
    """An Ogg file under another serial number, as chained streams have; others as they are."""
    if not data.startswith(b"OggS"):
        return data
    from mssctl.audio.ogg import _crc

    out, at = bytearray(), 0
    while at < len(data):
        count = data[at + 26]
        size = 27 + count + sum(data[at + 27 : at + 27 + count])
        page = bytearray(data[at : at + size])
        page[14:18] = b"\1\2\3\4"
        page[22:26] = bytes(4)
        page[22:26] = struct.pack("<I", _crc(bytes(page)))
        out += page
        at += size
    return bytes(out)


def test_streams_of_different_rates_one_after_the_other_are_refused(encoded, tmp_path):
    other = encode(tmp_path / "other.ogg", music(rate=22_050), 22_050)
    path = tmp_path / "joined.ogg"
    path.write_bytes(encoded("vorbis.ogg").read_bytes() + renumbered(other.read_bytes()))
    with pytest.raises(MssctlError, match="changes from 44100 Hz, 2 channels to 22050 Hz"):
        whole(path)


@pytest.mark.parametrize("name", ["vorbis.ogg", "song.opus", "flac.oga", "song.flac"])
@pytest.mark.parametrize("damage", ["flip", "cut", "insert", "swap", "tail"])
def test_damage_is_found_where_the_format_has_checksums(encoded, tmp_path, name, damage):
    data = encoded(name).read_bytes()
    path = tmp_path / f"damaged{encoded(name).suffix}"
    rng = np.random.default_rng(7)
    for at in rng.integers(len(data) // 20, len(data) - 400, 6).tolist():
        path.write_bytes(damaged(data, damage, at))
        with pytest.raises(MssctlError, match=r"damaged|cut off|not an audio file"):
            whole(path)


def damaged(data: bytes, damage: str, at: int) -> bytes:
    match damage:
        case "flip":
            return data[:at] + bytes([data[at] ^ 0x10]) + data[at + 1 :]
        case "cut":
            return data[:at] + data[at + 300 :]
        case "insert":
            return data[:at] + data[100:400] + data[at:]
        case "swap":
            half = at // 2
            return data[half : half * 2] + data[:half] + data[half * 2 :]
        case _:
            return data[:at]


STATING = [
    "song.m4a", "alac.m4a", "video.mp4", "song.wv", "song.tta", "alac.caf", "video.avi", "cbr.mp3",
    "song.wma", *PCM,
]  # fmt: skip


@pytest.mark.parametrize("name", STATING)
@pytest.mark.parametrize("kept", [0.5, 0.9, 0.999])
def test_a_file_shorter_than_it_states_is_refused(encoded, tmp_path, name, kept):
    data = encoded(name).read_bytes()
    path = tmp_path / name
    path.write_bytes(data[: int(kept * len(data))])
    if kept == 0.999 and name == "cbr.mp3":  # what is missing may hold no sample
        notes: list[str] = []
        assert whole(path, notes).shape == whole(encoded(name)).shape or notes
        return
    with pytest.raises(MssctlError, match=r"cut off|damaged|not an audio file"):
        whole(path)


def test_a_cut_off_webm_is_found(encoded, tmp_path):
    data = encoded("video.webm").read_bytes()
    path = tmp_path / "cut.webm"
    path.write_bytes(data[:-1_000])
    with pytest.raises(MssctlError, match="cut off: 1000 bytes"):
        whole(path)


def test_bytes_put_between_the_frames_of_an_mp3_are_damage(encoded, tmp_path):
    data = encoded("cbr_no_header.mp3").read_bytes()
    path = tmp_path / "song.mp3"
    for damage in ("cut", "insert"):
        path.write_bytes(damaged(data, damage, len(data) // 2))
        with pytest.raises(MssctlError, match=r"damaged at 0\.\d\d s"):
            whole(path)


def test_bytes_after_the_end_are_noted(encoded, tmp_path):
    for name in ("song.flac", "vorbis.ogg", "cbr.mp3", "song.wav", "song.caf", "song.m4a"):
        path = tmp_path / name
        path.write_bytes(encoded(name).read_bytes() + bytes(range(1, 250)) * 2)
        notes: list[str] = []
        audio = whole(path, notes)
        assert audio.shape[1] == FRAMES, name
        assert len(notes) == 1, (name, notes)


@pytest.mark.parametrize("length", [0, 0xFFFF_FFFF])
def test_a_wav_whose_length_was_never_written_is_read_to_its_end(encoded, tmp_path, length):
    data = bytearray(encoded("song.wav").read_bytes())
    at = data.index(b"data")
    data[at + 4 : at + 8] = struct.pack("<I", length)
    path = tmp_path / "crashed.wav"
    path.write_bytes(data)
    np.testing.assert_array_equal(whole(path), music().astype(np.float32))
    assert files.probe(path).frames == FRAMES


def test_a_wav_that_states_too_little_says_so(encoded, tmp_path):
    data = bytearray(encoded("song.wav").read_bytes())
    at = data.index(b"data")
    data[at + 4 : at + 8] = struct.pack("<I", 4 * 1_000)
    path = tmp_path / "short.wav"
    path.write_bytes(data)
    notes: list[str] = []
    assert whole(path, notes).shape[1] == 1_000
    assert "bytes after the end" in notes[0]


@pytest.mark.parametrize("checksum", [True, False])
def test_a_flac_that_states_too_little_is_read_whole(encoded, tmp_path, checksum):
    data = bytearray(encoded("song.flac").read_bytes())
    data[8 + 14 : 8 + 18] = struct.pack(">I", 20_000)
    if not checksum:
        data[8 + 18 : 8 + 34] = bytes(16)
    path = tmp_path / "short.flac"
    path.write_bytes(data)
    notes: list[str] = []
    np.testing.assert_array_equal(whole(path, notes), music().astype(np.float32))
    assert "its header states 0.454 s" in notes[0]
    assert files.probe(path).frames == FRAMES


def test_formats_that_do_not_show_their_end_say_so(tmp_path):
    path = tmp_path / "song.ircam"
    sf.write(path, music(1_000).T, RATE, format="IRCAM", subtype="PCM_16")
    assert "whether the file is complete" in files.inspect(path).notes[0]
    assert not extent(path).known


def test_of_several_audio_streams_the_first_is_read_and_the_others_are_named(tmp_path):
    songs = np.stack([music(20_000), 0 * music(20_000)])
    path = encode(tmp_path / "song.mka", songs, RATE, codec="flac")
    np.testing.assert_array_equal(whole(path), songs[0].astype(np.float32))
    assert files.inspect(path).notes == ("2 audio streams: the first is used",)


def test_the_opus_end_mark_may_be_missing(encoded, tmp_path):
    data = encoded("song.opus").read_bytes()
    last = data.rindex(b"OggS")
    page = bytearray(data[last:])
    page[5] &= ~4
    page[22:26] = bytes(4)
    from mssctl.audio.ogg import _crc

    page[22:26] = struct.pack("<I", _crc(bytes(page)))
    path = tmp_path / "live.opus"
    path.write_bytes(data[:last] + page)
    notes: list[str] = []
    assert FRAMES <= whole(path, notes).shape[1] < FRAMES + 960
    assert "no mark at the end" in notes[0]


PLAYLISTS = {
    "concat": "ffconcat version 1.0\nfile '{song}'\n",
    "hls": "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{url}\n#EXT-X-ENDLIST\n",
    "m3u": "#EXTM3U\n{song}\n",
    "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\nc=IN IP4 127.0.0.1\nm=audio {port} RTP/AVP 0\n",
    "dash": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011">{url}</MPD>',
    "image2": "{song}%d.png",
}


@pytest.mark.parametrize("kind", PLAYLISTS)
def test_a_playlist_named_like_a_song_opens_nothing(encoded, tmp_path, kind):
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.05)
        port = server.getsockname()[1]
        path = tmp_path / "song.mp3"
        url = f"http://127.0.0.1:{port}/song.ts"
        path.write_text(PLAYLISTS[kind].format(song=encoded("song.flac"), url=url, port=port))
        with pytest.raises(UnknownFormatError, match=r"song\.mp3: not an audio file"):
            files.inspect(path)
        with pytest.raises(TimeoutError):
            server.accept()


@pytest.mark.parametrize("name", ["song.wav", "song.flac", "cbr.mp3"])
def test_a_file_that_changes_while_it_is_read_is_an_error(encoded, tmp_path, name):
    path = tmp_path / name
    path.write_bytes(encoded(name).read_bytes())
    blocks = files.blocks(path, 10_000)
    next(blocks)
    path.write_bytes(encoded(name).read_bytes()[:-1] + b"x")
    with pytest.raises(MssctlError, match=r"changed while it was read|damaged"):
        list(blocks)


def test_absurd_samples_are_blamed_on_the_file(tmp_path):
    path = tmp_path / "loud.wav"
    sf.write(path, np.full((100, 2), 1e30, np.float32), RATE, subtype="FLOAT")
    with pytest.raises(MssctlError, match=r"loud\.wav: a peak of 1e\+30.* at 0\.000 s"):
        whole(path)


@pytest.mark.parametrize("name", ["vbr_no_header.mp3", "song.aac", "vorbis.ogg", "song.m4a"])
def test_decoders_print_nothing(encoded, tmp_path, capfd, name):
    data = encoded(name).read_bytes()
    path = tmp_path / name
    path.write_bytes(data[: len(data) // 2] + bytes(999) + data[len(data) // 2 :])
    with pytest.raises(MssctlError):
        whole(path)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(("channels", "rate"), [(2, 1), (2, 2_000_000), (65, RATE)])
@pytest.mark.parametrize("kind", ["wav", "tta"])
def test_channels_and_hertz_that_no_recording_has_are_refused(tmp_path, kind, channels, rate):
    path = tmp_path / f"song.{kind}"
    if kind == "wav":
        sf.write(path, np.zeros((100, channels)), rate)
    else:
        head = b"TTA1" + struct.pack("<HHHII", 1, channels, 16, rate, 10_000)
        path.write_bytes(head + struct.pack("<I", zlib.crc32(head)) + bytes(9_999))
    with pytest.raises(MssctlError, match=r"implausible for audio|not an audio file"):
        files.inspect(path)


def test_only_audio_decoders_are_allowed():
    from mssctl.audio.formats import DEMUXERS, audio_decoders

    decoders = audio_decoders().split(",")
    assert {"mp3float", "aac", "flac", "opus", "vorbis"} <= set(decoders)
    assert all(av.codec.Codec(name, "r").type == "audio" for name in decoders)
    known = {name for entry in av.formats_available for name in entry.split(",")}
    assert set(DEMUXERS.split(",")) <= known


def test_an_mp4_whose_sample_table_lacks_packets_is_cut_off(tmp_path, encoded):
    data = encoded("song.m4a").read_bytes()
    at = data.find(b"stsz") + 12
    (packets,) = struct.unpack(">I", data[at : at + 4])
    path = tmp_path / "song.m4a"
    path.write_bytes(data[:at] + struct.pack(">I", packets - 10) + data[at + 4 :])
    with pytest.raises(MssctlError, match="cut off"):
        whole(path)


def test_a_chunk_that_leads_beyond_the_end_is_noted(tmp_path, encoded):
    """As where bytes were lost from the samples: they go on with those of a chunk of tags."""
    data = encoded("song.wav").read_bytes()
    tags = b"LIST" + struct.pack("<I", 18) + b"INFOINAM" + struct.pack("<I", 6) + b"title\0"
    whole_size = struct.pack("<I", len(data) + len(tags) - 8)
    data = data[:4] + whole_size + data[8:] + tags
    path = tmp_path / "song.wav"
    path.write_bytes(data[:1_000] + data[1_009:])
    notes: list[str] = []
    whole(path, notes)
    assert len(notes) == 1
    assert "after the end" in notes[0]


def test_samples_in_the_padding_of_a_w64_are_noted(tmp_path):
    path = tmp_path / "song.w64"
    sf.write(path, music()[:, :101].T, RATE, format="W64", subtype="PCM_16")
    assert path.stat().st_size % 8  # libsndfile writes no padding
    data = path.read_bytes()
    path.write_bytes(data + b"\0\0")
    assert extent(path).after == 0
    path.write_bytes(data[:300] + b"xy" + data[300:])
    assert extent(path).after == 2
