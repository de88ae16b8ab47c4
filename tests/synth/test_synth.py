"""Generated songs: exact sums, the same bytes for the same arguments, nothing half written."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from mssctl.audio.effects import compress, repitch, stretch
from mssctl.audio.filters import Band, convolve, equalizer
from mssctl.errors import ExitCode, MssctlError
from mssctl.events import Progress, silent
from mssctl.options.data import SynthOptions
from mssctl.synth.generate import synthesize
from mssctl.synth.material import (
    STEMS,
    Sample,
    SampleReader,
    estimate_midi,
    find_samples,
    keep_aside,
    note_in_name,
    parse_key,
    split_library,
)
from mssctl.synth.voice import shift_formants

RATE = 16_000
SMALL = {"song_seconds": 4.0, "hours": 3 * 4 / 3600, "valid_fraction": 0.34}


def made(out, *, report=silent, workers=1, **options):
    chosen = SynthOptions(**{**SMALL, "workers": workers, **options})
    return synthesize(out, chosen, sample_rate=RATE, report=report)


def tone(hz, seconds=0.4, rate=RATE):
    t = np.arange(int(seconds * rate)) / rate
    wave = sum(np.sin(2 * np.pi * hz * h * t) / h for h in (1, 2, 3))
    return (0.4 * wave * np.exp(-2 * t)).astype(np.float32)


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    """Three packs per class, one of the classes with an index."""
    folder = tmp_path_factory.mktemp("samples")
    noise = np.random.default_rng(0).standard_normal(2_000).astype(np.float32) * 0.1

    def write(name, audio):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, audio, RATE)

    for number, pack in enumerate(("one", "two", "three"), start=1):
        for name, hz in (("c3", 130.8), ("g3", 196.0), ("c4", 261.6)):
            write(f"bass/{pack}/bass_{name}.wav", tone(hz / 2, 0.3 * number))
            write(f"other/{pack}/keys_{name}.flac", tone(hz, 0.3 * number))
        for name in ("kick", "snare", "hihat-closed"):
            write(f"drums/{pack}/{name}.wav", np.tile(noise, number))
        write(f"vocals/{pack}/la.wav", tone(220 * number, 0.5 * number))
    write("ir/plate/plate.wav", noise)
    index = "path,midi_pitch_from_name,measured_f0_midi,bpm,key\nvocals/one/la.wav,57,57.1,120,am\n"
    (folder / "index.csv").write_text(index)
    return folder


@pytest.fixture(scope="module")
def songs(tmp_path_factory):
    out = tmp_path_factory.mktemp("synth") / "out"
    return out, made(out, seed=3)


@pytest.fixture(scope="module")
def sampled_songs(tmp_path_factory, samples):
    out = tmp_path_factory.mktemp("synth") / "out"
    made(out, samples=samples, seed=3)
    return out


def digest(folder: Path):
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def read(song: Path):
    return {
        name: soundfile.read(song / f"{name}.wav", dtype="int16")[0] for name in ("mixture", *STEMS)
    }


def packs(samples):
    return {sample.pack for sample in samples}


def song_folders(out: Path):
    return sorted(out.glob("*/song-*"))


def test_result_and_layout(songs):
    out, result = songs
    assert result.songs == 3
    assert result.splits == {"train": 2, "valid": 1}
    assert result.seconds == pytest.approx(12)
    assert [p.relative_to(out).as_posix() for p in song_folders(out)] == [
        "train/song-00000",
        "train/song-00001",
        "valid/song-00000",
    ]
    index = json.loads((out / "index.json").read_text())
    assert index["complete"]
    assert index["parameters"]["seed"] == 3
    for song in song_folders(out):
        info = soundfile.info(song / "mixture.wav")
        assert (info.samplerate, info.channels, info.frames) == (RATE, 2, 4 * RATE)
        assert info.subtype == "PCM_16"


@pytest.mark.parametrize("which", ["songs", "sampled_songs"])
def test_the_mixture_is_the_exact_sum_and_never_clips(which, request):
    made = request.getfixturevalue(which)
    out = made[0] if isinstance(made, tuple) else made
    for song in song_folders(out):
        audio = read(song)
        total = sum(audio[stem].astype(np.int32) for stem in STEMS)
        np.testing.assert_array_equal(audio["mixture"], total)
        peak = max(np.abs(x.astype(np.int32)).max() for x in audio.values())
        assert 15_000 < peak < 32_767


@pytest.mark.parametrize("which", ["songs", "sampled_songs"])
def test_a_stem_sounds_unless_the_song_says_it_is_silent(which, request):
    made = request.getfixturevalue(which)
    out = made[0] if isinstance(made, tuple) else made
    for song in song_folders(out):
        facts, audio = json.loads((song / "song.json").read_text()), read(song)
        assert [stem for stem in STEMS if not audio[stem].any()] == facts["silent"]


def test_same_arguments_same_bytes_with_any_number_of_workers(tmp_path, sampled_songs, samples):
    made(tmp_path / "again", samples=samples, seed=3, workers=2)
    assert digest(tmp_path / "again") == digest(sampled_songs)


def test_another_seed_gives_other_songs(tmp_path, songs):
    made(tmp_path / "other", seed=4)
    one, other = digest(songs[0]), digest(tmp_path / "other")
    mixtures = [name for name in one if name.endswith("mixture.wav")]
    assert all(one[name] != other[name] for name in mixtures)


def test_an_interrupted_run_goes_on_and_ends_the_same(tmp_path, songs):
    out = tmp_path / "out"

    def stop_after_one(event):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        made(out, seed=3, report=stop_after_one)
    assert len(song_folders(out)) == 1
    (out / "train" / ".song-00001").mkdir()
    kept = (out / "train/song-00000/mixture.wav").stat().st_mtime_ns
    events = []
    made(out, seed=3, report=events.append)
    assert digest(out) == digest(songs[0])
    assert (out / "train/song-00000/mixture.wav").stat().st_mtime_ns == kept
    assert [(e.done, e.total) for e in events if isinstance(e, Progress)] == [(2, 3), (3, 3)]


def test_an_unfinished_run_with_other_arguments_is_not_continued(tmp_path):
    def stop(event):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        made(tmp_path / "out", seed=3, report=stop)
    with pytest.raises(MssctlError, match="not empty") as caught:
        made(tmp_path / "out", seed=4)
    assert caught.value.exit_code == 4
    assert caught.value.hint


def test_a_finished_run_is_not_overwritten(songs):
    before = digest(songs[0])
    with pytest.raises(MssctlError, match="finished"):
        made(songs[0], seed=3)
    assert digest(songs[0]) == before


def test_a_folder_with_something_else_is_left_alone(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(MssctlError, match="not empty"):
        made(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"hours": 0.0}, "hours"),
        ({"hours": -1.0}, "hours"),
        ({"hours": float("inf")}, "hours"),
        ({"seed": -1}, "seed"),
        ({"song_seconds": 0.1}, "song_seconds"),
        ({"valid_fraction": 1.0}, "valid_fraction"),
        ({"workers": 0}, "workers"),
    ],
)
def test_values_that_make_no_sense(tmp_path, wrong, says):
    with pytest.raises(MssctlError, match=says) as caught:
        made(tmp_path / "out", **wrong)
    assert caught.value.exit_code == ExitCode.USAGE
    assert not (tmp_path / "out").exists()


def test_a_samples_folder_that_is_missing_or_has_no_class(tmp_path):
    with pytest.raises(MssctlError, match="no such samples folder"):
        made(tmp_path / "out", samples=tmp_path / "nowhere")
    (tmp_path / "loose").mkdir()
    soundfile.write(tmp_path / "loose" / "a.wav", tone(100), RATE)
    with pytest.raises(MssctlError, match="no samples in it") as caught:
        made(tmp_path / "out", samples=tmp_path / "loose")
    assert "vocals" in caught.value.hint
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("workers", [1, 2])
def test_an_unreadable_sample_is_named(tmp_path, workers):
    for kind in STEMS:
        path = tmp_path / "samples" / kind / "pack" / "broken_c2.wav"
        path.parent.mkdir(parents=True)
        path.write_bytes(b"not audio")
    with pytest.raises(MssctlError, match=r"broken_c2\.wav") as caught:
        made(tmp_path / "out", samples=tmp_path / "samples", workers=workers)
    assert caught.value.exit_code == 4
    assert caught.value.hint
    assert not song_folders(tmp_path / "out")


def test_an_index_without_paths_is_an_error(tmp_path):
    (tmp_path / "bass").mkdir()
    soundfile.write(tmp_path / "bass" / "a.wav", tone(100), RATE)
    (tmp_path / "index.csv").write_text("file,bpm\na,1\n")
    with pytest.raises(MssctlError, match=r"index\.csv"):
        find_samples(tmp_path)


def test_validation_uses_packs_that_training_never_hears(samples, sampled_songs):
    index = json.loads((sampled_songs / "index.json").read_text())
    aside = index["packs_kept_aside_for_valid"]
    assert aside == {kind: ["one"] for kind in STEMS}
    for song in song_folders(sampled_songs):
        used = json.loads((song / "song.json").read_text())["samples"]
        for kind in STEMS:
            heard = {name.split("/")[1] for name in used.get(kind, [])}
            assert heard <= ({"one"} if song.parent.name == "valid" else {"two", "three"})
    parts = split_library(find_samples(samples), aside)
    for kind in STEMS:
        assert not packs(parts["train"][kind]) & packs(parts["valid"][kind])
    assert packs(parts["train"]["ir"]) == packs(parts["valid"]["ir"]) == {"plate"}


def test_a_class_of_few_packs_keeps_none_aside(samples):
    library = find_samples(samples)
    few = {"bass": [sample for sample in library["bass"] if sample.pack != "three"]}
    assert packs(few["bass"]) == {"one", "two"}
    assert keep_aside(few, 0.1) == {}
    assert keep_aside(library, 0.0) == {}


def test_the_index_gives_pitch_tempo_and_key(samples):
    found = {sample.name: sample for group in find_samples(samples).values() for sample in group}
    sung = found["vocals/one/la.wav"]
    assert (sung.midi, sung.bpm, sung.key) == (57.0, 120.0, (9, True))
    assert found["bass/two/bass_g3.wav"].midi == 55


@pytest.mark.parametrize(
    ("name", "midi"),
    [("twang_c4_mf_rr1", 60), ("068-G#4-PP", 68), ("db4ff", 61), ("A3__zun", 57), ("snare", None)],
)
def test_notes_in_file_names(name, midi):
    assert note_in_name(name) == midi


@pytest.mark.parametrize(
    ("text", "key"), [("ab", (8, False)), ("fs", (6, False)), ("ebm", (3, True)), ("", None)]
)
def test_keys(text, key):
    assert parse_key(text) == key


@pytest.mark.parametrize("hz", [55.0, 110.0, 233.08, 440.0])
def test_pitch_is_found_in_the_audio(hz):
    midi = estimate_midi(tone(hz, 0.8)[None], RATE)
    assert midi == pytest.approx(69 + 12 * np.log2(hz / 440), abs=0.5)
    noise = np.random.default_rng(0).standard_normal((1, RATE)).astype(np.float32)
    assert estimate_midi(noise, RATE) is None


def test_the_reader_converts_the_rate_and_forgets_the_oldest(tmp_path):
    made = []
    for i in range(3):
        path = tmp_path / f"{i}.wav"
        soundfile.write(path, tone(200, 1.0, 8_000), 8_000)
        made.append(Sample(path, path.name, "bass", "pack"))
    reader = SampleReader(RATE, max_bytes=2 * RATE * 4)
    for sample in made:
        audio = reader.read(sample)
    assert audio.shape == (1, RATE)
    assert list(reader._kept) == [tmp_path / "1.wav", tmp_path / "2.wav"]


@pytest.mark.parametrize("taps", [1, 100, 40_000])
def test_convolution_equals_the_definition(taps):
    rng = np.random.default_rng(taps)
    audio = rng.standard_normal((2, 50_000)).astype(np.float32)
    kernel = np.zeros((1, taps), np.float32)
    kernel[0, [0, taps // 2, taps - 1]] += np.float32(0.5), np.float32(0.2), np.float32(-0.3)
    expected = sum(
        kernel[0, k] * np.pad(audio, ((0, 0), (k, 0)))[:, :50_000]
        for k in np.flatnonzero(kernel[0])
    )
    np.testing.assert_allclose(convolve(audio, kernel), expected, atol=1e-4)


@pytest.mark.parametrize(
    ("band", "low", "high"),
    [
        (Band("low", 500, 6), 6, 0),
        (Band("high", 500, 6), 0, 6),
        (Band("highpass", 500), -56, 0),
        (Band("peak", 500, 6), 0, 0),
    ],
)
def test_equalizer_bands(band, low, high):
    response = 20 * np.log10(np.abs(np.fft.rfft(equalizer([band], RATE), RATE)) + 1e-9)
    assert response[20] == pytest.approx(low, abs=0.5)
    assert response[7_900] == pytest.approx(high, abs=0.5)


def test_repitching_moves_the_pitch_and_stretching_does_not():
    audio = tone(220, 1.0)[None]
    higher = repitch(audio, 2 ** (3 / 12))
    assert higher.shape[1] == pytest.approx(RATE / 2 ** (3 / 12), abs=1)
    assert estimate_midi(higher, RATE) == pytest.approx(60, abs=0.3)
    longer = stretch(audio, 1.3, RATE)
    assert longer.shape[1] == pytest.approx(1.3 * RATE, abs=1)
    assert estimate_midi(longer, RATE) == pytest.approx(57, abs=0.3)


@pytest.mark.parametrize("factor", [0.8, 1.25])
def test_formants_move_and_the_pitch_stays(factor):
    rng = np.random.default_rng(0)
    rate = 44_100
    t = np.arange(rate) / rate
    # Harmonics of 110 Hz under one resonance at 1200 Hz.
    voice = sum(
        np.sin(2 * np.pi * hz * t + rng.uniform(0, 6)) / (1 + ((hz - 1200) / 200) ** 2)
        for hz in 110 * np.arange(1, 60)
    )
    moved = shift_formants(voice[None].astype(np.float32), factor, rate)
    assert moved.shape == (1, rate)
    assert estimate_midi(moved, rate) == pytest.approx(45, abs=0.3)
    power = np.abs(np.fft.rfft(moved[0])) ** 2
    near = slice(300, 2500)
    centre = np.average(np.arange(300, 2500), weights=power[near])
    assert centre / 1200 == pytest.approx(factor, rel=0.1)


def test_formants_left_alone_give_the_voice_back():
    audio = np.random.default_rng(0).standard_normal((2, 5_000)).astype(np.float32)
    np.testing.assert_allclose(shift_formants(audio, 1.0, RATE), audio, atol=1e-4)


def test_silence_goes_through_the_compressor():
    # The level of silence after FFT smoothing can be a hair below zero.
    audio = np.zeros((2, RATE * 2), np.float32)
    audio[:, : RATE // 10] = 1
    assert np.isfinite(compress(audio, 0.0, 4.0, 0.05, RATE)).all()
