"""Measuring speed: the same step as training, whole numbers, and nothing left behind."""

from __future__ import annotations

import dataclasses
import json
import queue
import threading
import time
from types import SimpleNamespace

import pytest
import torch

from mssctl.api import bench as module
from mssctl.api.bench import bench
from mssctl.benchmark import clock as bench_clock
from mssctl.benchmark import work as bench_work
from mssctl.benchmark.clock import percentile
from mssctl.benchmark.compare import compare
from mssctl.cli.bench import comparison_text, steps_text
from mssctl.cli.render import as_json
from mssctl.errors import ExitCode, MssctlError
from mssctl.events import Progress
from mssctl.hardware import nvml
from mssctl.options.data import SynthOptions
from mssctl.planning import predictions as runs
from mssctl.synth.generate import synthesize
from mssctl.training import dry_run, step, trainer

TINY = """
audio: {sample_rate: 8000}
stft: {n_fft: 256, hop_length: 128}
model: {freqs_per_bands: [16, 16, 32, 65], n_layers: 1, emb_dim: 8, attention_dim: 8, n_heads: 2,
        ffn_hidden_dim: [8, 8], num_groups: 2, mask_expansion: 1}
loss: {spectral_n_fft: [256]}
training: {segment_length: 4000, batch_size: 2, gradient_accumulation_steps: 2,
           amp_dtype: float32, num_workers: 0}
"""


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "tiny.yaml").write_text(TINY, encoding="utf-8")
    return str(tmp_path / "tiny.yaml")


def measured(tiny, **options):
    return bench(tiny, steps=3, warmup=1, device="cpu", **options)


def test_the_step_is_the_trainers_and_the_planners():
    assert bench_work.train_step is trainer.train_step is dry_run.train_step is step.train_step
    assert runs.train_step is step.train_step


def test_a_training_step_is_measured(tiny):
    result = measured(tiny)
    assert 0.0 < result.seconds_least <= result.seconds_p10 <= result.seconds
    assert result.seconds <= result.seconds_p90
    assert result.audio_seconds == pytest.approx(2 * 2 * 0.5)
    assert result.speed == pytest.approx(result.audio_seconds / result.seconds)
    assert set(result.shares) == {
        "data wait", "forward", "loss", "backward", "optimizer", "rest",
    }  # fmt: skip
    assert result.shares["data wait"] < 0.01
    assert sum(result.shares.values()) == pytest.approx(1.0)
    assert min(result.shares[part] for part in ("forward", "loss", "backward")) > 0.01
    assert result.tflop_rate == pytest.approx(result.tflop / result.seconds)
    assert (result.allocated_gib, result.predicted_gib) == (None, None)
    assert result.resident_gib > 0.1
    assert result.environment["effective_batch"] == 4
    text = steps_text(result)
    assert "mode train" in text
    assert "GiB resident" in text


def test_arithmetic_counts_every_micro_batch(tiny):
    once = measured(tiny, overrides=["training.gradient_accumulation_steps=1"])
    twice = measured(tiny)
    assert twice.tflop == pytest.approx(2 * once.tflop, rel=0.02)


@pytest.mark.parametrize("mode", ["separate", "loader"])
def test_separation_and_reading_are_measured(tiny, mode):
    result = measured(tiny, mode=mode)
    assert result.speed > 0.0
    assert result.shares == {}
    assert (result.tflop is None) is (mode == "loader")
    assert f"mode {mode}" in steps_text(result)


def test_the_arithmetic_of_separation_counts_its_segments(tiny):
    """Four segments with a quarter of overlap: 6 passes, whatever goes through at once."""
    once, twice = (measured(tiny, mode="separate", batch=batch) for batch in (1, 2))
    assert twice.tflop == pytest.approx(once.tflop, rel=0.02)
    overlap = ["separation.overlap=0"]
    none = measured(tiny, mode="separate", overrides=overlap)
    assert once.tflop / none.tflop == pytest.approx(6 / 4, rel=0.02)
    trained = measured(tiny)  # forward and twice as much backward
    a_second = trained.tflop / trained.audio_seconds / 3
    assert none.tflop / none.audio_seconds == pytest.approx(a_second, rel=0.15)


def test_waiting_for_data_is_a_share_of_its_own(tiny, tmp_path, monkeypatch):
    """Readers that run ahead while nothing is measured do not hide it."""
    few = SynthOptions(hours=0.003, song_seconds=4.0, workers=1)
    synthesize(tmp_path / "songs", few, sample_rate=8000)
    read = bench_work.batches

    def slow(*given, **named):
        ahead, done = queue.Queue(maxsize=8), threading.Event()

        def work():
            for batch in read(*given, **named):
                time.sleep(0.1)
                ahead.put(batch)
                if done.is_set():
                    return

        reader = threading.Thread(target=work, daemon=True)
        reader.start()
        try:
            while True:
                yield ahead.get()
        finally:
            done.set()
            while not ahead.empty():
                ahead.get()

    monkeypatch.setattr(bench_work, "batches", slow)
    result = bench(tiny, steps=10, warmup=1, device="cpu", data=tmp_path / "songs")
    noise = measured(tiny)
    waits = 1 - noise.seconds / result.seconds  # two micro-batches a step
    assert waits > 0.3
    assert result.shares["data wait"] == pytest.approx(waits, abs=0.25)
    assert sum(result.shares.values()) == pytest.approx(1.0)


def test_the_loaders_preset_is_that_of_the_machine(tiny, monkeypatch):
    card = SimpleNamespace(device=torch.device("cuda"), reason="stub")
    monkeypatch.setattr(module, "choose_device", lambda _: card)
    monkeypatch.setattr(module, "ON_GPU", tiny)
    result = bench(mode="loader", steps=1, warmup=0)
    assert (result.preset, result.device) == (tiny, "cpu")


def test_the_batch_is_that_of_the_mode(tiny):
    assert measured(tiny, batch=5).audio_seconds == pytest.approx(5 * 2 * 0.5)
    assert measured(tiny, mode="separate", batch=3).environment["batch_size"] == 3


def test_a_profile_names_the_operators_and_leaves_a_trace(tiny, tmp_path):
    result = measured(tiny, profile=tmp_path / "trace.json")
    assert result.operators
    assert sum(operator.share for operator in result.operators) <= 1.0 + 1e-9
    assert [op.seconds for op in result.operators] == sorted(
        (op.seconds for op in result.operators), reverse=True
    )
    assert json.loads((tmp_path / "trace.json").read_text(encoding="utf-8"))["traceEvents"]
    assert not list(tmp_path.glob(".*"))
    assert "ms a step" in steps_text(result)


def test_a_trace_that_cannot_be_written_is_refused_before_the_work(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(bench_work, "prepare", lambda *_: pytest.fail("the work has begun"))
    with pytest.raises(MssctlError, match="no such folder") as caught:
        measured(tiny, profile=tmp_path / "no" / "trace.json")
    assert caught.value.exit_code == ExitCode.ENVIRONMENT


def test_a_cap_of_a_gpus_memory_needs_a_gpu(tiny):
    with pytest.raises(MssctlError, match="`memory`") as caught:
        measured(tiny, memory=8.0)
    assert caught.value.exit_code == ExitCode.USAGE


def test_progress_counts_warm_up_and_steps(tiny):
    seen = []
    measured(tiny, report=seen.append)
    steps = [event for event in seen if isinstance(event, Progress)]
    assert [(event.done, event.total) for event in steps] == [(n, 4) for n in range(5)]


def test_the_percentiles_are_values_of_steps():
    seconds = [3.0, 1.0, 2.0, 5.0, 4.0, 6.0, 7.0, 8.0, 9.0, 10.0, 11.0]
    assert [percentile(seconds, share) for share in (0.0, 0.1, 0.5, 0.9)] == [1.0, 2.0, 6.0, 10.0]


def test_two_results_beside_each_other(tiny, tmp_path):
    result = measured(tiny)
    slow = dataclasses.replace(
        result,
        seconds=2.0 * result.seconds,
        environment={**result.environment, "threads": "many"},
    )
    for name, one in (("a", result), ("b", slow)):
        (tmp_path / f"{name}.json").write_text(as_json(0, one, None), encoding="utf-8")
    found = compare(tmp_path / "a.json", tmp_path / "b.json")
    assert {item.name: item.ratio for item in found.numbers}["seconds"] == pytest.approx(2.0)
    assert list(found.differs) == ["threads"]
    assert "differs: threads" in comparison_text(found)


def test_unlike_work_is_not_compared(tiny, tmp_path):
    result = measured(tiny)
    other = dataclasses.replace(result, mode="separate")
    for name, one in (("a", result), ("b", other)):
        (tmp_path / f"{name}.json").write_text(as_json(0, one, None), encoding="utf-8")
    with pytest.raises(MssctlError, match="not the same work") as caught:
        compare(tmp_path / "a.json", tmp_path / "b.json")
    assert caught.value.exit_code == ExitCode.USAGE
    (tmp_path / "c.json").write_text("{}", encoding="utf-8")
    with pytest.raises(MssctlError, match="not what"):
        compare(tmp_path / "a.json", tmp_path / "c.json")
    with pytest.raises(MssctlError, match="cannot be read"):
        compare(tmp_path / "a.json", tmp_path / "d.json")


def test_running_out_of_memory_is_an_error_with_a_remedy(tiny, monkeypatch):
    def full(*_given):
        raise torch.OutOfMemoryError

    monkeypatch.setattr(bench_work, "train_step", full)
    with pytest.raises(MssctlError, match="memory ran out") as caught:
        measured(tiny)
    assert "mssctl plan" in str(caught.value.hint)


def test_no_setting_is_silent(tiny, tmp_path, mssctl):
    with pytest.raises(MssctlError, match="`data` does nothing in mode separate"):
        measured(tiny, mode="separate", data=tmp_path)
    with pytest.raises(MssctlError, match="`device` cuda does nothing in mode loader"):
        bench(tiny, mode="loader", device="cuda")
    with pytest.raises(MssctlError, match="exists already"):
        measured(tiny, profile=tmp_path)
    for arguments in (
        ["--mode", "scan", "--set", "a.b=1"],
        ["--mode", "scan", "--steps", "9"],
        ["--compare", "a", "b", "--data", "c"],
        ["--compare", "a", "b", "--warmup", "0"],
    ):
        outcome = mssctl("bench", *arguments)
        assert outcome.exit_code == 2
        assert "does nothing with" in outcome.stderr


@pytest.mark.parametrize(
    ("visible", "index"), [(None, 1), ("", None), ("3,5", 5), ("GPU-ab,GPU-cd", None), ("7", None)]
)
def test_the_gpu_that_is_watched_is_the_one_that_computes(monkeypatch, visible, index):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert nvml.index_of(1) == index


def test_a_watched_gpu_gives_means_of_what_it_says(monkeypatch):
    gpus = [nvml.Gpu(0, utilisation=10), nvml.Gpu(1, utilisation=90, power=300.0)]
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(nvml, "gpus", lambda: gpus)
    with bench_clock.Watch(torch.device("cuda", 1)) as watch:
        time.sleep(0.5)
    assert (watch.mean("utilisation"), watch.mean("power")) == (90.0, 300.0)
    assert watch.mean("clock") is None


@pytest.mark.parametrize("text", ['{"data": {"mode": "train", "environment": []}}', "[]", "\xff"])
def test_a_damaged_result_is_no_traceback(tmp_path, text):
    for name in ("a", "b"):
        (tmp_path / f"{name}.json").write_text(text, encoding="latin-1")
    with pytest.raises(MssctlError, match=r"not what|expected a JSON object|not UTF-8"):
        compare(tmp_path / "a.json", tmp_path / "b.json")
