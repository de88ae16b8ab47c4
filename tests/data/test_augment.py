"""Effects in an example: which stems they change, how often, and that nothing else changes."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile

from mssctl.config.schema import AudioConfig, DataConfig, TrainingConfig
from mssctl.data.augment import tempo
from mssctl.data.mixing import Mixer
from mssctl.data.songs import Song, StemFile
from mssctl.errors import ExitCode, MssctlError
from mssctl.models.run_config import RunConfig

OFF = {"remix": 0.0, "gain": 0.0, "stem_dropout": 0.0, "swap_channels": 0.0, "flip_polarity": 0.0,
       "redraws": 0}  # fmt: skip
STEMS = ("vocals", "drums", "bass")
PER_STEM = ("eq", "compress", "clip", "reverb")
WHOLE = ("mono", "codec")
WARPS = ("pitch", "tempo")
RATE, LENGTH = 44_100, 16_384


def mixer(song: Song, **data: object) -> Mixer:
    return Mixer(
        [song],
        RunConfig(
            audio=AudioConfig(stems=STEMS),
            training=TrainingConfig(segment_length=LENGTH),
            data=DataConfig(**{**OFF, **data}),
        ),
    )


@pytest.fixture(scope="module")
def song(tmp_path_factory) -> Song:
    """Vocals and drums are the same decaying noise, bass is silent."""
    folder = tmp_path_factory.mktemp("song")
    rng = np.random.default_rng(0)
    envelope = 0.1 + np.exp(-np.arange(RATE) % 5_000 / 500)
    audio = (0.1 * envelope[:, None] * rng.standard_normal((RATE, 2))).astype(np.float32)
    files = {}
    for stem in STEMS:
        path = folder / f"{stem}.wav"
        soundfile.write(path, 0 * audio if stem == "bass" else audio, RATE, subtype="FLOAT")
        files[stem] = StemFile(path, RATE, RATE, 2)
    return Song("s", folder, files)


def needs(effect: str) -> None:
    if effect in WARPS:
        pytest.importorskip("python_stretch", reason="needs python-stretch")


def test_with_everything_off_an_example_is_what_the_files_hold(song):
    example = mixer(song).example(0, 0)
    audio = soundfile.read(song.stems["vocals"].path, dtype="float32")[0].T
    (start,) = np.flatnonzero(audio[0] == example[0, 0, 0])
    np.testing.assert_array_equal(example[0], audio[:, start : start + LENGTH])
    np.testing.assert_array_equal(example[1], example[0])
    assert not example[2].any()


@pytest.mark.parametrize("effect", [*PER_STEM, *WHOLE, *WARPS])
def test_an_effect_changes_what_sounds_and_no_silence_and_repeats(song, effect):
    needs(effect)
    plain, changed = mixer(song), mixer(song, **{effect: 1.0})
    again = mixer(song, **{effect: 1.0})
    again.example(3, 3)
    for index in range(3):
        example = changed.example(0, index)
        assert np.isfinite(example).all()
        assert not np.array_equal(example[0], plain.example(0, index)[0])
        assert not example[2].any()
        np.testing.assert_array_equal(example, again.example(0, index))
    assert not np.array_equal(changed.example(1, 0), changed.example(0, 0))


@pytest.mark.parametrize("effect", PER_STEM)
def test_an_effect_on_stems_is_drawn_for_each_of_them(song, effect):
    example = mixer(song, **{effect: 1.0}).example(0, 0)
    assert not np.array_equal(example[0], example[1])  # the same sound, changed differently


@pytest.mark.parametrize("effect", [*WHOLE, *WARPS])
def test_an_effect_on_a_place_or_an_example_is_the_same_for_all_its_stems(song, effect):
    needs(effect)
    example = mixer(song, **{effect: 1.0}).example(0, 0)
    np.testing.assert_allclose(example[0], example[1], atol=1e-6)


@pytest.mark.parametrize("effect", [*PER_STEM, *WHOLE])
def test_an_effect_comes_as_often_as_asked(song, effect):
    plain, some = mixer(song), mixer(song, **{effect: 0.3})
    changed = [
        not np.array_equal(plain.example(0, index)[row], some.example(0, index)[row])
        for index in range(60)
        for row in range(2)
    ]
    assert 0.15 < np.mean(changed) < 0.45


def test_turning_an_effect_on_changes_no_draw_of_another(song):
    levels = {"gain": 0.5, "stem_dropout": 0.3, "flip_polarity": 0.5}
    without = mixer(song, **levels)
    for effect in ("eq", "reverb", "mono", "codec"):
        with_it = mixer(song, **levels, **{effect: 0.5, "clip": 0.0})
        same = [
            np.array_equal(without.example(0, index), with_it.example(0, index))
            for index in range(20)
        ]
        assert any(same)
        assert not all(same)


def test_gains_come_as_often_as_asked(song):
    plain, some = mixer(song), mixer(song, gain=0.5)
    same = [
        np.array_equal(plain.example(0, index)[row], some.example(0, index)[row])
        for index in range(60)
        for row in range(2)
    ]
    assert 0.3 < np.mean(same) < 0.7


def test_mono_makes_both_channels_their_mean(song):
    plain, mono = mixer(song).example(0, 0), mixer(song, mono=1.0).example(0, 0)
    np.testing.assert_array_equal(mono[:, 0], mono[:, 1])
    np.testing.assert_allclose(mono[:, 0], plain.mean(1), atol=1e-7)


@pytest.fixture(scope="module")
def tone(tmp_path_factory) -> Song:
    """A tone of 1 kHz that has a gap every 8000 frames."""
    folder = tmp_path_factory.mktemp("tone")
    time = np.arange(10 * RATE)
    audio = 0.3 * np.sin(2 * np.pi * 1_000 * time / RATE) * (time % 8_000 > 1_000)
    files = {}
    for stem in STEMS:
        path = folder / f"{stem}.wav"
        soundfile.write(path, np.stack([audio, audio], 1), RATE, subtype="FLOAT")
        files[stem] = StemFile(path, len(time), RATE, 2)
    return Song("t", folder, files)


def warped(tone: Song, **data: object) -> np.ndarray:
    pytest.importorskip("python_stretch", reason="needs python-stretch")
    config = RunConfig(
        audio=AudioConfig(stems=STEMS),
        training=TrainingConfig(segment_length=4 * RATE),
        data=DataConfig(**{**OFF, **data}),
    )
    return Mixer([tone], config).example(0, 0)[0, 0]


def pitch_of(audio: np.ndarray) -> float:
    return float(np.abs(np.fft.rfft(audio * np.hanning(len(audio)))).argmax()) * RATE / len(audio)


def gap_of(audio: np.ndarray) -> float:
    """Frames from one gap to the next."""
    level = np.convolve(np.abs(audio), np.ones(200) / 200, "same")
    level -= level.mean()
    match = np.fft.irfft(np.abs(np.fft.rfft(level, 2 * len(level))) ** 2)
    return float(4_000 + match[4_000:16_000].argmax())


def test_pitch_moves_frequencies_and_no_time(tone):
    audio = warped(tone, pitch=1.0, pitch_semitones=(2.0, 2.0))
    assert pitch_of(audio) == pytest.approx(1_000 * 2 ** (2 / 12), rel=0.005)
    assert gap_of(audio) == pytest.approx(8_000, rel=0.02)


def test_tempo_moves_time_and_no_frequencies(tone):
    audio = warped(tone, tempo=1.0, tempo_ratio=(1.25, 1.25))
    assert pitch_of(audio) == pytest.approx(1_000, rel=0.005)
    assert gap_of(audio) == pytest.approx(8_000 / 1.25, rel=0.02)


def test_without_the_library_pitch_and_tempo_are_refused_before_anything_starts(song, monkeypatch):
    monkeypatch.setattr(tempo, "find_spec", lambda name: None)
    mixer(song)
    for effect in WARPS:
        with pytest.raises(MssctlError, match="python-stretch") as caught:
            mixer(song, **{effect: 0.1})
        assert caught.value.exit_code == ExitCode.ENVIRONMENT
