"""The first start on a GPU, with CUDA presented: train, plan --verify and bench up to their work.

On a real GPU `torch.cuda.get_device_capability` initializes CUDA before anything is predicted.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from mssctl import presets
from mssctl.api import bench as bench_module
from mssctl.api.bench import bench
from mssctl.benchmark import work as bench_work
from mssctl.errors import ExitCode
from mssctl.events import Notice
from mssctl.models.run_config import RunConfig
from mssctl.planning import verify
from mssctl.planning.fit import GIB
from mssctl.planning.memory import check_memory
from mssctl.planning.predictions import training_peak
from mssctl.training import dry_run as dry_run_module
from mssctl.training.run import Run
from presented_cuda import T4, Card, Presented, presented_cuda

GPU = torch.device("cuda", 0)
FLAT = "model.n_layers=1"  # every kind of operation, and a fraction of their number
SMALLEST = "--set", FLAT, "--set", "loss.spectral_n_fft=[1024]"


@pytest.fixture(autouse=True)
def nothing_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Predictions of other tests are not found: these have to be made."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def gpu() -> Iterator[Presented]:
    with presented_cuda() as shown:
        yield shown


@pytest.mark.parametrize("overrides", [("base",), ("small", FLAT), ("xlarge", FLAT)])
def test_memory_is_checked_once_cuda_is_initialized(
    gpu: Presented, overrides: tuple[str, ...]
) -> None:
    config = presets.load(overrides[0], overrides[1:])
    said: list[object] = []
    peak = check_memory(config, GPU, force=False, report=said.append)
    assert peak is not None
    (notice,) = said
    assert isinstance(notice, Notice)
    assert notice.message.endswith("risk low")
    assert torch.cuda.initial_seed() == 0  # the GPU's generator is as it was


def test_an_initialized_cuda_changes_no_prediction() -> None:
    config = presets.load("starter", [FLAT, "training.gradient_checkpointing=path"])
    training_peak(config)  # makes windows that are kept
    without = training_peak(config)
    with presented_cuda():
        assert training_peak(config) == without


def test_train_refuses_what_does_not_fit_and_leaves_nothing(
    make_song: Any, mssctl: Any, tmp_path: Path
) -> None:
    for folder in ("train/one", "valid/two"):
        make_song(tmp_path / "songs" / folder, sample_rate=44_100, frames=44_100)
    short = "training.segment_length=44100"
    command = "train", "small", "--data", tmp_path / "songs", "--out", tmp_path / "run"
    with presented_cuda(Card("a small card", (8, 6), gib=2.0)):
        outcome = mssctl(*command, "--set", FLAT, "--set", short)
    assert outcome.exit_code == ExitCode.BAD_INPUT
    assert "the card has 2.0 free" in " ".join(outcome.stderr.split())
    with presented_cuda(T4):
        outcome = mssctl(*command, "--set", FLAT, "--set", short)
    assert outcome.exit_code == ExitCode.ENVIRONMENT
    assert "--set training.amp_dtype=float32" in outcome.stderr
    assert not (tmp_path / "run").exists()


def test_one_of_several_processes_is_checked_with_its_copy_of_the_gradients(
    gpu: Presented,
) -> None:
    config = presets.load("starter", ["training.segment_length=8192", "training.batch_size=1"])
    alone, one_of_two = (
        check_memory(config, GPU, force=False, report=lambda _: None, processes=processes)
        for processes in (1, 2)
    )
    assert alone is not None
    assert one_of_two is not None
    assert one_of_two.allocated > alone.allocated


@pytest.mark.parametrize("command", [("plan", "--verify"), ("bench", "starter")])
def test_what_measures_memory_asks_for_segments_that_grow(
    command: tuple[str, ...], mssctl: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF"):
        monkeypatch.setenv(name, "")  # so that it is put back, also where it was not set
        monkeypatch.delenv(name)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    mssctl(*command, *(["--device", "cuda"] if command[0] == "bench" else []))  # no GPU: exit 3
    assert os.environ["PYTORCH_CUDA_ALLOC_CONF"] == "expandable_segments:True"


def test_a_dry_run_compares_a_later_step_with_its_prediction(
    gpu: Presented, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Allocated beside allocated, once the optimizer has its state."""
    config = presets.load("starter", [FLAT])
    training, audio = config.training, config.audio
    shape = training.batch_size, len(audio.stems), audio.channels, training.segment_length
    monkeypatch.setattr(dry_run_module, "Mixer", lambda *_: None)
    monkeypatch.setattr(
        dry_run_module,
        "batches",
        lambda *_, end, **__: (0.1 * torch.randn(shape) for _ in range(end)),
    )
    songs: Any = SimpleNamespace(train=[0], valid=[0])
    run = Run(tmp_path, songs, GPU, lambda _: None)
    predicted = training_peak(config, (12, 0)).allocated / GIB
    with gpu.pretending():
        result = dry_run_module.dry_run(config, run, None, predicted)
    assert result.peak_gib == pytest.approx(predicted, rel=0.01)
    assert result.predicted_gib == predicted


def test_verify_walks_its_whole_grid(
    gpu: Presented, monkeypatch: pytest.MonkeyPatch, mssctl: Any
) -> None:
    monkeypatch.setattr(verify, "measured", lambda config, device: GIB * (device.index == 0))
    outcome = mssctl("plan", "--verify", *SMALLEST, "--json")
    assert outcome.exit_code == 0, outcome.stderr
    checks = outcome.document["data"]["checks"]
    assert [check["name"] for check in checks] == list(verify.GRID)
    assert all(check["predicted_gib"] > 0.2 for check in checks)


def test_what_verify_measures_is_what_it_predicts(gpu: Presented) -> None:
    config = presets.load("starter", [FLAT, "training.gradient_checkpointing=path"])
    predicted = training_peak(config, (12, 0)).allocated
    with gpu.pretending():
        measured = verify.measured(config, GPU)
    assert measured == pytest.approx(predicted, rel=0.01)


@pytest.fixture
def idle_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps that do nothing, and the prediction of a real configuration beside them."""

    @contextlib.contextmanager
    def work_of(mode: str, config: RunConfig, *_: object) -> Iterator[bench_work.Work]:
        predict = partial(bench_work.predict_training, config)
        yield bench_work.Work(lambda: None, lambda _: None, 1.0, "bfloat16", None, predict, {})

    monkeypatch.setattr(bench_module, "work_of", work_of)


def test_bench_caps_its_memory_and_predicts_beside_the_measurement(
    gpu: Presented, idle_work: None
) -> None:
    result = bench("small", steps=2, warmup=1, memory=8.0, overrides=[FLAT])
    assert gpu.fractions == {0: 8 / 32}
    assert result.device == "cuda:0"
    assert result.seconds == pytest.approx(2e-3)  # start, examples, end: an event each
    assert result.predicted_gib is not None
    assert result.predicted_gib > 1.0


def test_a_prediction_that_fails_discards_no_measurement(
    gpu: Presented, idle_work: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("Device index must not be negative\nat some place")

    monkeypatch.setattr(bench_work, "training_peak_of", broken)
    said: list[object] = []
    result = bench("small", steps=2, warmup=1, overrides=[FLAT], report=said.append)
    assert result.seconds > 0.0
    assert result.predicted_gib is None
    assert result.allocated_gib is not None
    notes = [event.message for event in said if isinstance(event, Notice)]
    assert "no prediction for this measurement: Device index must not be negative" in notes
