"""Varied songs: the vocoder, what is played and mixed, and songs that are still exact sums."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from mssctl.audio.effects import rms
from mssctl.errors import ExitCode, MssctlError
from mssctl.options.data import SynthOptions
from mssctl.synth import vocoder
from mssctl.synth.ensemble import section, soloist
from mssctl.synth.generate import synthesize
from mssctl.synth.material import STEMS, Sample, SampleReader, estimate_midi
from mssctl.synth.mix import _colored, balance, coded, limit
from mssctl.synth.other import _arrangement, play_other
from mssctl.synth.score import Note, write_score
from mssctl.synth.studio import Studio
from mssctl.synth.vocals import choose_voice
from mssctl.synth.vocoder import Singer, Take, draw_singer, draw_takes, sing_again

RATE = 16_000


@pytest.fixture
def world():
    """The tests that sing again need the package."""
    pytest.importorskip("pyworld", reason="pyworld is not installed", exc_type=ImportError)


def vowel(hz=150.0, seconds=1.0, formant=1000.0, rate=RATE):
    t = np.arange(int(seconds * rate)) / rate
    harmonics = hz * np.arange(1, int(0.45 * rate / hz))
    voice = sum(np.sin(2 * np.pi * h * t) / (1 + ((h - formant) / 150) ** 2) for h in harmonics)
    return np.tile(np.asarray(0.2 * voice, np.float32), (2, 1))


def stems(seconds=1.0):
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((4, 2, int(seconds * RATE))).astype(np.float32) * np.float32(0.03)
    noise[1, :, ::4000] *= 30  # drums have peaks
    return dict(zip(STEMS, noise, strict=True))


def sung(singer, track, seed=0):
    return sing_again(track, [Take(singer, 1.0, 0.0)], np.random.default_rng(seed), RATE)


def centroid(audio):
    power = np.abs(np.fft.rfft(audio[0])) ** 2
    return np.average(np.fft.rfftfreq(audio.shape[1], 1 / RATE), weights=power)


@pytest.mark.parametrize("pitch", [-5.0, 0.0, 7.0])
def test_the_vocoder_moves_the_pitch(world, pitch):
    track = vowel()
    moved = sung(Singer(pitch=pitch), track)
    assert moved.shape == track.shape
    before = estimate_midi(track, RATE)
    assert estimate_midi(moved, RATE) == pytest.approx(before + pitch, abs=0.4)
    assert rms(moved) == pytest.approx(rms(track), rel=0.5)


@pytest.mark.parametrize("formants", [0.8, 1.25])
def test_the_vocoder_moves_the_formants_and_not_the_pitch(world, formants):
    moved = sung(Singer(formants=formants), vowel())
    assert centroid(moved) / centroid(vowel()) == pytest.approx(formants, rel=0.1)
    assert estimate_midi(moved, RATE) == pytest.approx(estimate_midi(vowel(), RATE), abs=0.4)


def test_breath_fills_the_gaps_between_harmonics_and_effort_brightens(world):
    rate = 44_100
    voice = vowel(rate=rate)

    def changed(singer):
        track = sing_again(voice, [Take(singer, 1.0, 0.0)], np.random.default_rng(0), rate)
        power = np.abs(np.fft.rfft(track[0, rate // 4 : 3 * rate // 4])) ** 2
        hz = np.fft.rfftfreq(rate // 2, 1 / rate)
        high, off = abs(hz - 2500) < 500, np.abs((hz / 150 + 0.5) % 1 - 0.5) > 0.3
        return power[off & high].sum() / power[high].sum(), power[hz > 2000].sum() / power.sum()

    same, breathy, loud = map(changed, (Singer(), Singer(breath=0.7), Singer(effort=3.0)))
    assert breathy[0] > 1.3 * same[0]
    assert loud[1] > 1.5 * same[1]


def test_long_tracks_are_cut_where_they_are_quiet(world, monkeypatch):
    monkeypatch.setattr(vocoder, "_LONGEST", 1.0)
    track = np.concatenate([vowel(), np.zeros((2, RATE // 10), np.float32), vowel()], axis=1)
    parts = vocoder._parts(track.mean(axis=0), RATE)
    assert [a for a, _ in parts[1:]] == [b for _, b in parts[:-1]]
    assert all(b - a <= RATE for a, b in parts)
    whole = np.zeros((2, 3 * RATE), np.float32)
    assert not sung(Singer(), whole).any()
    assert sung(Singer(), track).shape == track.shape


def test_singers_stay_human_and_differ():
    rng = np.random.default_rng(0)
    singers = [draw_singer(rng, float(pitch)) for pitch in range(-10, 5) for _ in range(20)]
    assert len(set(singers)) == len(singers)
    assert all(0.8 <= singer.formants <= 1.25 for singer in singers)
    takes = [len(draw_takes(rng, singers[0])) for _ in range(200)]
    assert min(takes) == 1
    assert max(takes) > 3


@pytest.mark.parametrize("make", [section, soloist])
def test_sustained_instruments_hold_their_pitch(make):
    for seed in range(12):
        play = make(np.random.default_rng(seed), RATE)
        sound = play(Note(0.0, 1.0, 57.0, 0.8), np.random.default_rng(seed))
        assert np.isfinite(sound).all()
        last = sound[:, int(0.6 * RATE) : int(0.9 * RATE)]
        assert rms(last) > 0.2 * rms(sound)


def test_a_limiter_lowers_the_peaks_of_the_sum_and_nothing_else():
    before = stems()
    after = limit(before, 6.0, 0.02, RATE)
    total = sum(before.values())
    peak, limited = np.abs(total).max(), np.abs(sum(after.values())).max()
    assert limited <= peak * 10 ** (-6 / 20) * 1.01
    gains = [after[kind] / before[kind] for kind in STEMS]
    np.testing.assert_allclose(gains[0], gains[1], rtol=1e-4)
    assert gains[0].max() == pytest.approx(1)


def test_mp3_keeps_length_place_and_silence():
    before = {**stems(), "vocals": vowel()}
    before["bass"] = np.zeros_like(before["vocals"])
    after = coded(before, 0.5, RATE)
    assert all(after[kind].shape == before[kind].shape for kind in STEMS)
    assert not after["bass"].any()
    lags = np.arange(-3, 4)
    a, b = before["vocals"][0, 4000:9000], after["vocals"][0]
    fits = [np.corrcoef(a, b[4000 + lag : 9000 + lag])[0, 1] for lag in lags]
    assert lags[int(np.argmax(fits))] == 0
    assert max(fits) > 0.95


def test_some_varied_songs_have_a_quiet_accompaniment_under_loud_drums():
    distances = []
    for seed in range(40):
        out = balance(stems(0.3), np.random.default_rng(seed), RATE, varied=True)
        distances.append(20 * np.log10(rms(out["drums"]) / rms(out["other"])))
    plain = [
        20 * np.log10(rms(out["drums"]) / rms(out["other"]))
        for seed in range(40)
        for out in [balance(stems(0.3), np.random.default_rng(seed), RATE)]
    ]
    assert sum(d > 9 for d in distances) > 4 + sum(d > 9 for d in plain)


def test_the_accompaniment_of_varied_songs_differs_and_sounds(world):
    made = []
    for varied in (False, True):
        studio = Studio({}, SampleReader(RATE), 4.0, varied=varied)
        rng = np.random.default_rng(1)
        made.append(play_other(studio, write_score(rng, 4.0), rng, 0.0))
    assert made[1].any()
    assert not np.array_equal(*made)


def test_varied_songs_are_exact_sums_and_repeat_by_seed(world, tmp_path):
    options = SynthOptions(
        hours=3 * 3 / 3600, song_seconds=3.0, valid_fraction=0.0, workers=1, seed=5, varied=True
    )
    for name in ("one", "two"):
        synthesize(tmp_path / name, options, sample_rate=RATE)
    assert "pyworld" in json.loads((tmp_path / "one/index.json").read_text())["versions"]
    for song in sorted((tmp_path / "one/train").iterdir()):
        audio = {n: soundfile.read(song / f"{n}.wav", dtype="int16")[0] for n in STEMS}
        mixture = soundfile.read(song / "mixture.wav", dtype="int16")[0]
        np.testing.assert_array_equal(mixture, sum(a.astype(np.int32) for a in audio.values()))
        again = tmp_path / "two/train" / song.name / "mixture.wav"
        assert again.read_bytes() == (song / "mixture.wav").read_bytes()


def test_most_voices_of_varied_songs_are_sung_again_and_no_singer_returns():
    def voices(varied):
        studio = Studio({}, SampleReader(RATE), 4.0, varied=varied)
        studio.library = {
            "vocals": [Sample(Path("la.wav"), "vocals/one/la.wav", "vocals", "one", 57.0)]
        }
        return [choose_voice(studio, np.random.default_rng(seed)) for seed in range(60)]

    assert all(voice.singer is None for voice in voices(False))
    singers = [voice.singer for voice in voices(True) if voice.singer is not None]
    assert 40 < len(singers) < 60
    assert len(set(singers)) == len(singers)
    # The vocoder moves the pitch: what it listens to stays as recorded.
    assert {voice.pitch for voice in voices(True) if voice.singer is not None} == {0.0}


def test_some_voices_are_in_a_room_on_the_telephone_or_distorted():
    voice = vowel()
    made = [_colored(voice, np.random.default_rng(seed), RATE) for seed in range(60)]
    assert all(np.isfinite(track).all() and track.shape == voice.shape for track in made)
    left_alone = sum(np.array_equal(track, voice) for track in made)
    assert 15 < left_alone < 45
    wide = sum(not np.array_equal(track[0], track[1]) for track in made)  # a room has two sides
    assert 12 < wide < 40


def test_some_accompaniments_are_sustained_and_some_sparse():
    drawn = [_arrangement(np.random.default_rng(seed), ["chords"], 0.1) for seed in range(60)]
    assert sum(roles[0] == "pad" and rest == 0 for roles, rest in drawn) > 8
    assert sum(len(roles) == 1 and rest > 0.5 for roles, rest in drawn) > 4


def test_without_pyworld_varied_is_refused_and_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(vocoder, "find_spec", lambda name: None)
    with pytest.raises(MssctlError, match="pyworld") as caught:
        synthesize(tmp_path / "out", SynthOptions(varied=True))
    assert caught.value.exit_code == ExitCode.ENVIRONMENT
    assert not (tmp_path / "out").exists()
