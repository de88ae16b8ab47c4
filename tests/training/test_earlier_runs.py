"""Runs and models of earlier versions can still be used."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from mssctl.api.train import resume
from mssctl.events import Notice
from mssctl.models import weights

EARLIER = Path(__file__).parents[1] / "fixtures" / "run-748904d"


@pytest.fixture
def run(tmp_path, make_song):
    for name in ("train/a", "train/b", "valid/c"):
        make_song(tmp_path / "data" / name, stems=("vocals", "drums"), frames=8_000)
    folder = shutil.copytree(EARLIER, tmp_path / "run")
    sources = {"roots": [str(tmp_path / "data")], "valid": None, "layout": "auto"}
    (folder / "data.json").write_text(json.dumps(sources))
    return folder


def test_a_run_without_checksums_resumes_with_a_note(run):
    events = []
    result = resume(run, device="cpu", report=events.append)
    assert result.finished
    assert result.step == 6
    notes = [event.message for event in events if isinstance(event, Notice)]
    assert sum("without a checksum over its values" in note for note in notes) == 1
    assert not any("config.yaml was changed" in note for note in notes)
    steps = [json.loads(line)["step"] for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert steps == [1, 2, 2, 3, 4, 4, 5, 6, 6]


def test_a_model_file_without_a_checksum_loads():
    model = weights.load(str(EARLIER / "best.safetensors"), torch.device("cpu"))
    assert model.separator.stems == ("vocals", "drums")
