"""museval's own readers take the documents of an evaluation."""

from __future__ import annotations

import json
import sys
from types import ModuleType

import numpy as np
import pytest
import soundfile as sf

from mssctl.api.evaluate import evaluate
from mssctl.evaluation.bsseval.frames import readable_by_museval

RATE = 8_000
STEMS = ("vocals", "drums")
METRICS = {"SDR", "ISR", "SIR", "SAR"}


@pytest.fixture
def museval(monkeypatch):
    """museval without its readers of audio, which want ffmpeg; its readers of JSON need none."""
    for name in ("musdb", "stempeg"):
        if name not in sys.modules:
            monkeypatch.setitem(sys.modules, name, ModuleType(name))
    before = set(sys.modules)
    yield pytest.importorskip("museval")
    for name in set(sys.modules) - before:
        if name.split(".")[0] == "museval":
            del sys.modules[name]


def write(path, audio):
    path.parent.mkdir(parents=True, exist_ok=True)
    sf.write(path, audio, RATE, subtype="FLOAT")


def noise(seed: int, frames: int) -> np.ndarray:
    return 0.1 * np.random.default_rng(seed).standard_normal((frames, 2))


@pytest.fixture
def out(tmp_path):
    """An evaluation of tracks that museval's readers stumble over when written as they come."""
    lengths = {"summary": 4_000, "silent for a while": 4_000, "too short": 300, "exact": 4_000,
               "one stem is silent": 4_000}  # fmt: skip
    for seed, (track, frames) in enumerate(lengths.items()):
        true = {stem: noise(10 * seed + i, frames) for i, stem in enumerate(STEMS)}
        if track == "silent for a while":
            true["drums"][2_000:] = 0.0
        if track == "one stem is silent":
            true["drums"][:] = 0.0
        spoil = 0.0 if track == "exact" else 0.1
        for stem, audio in true.items():
            write(tmp_path / "songs" / track / f"{stem}.wav", audio)
            estimate = audio + spoil * noise(99 - seed, frames)
            write(tmp_path / "est" / track / f"{stem}.wav", estimate)
    evaluate(
        estimates=tmp_path / "est",
        reference=tmp_path / "songs",
        metrics="bsseval",
        window=0.125,
        hop=0.125,
        round16=False,
        out=tmp_path / "out",
    )
    return tmp_path / "out"


def test_an_eval_folder_is_read_by_museval_as_it_is(museval, out):
    store = museval.EvalStore()
    store.add_eval_dir(out)
    # An exact estimate has no finite SIR, one stem alone neither: museval has no number for them.
    assert set(store.df["track"]) == {"summary", "silent for a while"}
    assert set(store.df["metric"]) == METRICS
    assert store.df["score"].dtype.kind == "f"
    table = store.agg_frames_tracks_scores().unstack()
    summary = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    medians = [summary["medians"][track]["vocals"]["SDR"] for track in set(store.df["track"])]
    assert table["SDR"]["vocals"] == pytest.approx(np.median(medians))
    methods = museval.MethodStore()
    methods.add_eval_dir(out)
    assert set(methods.df["method"]) == {"out"}
    assert "vocals" in repr(store)


def test_each_document_is_what_its_schema_says(museval, out):
    paths = sorted((out / "test").glob("**/*.json"))
    assert paths
    for path in paths:
        track = museval.TrackStore(path.stem)
        track.scores = json.loads(path.read_text(encoding="utf-8"), parse_constant=pytest.fail)
        track.validate()
        assert len(track.df)
        assert "vocals" in repr(museval.aggregate.json2df(track.scores, path.stem))


@pytest.mark.parametrize(
    ("targets", "readable"),
    [
        (None, False),
        ([], False),
        ([{"name": "a", "frames": []}], False),
        ([{"name": "a", "frames": [{"metrics": {}}]}], False),
        ([{"name": "a", "frames": [{"metrics": {"SDR": 1.0}}]}], False),
        ([{"name": "a", "frames": [{"metrics": dict.fromkeys(METRICS)}]}], False),
        ([{"name": "a", "frames": [{"metrics": dict.fromkeys(METRICS, 1.0)}]}], True),
        (
            [
                {"name": "a", "frames": [{"metrics": {"SDR": 1.0, "ISR": 1.0}}]},
                {"name": "b", "frames": [{"metrics": {"SIR": 1.0, "SAR": 1.0}}]},
            ],
            True,
        ),
    ],
)
def test_which_documents_museval_reads(museval, targets, readable):
    document = {} if targets is None else {"targets": targets}
    assert readable_by_museval(document) is readable
    for target in targets or ():
        for frame in target["frames"]:
            frame |= {"time": 0.0, "duration": 1.0}
    if readable:
        assert len(museval.aggregate.json2df(document, "a"))
