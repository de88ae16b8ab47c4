"""Examples depend on seed, epoch and index alone, and every key of ``data`` has its effect."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile

from mssctl.config.schema import AudioConfig, DataConfig, TrainingConfig
from mssctl.data.mixing import Mixer
from mssctl.data.songs import Song, StemFile
from mssctl.models.run_config import RunConfig

PLAIN = {"remix": 0.0, "gain_db": (0.0, 0.0), "stem_dropout": 0.0, "swap_channels": 0.0,
         "flip_polarity": 0.0}  # fmt: skip
STEMS = ("vocals", "drums")
LENGTH = 4096


def config(seed: int = 0, **data: object) -> RunConfig:
    return RunConfig(
        audio=AudioConfig(sample_rate=8_000, stems=STEMS),
        training=TrainingConfig(segment_length=LENGTH, seed=seed),
        data=DataConfig(**{**PLAIN, **data}),
    )


@pytest.fixture
def songs(tmp_path):
    """Four songs; song k has the constant level (k+1)/10 in vocals, the negative in drums."""

    def song(number: int) -> Song:
        files = {}
        for stem, sign in zip(STEMS, (1, -1), strict=True):
            path = tmp_path / f"{number}-{stem}.wav"
            level = sign * (number + 1) / 10
            audio = np.full((20_000, 2), level, np.float32) * np.float32([1.0, 0.5])
            soundfile.write(path, audio, 8_000, subtype="FLOAT")
            files[stem] = StemFile(path, 20_000, 8_000, 2)
        return Song(str(number), tmp_path, files)

    return [song(number) for number in range(4)]


def levels(mixer: Mixer, count: int = 60) -> np.ndarray:
    """Left-channel level of each stem in some examples: ``(count, S)``."""
    return np.stack([mixer.example(0, index)[:, 0, 0] for index in range(count)])


def test_an_example_is_a_function_of_seed_epoch_and_index(songs):
    mixer = Mixer(songs, config(remix=0.5, gain_db=(-6, 6)))
    again = Mixer(songs, config(remix=0.5, gain_db=(-6, 6)))
    again.example(0, 0)
    again.example(7, 3)
    np.testing.assert_array_equal(mixer.example(1, 2), again.example(1, 2))
    other_seed = Mixer(songs, config(seed=1, remix=0.5, gain_db=(-6, 6)))
    for other in (mixer.example(1, 3), mixer.example(2, 2), other_seed.example(1, 2)):
        assert not np.array_equal(mixer.example(1, 2), other)


def test_without_remix_stems_come_from_one_song(songs):
    vocals, drums = levels(Mixer(songs, config(remix=0.0))).T
    np.testing.assert_array_equal(vocals, -drums)
    assert len(set(vocals)) == 4


def test_with_remix_stems_come_from_other_songs_than_the_first(songs):
    vocals, drums = levels(Mixer(songs, config(remix=1.0))).T
    assert 0.5 < np.mean(vocals != -drums) < 0.9  # two draws from four songs


def test_remix_works_with_a_single_song(songs):
    assert Mixer(songs[:1], config(remix=1.0)).example(0, 0)[0, 0, 0] == np.float32(0.1)


def test_gains_stay_in_their_range(songs):
    gains = 20 * np.log10(np.abs(levels(Mixer(songs[:1], config(gain_db=(-6, 3))))) / 0.1)
    assert gains.min() >= -6.001
    assert gains.max() <= 3.001
    assert gains.max() - gains.min() > 6


def test_polarity_and_channels_are_swapped_as_often_as_asked(songs):
    always = Mixer(songs[:1], config(flip_polarity=1.0, swap_channels=1.0)).example(0, 0)
    np.testing.assert_allclose(always[:, :, 0], [[-0.05, -0.1], [0.05, 0.1]], rtol=1e-6)
    half = levels(Mixer(songs[:1], config(flip_polarity=0.5)))
    assert 0.3 < np.mean(half[:, 0] < 0) < 0.7


def test_stems_are_dropped_but_never_all(songs):
    sound = levels(Mixer(songs, config(stem_dropout=1.0))) != 0
    assert (sound.sum(1) == 1).all()
    assert set(map(tuple, sound)) == {(True, False), (False, True)}
    sound = levels(Mixer(songs, config(stem_dropout=0.2)), 200) != 0
    assert 0.1 < np.mean(~sound) < 0.3


@pytest.mark.parametrize("remix", [0.0, 1.0])
def test_quiet_places_are_drawn_again(tmp_path, remix):
    audio = np.full((80_000, 2), 1e-4, np.float32)  # -80 dB
    audio[60_000:] = 0.1
    files = {}
    for stem in STEMS:
        files[stem] = StemFile(tmp_path / f"{stem}.wav", 80_000, 8_000, 2)
        soundfile.write(files[stem].path, audio, 8_000, subtype="FLOAT")
    songs = [Song("s", tmp_path, files)]

    def loud(redraws: int, active_db: float) -> float:
        mixer = Mixer(songs, config(remix=remix, redraws=redraws, active_db=active_db))
        return float(np.mean([mixer.example(0, index).max() > 0.05 for index in range(100)]))

    assert loud(redraws=0, active_db=-50.0) < 0.5
    assert loud(redraws=8, active_db=-50.0) > 0.85
    assert loud(redraws=8, active_db=-90.0) < 0.5
    assert loud(redraws=8, active_db=0.0) > 0.85  # the loudest of those tried


def test_a_missing_stem_is_silence_in_its_song_and_drawn_from_others(songs):
    lacking = [Song("x", songs[0].folder, {"vocals": songs[0].stems["vocals"]}), *songs[1:]]
    assert (levels(Mixer(lacking, config(remix=0.0)))[:, 1] == 0).any()
    assert (levels(Mixer(lacking, config(remix=1.0)))[:, 1] != 0).all()


def test_stems_of_samples_come_from_samples_of_their_own(songs):
    samples = [
        Song(f"{song.name}/{stem}", file.path, {stem: file}, loose=True)
        for song in songs
        for stem, file in song.stems.items()
    ]
    vocals, drums = levels(Mixer(samples, config(remix=0.0))).T
    assert (vocals > 0).all()
    assert (drums < 0).all()
    assert 0.5 < np.mean(vocals != -drums) < 0.95


def test_balanced_draws_a_song_of_a_rare_stem_as_often_as_any(songs):
    rare = [Song(one.name, one.folder, {"vocals": one.stems["vocals"]}) for one in songs[1:]]
    some = [songs[0], *rare]  # drums in one of four songs
    with_drums = [
        np.mean(levels(Mixer(some, config(balanced=balanced)), 200)[:, 1] != 0.0)
        for balanced in (False, True)
    ]
    assert with_drums == pytest.approx([1 / 4, 1 / 2 + 1 / 8], abs=0.08)
