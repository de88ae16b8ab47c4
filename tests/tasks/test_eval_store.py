"""Evaluating into a folder: museval's form, a passport, and going on after an interruption."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import torch

from mssctl.config.schema import (
    AudioConfig,
    RunConfig,
    STFTConfig,
    TFLocoformerConfig,
    TrainingConfig,
)
from mssctl.errors import MssctlError
from mssctl.events import Progress
from mssctl.models import weights
from mssctl.models.registry import build
from mssctl.tasks.evaluate import Frames, evaluate

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
    frames = options.pop("frames", Frames(window=0.1, hop=0.1))
    return evaluate(
        name=model,
        reference=songs,
        device="cpu",
        metrics="bsseval",
        frames=frames,
        out=out,
        **options,
    )


def test_a_document_per_track_has_the_form_of_museval_and_a_passport(model, songs, tmp_path):
    run(model, songs, tmp_path / "out")
    document = json.loads((tmp_path / "out" / "ü b.json").read_text(encoding="utf-8"))
    assert [target["name"] for target in document["targets"]] == list(STEMS)
    frames = document["targets"][0]["frames"]
    assert [frame["time"] for frame in frames] == pytest.approx([0.0, 0.1, 0.2])
    assert set(frames[0]["metrics"]) == {"SDR", "ISR", "SIR", "SAR"}
    assert document["passport"]["bsseval"]["filter_taps"] == 512
    assert document["passport"]["estimates"]["sha256"] == weights.file_hash(Path(model))
    assert document["target_set"] == list(STEMS)


def test_the_summary_is_over_medians_of_frames(model, songs, tmp_path):
    result = run(model, songs, tmp_path / "out")
    medians = []
    for track in ("a", "ü b"):
        document = json.loads((tmp_path / "out" / f"{track}.json").read_text(encoding="utf-8"))
        frames = document["targets"][0]["frames"]
        medians.append(np.median([frame["metrics"]["SIR"] for frame in frames]))
    spread = result.bsseval["vocals"]["SIR"]
    assert spread.median == pytest.approx(np.median(medians))
    assert (spread.tracks, spread.frames) == (2, 6)


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
    assert len(list(out.glob("*.json"))) == before
    assert not (out / "scores.csv").exists()
    run(model, songs, out)
    whole = (tmp_path / "whole" / "summary.json").read_text(encoding="utf-8")
    parts = (out / "summary.json").read_text(encoding="utf-8")
    assert parts.replace('parts"', 'whole"') == whole


def test_a_scored_track_is_not_computed_again_unless_something_changed(
    model, songs, tmp_path, monkeypatch
):
    run(model, songs, tmp_path / "out")

    def refuse(*_given):
        raise AssertionError("computed again")

    monkeypatch.setattr("mssctl.tasks.estimates.separate_array", refuse)
    run(model, songs, tmp_path / "out")
    with pytest.raises(AssertionError, match="computed again"):
        run(model, songs, tmp_path / "out", frames=Frames(window=0.15, hop=0.15))
    sf.write(songs / "a" / "vocals.wav", np.full((2_500, 2), 0.1), RATE)
    with pytest.raises(AssertionError, match="computed again"):
        run(model, songs, tmp_path / "out")


def test_a_damaged_document_is_made_again(model, songs, tmp_path):
    first = run(model, songs, tmp_path / "out")
    (tmp_path / "out" / "a.json").write_text("{", encoding="utf-8")
    assert run(model, songs, tmp_path / "out") == first


def test_a_folder_that_cannot_be_made_is_an_error(model, songs, tmp_path):
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(MssctlError, match="file"):
        run(model, songs, tmp_path / "file" / "out")


@pytest.mark.parametrize("window", [0.0, -1.0, float("nan"), float("inf")])
def test_a_window_is_a_length(model, songs, window):
    with pytest.raises(MssctlError, match="--window"):
        run(model, songs, None, frames=Frames(window=window))


def test_the_csv_has_a_row_per_track_stem_and_metric(model, songs, tmp_path):
    run(model, songs, tmp_path / "out")
    lines = (tmp_path / "out" / "scores.csv").read_text(encoding="utf-8").splitlines()
    assert lines[0] == "track,stem,metric,value"
    assert len(lines) == 1 + 2 * 2 * 7
    assert sum(line.startswith("ü b,drums,SIR,") for line in lines) == 1
