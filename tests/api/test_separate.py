"""``separate``: outputs that match the input, and inputs that are refused without a trace."""

from __future__ import annotations

import errno
import io
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import torch
from torch import Tensor

from encoded import NO_XING, VBR, encode
from mssctl.api.separate import separate
from mssctl.audio import files
from mssctl.config.schema import AudioConfig, TrainingConfig
from mssctl.errors import ExitCode, MssctlError
from mssctl.events import Notice, Progress
from mssctl.models import weights
from mssctl.models.base import Separator
from mssctl.models.run_config import RunConfig
from mssctl.options.separate import SeparateOptions
from mssctl.results.common import FileFailure

CONFIG = RunConfig(
    audio=AudioConfig(stems=("vocals", "drums", "rest")),
    training=TrainingConfig(segment_length=11_025),
)


class Fake(Separator):
    """Gives each stem a fixed share of the mixture; together less than all of it."""

    def forward(self, mix: Tensor) -> Tensor:
        return torch.stack([mix * share for share in (0.5, 0.2, 0.1)], dim=1)


@pytest.fixture(autouse=True)
def model(monkeypatch, tmp_path) -> Separator:
    """Whatever model is asked for, it is the fake one. Work happens in an empty folder."""
    fake = Fake(CONFIG.audio)
    loaded = weights.LoadedModel(fake, CONFIG, {}, "fake", Path("fake.safetensors"), "")
    monkeypatch.setattr(weights, "find", lambda name: Path(f"{name}.safetensors"))
    monkeypatch.setattr(weights, "read_metadata", lambda path: (CONFIG, {}))
    monkeypatch.setattr(weights, "load", lambda name, device: loaded)
    monkeypatch.chdir(tmp_path)
    return fake


def song(
    name: str = "song.wav",
    frames: int = 30_000,
    channels: int = 2,
    rate: int = 44_100,
    subtype: str = "PCM_16",
) -> Path:
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = np.random.default_rng(1).uniform(-0.9, 0.9, (frames, channels))
    sf.write(path, samples, rate, subtype=subtype)
    return path


def tree() -> set[str]:
    """All files and folders that there are."""
    return {path.as_posix() for path in Path().rglob("*")}


def only_failure(*songs: str | Path, **settings) -> FileFailure:
    """Separate what must fail; nothing may be there afterwards that was not before."""
    before = tree()
    result = separate(list(songs), **settings)
    assert result.songs == []
    assert tree() == before
    (failure,) = result.failures
    return failure


STEP = {"PCM_16": 2.0**-15, "PCM_24": 2.0**-23, "FLOAT": 3e-7}


@pytest.mark.parametrize(
    ("frames", "channels", "rate", "subtype"),
    [
        (30_000, 2, 44_100, "PCM_16"),
        (1, 2, 44_100, "PCM_16"),
        (30_000, 2, 44_100, "PCM_24"),
        (30_000, 2, 44_100, "FLOAT"),
        (8_001, 1, 8_000, "PCM_16"),
        (30_001, 6, 44_100, "PCM_16"),
        (90_000, 2, 192_000, "PCM_24"),
        (3, 1, 192_000, "PCM_16"),
    ],
)
def test_stems_have_rate_channels_and_length_of_the_song_and_add_up(
    frames, channels, rate, subtype
):
    path = song(frames=frames, channels=channels, rate=rate, subtype=subtype)
    (done,) = separate([path], out="out").songs
    assert list(done.stems) == ["vocals", "drums", "rest"]
    assert (done.sample_rate, done.channels, done.seconds) == (rate, channels, frames / rate)
    assert done.speed > 0
    total = np.zeros((frames, channels))
    for stem in done.stems.values():
        info = sf.info(stem)
        assert (info.samplerate, info.subtype) == (rate, subtype)
        total += sf.read(stem, always_2d=True)[0]
    assert np.abs(total - sf.read(path, always_2d=True)[0]).max() <= STEP[subtype]


@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("song.mp3", {}),
        ("no_header.mp3", {"options": VBR, "container_options": NO_XING}),
        ("song.m4a", {}),
        ("song.opus", {}),
        ("clip.webm", {"video": True}),
        ("song.stem.mp4", {"format": "mp4", "streams": 5}),
        ("song.flac", {"seekable": False}),
    ],
)
def test_stems_of_coded_songs_have_what_the_decoder_gives_and_add_up_to_it(name, how):
    rate = 48_000 if name.endswith(("opus", "webm")) else 44_100
    samples = np.random.default_rng(1).uniform(-0.5, 0.5, (2, 30_000))
    path = encode(Path(name), samples, rate, **how)
    (done,) = separate([path], out="out").songs
    mixture = np.concatenate(list(files.blocks(path, 65_536)), axis=1).T
    assert done.seconds == len(mixture) / rate
    if name != "no_header.mp3":  # where delay and padding are stated, they are gone
        assert len(mixture) == 30_000
    total = sum(sf.read(stem, always_2d=True)[0] for stem in done.stems.values())
    assert np.abs(total - mixture).max() <= STEP["PCM_16"]
    assert [note for note in done.notes if "streams" in note] == (
        ["5 audio streams: the first is used"] if "stem" in name else []
    )


def test_what_a_song_states_wrongly_is_in_its_notes_and_its_length_is_that_of_the_stems():
    one = encode(Path("one.flac"), np.zeros((2, 9_000)), 44_100)
    path = Path("joined.flac")
    path.write_bytes(one.read_bytes() * 2)
    (done,) = separate([path], out="out").songs
    assert done.seconds == 18_000 / 44_100
    assert sf.info(done.stems["vocals"]).frames == 18_000
    assert any("2 streams one after the other" in note for note in done.notes)


def test_stems_are_what_the_model_gives_and_an_equal_part_of_what_it_lacks():
    path = song()
    (done,) = separate([path], out="out").songs
    mix, vocals = sf.read(path)[0], sf.read(done.stems["vocals"])[0]
    np.testing.assert_allclose(vocals, mix * (0.5 + 0.2 / 3), atol=2**-14)


@pytest.mark.parametrize(
    ("channels", "rate", "words"),
    [
        (1, 44_100, ["mono: given to both channels of the model"]),
        (2, 44_100, []),
        (6, 44_100, ["6 channels: through the model one group at a time: 1+2, 3+4, 5+6"]),
        (2, 8_000, ["8000 Hz: resampled to 44100 Hz for the model and back"]),
        (2, 192_000, ["192000 Hz: resampled", "above 22050 Hz is shared equally"]),
    ],
)
def test_what_was_done_is_stated(channels, rate, words):
    (done,) = separate([song(channels=channels, rate=rate)], out="out").songs
    assert len(done.notes) == len(words)
    for note, word in zip(done.notes, words, strict=True):
        assert word in note


def test_the_default_folder_is_named_after_the_model():
    result = separate([song()], name="fake")
    assert result.songs[0].stems["drums"] == "separated/fake/song/drums.wav"
    assert (result.model, result.device, result.dtype) == ("fake", "cpu", "fp32")
    assert tree() - {"song.wav", "separated", "separated/fake", "separated/fake/song"} == {
        f"separated/fake/song/{stem}.wav" for stem in ("vocals", "drums", "rest")
    }
    assert separate([song()], name="fake", out="half", dtype="fp16").dtype == "fp16"


@pytest.mark.parametrize(
    ("settings", "files"),
    [
        ({"two_stems": "drums"}, {"drums.wav", "no_drums.wav"}),
        ({"two_stems": "drums", "other_method": "minus"}, {"drums.wav", "minus_drums.wav"}),
        ({"two_stems": "drums", "other_method": "none"}, {"drums.wav"}),
        ({"stems": ["rest", "vocals"]}, {"rest.wav", "vocals.wav"}),
        ({"format": "flac"}, {"vocals.flac", "drums.flac", "rest.flac"}),
    ],
)
def test_the_outputs_asked_for_are_written(settings, files):
    separate([song()], out="out", filename="{stem}.{ext}", **settings)
    assert {path.name for path in Path("out").iterdir()} == files


@pytest.mark.parametrize("format_", ["wav", "flac"])
def test_two_stems_add_up_to_the_song(format_):
    path = song()
    (done,) = separate([path], out="out", two_stems="vocals", format=format_).songs
    total = sum(sf.read(stem)[0] for stem in done.stems.values())
    np.testing.assert_array_equal(total, sf.read(path)[0])


def test_mp3_has_the_length_of_the_song():
    (done,) = separate([song(frames=60_001)], out="out", format="mp3").songs
    assert {sf.info(stem).frames for stem in done.stems.values()} == {60_001}
    assert "lossy" in done.notes[0]


def test_loud_float_songs_are_scaled_only_where_the_format_would_clip():
    path = song(subtype="FLOAT")
    samples, rate = sf.read(path)
    sf.write(path, samples * 4, rate, subtype="FLOAT")
    (kept,) = separate([path], out="a").songs
    assert kept.notes == []
    (scaled,) = separate([path], out="b", bit_depth="16").songs
    assert "all stems scaled by" in " ".join(scaled.notes)
    assert "FLOAT in, PCM_16 out" in scaled.notes


@pytest.mark.parametrize(
    "name", ["with space.wav", "Lied – Ünïcödé 歌.wav", "-dash.wav", "{a}.wav"]
)
def test_any_file_name_will_do(name):
    result = separate([song(name)], out="out")
    assert result.failures == []
    assert (Path("out") / name.removesuffix(".wav") / "drums.wav").is_file()


def test_a_folder_is_walked_and_one_bad_song_does_not_stop_the_others():
    song("in/a.wav")
    Path("in/b.wav").write_text("not music")
    song("in/c.wav")
    result = separate(["in", "gone.wav"], out="out")
    assert [Path(done.path).name for done in result.songs] == ["a.wav", "c.wav"]
    assert [failure.path for failure in result.failures] == ["in/b.wav", "gone.wav"]


def test_fail_fast_stops_before_any_work_if_a_header_is_bad():
    song("a.wav")
    Path("b.wav").write_text("not music")
    assert only_failure("a.wav", "b.wav", out="out", fail_fast=True).path == "b.wav"


def test_fail_fast_stops_at_the_song_that_fails():
    for name in "abc":
        song(f"{name}.wav", subtype="FLOAT")
    bad, rate = sf.read("b.wav")
    bad[100] = np.nan
    sf.write("b.wav", bad, rate, subtype="FLOAT")
    songs = [Path(f"{name}.wav") for name in "abc"]
    stopped = separate(songs, out="x", fail_fast=True)
    assert [done.path for done in stopped.songs] == ["a.wav"]
    events = []
    going_on = separate(songs, out="y", report=events.append)
    assert [done.path for done in going_on.songs] == ["a.wav", "c.wav"]
    assert Notice("b.wav failed, continuing", level="warning") in events


def test_progress_ends_with_the_length_of_the_song_and_says_how_fast():
    events = []
    separate([song(frames=441_000)], out="out", report=events.append)
    steps = [event for event in events if isinstance(event, Progress)]
    assert [step.done for step in steps] == sorted(step.done for step in steps)
    assert (steps[-1].done, steps[-1].total, steps[-1].unit) == (10, 10, "s")
    assert (steps[-1].rate or 0) > 0
    assert steps[-1].rate_unit == "x real time"


# --- bad input -------------------------------------------------------------------------------


def test_a_missing_file():
    failure = only_failure("gone.wav")
    assert (failure.error, failure.exit_code) == ("no such file", ExitCode.BAD_INPUT)


def test_a_folder_without_audio():
    Path("empty").mkdir()
    failure = only_failure("empty")
    assert failure.error == "no audio files in this folder"
    assert failure.exit_code == ExitCode.BAD_INPUT


def test_a_text_file_called_wav():
    Path("notes.wav").write_text("not music")
    failure = only_failure("notes.wav")
    assert "not an audio file" in failure.error
    assert failure.exit_code == ExitCode.BAD_INPUT


def test_a_truncated_wav():
    path = song()
    path.write_bytes(path.read_bytes()[:50_000])
    failure = only_failure(path)
    assert failure.error.startswith("cut off: 70044 bytes")
    assert failure.exit_code == ExitCode.BAD_INPUT


def test_a_truncated_flac_which_shows_only_on_the_way():
    path = song("song.flac", frames=200_000)
    path.write_bytes(path.read_bytes()[:300_000])
    failure = only_failure(path)
    assert "cut off" in failure.error
    assert failure.exit_code == ExitCode.BAD_INPUT


def test_zero_frames():
    failure = only_failure(song(frames=0))
    assert (failure.error, failure.exit_code) == ("no audio frames", ExitCode.BAD_INPUT)
    assert failure.hint == "check that the file is complete"


def test_nan_samples():
    path = song(frames=200_000, subtype="FLOAT")
    samples, rate = sf.read(path)
    samples[150_000, 0] = np.nan
    sf.write(path, samples, rate, subtype="FLOAT")
    failure = only_failure(path)
    assert failure.error == "NaN or infinite sample at 3.401 s"
    assert failure.exit_code == ExitCode.BAD_INPUT


def test_an_unreadable_file(monkeypatch):
    path = song()
    read = Path.open

    def refuse(self: Path, *args: str) -> object:
        if self == path:
            raise PermissionError(errno.EACCES, "Permission denied")
        return read(self, *args)

    monkeypatch.setattr(Path, "open", refuse)
    failure = only_failure(path)
    assert failure.error == "cannot be read: Permission denied"
    assert failure.exit_code == ExitCode.BAD_INPUT


def test_an_output_folder_that_is_a_file():
    song()
    Path("out").write_text("mine")
    before = tree()
    with pytest.raises(
        MssctlError, match="out: cannot be written: a file is in the place"
    ) as caught:
        separate(["song.wav"], out="out")
    assert caught.value.exit_code == ExitCode.ENVIRONMENT
    assert tree() == before


def test_an_output_folder_without_permission(monkeypatch):
    song()
    monkeypatch.setattr("mssctl.separation.outputs.os.access", lambda *_: False)
    before = tree()
    with pytest.raises(MssctlError, match="out: cannot be written: no permission") as caught:
        separate(["song.wav"], out="out")
    assert caught.value.exit_code == ExitCode.ENVIRONMENT
    assert tree() == before


def test_a_full_disk(monkeypatch):
    path = song()

    def full(**_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("tempfile.TemporaryFile", full)
    failure = only_failure(path, out="out")
    assert failure.error == "out: cannot be written: the disk is full"
    assert failure.exit_code == ExitCode.ENVIRONMENT


def test_ctrl_c_leaves_nothing(model, monkeypatch):
    path = song(frames=100_000)
    calls = 0

    def interrupted(mix: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        if calls == 5:
            raise KeyboardInterrupt
        return torch.stack([mix] * 3, dim=1)

    monkeypatch.setattr(model, "forward", interrupted)
    before = tree()
    with pytest.raises(KeyboardInterrupt):
        separate([path], out="out")
    assert calls == 5
    assert tree() == before


def test_memory_that_is_not_there_is_no_bug(model, monkeypatch):
    def too_much(mix: Tensor) -> Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")

    monkeypatch.setattr(model, "forward", too_much)
    failure = only_failure(song())
    assert failure.error.startswith("out of memory: CUDA out of memory")
    assert failure.exit_code == ExitCode.BAD_INPUT
    assert "`segment`" in (failure.hint or "")


# --- before any work -------------------------------------------------------------------------


@pytest.fixture
def no_work(monkeypatch) -> None:
    """Loading the weights is already too late."""
    monkeypatch.setattr(weights, "load", lambda *_: pytest.fail("weights were loaded"))


@pytest.mark.parametrize(
    ("settings", "words", "code"),
    [
        ({"overlap": 1.0}, "`overlap`", ExitCode.USAGE),
        ({"segment": 0.0}, "`segment`", ExitCode.USAGE),
        ({"batch": 0}, "`batch`", ExitCode.USAGE),
        ({"shifts": 0}, "`shifts`", ExitCode.USAGE),
        ({"stems": ["piano"]}, "no stem 'piano'", ExitCode.USAGE),
        ({"filename": "../{stem}.wav"}, "below the output folder", ExitCode.USAGE),
        ({"format": "flac", "bit_depth": "float32"}, "flac holds", ExitCode.USAGE),
        ({"device": "tpu9"}, "device", ExitCode.ENVIRONMENT),
    ],
)
@pytest.mark.usefixtures("no_work")
def test_settings_of_no_use_are_refused_before_any_work(settings, words, code):
    song()
    before = tree()
    with pytest.raises(MssctlError, match=words) as caught:
        separate(["song.wav"], **settings)
    assert caught.value.exit_code == code
    assert tree() == before


@pytest.mark.usefixtures("no_work")
def test_two_songs_for_one_path_are_refused_before_any_work():
    song("a/song.wav")
    song("b/song.wav")
    with pytest.raises(MssctlError, match="would be written there") as caught:
        separate(["a", "b"])
    assert caught.value.exit_code == ExitCode.USAGE
    assert "separated" not in tree()


def test_one_song_needs_no_list():
    assert separate("song.wav").failures[0].path == "song.wav"
    assert len(separate(song("other.wav"), out="out").songs) == 1


@pytest.mark.parametrize(
    ("subtype", "settings", "note"),
    [
        ("PCM_32", {}, "PCM_32 in, PCM_24 out"),
        ("DOUBLE", {}, "DOUBLE in, FLOAT out"),
        ("FLOAT", {"format": "flac"}, "FLOAT in, PCM_24 out"),
        ("PCM_24", {"bit_depth": "16"}, "PCM_24 in, PCM_16 out"),
    ],
)
def test_a_coarser_sample_format_is_said(subtype, settings, note):
    (done,) = separate(song(subtype=subtype), out="out", **settings).songs
    assert note in done.notes


def test_memory_that_does_not_suffice_fails_the_song_and_names_the_way_out(monkeypatch):
    monkeypatch.setattr(SeparateOptions, "__post_init__", lambda self: None)
    failure = only_failure(song(), segment=1e9)
    assert "out of memory" in failure.error
    assert "`segment`" in (failure.hint or "")


def test_a_seed_without_shifts_is_refused() -> None:
    with pytest.raises(MssctlError, match="`seed` does nothing without `shifts`") as caught:
        separate(song(), seed=1)
    assert caught.value.exit_code == ExitCode.USAGE
    assert separate(song(), seed=1, shifts=2).failures == []


@pytest.mark.parametrize(
    ("settings", "length", "rate"),
    [
        ({"start": 0.1}, 30_000 - 4_410, 44_100),
        ({"start": 0.1, "duration": 0.2}, 8_820, 44_100),
        ({"duration": 99.0}, 30_000, 44_100),
        ({"sample_rate": 48_000}, 32_654, 48_000),
        ({"sample_rate": 22_050, "duration": 0.5}, 11_025, 22_050),
    ],
)
def test_an_excerpt_and_another_rate(settings, length, rate):
    (done,) = separate(song(), out="out", **settings).songs
    stems = [files.read(Path(path)) for path in done.stems.values()]
    assert {stem.shape for stem in stems} == {(2, length)}
    assert (done.sample_rate, done.seconds) == (rate, length / rate)
    if rate == 44_100:
        at = round(settings.get("start", 0) * rate)
        wanted = files.read(Path("song.wav"), at, length)
        assert np.abs(sum(stems) - wanted).max() <= 2**-15
    kept = separate(song(), out="out", existing="skip", **settings)
    assert kept.songs[0].notes == ["kept: the outputs exist already"]


def test_an_excerpt_beyond_the_end_fails_the_song():
    assert "before `start` 2 s" in only_failure(song(), start=2.0).error
    assert "less than a sample" in only_failure(song(), duration=0.0).error


@pytest.mark.parametrize("format_", ["m4a", "ogg", "opus", "aiff"])
def test_other_formats_have_the_length_of_the_song(format_):
    (done,) = separate(song(frames=48_000, rate=48_000), out="out", format=format_).songs
    stems = [files.read(Path(path)) for path in done.stems.values()]
    assert {stem.shape for stem in stems} == {(2, 48_000)}
    assert all(Path(path).suffix == f".{format_}" for path in done.stems.values())
    if format_ == "aiff":
        assert np.abs(sum(stems) - files.read(Path("song.wav"))).max() <= 2**-15


def test_opus_is_written_at_its_own_rate_and_says_so():
    (done,) = separate(song(), out="out", format="opus").songs
    assert done.sample_rate == 48_000
    assert "stems at 48000 Hz, the song has 44100 Hz" in done.notes


def test_one_gain_for_all_stems_is_reported():
    (done,) = separate(song(), out="out", normalize=-12.0).songs
    stems = [files.read(Path(path)) for path in done.stems.values()]
    assert max(np.abs(stem).max() for stem in stems) == pytest.approx(10**-0.6, abs=1e-4)
    assert np.abs(sum(stems) - done.gain * files.read(Path("song.wav"))).max() <= 2**-15


def test_lists_of_songs(monkeypatch):
    song("a.wav")
    song("b.wav")
    Path("list.txt").write_text("# mine\na.wav\n\nb.wav\n", encoding="utf-8")
    assert [Path(s.path).name for s in separate("@list.txt", out="1").songs] == ["a.wav", "b.wav"]
    monkeypatch.setattr("sys.stdin", io.StringIO("a.wav\nb.wav\n"))
    assert len(separate("-", out="2").songs) == 2
    Path("empty.txt").write_text("# nothing\n", encoding="utf-8")
    assert "no songs in this list" in only_failure("@empty.txt").error
    assert "cannot be read" in only_failure("@gone.txt").error


class Swapper(Fake):
    """Gives the left channel to one stem and the right one to another: it hears sides."""

    def forward(self, mix: Tensor) -> Tensor:
        left, right = mix[:, :1], mix[:, 1:]
        return torch.stack([left.expand_as(mix), right.expand_as(mix), 0.1 + 0 * mix], dim=1)


def test_tta_averages_over_polarity_and_sides(model, monkeypatch):
    monkeypatch.setattr(model, "forward", Swapper(CONFIG.audio).forward)
    (done,) = separate(song(), out="out", tta=True, bit_depth="float32").songs
    stems = {name: files.read(Path(path)) for name, path in done.stems.items()}
    mix = files.read(Path("song.wav"))
    left, right = mix
    wanted = {"vocals": (2 * left + right) / 3, "drums": (left + 2 * right) / 3, "rest": 0.1 / 3}
    missing = mix - sum(np.broadcast_to(one, mix.shape) for one in wanted.values())
    for name, one in wanted.items():
        np.testing.assert_allclose(stems[name], one + missing / 3, atol=1e-6)


def test_a_page_lies_beside_the_stems_and_is_made_again():
    for _ in range(2):
        (done,) = separate(song(), out="out", page=True, existing="overwrite").songs
        assert done.page == "out/song/song page/index.html"
        assert "vocals" in Path(done.page).read_text(encoding="utf-8")


def test_a_page_is_kept_or_an_error_unless_it_may_be_replaced():
    page = Path(separate(song(), out="out", page=True).songs[0].page)
    made = page.stat().st_mtime_ns
    (kept,) = separate(song(), out="out", page=True, existing="skip").songs
    assert (kept.page, page.stat().st_mtime_ns) == (str(page), made)
    for stem in Path("out/song").glob("*.wav"):
        stem.unlink()
    (failed,) = separate(song(), out="out", page=True).failures
    assert failed.path == "out/song/song page"
    assert page.stat().st_mtime_ns == made


def test_a_page_that_cannot_be_written_fails_alone():
    Path("out/song/song page").mkdir(parents=True)
    Path("out/song/song page/mine.txt").write_text("mine", encoding="utf-8")
    result = separate(song(), out="out", page=True)
    assert [one.path for one in result.failures] == ["out/song/song page"]
    assert Path("out/song/song page/mine.txt").read_text(encoding="utf-8") == "mine"
    assert Path("out/song/vocals.wav").is_file()
