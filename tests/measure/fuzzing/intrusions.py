"""What else happens in a folder meanwhile: a file appears, a song changes, a twin is at work."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from random import Random

import numpy as np
import soundfile

from fuzzing.audio import quick_model
from fuzzing.documents import tensors
from fuzzing.kills import FRAMES, SONGS, STEMS, Kills, stems, write_old
from fuzzing.processes import BROKEN, forked, held, leftovers, started, wait
from fuzzing.verdict import BAD, ERROR, HARMLESS, BrokenPromiseError, Verdict, promise

_FOREIGN = b"not written by mssctl"
_EVENTS = 40  # about as many as a run has


class Intrusions:
    """Runs in forked processes, with the templates of the kills."""

    def __init__(self, kills: Kills) -> None:
        self.kills = kills
        self.model = kills.documents.model

    def case(self, index: int, rng: Random, folder: Path) -> Verdict:
        """One intrusion."""
        name, judge = rng.choice(
            [
                ("a file appears", self._appears),
                ("a song is replaced", self._replaced),
                ("two of separate", self._two_separate),
                ("two of eval", self._two_eval),
                ("two of train", self._two_train),
            ]
        )
        event = rng.randint(1, _EVENTS)
        try:
            outcome, why = judge(folder, event, rng)
            broken = folder / BROKEN
            promise(not broken.exists(), broken.read_text() if broken.exists() else "")
            left = leftovers(folder)
            promise(not left, f"left behind: {left}")
        except BrokenPromiseError as error:
            outcome, why = BAD, str(error)
        return Verdict(index, name, f"at file event {event}", outcome, why)

    def _separate(self, folder: Path, songs: Path, *flags: str) -> Callable[[], int]:
        paths = [songs / f"{name}.wav" for name in SONGS]

        def run() -> int:
            with quick_model():
                out = folder / "out"
                return held(folder, "separate", *paths, "-n", self.model, "-o", out, *flags)

        return run

    def _appears(self, folder: Path, event: int, rng: Random) -> tuple[str, str]:
        """A file at the path of a stem is never replaced without --overwrite."""
        path = folder / "out" / "two" / f"{rng.choice(STEMS)}.wav"
        marker = folder / "appeared"

        def appear() -> None:
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.exists():
                path.write_bytes(_FOREIGN)
                marker.touch()

        flags = rng.choice([(), ("--skip-existing",)])
        command = self._separate(folder, self.kills.folder, *flags)
        code, _ = forked(command, folder, at_event=event, action=appear)
        if not marker.exists():
            promise(code == 0, f"exit {code}, though nothing appeared")
            return HARMLESS, ""
        promise(path.read_bytes() == _FOREIGN, f"the file that appeared is lost, exit {code}")
        promise(code in (1, 2, 4), f"exit {code}")
        promise(len(stems(path.parent)) == 1, "a part of the set was written beside it")
        others = [stems(folder / "out" / name) for name in ("one", "three")]
        promise(all(found in ({}, dict.fromkeys(STEMS, "new")) for found in others), f"{others}")
        return ERROR, f"exit {code}"

    def _replaced(self, folder: Path, event: int, rng: Random) -> tuple[str, str]:
        """Stems are of one song, before or after, or there is an error."""
        songs = folder / "songs"
        songs.mkdir()
        for name in SONGS:
            shutil.copy(self.kills.folder / f"{name}.wav", songs)
        other = folder / "other.wav"
        soundfile.write(other, np.full(FRAMES, 0.5), 8_000)

        def replace() -> None:
            os.replace(other, songs / "two.wav")  # noqa: PTH105 (no more events than needed)

        before = soundfile.read(songs / "two.wav")[0]
        command = self._separate(folder, songs)
        code, _ = forked(command, folder, at_event=event, action=replace)
        if code:
            promise(code == 1, f"exit {code}")
            promise(not stems(folder / "out" / "two"), "stems of a song that changed")
            return ERROR, f"exit {code}"
        parts = [soundfile.read(folder / "out" / "two" / f"{name}.wav")[0] for name in STEMS]
        total = np.sum(parts, axis=0)
        one = any(np.abs(total - song).max() < 1e-3 for song in (before, np.full(FRAMES, 0.5)))
        promise(one, "stems of two songs")
        return HARMLESS, ""

    def _two_separate(self, folder: Path, event: int, rng: Random) -> tuple[str, str]:
        """Two runs into one folder: each set is whole, and of one of them."""
        flags = rng.choice([(), ("--skip-existing",), ("--overwrite",)])
        if flags == ("--overwrite",):
            for name in SONGS:
                write_old(folder / "out" / name)
        commands = [self._separate(folder, self.kills.folder, *flags) for _ in range(2)]
        codes = self._together(commands)
        for name in SONGS:
            found = stems(folder / "out" / name)
            promise(found == dict.fromkeys(STEMS, "new"), f"{name}: {found}, exits {codes}")
        promise(set(codes) <= {0, 1, 2, 4}, f"exits {codes}")
        return HARMLESS, f"{' '.join(flags)} exits {codes}"

    def _two_eval(self, folder: Path, event: int, rng: Random) -> tuple[str, str]:
        reference = self.kills.documents.data / "train"
        words = ["eval", "-n", self.model, "-r", reference, "-o", folder / "results"]
        codes = self._together([lambda: held(folder, *words)] * 2)
        promise(0 in codes and set(codes) <= {0, 1, 2, 3, 4}, f"exits {codes}")
        names = {path.name for path in (folder / "results").rglob("*")}
        promise({"summary.json", "scores.csv", "a.json", "b.json"} <= names, f"files {names}")
        return HARMLESS, f"exits {codes}"

    def _two_train(self, folder: Path, event: int, rng: Random) -> tuple[str, str]:
        documents, run = self.kills.documents, folder / "run"
        preset = documents.folder / "presets" / "toy.yaml"
        words: list[object] = ["train", preset, "--data", documents.data, "-o", run]
        if rng.random() < 0.5:
            shutil.copytree(documents.folder / "interrupted", run)
            words = ["resume", run]
        codes = self._together([lambda: held(folder, *words, "--device", "cpu")] * 2)
        promise(0 in codes and set(codes) <= {0, 2, 3, 4}, f"exits {codes}")
        promise(tensors(run) == documents.finished, f"another model, exits {codes}")
        lines = (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
        steps = sum('"kind": "step"' in line for line in lines)
        promise(steps == 6, f"{steps} steps in metrics.jsonl, exits {codes}")
        return HARMLESS, f"exits {codes}"

    @staticmethod
    def _together(commands: list[Callable[[], int]]) -> list[int]:
        children = [started(command) for command in commands]
        codes = [wait(child, 60.0) for child in children]
        promise(None not in codes, "no end")
        return [code for code in codes if code is not None]
