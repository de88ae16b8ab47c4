"""The listening page as files: sound without seams, bounded sizes, text that is only text."""

from __future__ import annotations

import base64
import json
import re
from html.parser import HTMLParser

import av
import numpy as np
import pytest
import soundfile as sf

from mssctl.api.listen import listen
from mssctl.errors import MssctlError
from mssctl.pages import listening
from mssctl.pages.listening import chunk_length, mp3, pictures, write, write_into
from mssctl.pages.listening.tracks import Take, TrackSet

RATE = 32_000
EVIL = "</script><script>alert(1)</script> & 'co' $x"
LENGTH = 24  # frames of mp3 per chunk: 0.86 s


def music(seconds: float, seed: int = 0, rate: int = RATE) -> np.ndarray:
    """Two channels ``(n, 2)`` of chords and noise."""
    rng = np.random.default_rng(seed)
    time = np.arange(round(seconds * rate)) / rate
    tones = sum(
        np.sin(2 * np.pi * f * time + p)
        for f, p in zip(rng.uniform(80, 4000, 6), range(6), strict=True)
    )
    noise = 0.02 * rng.standard_normal((len(time), 2))
    return (0.08 * tones[:, None] + noise).astype(np.float32)


def decoded(data: bytes) -> np.ndarray:
    """What FFmpeg's decoder makes of a bare stream, ``(C, n)``."""
    decoder = av.CodecContext.create("mp3float", "r")
    packets = [*decoder.parse(data), *decoder.parse(b"")]
    frames = [frame for packet in [*packets, None] for frame in decoder.decode(packet)]
    return np.concatenate([frame.to_ndarray() for frame in frames], axis=1)


@pytest.fixture
def short_chunks(monkeypatch):
    monkeypatch.setattr(listening, "_TEN_SECONDS", LENGTH)


@pytest.fixture
def folder(tmp_path):
    """Stems and the mixture of three seconds."""
    path = tmp_path / "models" / "song"
    path.mkdir(parents=True)
    stems = {stem: music(3.0, seed) for seed, stem in enumerate(("bass", "drums", "vocals"))}
    for stem, audio in stems.items():
        sf.write(path / f"{stem}.wav", audio, RATE, "FLOAT")
    sf.write(path / "Mixture.wav", sum(stems.values()), RATE, "FLOAT")
    return path


def data_of(page) -> dict:
    text = page.read_text(encoding="utf-8")
    (found,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', text)
    return json.loads(found)


def delivered(path) -> tuple[str, list[bytes]]:
    """The name and the contents that a script delivers."""
    text = path.read_text(encoding="ascii")
    name, parts = json.loads(f"[{text.removeprefix('arrived(').removesuffix(');' + chr(10))}]")
    return name, [base64.b64decode(part, validate=True) for part in parts]


@pytest.mark.parametrize(
    "frames", [1, 1152, 24 * 1152, 24 * 1152 + 1, 3 * 24 * 1152 - 1105, 70_000]
)
@pytest.mark.parametrize("channels", [1, 2])
def test_chunks_without_what_is_dropped_are_the_undivided_sound(frames, channels):
    audio = music(3.0)[:frames, :channels].T
    stream = list(mp3.encode([audio[:, :500], audio[:, 500:]], RATE, 48 * channels))
    whole = decoded(b"".join(stream))
    count = -(-frames // (LENGTH * mp3.FRAME))
    parts = [decoded(part) for part in mp3.chunks(stream, LENGTH, count)]
    joined = np.concatenate(
        [part[:, mp3.SKIP : mp3.SKIP + LENGTH * mp3.FRAME] for part in parts], axis=1
    )
    assert joined.shape[1] >= frames
    np.testing.assert_array_equal(joined[:, :frames], whole[:, mp3.SKIP : mp3.SKIP + frames])


@pytest.mark.parametrize("kbits", [96, 192])
def test_the_sound_is_where_the_source_has_it_and_no_seam_is_heard(kbits):
    audio = music(6.0).T
    frames, length = audio.shape[1], LENGTH * mp3.FRAME
    stream = mp3.encode([audio], RATE, kbits)
    parts = [
        decoded(p)[:, mp3.SKIP :][:, :length]
        for p in mp3.chunks(stream, LENGTH, -(-frames // length))
    ]
    joined = np.concatenate(parts, axis=1)[:, :frames]
    error = np.square(joined - audio).mean(axis=0)
    assert error.mean() < 0.02 * np.square(audio).mean()
    shifted = np.square(np.roll(joined, 1, axis=1) - audio).mean()
    assert shifted > 2 * error.mean()  # one sample off would be seen
    seams = np.concatenate([error[k - 32 : k + 32] for k in range(length, frames - 32, length)])
    inside = np.concatenate(
        [error[k - 32 : k + 32] for k in range(length // 2, frames - 32, length)]
    )
    assert seams.mean() < 2 * inside.mean()
    assert seams.max() < 3 * error.max()


def test_a_click_is_found_at_its_place_by_a_decoder_that_drops_nothing():
    probe = listening._probe(44_100)
    sound = decoded(base64.b64decode(probe["probe"]))
    assert int(np.abs(sound[0]).argmax()) == probe["click"]


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("rate", mp3.RATES)
def test_what_is_held_decoded_is_bounded(rate, channels):
    for tracks in range(1, 60):
        length, held = chunk_length(tracks, channels, rate)
        seconds = length * mp3.FRAME / rate
        assert seconds < 14.0
        assert held >= 2
        assert held * seconds <= 60.0
        if tracks <= 40:
            assert held * seconds * rate * channels * 4 * tracks <= listening.DECODED
        if tracks <= 5:
            assert held >= 4
            assert seconds > 9.0


def test_the_bit_rate_is_the_highest_that_fits(folder, tmp_path, short_chunks):
    takes = [Take("m", {"vocals": folder / "vocals.wav"})]
    (tmp_path / "page").mkdir()
    page = write_into(tmp_path / "page", tmp_path / "page", "t", takes, limit=140_000)
    size = sum(path.stat().st_size for path in (tmp_path / "page").iterdir())
    assert page.size == size <= 140_000
    assert 96 < page.kbits < 192
    higher = mp3.KBITS[mp3.KBITS.index(page.kbits) + 1]
    sound = sum(path.stat().st_size for path in (tmp_path / "page").glob("chunk-*"))
    own = (tmp_path / "page" / "index.html").stat().st_size
    assert own < listening._OWN + 1_000
    assert size + sound * (higher / page.kbits - 1) > 140_000 - (listening._OWN - own) - 2_000


def test_ten_minutes_of_five_tracks_fit_into_sixty_megabytes():
    """At the bit rate that is chosen then, with spectrograms of nothing but noise."""
    song = TrackSet((None,) * 5, 44_100, 2, 600 * 44_100)
    noise = pictures.Look(
        0,
        np.zeros((0, 2)),
        np.random.default_rng(0).integers(40, 200, (1152, 128)).astype(np.uint8),
    )
    ((image,),) = pictures.tiles([noise])
    images = 5 * 10 * len(image) * 4 / 3
    waves = 5 * 600 * 44_100 / pictures.POINT * 2 * 4 / 3
    left = listening.SIZE - images - waves - listening._OWN
    length, _ = chunk_length(5, 2, 44_100)
    kbits = mp3.kbits_within(listening._kbits(left, song, length), 2)
    assert kbits >= 96
    bytes_ = 600 * kbits * 125 * (1 + 3 / length) * 5 * 4 / 3
    assert images + waves + listening._OWN + bytes_ <= 60_000_000


def test_the_files_hold_what_the_page_states(folder, tmp_path, short_chunks):
    mixture = folder / "Mixture.wav"
    stems = {"vocals": folder / "vocals.wav", "bass": folder / "bass.wav"}
    write(tmp_path / "page", "t", [Take("m", stems)], mixture)
    data = data_of(tmp_path / "page" / "index.html")
    assert [track["stem"] for track in data["tracks"]] == ["mixture", "vocals", "bass"]
    assert data["frames"] == 96_000
    scripts = sorted((tmp_path / "page").glob("chunk-*.js"))
    assert len(scripts) == data["chunk"]["count"] == 4
    vocals = []
    for index, path in enumerate(scripts):
        name, parts = delivered(path)
        assert name == path.stem == f"chunk-{index:03d}"
        assert len(parts) == 3
        skip = data["chunk"]["skip"]
        vocals.append(decoded(parts[1])[:, skip : skip + data["chunk"]["frames"]])
    sound = np.concatenate(vocals, axis=1)[:, : data["frames"]]
    source = sf.read(stems["vocals"])[0].T
    assert np.square(sound - source).mean() < 0.02 * np.square(source).mean()
    (picture,) = (tmp_path / "page").glob("picture-*.js")
    assert all(image[8:12] == b"WEBP" for image in delivered(picture)[1])


class Elements(HTMLParser):
    """Ids, what is referred to, and what would be fetched."""

    VOID = ("meta", "input", "link", "br", "img")

    def __init__(self) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.fetched: list[str] = []
        self.open: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.ids += [value for name, value in attrs if name == "id"]
        self.fetched += [
            v for name, v in attrs if name in ("src", "href", "srcset", "data", "action")
        ]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.fetched += [v for name, v in attrs if name in ("src", "href")]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def test_the_page_is_well_formed_and_names_are_text(folder, tmp_path, short_chunks):
    takes = [Take(name, {EVIL: folder / "bass.wav"}, EVIL) for name in (EVIL, "b")]
    write(tmp_path / "page", EVIL, takes, folder / "Mixture.wav")
    text = (tmp_path / "page" / "index.html").read_text(encoding="utf-8")
    page = Elements()
    page.feed(text)
    assert page.open == []
    assert len(set(page.ids)) == len(page.ids)
    assert page.fetched == []
    assert EVIL in page.text
    assert "<script>alert" not in text
    data = data_of(tmp_path / "page" / "index.html")
    assert data["title"] == data["tracks"][1]["stem"] == EVIL


def test_no_host_is_named_in_any_file(folder, tmp_path, short_chunks):
    write(tmp_path / "page", "t", [Take("m", {"bass": folder / "bass.wav"})])
    for path in (tmp_path / "page").iterdir():
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"https?:|wss?:|ftp:", text)
        assert str(tmp_path) not in text
        assert path.suffix in (".html", ".js")
        if path.suffix == ".js":  # base64 may hold two slashes
            assert re.fullmatch(r'arrived\("[\w-]+", \[("[\w+/=]*"(, )?)+\]\);\n', text)


def test_every_id_that_the_code_uses_is_on_the_page(folder, tmp_path, short_chunks):
    stems = {"bass": folder / "bass.wav"}
    write(tmp_path / "page", "t", [Take("a", stems), Take("b", stems)], folder / "Mixture.wav")
    text = (tmp_path / "page" / "index.html").read_text(encoding="utf-8")
    page = Elements()
    page.feed(text)
    used = re.findall(r'\$\("(\w+)"\)', text)
    assert len(used) > 15
    assert set(used) <= set(page.ids)


def test_waveforms_show_peak_and_rms():
    block = np.zeros((2, 1000), np.float32)
    block[0, :432] = 0.5
    block[1, 440] = -1.0
    look = pictures.look([block], RATE)
    assert look.frames == 1000
    assert look.wave[:, 0].tolist() == [0.5, 1.0, 0.0]
    assert look.wave[0, 1] == pytest.approx(0.5 / np.sqrt(2))
    (wave,) = pictures.wave_bytes([look])
    assert list(wave[:4]) == [128, 90, 255, 9]


@pytest.mark.parametrize("sizes", [(40 * 2304,), (3 * 2304, 30 * 2304, 7 * 2304)])
def test_a_spectrogram_shows_a_tone_when_it_sounds_and_at_its_height(sizes):
    total = sum(sizes)
    tone = 0.5 * np.sin(2 * np.pi * 1000 * np.arange(total) / RATE)[None]
    tone[:, : 20 * 2304] = 0.0
    look = pictures.look(np.split(tone.astype(np.float32), np.cumsum(sizes)[:-1], axis=1), RATE)
    assert look.levels.shape == (40, pictures.HEIGHT)
    loud = look.levels.max(axis=1) > look.levels.max() - 24
    assert loud[21:].all()
    assert not loud[:19].any()
    row = int(look.levels[30].argmax())
    assert row == pytest.approx(pictures.place(1000.0, RATE) * pictures.HEIGHT, abs=1.5)
    assert look.levels[30].max() / 2 - 120 == pytest.approx(-6.0, abs=1.0)  # dB of full scale


def test_silence_has_a_page(tmp_path, short_chunks):
    sf.write(tmp_path / "a.wav", np.zeros(100), RATE)
    page = write(tmp_path / "page", "t", [Take("m", {"a": tmp_path / "a.wav"})])
    assert page.seconds == 100 / RATE


def test_tracks_of_any_shape_become_tracks_of_one(tmp_path):
    sf.write(tmp_path / "a.wav", music(1.0, rate=48_000), 48_000)
    sf.write(tmp_path / "b.wav", music(0.5, rate=16_000)[:, 0], 16_000)
    sf.write(tmp_path / "c.flac", np.tile(music(1.0, rate=48_000), 3), 48_000)
    stems = {path.stem: path for path in sorted(tmp_path.iterdir())}
    song = TrackSet.of([Take("m", stems)], None)
    assert (song.rate, song.channels, song.frames) == (48_000, 2, 48_000)
    assert len(song.notes) == 3
    for track in song.tracks:
        blocks = list(song.blocks(track, 10_000))
        assert [block.shape for block in blocks] == [(2, 10_000)] * 4 + [(2, 8_000)]
    silent = np.concatenate(list(song.blocks(song.tracks[1], 10_000)), axis=1)[:, 25_000:]
    assert not silent.any()


@pytest.mark.parametrize(
    ("rate", "played"),
    [(44_100, 44_100), (96_000, 48_000), (88_200, 44_100), (8_000, 48_000), (22_050, 44_100)],
)
def test_other_rates_are_played_at_one_that_mp3_has(rate, played):
    assert mp3.page_rate(rate) == played


# --- the command -------------------------------------------------------------------------------


def test_a_folder_becomes_a_page_beside_its_stems(folder, mssctl):
    done = mssctl("listen", folder, "--json")
    assert done.exit_code == 0
    (page,) = done.document["data"]["pages"]
    assert page["path"] == str(folder / "listen" / "index.html")
    assert page["stems"] == ["vocals", "drums", "bass"]
    assert page["mixture"] is True
    assert page["title"] == "song"
    files = [track["file"] for track in data_of(folder / "listen" / "index.html")["tracks"]]
    assert files == ["../Mixture.wav", "../vocals.wav", "../drums.wav", "../bass.wav"]
    again = mssctl("listen", folder)
    assert again.exit_code == 2
    assert "--overwrite" in again.stderr
    assert mssctl("listen", folder, "--overwrite").exit_code == 0


def test_a_folder_that_is_no_page_is_never_replaced(folder, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "diary.txt").write_text("x")
    with pytest.raises(MssctlError, match="exists already"):
        listen(folder, out=tmp_path / "mine", overwrite=True)
    assert (tmp_path / "mine" / "diary.txt").read_text() == "x"


def test_a_result_of_separate_becomes_a_page_per_song(folder, tmp_path, mssctl):
    stems = {stem: str(folder / f"{stem}.wav") for stem in ("vocals", "bass")}
    song = {"path": str(folder / "Mixture.wav"), "stems": stems, "speed": 12.34}
    other = {**song, "path": "gone/away.wav"}
    data = {"model": "starter", "license": "MIT", "songs": [song, other]}
    (tmp_path / "result.json").write_text(json.dumps({"schema": 1, "data": data}))
    result = listen(tmp_path / "result.json", out=tmp_path / "out")
    assert [page.title for page in result.pages] == ["Mixture", "away"]
    assert [page.mixture for page in result.pages] == [True, False]
    text = (tmp_path / "out" / "away" / "index.html").read_text(encoding="utf-8")
    assert "starter · MIT · 12.3 × real time · mp3 at 192 kbit/s, 32 kHz" in text
    assert mssctl("listen", tmp_path / "result.json", "--title", "x").exit_code == 2


def test_several_folders_are_compared_on_one_page(folder, tmp_path):
    second = tmp_path / "other" / "song"
    second.mkdir(parents=True)
    sf.write(second / "vocals.flac", music(3.0, 9), RATE)
    result = listen([folder, second], out=tmp_path / "page")
    (page,) = result.pages
    assert page.takes == ["models", "other"]
    tracks = data_of(tmp_path / "page" / "index.html")["tracks"]
    assert [(t["stem"], t["take"]) for t in tracks] == [
        ("mixture", None), ("vocals", 0), ("drums", 0), ("bass", 0), ("vocals", 1),
    ]  # fmt: skip
    twice = listen([folder, folder], out=tmp_path / "twice")
    assert twice.pages[0].takes == [str(folder)] * 2


@pytest.mark.parametrize(
    "content", ["[]", "{}", '{"data": null}', '{"data": {"model": "a", "songs": [{}]}}', "nothing"]
)
def test_what_is_no_result_is_refused(tmp_path, content):
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(MssctlError):
        listen(tmp_path / "a.json")


def test_a_folder_without_stems_is_refused_and_leaves_nothing(folder, tmp_path):
    with pytest.raises(MssctlError, match="no stems"):
        listen(folder.parent, out=tmp_path / "new" / "page")
    sf.write(folder / "vocals.flac", music(1.0), RATE)
    with pytest.raises(MssctlError, match="both vocals"):
        listen(folder)
    (folder / "vocals.flac").unlink()
    (folder / "other.wav").write_bytes(b"RIFF")
    with pytest.raises(MssctlError, match=r"other\.wav"):
        listen(folder, out=tmp_path / "new" / "page")
    assert not (tmp_path / "new").exists()
