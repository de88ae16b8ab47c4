"""Scoring folders of estimates and oracles: what is compared, and what is left out by name."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import soundfile as sf

from encoded import encode
from mssctl.api.evaluate import evaluate
from mssctl.errors import ExitCode, MssctlError
from mssctl.evaluation.bsseval import framewise_sdr

RATE = 8_000
STEMS = ("vocals", "drums")


def noise(seed: int, frames: int = 20_000) -> np.ndarray:
    return (0.1 * np.random.default_rng(seed).standard_normal((frames, 2))).astype(np.float32)


def write(path, audio, rate=RATE):
    path.parent.mkdir(parents=True, exist_ok=True)
    sf.write(path, audio, rate, subtype="FLOAT")


@pytest.fixture
def songs(tmp_path):
    for seed, track in enumerate(("a", "b")):
        stems = {stem: noise(10 * seed + i) for i, stem in enumerate(STEMS)}
        for stem, audio in {**stems, "mixture": sum(stems.values())}.items():
            write(tmp_path / "songs" / track / f"{stem}.wav", audio)
    return tmp_path / "songs"


@pytest.fixture
def estimates(tmp_path, songs):
    """Each stem with a little of the other one."""
    for track in ("a", "b"):
        audio = {stem: sf.read(songs / track / f"{stem}.wav")[0] for stem in STEMS}
        for stem, other in zip(STEMS, reversed(STEMS), strict=True):
            write(tmp_path / "est" / track / f"{stem}.wav", audio[stem] + 0.1 * audio[other])
    return tmp_path / "est"


def run(estimates, songs, **options):
    return evaluate(estimates=estimates, reference=songs, **options)


def test_estimates_are_scored_against_the_references_of_their_names(estimates, songs):
    result = run(estimates, songs)
    assert (result.model, result.sha256, result.device) == ("est", "", "")
    assert result.counts == {"vocals": 2, "drums": 2}
    for item in result.scores:
        assert item.metrics["sdr"].estimate == pytest.approx(20.0, abs=0.2)
        assert item.metrics["csdr"].estimate == pytest.approx(20.0, abs=0.3)
        assert item.metrics["sdr"].improvement == pytest.approx(20.0, abs=0.5)


def test_the_layout_of_museval_is_understood(estimates, songs, tmp_path):
    expected = run(estimates, songs).scores
    (tmp_path / "museval" / "test").mkdir(parents=True)
    for track in estimates.iterdir():
        shutil.move(track, tmp_path / "museval" / "test" / track.name)
    assert run(tmp_path / "museval", songs).scores == expected


def test_what_does_not_go_with_its_reference_is_left_out_by_name(estimates, songs):
    shutil.rmtree(estimates / "b")
    write(estimates / "a" / "drums.wav", noise(3, 19_999))
    write(estimates / "zzz" / "drums.wav", noise(4))
    result = run(estimates, songs)
    assert result.counts == {"vocals": 1}
    assert result.skipped == [
        "a: drums: the estimate has 19999 samples, the reference 20000",
        "b: no estimates",
    ]
    assert result.notes == ["zzz: estimates, but no reference track of that name"]


@pytest.mark.parametrize(
    ("audio", "rate", "reason"),
    [
        (noise(1), 16_000, "16000 Hz, the reference 8000 Hz"),
        (noise(1)[:, :1], RATE, "1 channels, the reference 2"),
        (None, RATE, "no estimate"),
    ],
)
def test_nothing_is_resampled_or_mixed_down(estimates, songs, audio, rate, reason):
    path = estimates / "a" / "drums.wav"
    path.unlink()
    if audio is not None:
        write(path, audio, rate)
    (skipped,) = run(estimates, songs).skipped
    assert skipped.startswith("a: drums: ")
    assert skipped.endswith(reason)


def test_a_silent_estimate_has_no_bsseval_and_the_others_do(estimates, songs):
    write(estimates / "a" / "drums.wav", 0 * noise(1))
    result = run(estimates, songs, metrics="bsseval")
    assert result.skipped[-1] == "a: drums: the estimate is silent: no BSSEval"
    assert {stem: row["SDR"].tracks for stem, row in result.bsseval.items()} == {
        "vocals": 2,
        "drums": 1,
    }


def test_a_track_shorter_than_the_filters_is_named(tmp_path):
    for stem in (*STEMS, "mixture"):
        write(tmp_path / "songs" / "a" / f"{stem}.wav", noise(len(stem), 300))
        write(tmp_path / "est" / "a" / f"{stem}.wav", noise(1 + len(stem), 300))
    result = run(tmp_path / "est", tmp_path / "songs", metrics="bsseval")
    assert result.skipped == ["a: 300 samples, fewer than the 512 taps: no BSSEval"]
    assert result.bsseval == {}


def test_a_perfect_estimate_has_a_finite_number_in_the_document(songs, tmp_path):
    result = run(songs, songs, metrics="all", out=tmp_path / "out")
    assert result.means["vocals"]["csdr"].estimate == 100.0
    text = (tmp_path / "out" / "summary.json").read_text(encoding="utf-8")
    json.loads(text, parse_constant=pytest.fail)


def test_an_exact_estimate_counts_in_every_metric_of_bsseval(songs, estimates, tmp_path):
    write(estimates / "a" / "vocals.wav", sf.read(songs / "a" / "vocals.wav")[0])
    result = run(estimates, songs, metrics="bsseval", round16=False, out=tmp_path / "out")
    table = result.bsseval["vocals"]
    assert {row.tracks for row in table.values()} == {2}
    assert result.medians["a"]["vocals"]["SDR"] == 100.0
    assert result.medians["b"]["vocals"]["SDR"] == pytest.approx(20.0, abs=0.3)
    document = json.loads((tmp_path / "out" / "test" / "a.json").read_text(encoding="utf-8"))
    assert document["infinite_frames"] == {"vocals": {"SDR": [0, 1]}}


def test_estimates_of_one_name_in_two_splits_are_refused(estimates, songs, tmp_path):
    for split in ("train", "test"):
        shutil.copytree(estimates, tmp_path / "both" / split)
    with pytest.raises(MssctlError, match="a, b are there twice"):
        run(tmp_path / "both", songs)


def test_csdr_is_the_median_of_the_frames_of_museval(estimates, songs):
    result = run(estimates, songs, window=0.5, hop=0.25)
    s, e = (
        np.stack([sf.read(folder / "a" / f"{stem}.wav")[0] for stem in STEMS])
        for folder in (songs, estimates)
    )
    frames = framewise_sdr(s, e, window=RATE // 2, hop=RATE // 4)
    found = [item.metrics["csdr"].estimate for item in result.scores if item.track == "a"]
    assert found == pytest.approx(np.median(frames, axis=1).tolist())


def test_without_a_mixture_there_is_no_gain(estimates, songs):
    (songs / "a" / "mixture.wav").unlink()
    result = run(estimates, songs)
    assert result.means["vocals"]["sdr"].improvement is None
    assert "no mixture file in 1 of 2 tracks: no gains over it there" in result.notes


def test_the_mixture_as_oracle_gains_nothing_and_masks_gain(songs):
    mixture = evaluate(oracle="mixture", reference=songs)
    assert {row["sdr"].improvement for row in mixture.means.values()} == {0.0}
    masks = evaluate(oracle="irm", reference=songs)
    assert all(row["sdr"].improvement > 4.0 for row in masks.means.values())


def test_the_same_scores_with_one_job_and_with_two(estimates, songs, tmp_path):
    one = run(estimates, songs, metrics="bsseval", jobs=1, out=tmp_path / "one")
    two = run(estimates, songs, metrics="bsseval", jobs=2, memory=64.0, out=tmp_path / "two")
    assert two.scores == one.scores
    assert two.bsseval == one.bsseval
    for track in ("a", "b"):
        texts = [(tmp_path / out / "test" / f"{track}.json").read_bytes() for out in ("one", "two")]
        assert texts[0] == texts[1]


def test_changed_estimates_are_scored_again(estimates, songs, tmp_path):
    before = run(estimates, songs, out=tmp_path / "out")
    write(estimates / "a" / "drums.wav", sf.read(songs / "a" / "drums.wav")[0])
    with pytest.raises(MssctlError, match="results of a from other estimates"):
        run(estimates, songs, out=tmp_path / "out")
    after = run(estimates, songs, out=tmp_path / "out", overwrite=True)
    assert after.scores != before.scores
    assert after.scores == run(estimates, songs).scores


def test_the_tables_are_there_for_people_too(estimates, songs, tmp_path):
    run(estimates, songs, metrics="bsseval", out=tmp_path / "out")
    lines = (tmp_path / "out" / "scores.md").read_text(encoding="utf-8").splitlines()
    assert lines[0] == f"# est on {songs}"
    assert sum(line.startswith("| vocals") for line in lines) == 5


@pytest.mark.parametrize(
    "options",
    [
        {"estimates": "x", "name": "starter", "reference": "y"},
        {"name": "starter", "oracle": "irm", "reference": "y"},
        {"name": "starter", "reference": "x", "musdb": "y"},
        {"name": "starter"},
        {"oracle": "irm", "reference": "y", "keep_stems": True, "out": "z"},
        {"oracle": "irm", "reference": "y", "metrics": "cat"},
        {"estimates": "x", "reference": "y", "segment": 3.0},
        {"oracle": "irm", "reference": "y", "device": "cpu"},
        {"oracle": "irm", "reference": "y", "engine": "museval"},
        {"oracle": "irm", "reference": "y", "round16": False},
        {"oracle": "irm", "reference": "y", "split": "valid"},
        {"oracle": "irm", "reference": "y", "force": True},
    ],
)
def test_contradictions_are_usage_errors(options):
    with pytest.raises(MssctlError) as caught:
        evaluate(**options)
    assert caught.value.exit_code == ExitCode.USAGE


@pytest.fixture
def musdb(tmp_path, songs):
    """The two songs as MUSDB18-HQ: one that musdb validates on, one of the test split."""
    for split, track, name in (
        ("train", "a", "Actions - One Minute Smile"),
        ("test", "b", "Al James - Schoolboy Facination"),
    ):
        (tmp_path / "musdb" / split).mkdir(parents=True)
        shutil.copytree(songs / track, tmp_path / "musdb" / split / name)
    return tmp_path / "musdb"


def test_the_splits_of_musdb(musdb):
    tracks = {
        split: {item.track for item in evaluate(oracle="mixture", musdb=musdb, split=split).scores}
        for split in ("test", "valid")
    }
    assert tracks == {
        "test": {"Al James - Schoolboy Facination"},
        "valid": {"Actions - One Minute Smile"},
    }
    with pytest.raises(MssctlError, match="none of the tracks of the split 'train'"):
        evaluate(oracle="mixture", musdb=musdb, split="train")


def test_a_model_trained_on_the_test_tracks_is_refused_there(musdb, tmp_path):
    name = "HDEMUCS_HIGH_MUSDB_PLUS"
    shutil.copytree(musdb / "test", tmp_path / name)
    with pytest.raises(MssctlError, match="was trained on these tracks") as caught:
        evaluate(estimates=tmp_path / name, musdb=musdb)
    assert "`force`" in str(caught.value.hint)
    (mark,) = evaluate(estimates=tmp_path / name, musdb=musdb, force=True).marks
    assert "train and test" in mark
    shutil.copytree(musdb / "train", tmp_path / name, dirs_exist_ok=True)
    assert evaluate(estimates=tmp_path / name, musdb=musdb, split="valid").marks == []


def test_stem_mp4_files_are_references(musdb, tmp_path, monkeypatch):
    monkeypatch.setenv("MSSCTL_CACHE", str(tmp_path / "cache"))
    (folder,) = (musdb / "test").iterdir()
    names = ("mixture", "drums", "vocals", "vocals", "vocals")
    songs = np.stack([sf.read(folder / f"{name}.wav")[0].T for name in names])
    encode(musdb / "test" / "X - Y.stem.mp4", songs, RATE, format="mp4")
    result = evaluate(oracle="mixture", musdb=musdb)
    assert {item.track for item in result.scores} == {"X - Y"}
    assert result.counts == {"vocals": 1, "drums": 1, "bass": 1, "other": 1}


def test_killed_at_any_moment_and_started_again_the_result_is_the_same(estimates, songs, tmp_path):
    def start(out):
        words = ["eval", estimates, "-r", songs, "--metrics", "bsseval", "-o", tmp_path / out]
        command = [sys.executable, "-m", "mssctl", *map(str, words), "-q"]
        report = ["--report", str(tmp_path / f"{out}.html")]
        return subprocess.Popen([*command, *report], stdout=subprocess.DEVNULL)

    assert start("whole").wait(timeout=120) == 0
    seen = []
    for wanted in (1, 2):  # killed as soon as the first and the second document are there
        process = start("parts")
        while process.poll() is None and len(list((tmp_path / "parts").glob("test/*"))) < wanted:
            time.sleep(0.002)
        process.kill()
        seen.append(process.wait())
    assert seen[0] == -signal.SIGKILL
    assert start("parts").wait(timeout=120) == 0
    for name in ("test/a.json", "test/b.json", "summary.json", "scores.csv", "scores.md"):
        texts = [(tmp_path / out / name).read_text("utf-8") for out in ("whole", "parts")]
        if name == "summary.json":  # its checksum is over the folder's name, too
            texts = [text.rpartition('"checksum"')[0] for text in texts]
        assert texts[1].replace("/parts", "/whole") == texts[0]
    parts, whole = ((tmp_path / f"{out}.html").read_text("utf-8") for out in ("parts", "whole"))
    assert parts.replace("parts-sounds", "whole-sounds") == whole
    assert not list((tmp_path / "parts").rglob(".*"))
