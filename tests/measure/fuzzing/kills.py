"""Commands that are killed at a random moment, and the next run into the same folder."""

from __future__ import annotations

import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import soundfile

from fuzzing.audio import quick_model
from fuzzing.calls import call, quiet_call
from fuzzing.documents import LAST, Documents, tensors
from fuzzing.processes import forked, leftovers
from fuzzing.verdict import BAD, HARMLESS, BrokenPromiseError, Verdict, promise

_SIGNALS = [signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGINT]
STEMS = ("vocals", "drums")
SONGS = ("one", "two", "three")
_OLD = 0.25  # what the samples of an older stem are
FRAMES = 100_000


class Kills:
    """Runs in forked processes, of which each is killed; templates come from the documents."""

    def __init__(self, folder: Path, documents: Documents) -> None:
        self.documents = documents
        self.folder = folder
        folder.mkdir()
        rng = np.random.default_rng(0)
        for name in SONGS:
            soundfile.write(folder / f"{name}.wav", 0.1 * rng.standard_normal(FRAMES), 8_000)
        self.measured = {
            name: self._measure(name, command)
            for name, (command, _) in self._commands(folder / "measured").items()
        }

    def _commands(self, folder: Path) -> dict[str, tuple[Any, Any]]:
        """Name -> (what is killed, what is promised afterwards)."""
        return {
            "separate": (lambda: self._separate(folder), lambda: self._separated(folder, set())),
            "separate --overwrite": (
                lambda: self._separate(folder, "--overwrite"),
                lambda: self._overwritten(folder),
            ),
            "separate --skip-existing": (
                lambda: self._separate(folder, "--skip-existing"),
                lambda: self._separated(folder, {"two"}),
            ),
            "train": (lambda: self._train(folder), lambda: self._trained(folder)),
            "resume": (lambda: self._resume(folder), lambda: self._trained(folder)),
            "eval --out": (lambda: self._eval(folder), lambda: self._scored(folder)),
        }

    def case(self, index: int, rng: Random, folder: Path) -> Verdict:
        """Start one command, kill it, and see what the next one makes of the folder."""
        name = rng.choice(sorted(self.measured))
        command, check = self._commands(folder)[name]
        number = rng.choice(_SIGNALS)
        seconds, events = self.measured[name]
        self._prepare(name, folder)
        if rng.random() < 0.5:
            event = rng.randint(1, events)
            code, _ = forked(command, folder, number, at_event=event)
            what = f"{number.name} before file event {event} of {events}: {code}"
        else:
            moment = rng.uniform(0.0, 1.1) * seconds
            code, _ = forked(command, folder, number, after=moment)
            what = f"{number.name} after {moment:.3f} of {seconds:.3f} s: {code}"
        try:
            if number != signal.SIGKILL:
                # Before the command has a handler it ends at once, and has written nothing.
                promise(code in (0, 130, -number), f"exit {code} of {number.name}")
                left = [] if name in ("train", "resume") else leftovers(folder)
                promise(not left, f"left behind by {number.name}: {left}")
            check()
            left = leftovers(folder)
            promise(not left, f"left behind by the run after the kill: {left}")
        except BrokenPromiseError as error:
            return Verdict(index, f"killed {name}", what, BAD, str(error))
        return Verdict(index, f"killed {name}", what, HARMLESS)

    def _measure(self, name: str, command: Callable[[], int]) -> tuple[float, int]:
        """Seconds that a command takes, and how often it touches names in its folder."""
        folder = self.folder / "measured"
        folder.mkdir()
        self._prepare(name, folder)
        started = time.monotonic()
        code, events = forked(command, folder, signal.SIGKILL, at_event=1 << 30)
        seconds = time.monotonic() - started
        promise(code == 0, f"{name}: exit {code}")
        shutil.rmtree(folder)
        return seconds, events

    def _prepare(self, name: str, folder: Path) -> None:
        if name == "separate --overwrite":
            for song in SONGS:
                write_old(folder / "out" / song)
        elif name == "separate --skip-existing":
            write_old(folder / "out" / "two")
        elif name == "resume":
            shutil.copytree(self.documents.folder / "interrupted", folder / "run")

    def _songs(self) -> list[Path]:
        return [self.folder / f"{name}.wav" for name in SONGS]

    def _separate(self, folder: Path, *flags: str, run: Any = quiet_call) -> Any:
        model = self.documents.model
        with quick_model():
            return run("separate", *self._songs(), "-n", model, "-o", folder / "out", *flags)

    def _train(self, folder: Path) -> int:
        preset = self.documents.folder / "presets" / "toy.yaml"
        data = self.documents.data
        return quiet_call("train", preset, "--data", data, "-o", folder / "run", "--device", "cpu")

    def _resume(self, folder: Path) -> int:
        return quiet_call("resume", folder / "run", "--device", "cpu")

    def _eval(self, folder: Path, run: Any = quiet_call) -> Any:
        model, reference = self.documents.model, self.documents.data / "train"
        return run("eval", "-n", model, "-r", reference, "-o", folder / "results", "--keep-stems")

    def _separated(self, folder: Path, kept: set[str]) -> None:
        """After a kill no set is half there; then --skip-existing makes the others."""
        for song in SONGS:
            found = stems(folder / "out" / song)
            if song in kept:
                promise(found == dict.fromkeys(STEMS, "old"), f"{song}: {found}")
            promise("broken" not in found.values(), f"{song}: {found}")
        done = self._separate(folder, "--skip-existing", run=call)
        promise(done.exit_code == 0, f"--skip-existing after the kill: {done.reasons}")
        for song in SONGS:
            wanted = "old" if song in kept else "new"
            found = stems(folder / "out" / song)
            promise(found == dict.fromkeys(STEMS, wanted), f"{song} after the next run: {found}")

    def _overwritten(self, folder: Path) -> None:
        """After a kill each stem is the old or the new one; --overwrite makes all new."""
        for song in SONGS:
            found = stems(folder / "out" / song)
            aside = len(list(folder.rglob(".*")))  # set aside: the next run puts it back
            promise("broken" not in found.values(), f"{song}: {found}")
            promise(len(found) + aside >= len(STEMS), f"{song}: older stems are lost: {found}")
        done = self._separate(folder, "--overwrite", run=call)
        promise(done.exit_code == 0, f"--overwrite after the kill: {done.reasons}")
        for song in SONGS:
            found = stems(folder / "out" / song)
            promise(found == dict.fromkeys(STEMS, "new"), f"{song} after the next run: {found}")

    def _trained(self, folder: Path) -> None:
        """The next run ends with the same tensors and the same story."""
        run = folder / "run"
        if (run / "checkpoints").is_dir() and any((run / "checkpoints").glob("step-*")):
            done = call("resume", run, "--device", "cpu")
            if done.exit_code:
                promise(False, f"resume after the kill: {done.reasons}")
        else:
            done = (
                call("resume", run, "--device", "cpu") if (run / "config.yaml").exists() else None
            )
            if done is None or done.exit_code:
                code = self._train(folder)
                reasons = done.reasons if done else "no config.yaml"
                promise(code == 0, f"neither resume nor train after the kill: {reasons}")
        promise(tensors(run) == self.documents.finished, f"other tensors at {LAST}")
        steps = [line.count('"kind": "step"') for line in _lines(run)]
        promise(sum(steps) == 6, f"{sum(steps)} steps in metrics.jsonl")

    def _scored(self, folder: Path) -> None:
        done = self._eval(folder, run=call)
        promise(done.exit_code == 0, f"eval after the kill: {done.reasons}")
        found = {path.name for path in (folder / "results").rglob("*")}
        names = {"summary.json", "scores.csv", "scores.md", "stems", "a.json", "b.json"}
        promise(names <= found, f"files {sorted(found)}")


def write_old(folder: Path) -> None:
    folder.mkdir(parents=True)
    for stem in STEMS:
        soundfile.write(folder / f"{stem}.wav", np.full(FRAMES, _OLD), 8_000)


def stems(folder: Path) -> dict[str, str]:
    """Stem -> old, new or broken, of those that are there."""
    found = {}
    for path in sorted(folder.glob("*.wav")):
        try:
            samples, _ = soundfile.read(path)
            whole = len(samples) == FRAMES
            old = whole and bool((samples == _OLD).all())
        except (soundfile.LibsndfileError, RuntimeError):
            old = whole = False
        found[path.stem] = "old" if old else "new" if whole else "broken"
    return found


def _lines(run: Path) -> list[str]:
    return (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
