"""Evaluating into a folder: museval's form, provenance, and continuing after an interruption."""

from __future__ import annotations

import csv
import errno
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import torch

from mssctl import files
from mssctl.api.evaluate import evaluate
from mssctl.config.schema import AudioConfig, STFTConfig, TrainingConfig
from mssctl.documents import sealed, unsealed
from mssctl.errors import ExitCode, MssctlError
from mssctl.evaluation import estimates
from mssctl.evaluation.compare import compare
from mssctl.events import Progress
from mssctl.models import weights
from mssctl.models.build import build
from mssctl.models.run_config import RunConfig
from mssctl.models.tf_locoformer.config import TFLocoformerConfig

RATE = 8_000
STEMS = ("vocals", "drums")


@pytest.fixture
def model(tmp_path):
    config = RunConfig(
        audio=AudioConfig(sample_rate=RATE, stems=STEMS),
        stft=STFTConfig(n_fft=64, hop_length=32),
        model=TFLocoformerConfig(
            front_end="bins",
            n_layers=1,
            emb_dim=8,
            attention_dim=8,
            n_heads=2,
            ffn_hidden_dim=(8, 8),
            num_groups=2,
        ),
        training=TrainingConfig(segment_length=800),
    )
    torch.manual_seed(0)
    path = tmp_path / "tiny.safetensors"
    weights.save(path, build(config), config, {})
    return str(path)


@pytest.fixture
def songs(tmp_path):
    rng = np.random.default_rng(0)
    for track in ("a", "ü b"):
        folder = tmp_path / "songs" / track
        folder.mkdir(parents=True)
        for stem in STEMS:
            sf.write(folder / f"{stem}.wav", 0.1 * rng.standard_normal((2_500, 2)), RATE)
    return tmp_path / "songs"


def run(model, songs, out, **options):
    frames = {"window": 0.1, "hop": 0.1}
    given = {"name": model, "reference": songs, "device": "cpu", "metrics": "bsseval", "out": out}
    return evaluate(**{**given, **frames, **options})


def test_a_document_per_track_has_the_form_of_museval_and_its_provenance(model, songs, tmp_path):
    run(model, songs, tmp_path / "out")
    document = json.loads((tmp_path / "out" / "test" / "ü b.json").read_text(encoding="utf-8"))
    assert [target["name"] for target in document["targets"]] == list(STEMS)
    frames = document["targets"][0]["frames"]
    assert [frame["time"] for frame in frames] == pytest.approx([0.0, 0.1, 0.2])
    assert set(frames[0]["metrics"]) == {"SDR", "ISR", "SIR", "SAR"}
    assert document["provenance"]["bsseval"]["filter_taps"] == 512
    assert document["provenance"]["estimates"]["sha256"] == files.sha256(Path(model))
    assert document["target_set"] == list(STEMS)


def test_the_summary_is_over_medians_of_frames(model, songs, tmp_path):
    result = run(model, songs, tmp_path / "out")
    medians = []
    for track in ("a", "ü b"):
        document = json.loads(
            (tmp_path / "out" / "test" / f"{track}.json").read_text(encoding="utf-8")
        )
        frames = document["targets"][0]["frames"]
        medians.append(np.median([frame["metrics"]["SIR"] for frame in frames]))
    spread = result.bsseval["vocals"]["SIR"]
    assert spread.median == pytest.approx(np.median(medians))
    assert (spread.tracks, spread.frames) == (2, 6)


def test_results_with_the_key_of_older_versions_are_read(model, songs, tmp_path, monkeypatch):
    out = tmp_path / "out"
    run(model, songs, out)
    for path in out.rglob("*.json"):
        document = unsealed(json.loads(path.read_text(encoding="utf-8")), str(path))
        document["passport"] = document.pop("provenance")
        path.write_text(json.dumps(sealed(document)), encoding="utf-8")
    assert compare([out, out]).others[0].differences

    def refuse(*_given):
        raise AssertionError("computed again")

    monkeypatch.setattr("mssctl.evaluation.estimates.separate_array", refuse)
    assert run(model, songs, out).provenance["bsseval"]["filter_taps"] == 512
    assert '"passport"' not in (out / "summary.json").read_text(encoding="utf-8")


@pytest.mark.parametrize("before", [0, 1])
def test_an_interrupted_evaluation_gives_the_same_summary_bit_for_bit(
    model, songs, tmp_path, before
):
    run(model, songs, tmp_path / "whole")

    def interrupt(event):
        if isinstance(event, Progress) and event.done == before:
            raise KeyboardInterrupt

    out = tmp_path / "parts"
    with pytest.raises(KeyboardInterrupt):
        run(model, songs, out, report=interrupt)
    assert len(list(out.glob("test/*.json"))) == before
    assert len([*out.rglob("*")]) == before + bool(before)  # and nothing else
    assert not (out / "scores.csv").exists()
    run(model, songs, out)
    whole = (tmp_path / "whole" / "summary.json").read_text(encoding="utf-8")
    parts = (out / "summary.json").read_text(encoding="utf-8")
    whole, parts = (text.rpartition('"checksum"')[0] for text in (whole, parts))
    assert parts.replace('parts"', 'whole"') == whole


def test_a_scored_track_is_not_computed_again_unless_something_changed(
    model, songs, tmp_path, monkeypatch
):
    run(model, songs, tmp_path / "out")

    def refuse(*_given):
        raise AssertionError("computed again")

    monkeypatch.setattr("mssctl.evaluation.estimates.separate_array", refuse)
    run(model, songs, tmp_path / "out")
    with pytest.raises(AssertionError, match="computed again"):
        run(
            model,
            songs,
            tmp_path / "out",
            window=0.15,
            hop=0.15,
            overwrite=True,
        )
    sf.write(songs / "a" / "vocals.wav", np.full((2_500, 2), 0.1), RATE)
    with pytest.raises(AssertionError, match="computed again"):
        run(model, songs, tmp_path / "out", overwrite=True)


@pytest.mark.parametrize(
    "damage",
    [
        lambda document: document["scores"][0]["metrics"]["sdr"].update(estimate=99.0),
        lambda document: document.update(scores="none"),
        lambda document: document.pop("scores"),
        lambda document: document.pop("skipped"),
        lambda document: document.update(targets=[[]]),
    ],
)
def test_a_damaged_document_is_made_again(model, songs, tmp_path, damage):
    first = run(model, songs, tmp_path / "out")
    path = tmp_path / "out" / "test" / "a.json"
    good = path.read_bytes()
    document = json.loads(good)
    damage(document)
    path.write_text(json.dumps(document), encoding="utf-8")
    assert run(model, songs, tmp_path / "out") == first
    assert path.read_bytes() == good


# --- what is there already


def tree(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def with_page(model, songs, tmp_path, **options):
    return run(
        model, songs, tmp_path / "out", html=tmp_path / "page.html", keep_stems=True, **options
    )


@pytest.mark.parametrize(
    "name",
    [
        "out/summary.json",
        "out/scores.csv",
        "out/scores.md",
        "out/test/a.json",
        "out/tracks/a.json",
        "out/test/another.json",
        "out/stems/a",
        "out/excerpts/ü b",
        "page.html",
    ],
)
def test_what_this_evaluation_did_not_write_is_refused_before_any_work(
    model, songs, tmp_path, monkeypatch, name
):
    monkeypatch.setattr("mssctl.evaluation.estimates.separate_array", None)
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("mine", encoding="utf-8")
    before = tree(tmp_path)
    with pytest.raises(MssctlError, match=path.name) as caught:
        with_page(model, songs, tmp_path)
    assert caught.value.exit_code == ExitCode.USAGE
    assert "`overwrite`" in (caught.value.hint or "")
    assert tree(tmp_path) == before


@pytest.mark.parametrize("name", ["summary.json", "test/a.json", "test/another.json"])
def test_not_even_where_its_own_results_are(model, songs, tmp_path, name):
    run(model, songs, tmp_path / "out")
    (tmp_path / "out" / name).write_text("mine", encoding="utf-8")
    before = tree(tmp_path)
    with pytest.raises(MssctlError, match=name):
        run(model, songs, tmp_path / "out")
    assert tree(tmp_path) == before


@pytest.fixture
def other(model, tmp_path):
    """Another model."""
    loaded = weights.load(model, torch.device("cpu"))
    with torch.no_grad():
        for parameter in loaded.separator.parameters():
            parameter.mul_(1.5)
    path = tmp_path / "other.safetensors"
    weights.save(path, loaded.separator, loaded.config, {})
    return str(path)


def test_results_of_another_model_stay_unless_asked(model, other, songs, tmp_path):
    with_page(model, songs, tmp_path)
    before = tree(tmp_path)
    with pytest.raises(MssctlError, match="results of another evaluation"):
        with_page(other, songs, tmp_path)
    assert tree(tmp_path) == before
    with_page(model, songs, tmp_path)  # the same again changes nothing
    assert tree(tmp_path) == before
    with_page(other, songs, tmp_path, overwrite=True)
    after = tree(tmp_path)
    assert after.keys() == before.keys()
    assert after["out/test/a.json"] != before["out/test/a.json"]
    assert after["out/stems/a/vocals.wav"] != before["out/stems/a/vocals.wav"]
    with_page(other, songs, tmp_path)
    assert tree(tmp_path) == after


def test_a_replaced_track_has_one_document(model, songs, tmp_path):
    run(model, songs, tmp_path / "out")
    given = {"name": model, "reference": songs, "device": "cpu", "out": tmp_path / "out"}
    with pytest.raises(MssctlError, match="results of another evaluation"):
        evaluate(**given)
    evaluate(**given, overwrite=True)
    names = {path.relative_to(tmp_path / "out").as_posix() for path in tmp_path.rglob("*.json")}
    assert names == {"summary.json", "tracks/a.json", "tracks/ü b.json"}


@pytest.mark.parametrize("page", ["", "summary.json", "scores.csv"])
def test_a_page_is_no_folder_and_no_table(model, songs, tmp_path, page):
    (tmp_path / "out").mkdir()
    with pytest.raises(MssctlError, match="`html`") as caught:
        run(model, songs, tmp_path / "out", html=tmp_path / "out" / page, overwrite=True)
    assert caught.value.exit_code == ExitCode.USAGE


def test_an_interrupted_replacement_leaves_the_old_results_and_goes_on(
    model, other, songs, tmp_path, monkeypatch
):
    run(model, songs, tmp_path / "out")
    before = tree(tmp_path)

    def interrupt(event):
        if isinstance(event, Progress) and event.done == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(other, songs, tmp_path / "out", overwrite=True, report=interrupt)
    now = tree(tmp_path)
    assert {name: now[name] for name in before} == before
    separated = []
    real = estimates.separate_array

    def counting(*given):
        separated.append(given)
        return real(*given)

    monkeypatch.setattr(estimates, "separate_array", counting)
    run(other, songs, tmp_path / "out", overwrite=True)
    assert len(separated) == 1
    after = tree(tmp_path)
    assert after.keys() == before.keys()
    assert after["out/test/a.json"] != before["out/test/a.json"]


@pytest.mark.parametrize("calls", [1, 3, 6])
def test_a_replacement_that_cannot_be_written_puts_the_old_results_back(
    model, other, songs, tmp_path, monkeypatch, calls
):
    run(model, songs, tmp_path / "out")
    before = tree(tmp_path / "out")
    count = iter(range(1, 100))
    real = files.set_aside

    def failing(*given):
        if next(count) == calls:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(*given)

    monkeypatch.setattr(files, "set_aside", failing)
    if calls == 6:  # more than there are: it is done
        run(other, songs, tmp_path / "out", overwrite=True)
        return
    with pytest.raises(MssctlError, match="No space left") as caught:
        run(other, songs, tmp_path / "out", overwrite=True)
    assert caught.value.exit_code == ExitCode.ENVIRONMENT
    now = tree(tmp_path / "out")
    assert {name: now[name] for name in before} == before


def test_other_songs_are_another_evaluation(model, songs, tmp_path):
    run(model, songs, tmp_path / "out")
    before = tree(tmp_path / "out")
    (songs / "ü b").rename(songs / "c")
    with pytest.raises(MssctlError, match=r"summary\.json: holds the results of another"):
        run(model, songs, tmp_path / "out")
    assert tree(tmp_path / "out") == before


def test_more_songs_are_added_to_an_evaluation(model, songs, tmp_path):
    first = run(model, songs, tmp_path / "out")
    shutil.copytree(songs / "a", songs / "c")
    second = run(model, songs, tmp_path / "out")
    assert (first.tracks, second.tracks) == (2, 3)


def test_results_of_an_older_version_are_found(model, songs, tmp_path, monkeypatch):
    first = run(model, songs, tmp_path / "out")
    for path in (tmp_path / "out" / "test").iterdir():
        document = json.loads(path.read_text(encoding="utf-8"))
        document.pop("checksum")
        (tmp_path / "out" / path.name).write_text(json.dumps(document), encoding="utf-8")
        path.unlink()
    monkeypatch.setattr("mssctl.evaluation.estimates.separate_array", None)
    assert run(model, songs, tmp_path / "out") == first


def test_a_track_called_summary_is_a_track(model, songs, tmp_path):
    (songs / "a").rename(songs / "summary")
    first = run(model, songs, tmp_path / "out")
    assert first.tracks == 2
    assert json.loads((tmp_path / "out/test/summary.json").read_text("utf-8"))["track"] == "summary"
    assert json.loads((tmp_path / "out/summary.json").read_text("utf-8"))["tracks"] == 2
    assert run(model, songs, tmp_path / "out") == first


@pytest.mark.parametrize("start", ["=", "+", "-", "@"])
def test_no_name_is_a_formula_in_a_spreadsheet(model, songs, tmp_path, start):
    (songs / "a").rename(songs / f"{start}cmd()")
    run(model, songs, tmp_path / "out")
    with (tmp_path / "out" / "scores.csv").open(encoding="utf-8", newline="") as file:
        names = {row[0] for row in csv.reader(file)}
    assert names == {"track", f"'{start}cmd()", "ü b"}


def test_a_folder_that_cannot_be_made_is_an_error(model, songs, tmp_path):
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(MssctlError, match="file"):
        run(model, songs, tmp_path / "file" / "out")


@pytest.mark.parametrize("window", [0.0, -1.0, float("nan"), float("inf")])
def test_a_window_is_a_length(model, songs, window):
    with pytest.raises(MssctlError, match="`window`"):
        run(model, songs, None, window=window)


def test_the_csv_has_a_row_per_track_stem_and_metric(model, songs, tmp_path):
    run(model, songs, tmp_path / "out")
    lines = (tmp_path / "out" / "scores.csv").read_text(encoding="utf-8").splitlines()
    assert lines[0] == "track,stem,metric,value"
    assert len(lines) == 1 + 2 * 2 * 7
    assert sum(line.startswith("ü b,drums,SIR,") for line in lines) == 1


@pytest.mark.parametrize("place", ["out", "report"])
@pytest.mark.parametrize("kind", ["file", "broken link", "foreign"])
def test_where_nothing_can_be_written_shows_before_any_work(
    tmp_path, songs, place, kind, monkeypatch
):
    monkeypatch.setattr("mssctl.api.evaluate.score_all", lambda *_: pytest.fail("scored"))
    blocked = tmp_path / "blocked"
    if kind == "broken link":
        blocked.symlink_to("nowhere")
    else:
        blocked.write_text("mine")
    page = blocked if kind == "foreign" else blocked / "page.html"
    out, html = (blocked, None) if place == "out" else (tmp_path / "out", page)
    with pytest.raises(MssctlError) as caught:
        evaluate(oracle="mixture", reference=songs, out=out, html=html)
    assert caught.value.exit_code in (ExitCode.USAGE, ExitCode.ENVIRONMENT)
    assert not (tmp_path / "out").exists()
    assert blocked.is_symlink() or blocked.read_text() == "mine"
