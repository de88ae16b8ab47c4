"""Damaged documents of runs, models and results, through the commands that read them."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import soundfile

from fuzzing.calls import Call, SlowError, call
from fuzzing.damage import Damage
from fuzzing.odd import BY_KIND
from fuzzing.verdict import BAD, ERROR, HARMLESS, NOTE, SILENT, BrokenPromiseError, Verdict, promise

PRESET = """\
audio:
  sample_rate: 8000
  stems: [vocals, drums]
stft:
  n_fft: 256
  hop_length: 128
model:
  name: tf_locoformer
  front_end: bins
  n_layers: 1
  emb_dim: 8
  attention_dim: 8
  n_heads: 2
  ffn_hidden_dim: [8, 8]
  num_groups: 2
  dropout: 0.1
loss:
  spectral_n_fft: [256]
training:
  num_epochs: 2
  steps_per_epoch: 3
  segment_length: 1024
  batch_size: 1
  gradient_accumulation_steps: 1
  amp_dtype: float32
  num_workers: 0
  validate_songs: 1
  keep_last: 9
  save_every_steps: 1
"""
LAST = "step-00000006"
_TENSORS = ("model", "ema", "optimizer")
_BENCH = {
    "mode": "train", "preset": "toy", "device": "cpu", "audio_seconds": 1.0, "seconds": 0.5,
    "seconds_p10": 0.4, "seconds_p90": 0.6, "speed": 2.0, "allocated_gib": None,
    "environment": {"torch": "2.11.0", "threads": 1},
}  # fmt: skip


@dataclass(frozen=True)
class Subject:
    """A document that is damaged.

    Attributes:
        row: of the table.
        kind: a key of `BY_KIND`.
        files: which of the template's files it is, as a pattern.
        judge: runs the command on the copy; gives outcome and reason.
        checked: a checksum shows every change of it that matters.
    """

    row: str
    kind: str
    files: str
    judge: Callable[[Path, Subject, Damage], tuple[str, str]]
    checked: bool = False


class Documents:
    """A run that was interrupted, its model, results: templates that each case copies."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder = folder
        self.data = folder / "data"
        self.song = folder / "song.wav"
        _write_songs(self.data, self.song)
        _write_run(folder / "run", self.data)
        self.model = folder / "models" / "best.safetensors"
        self.model.parent.mkdir()
        (folder / "run").rename(folder / "interrupted")
        shutil.copytree(folder / "interrupted", folder / "run")
        self.resumed = call("resume", folder / "run", "--device", "cpu")
        promise(self.resumed.exit_code == 0, f"the intact run: {self.resumed.reasons}")
        self.finished = tensors(folder / "run")
        shutil.copy(folder / "run" / "best.safetensors", self.model)
        self.stems = self._separate(self.model, folder / "stems")
        self.scores = self._eval(folder / "results")
        for name, model in (("a", "first"), ("b", "second")):
            document = {"schema": 1, "exit_code": 0, "data": {**_BENCH, "preset": model}}
            path = folder / "bench" / f"{name}.json"
            path.parent.mkdir(exist_ok=True)
            path.write_text(json.dumps(document))
        rows = [f"{song},{song}/vocals.wav,{song}/drums.wav,train" for song in "ab"]
        text = "\n".join(["song,vocals,drums,split", *rows]) + "\n"
        (self.data / "train" / "table.csv").write_text(text)
        (folder / "presets").mkdir()
        (folder / "presets" / "toy.yaml").write_text(PRESET)
        self.expected = {
            "compare": self._compare(folder / "results"),
            "bench": self._bench(folder / "bench"),
            "table": self._check(self.data / "train"),
            "preset": self._dry_run(folder / "presets"),
        }
        self.subjects = self._subjects()

    def _subjects(self) -> list[Subject]:
        run, newest = "interrupted", "interrupted/checkpoints/step-00000004"
        return [
            Subject("config.yaml", "yaml", f"{run}/config.yaml", self._on_run, checked=True),
            Subject("data.json", "json", f"{run}/data.json", self._on_run),
            Subject("environment.json", "json", f"{run}/environment.json", self._on_run),
            Subject("metrics.jsonl", "jsonl", f"{run}/metrics.jsonl", self._on_run),
            Subject("state.json", "json", f"{newest}/state.json", self._on_run, checked=True),
            Subject("state.json", "json", f"{newest}/state.json", self._on_run, checked=True),
            Subject(
                "checkpoint", "safetensors", f"{newest}/*.safetensors", self._on_run, checked=True
            ),
            Subject(
                "model file", "safetensors", "models/*.safetensors", self._on_model, checked=True
            ),
            Subject("track document", "json", "results/**/[ab].json", self._on_track, checked=True),
            Subject("summary.json", "json", "results/summary.json", self._plainly("compare")),
            Subject("bench result", "json", "bench/a.json", self._plainly("bench")),
            Subject("table.csv", "csv", "data/train/table.csv", self._plainly("table")),
            Subject("preset", "yaml", "presets/toy.yaml", self._plainly("preset")),
        ]

    def case(self, index: int, rng: Random, folder: Path) -> Verdict:
        """Copy a template, damage one file of it and run the command that reads it."""
        subject = rng.choice(self.subjects)
        file = rng.choice(sorted(self.folder.glob(subject.files)))
        top = file.relative_to(self.folder).parts[0]
        copy = folder / top
        shutil.copytree(self.folder / top, copy)
        damage = BY_KIND[subject.kind](file.read_bytes(), rng)
        (folder / file.relative_to(self.folder)).write_bytes(damage.data)
        try:
            outcome, why = subject.judge(copy, subject, damage)
        except SlowError as error:  # a default of a line that is lost is a bigger model
            lost = subject.kind == "yaml" and " = " not in damage.kind
            outcome, why = SILENT if lost else BAD, str(error)
        except BrokenPromiseError as error:
            outcome, why = BAD, str(error)
        what = f"{file.relative_to(self.folder)}: {damage}"
        return Verdict(index, subject.row, what, outcome, why.replace(str(folder), ""))

    def _on_run(self, run: Path, subject: Subject, damage: Damage) -> tuple[str, str]:
        before = _files(run)
        done = call("resume", run, "--device", "cpu", interrupt=True)
        after = _files(run)
        for path, content in before.items():
            whole = "checkpoints" in path.parts or done.exit_code not in (0, 130)
            if whole and path.name not in ("environment.json", ".lock", "metrics.jsonl"):
                promise(path in after, f"{path} is lost, exit {done.exit_code}")
                same = after[path] == content or content == damage.data
                promise(same, f"{path} was changed, exit {done.exit_code}")
        lost = len(before[Path("metrics.jsonl")]) - len(after.get(Path("metrics.jsonl"), b""))
        promise(
            done.exit_code == 0 or lost <= 0 or subject.row in ("metrics.jsonl", "state.json"),
            f"metrics.jsonl is {lost} bytes shorter, exit {done.exit_code}",
        )
        left = [str(p) for p in after if p.name.endswith((".tmp", ".part")) or ".tmp" in str(p)]
        promise(not left, f"left behind: {left}")
        if done.exit_code not in (0, 130):
            return ERROR, "; ".join(done.reasons)
        if said := self._new_remarks(done, run):
            return NOTE, "; ".join(said)
        if tensors(run) == self.finished:
            return HARMLESS, ""
        promise(not subject.checked, "another model came of it, nothing said")
        return SILENT, "another model"

    def _new_remarks(self, done: Call, run: Path) -> list[str]:
        usual = {line.replace(str(self.folder / "run"), "") for line in self.resumed.remarks}
        return sorted({line.replace(str(run), "") for line in done.remarks} - usual)

    def _on_model(self, models: Path, subject: Subject, damage: Damage) -> tuple[str, str]:
        model = models / "best.safetensors"
        call("models", "info", model)
        out = models / "out"
        try:
            stems, done = self._stems(model, out)
        except _FailedError as error:
            promise(not out.exists(), "a folder is left")
            return ERROR, str(error)
        if all(np.array_equal(stems[name], self.stems[name]) for name in self.stems):
            return HARMLESS, ""
        said = [line for line in done.remarks if "damaged" in line or "checksum" in line]
        if said:
            return NOTE, "; ".join(said)
        promise(not subject.checked, "other stems, nothing said")
        return SILENT, "other stems"

    def _on_track(self, results: Path, subject: Subject, damage: Damage) -> tuple[str, str]:
        try:
            scores = self._eval(results)
        except _FailedError as error:
            return ERROR, str(error)
        promise(not list(results.rglob(".*")), "left behind")
        if scores == self.scores:
            return HARMLESS, ""
        promise(not subject.checked, "other scores, nothing said")
        return SILENT, "other scores"

    def _plainly(self, name: str) -> Callable[[Path, Subject, Damage], tuple[str, str]]:
        runs = {
            "compare": self._compare,
            "bench": self._bench,
            "table": self._check,
            "preset": self._dry_run,
        }

        def judge(folder: Path, subject: Subject, damage: Damage) -> tuple[str, str]:
            try:
                found, said = runs[name](folder)
            except _FailedError as error:
                return ERROR, str(error)
            expected, usual = self.expected[name]
            if found == expected:
                return HARMLESS, ""
            return (NOTE, "; ".join(said - usual)) if said - usual else (SILENT, "another result")

        return judge

    def _stems(self, model: Path, out: Path) -> tuple[dict[str, Any], Call]:
        done = _done("separate", self.song, "-n", model, "-o", out, "--device", "cpu")
        paths = done.data["songs"][0]["stems"]
        return {stem: soundfile.read(path)[0] for stem, path in paths.items()}, done

    def _separate(self, model: Path, out: Path) -> dict[str, Any]:
        return self._stems(model, out)[0]

    def _eval(self, out: Path) -> Any:
        reference = self.data / "train"
        done = _done("eval", "-n", self.model, "-r", reference, "-o", out, "--jobs", 1)
        return done.data["scores"]

    def _compare(self, results: Path) -> tuple[Any, set[str]]:
        done = _done("eval", "compare", self.folder / "results", results)
        differences = [other["differences"] for other in done.data["others"]]
        return differences, done.remarks

    def _bench(self, folder: Path) -> tuple[Any, set[str]]:
        done = _done("bench", "--compare", self.folder / "bench" / "b.json", folder / "a.json")
        data = {key: value for key, value in done.data.items() if key not in ("first", "second")}
        return data, done.remarks

    def _check(self, folder: Path) -> tuple[Any, set[str]]:
        table = folder / "table.csv" if folder.name == "train" else folder / "train" / "table.csv"
        done = _done("data", "check", table, "--stems", "vocals,drums")
        data = json.loads(json.dumps(done.data).replace(str(folder.parent), ""))
        return {key: data[key] for key in data if key != "seconds"}, done.remarks

    def _dry_run(self, folder: Path) -> tuple[Any, set[str]]:
        done = _done(
            "train", folder / "toy.yaml", "--data", self.data, "--out", folder / "run", "--dry-run",
            "--device", "cpu",
        )  # fmt: skip
        promise(not (folder / "run").exists(), "a dry run left a folder")
        return done.data["loss"], done.remarks


class _FailedError(Exception):
    """A command that failed with a sentence."""


def _done(*arguments: object) -> Call:
    done = call(*arguments)
    if done.exit_code:
        raise _FailedError(f"exit {done.exit_code}: {'; '.join(done.reasons)}")
    return done


def _write_songs(data: Path, song: Path) -> None:
    rng = np.random.default_rng(0)
    for name in ("train/a", "train/b", "valid/c"):
        (data / name).mkdir(parents=True)
        for stem in ("vocals", "drums"):
            sound = 0.1 * rng.standard_normal((4_000, 2))
            soundfile.write(data / name / f"{stem}.wav", sound, 8_000)
    soundfile.write(song, 0.1 * rng.standard_normal((2_000, 2)), 8_000)


def _write_run(run: Path, data: Path) -> None:
    """Train, and interrupt it at step 4 of 6."""
    from mssctl.api.train import train
    from mssctl.events import Event, Step

    def stop(event: Event) -> None:
        if isinstance(event, Step) and event.step == 4:
            signal.raise_signal(signal.SIGINT)

    preset = run.with_suffix(".yaml")
    preset.write_text(PRESET)
    train(str(preset), data=data, out=run, device="cpu", report=stop)


def tensors(run: Path) -> dict[str, bytes]:
    """The tensors of the last checkpoint; none if the run did not come so far."""
    folder = run / "checkpoints" / LAST
    paths = [folder / f"{name}.safetensors" for name in _TENSORS]
    return {path.name: path.read_bytes() for path in paths if path.is_file()}


def _files(run: Path) -> dict[Path, bytes]:
    return {p.relative_to(run): p.read_bytes() for p in run.rglob("*") if p.is_file()}
