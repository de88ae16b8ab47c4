"""``mssctl train`` and ``mssctl resume``: what is refused before any work."""

from __future__ import annotations

import pytest


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["bsae"], 3, "did you mean 'base'?"),
        (["no/such/preset.yaml"], 3, "no/such/preset.yaml"),
        (["small", "--set", "model.n_layer=2"], 3, "did you mean 'n_layers'?"),
        (["small", "--set", "model.n_layers"], 2, "section.key=value"),
        (["small", "--set", "training.batch_size=none"], 3, "training.batch_size"),
        (["small"], 4, "no training data\nhint: name a folder of songs with --data"),
        (["small", "--data", "no/such/folder"], 4, "no/such/folder"),
        (["small", "--data", "no/such/folder", "--layout", "stems"], 4, "no/such/folder"),
    ],
)
def test_train_refuses(mssctl, tmp_path, monkeypatch, arguments, code, sentence):
    monkeypatch.delenv("MUSDB_PATH", raising=False)
    out = tmp_path / "run"
    outcome = mssctl("train", *arguments, "--out", out)
    assert (outcome.exit_code, outcome.stdout) == (code, "")
    assert sentence in outcome.stderr
    assert not out.exists()


def test_resume_refuses_a_folder_that_is_no_run(mssctl, tmp_path):
    outcome = mssctl("resume", tmp_path)
    assert (outcome.exit_code, outcome.stdout) == (4, "")
    assert str(tmp_path) in outcome.stderr
    assert list(tmp_path.iterdir()) == []


def test_resume_refuses_another_model_by_the_names_of_its_keys(mssctl, tmp_path):
    (tmp_path / "config.yaml").write_text("description: a run\n")
    (tmp_path / "data.json").write_text("{}")
    changes = "--set", "model.n_layers=9", "--set", "training.num_epochs=9"
    outcome = mssctl("resume", tmp_path, *changes)
    assert (outcome.exit_code, outcome.stdout) == (3, "")
    assert "cannot change model.n_layers (6 -> 9)" in outcome.stderr
    assert "num_epochs" not in outcome.stderr
    assert (tmp_path / "config.yaml").read_text() == "description: a run\n"
