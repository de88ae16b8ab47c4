"""``mssctl eval``: the table, the document and the exit codes, with a tiny real model."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile as sf
import torch

from mssctl.config.schema import AudioConfig, STFTConfig, TrainingConfig
from mssctl.models import weights
from mssctl.models.build import build
from mssctl.models.run_config import RunConfig
from mssctl.models.tf_locoformer.config import TFLocoformerConfig

RATE = 8_000
STEMS = ("vocals", "drums")


@pytest.fixture
def model(tmp_path):
    """Path of weights of a tiny model with random weights."""
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
    return path


@pytest.fixture
def reference(tmp_path):
    """Two tracks; the vocals of the second are silent."""
    rng = np.random.default_rng(0)
    for track in ["a b", "ü"]:
        folder = tmp_path / "songs" / track
        folder.mkdir(parents=True)
        stems = {stem: 0.1 * rng.standard_normal((1_000, 2)) for stem in STEMS}
        if track == "ü":
            stems["vocals"] *= 0
        for stem, samples in {**stems, "mixture": sum(stems.values())}.items():
            sf.write(folder / f"{stem}.flac", samples, RATE)
    return tmp_path / "songs"


def test_the_table_shows_each_stem_the_mean_the_mixture_and_the_definitions(
    mssctl, model, reference
):
    outcome = mssctl("eval", "-n", model, "--reference", reference, "-d", "cpu")
    assert outcome.exit_code == 0
    lines = outcome.stdout.splitlines()
    assert lines[0] == f"tiny on {reference}: over 2 tracks"
    assert lines[1].split() == (
        "stem tracks sdr of mixture gain si_sdr of mixture gain csdr of mixture gain".split()
    )
    assert [line.split()[0] for line in lines[2:5]] == ["vocals", "drums", "mean"]
    assert [line.split()[1] for line in lines[2:4]] == ["1", "2"]
    assert "sdr: SDR is uSDR (MDX 2021)" in outcome.stdout
    assert "si_sdr: SI-SDR (Le Roux et al. 2019)" in outcome.stdout
    assert "skipped: ü: vocals: the reference is silent" in outcome.stdout


def test_the_document_holds_the_means_and_every_track(mssctl, model, reference):
    outcome = mssctl("eval", "-n", model, "--reference", reference, "-d", "cpu", "--json")
    assert outcome.exit_code == outcome.document["exit_code"] == 0
    data = outcome.document["data"]
    assert set(data["means"]) == {"vocals", "drums", "mean"}
    for row in data["means"].values():
        assert set(row) == {"sdr", "si_sdr", "csdr"}
        for score in row.values():
            assert score["improvement"] == pytest.approx(score["estimate"] - score["mixture"])
    assert [(item["track"], item["stem"]) for item in data["scores"]] == [
        ("a b", "vocals"),
        ("a b", "drums"),
        ("ü", "drums"),
    ]
    assert data["counts"] == {"vocals": 1, "drums": 2}


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        ([], 2, "--reference"),
        (["--reference", "no/such/folder", "--name", "MODEL"], 4, "no/such/folder: no such folder"),
        (["--reference", "SONGS", "-n", "no-such-model"], 3, "no model 'no-such-model'"),
        (["--reference", "SONGS", "-n", "MODEL", "-d", "tpu"], 3, "tpu"),
        (["--reference", "SONGS", "-n", "MODEL", "--overlap", "1"], 2, "--overlap"),
        (["--reference", "SONGS", "-n", "MODEL", "--metrics", "cat"], 2, "--metrics"),
    ],
)
def test_what_cannot_be_done_has_its_code_and_an_empty_stdout(
    mssctl, model, reference, arguments, code, sentence
):
    given = {"MODEL": model, "SONGS": reference}
    outcome = mssctl("eval", *(given.get(word, word) for word in arguments))
    assert (outcome.exit_code, outcome.stdout) == (code, "")
    assert outcome.stderr.startswith("error: ")
    assert sentence in outcome.stderr


def test_another_sample_rate_exits_4_and_names_both(mssctl, model, reference):
    sf.write(reference / "ü" / "drums.flac", np.zeros((1_000, 2)), 44_100)
    outcome = mssctl("eval", "-n", model, "--reference", reference, "--json")
    assert outcome.exit_code == outcome.document["exit_code"] == 1
    assert "44100 Hz, but 'tiny' works at 8000 Hz" in outcome.document["error"]["message"]
    assert outcome.document["data"]["tracks"] >= 1
    outcome = mssctl("eval", "-n", model, "--reference", reference / "ü", "--json")
    assert outcome.exit_code == outcome.document["exit_code"] == 4
    assert "44100 Hz, but 'tiny' works at 8000 Hz" in outcome.document["error"]["message"]
    assert outcome.document["data"] is None
