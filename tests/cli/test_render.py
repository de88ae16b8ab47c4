"""Every result has a text form and a JSON form."""

from __future__ import annotations

import dataclasses
import inspect
import json

import pytest

from mssctl.cli.bench import comparison_text as bench_comparison_text
from mssctl.cli.bench import scan_text, steps_text
from mssctl.cli.data import check_text, synth_text
from mssctl.cli.eval import comparison_text, scores_text
from mssctl.cli.models import default_text, export_text, list_text, model_text, tried_text
from mssctl.cli.render import as_json
from mssctl.cli.runs import curves_text
from mssctl.cli.runs import list_text as runs_text
from mssctl.cli.separate import songs_text
from mssctl.cli.train import train_text
from mssctl.results import bench, data, evaluate, models, runs, separate, train
from mssctl.results.bench import (
    BenchComparison,
    ComparedNumber,
    OperatorTime,
    ScanBench,
    ScanTiming,
    StepBench,
)
from mssctl.results.data import CheckedRoot, DataCheckResult, DataFinding, SynthResult
from mssctl.results.evaluate import (
    ComparedResult,
    EvalComparison,
    EvalResult,
    PairedDifference,
    Score,
    Spread,
    StemScore,
)
from mssctl.results.models import (
    DefaultModel,
    ModelEntry,
    ModelList,
    OnnxModel,
    StemLikeness,
    TriedModel,
    TryResult,
)
from mssctl.results.runs import Curve, RunCurves, RunList, RunState
from mssctl.results.separate import SeparatedSong, SeparateResult
from mssctl.results.train import DryRunResult, TrainResult

ENTRY = ModelEntry(
    "starter",
    "/m/starter.safetensors",
    "tf_locoformer",
    ["vocals"],
    44_100,
    2,
    1_234_567,
    "CC",
    "f0",
)
RUN = RunState(
    run="runs/a",
    status="running",
    model="scnet",
    step=30,
    total_steps=100,
    epoch=3,
    metric="sdr",
    best_score=4.321,
    best_step=20,
    last_score=4.0,
    loss=0.5,
    seconds_per_step=0.5,
    seconds_left=35.0,
    updated="2026-11-27T10:00:00+00:00",
)
TEXTS = {
    SeparateResult: songs_text,
    DryRunResult: train_text,
    TrainResult: train_text,
    EvalResult: scores_text,
    EvalComparison: comparison_text,
    ModelList: list_text,
    ModelEntry: model_text,
    OnnxModel: export_text,
    DefaultModel: default_text,
    TryResult: tried_text,
    SynthResult: synth_text,
    DataCheckResult: check_text,
    StepBench: steps_text,
    BenchComparison: bench_comparison_text,
    ScanBench: scan_text,
    RunList: runs_text,
    RunCurves: curves_text,
}


def text_of(result):
    return TEXTS[type(result)](result)


EXAMPLES = {
    "default": DefaultModel("mine", "CC0"),
    "runs": RunList("runs", [RUN]),
    "run": RunCurves(RUN, [Curve("loss", "1", [1, 2, 3], [3.0, 2.0, 1.0])], 1),
    "separate": SeparateResult(
        "starter",
        "cpu",
        "float32",
        [SeparatedSong("a.wav", {"vocals": "out/vocals.wav"}, 61.0, 44_100, 1, 2.5, ["mono"])],
        [],
    ),
    "dry-run": DryRunResult("runs/a", 9, 2, 300, 4, 1.5, 0.2, 7.25, {"workers": 0}, 7.0),
    "train": TrainResult("runs/a", 10, 1, True, 3.21, "sdr", "runs/a/last", "runs/a/best", 3.0),
    "eval": EvalResult(
        model="starter",
        sha256="f0",
        device="cpu",
        dtype="float32",
        reference="songs",
        tracks=2,
        definitions={"sdr": "a ratio of energies"},
        settings={},
        means={"vocals": {"sdr": Score(5.0, -1.5, 6.5)}, "mean": {"sdr": Score(4.0, -2.0, 6.0)}},
        counts={"vocals": 2},
        scores=[],
        skipped=["b: drums: the reference is silent"],
        notes=[],
    ),
    "synth": SynthResult("songs", 3, 120.0, {"train": 2, "valid": 1}, 7, None),
    "check": DataCheckResult(
        [CheckedRoot("songs", "stems", {"train": 2}, {"train": {"vocals": 0.5}})],
        2,
        [DataFinding("silent", "train", "a", "songs/train/a/vocals.wav", "vocals is silent")],
        [],
        ["songs: 1 folder without a stem (first: x): skipped"],
    ),
    "model": ENTRY,
    "models": ModelList([ENTRY]),
    "onnx": OnnxModel(
        "a.onnx",
        "scnet",
        ["vocals"],
        44_100,
        2,
        4_096,
        1_024,
        "hann",
        431,
        10.0,
        18,
        "MIT",
        "0f",
        2e-7,
    ),
    "try": TryResult(
        "a.wav",
        61.0,
        [
            TriedModel("b", "/b", "MIT (see x)", "cpu", "fp32", 2.5, 0.75, {"vocals": "b/v.wav"}),
            TriedModel("c", "/c", "CC0", "cpu", "fp32", 12.5, 1.0, {"vocals": "c/v.wav"}),
        ],
        [StemLikeness("vocals", "b", "c", 7.25), StemLikeness("drums", "b", "c", None)],
        "tried/a/listen/index.html",
        [],
    ),
    "bench": ScanBench(
        preset="bsmamba2",
        device="cpu",
        machine="x86_64",
        threads=1,
        torch="2.11",
        shape={"steps": 801},
        timings=[
            ScanTiming("loop", None, 2.0, 1.0, 1e-7),
            ScanTiming("torch", 64, 0.1, 20.0, 1e-7),
        ],
        left_out=["mamba_ssm: not installed"],
    ),
}


def test_there_is_an_example_of_every_result():
    shown = {type(example) for example in EXAMPLES.values()}
    inner = {SeparatedSong, Score, StemScore, Spread, ScanTiming, CheckedRoot, DataFinding}
    inner |= {RunState, Curve, TriedModel, StemLikeness}
    # Looked at whole in tests/evaluation/test_compare.py and test_bench.py.
    elsewhere = {EvalComparison, ComparedResult, PairedDifference}
    elsewhere |= {StepBench, OperatorTime, BenchComparison, ComparedNumber}
    modules = (
        separate,
        train,
        evaluate,
        data,
        models,
        bench,
        runs,
    )  # plan and doctor have their own
    kinds = {
        kind
        for module in modules
        for _, kind in inspect.getmembers(module, dataclasses.is_dataclass)
        if kind.__module__ == module.__name__
    }
    assert kinds == shown | inner | elsewhere


@pytest.mark.parametrize("example", EXAMPLES.values(), ids=EXAMPLES)
def test_json_holds_every_field(example):
    data = json.loads(as_json(0, example, None))["data"]
    assert set(data) == {field.name for field in dataclasses.fields(example)}


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        (
            "onnx",
            [
                "architecture  scnet",
                "stems         vocals",
                "audio         44100 Hz, 2 channels",
                "transform     n_fft 4096, hop 1024, hann window",
                "segment       431 frames, 10.00 s",
                "license       MIT",
                "file          a.onnx",
                "sha256        0f",
                "checked       onnxruntime differs from PyTorch by 2.0e-07 (relative L2)",
            ],
        ),
        (
            "try",
            [
                "a.wav: 0:01:01",
                "model  x real time  peak memory  stems   license",
                "b      2.5          0.75 GiB     vocals  MIT",
                "c      12.5         1.00 GiB     vocals  CC0",
                "",
                "SI-SDR of one model's stem against the other's, dB: lower is more different",
                "models  vocals   drums",
                "b / c      7.2  silent",
                "",
                "open tried/a/listen/index.html",
            ],
        ),
        (
            "separate",
            [
                "a.wav: 0:01:01, 44100 Hz, 1 channel, 2.5 x real time",
                "  vocals  out/vocals.wav",
                "  note: mono",
            ],
        ),
        (
            "train",
            [
                "run         runs/a",
                "state       finished",
                "steps       10 (1 epoch) in 0:00:03",
                "best sdr    3.21 dB",
                "checkpoint  runs/a/last",
                "model       runs/a/best",
            ],
        ),
        (
            "eval",
            [
                "starter on songs: over 2 tracks",
                "stem    tracks   sdr  of mixture   gain",
                "vocals       2  5.00       -1.50  +6.50",
                "mean            4.00       -2.00  +6.00",
                "sdr: a ratio of energies",
                "skipped: b: drums: the reference is silent",
            ],
        ),
        (
            "synth",
            [
                "folder   songs",
                "train    2 songs",
                "valid    1 song",
                "audio    0:02:00",
                "samples  none: oscillators and noise",
                "seed     7",
            ],
        ),
        (
            "check",
            [
                "songs: layout stems; length of each stem",
                "split  songs   vocals",
                "train      2  0:30:00",
                "silent: 1 finding",
                "  train/a: vocals is silent",
                "songs: 1 folder without a stem (first: x): skipped",
            ],
        ),
        (
            "runs",
            [
                "run  state    step    best         s/step  left     model",
                "a    running  30/100  sdr 4.32 dB  0.5     0:00:35  scnet",
                "1 run in runs, 1 running",
            ],
        ),
        ("default", ["mine is the default now (license: CC0)"]),
        (
            "models",
            [
                "name       state  stems   size    license  quality as published",
                "starter *  here   vocals  1.23 M  CC",
                "* the default: starter. `mssctl models pull NAME` fetches one.",
            ],
        ),
    ],
)
def test_text(name, lines):
    assert text_of(EXAMPLES[name]).splitlines() == lines


def test_no_models_says_so():
    assert list_text(ModelList([])) == "no models\n"
