"""Damaged stems of songs through ``eval`` and ``data check``."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import soundfile

from fuzzing.calls import Call, call
from fuzzing.damage import damaged
from fuzzing.songs import RATE, song
from fuzzing.verdict import BAD, ERROR, HARMLESS, NOTE, SILENT, BrokenPromiseError, Verdict, promise

_NAMES = ("vocals", "drums")


class Stems:
    """Two tracks with estimates, as wav and as flac: templates that each case copies."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for suffix in ("wav", "flac"):
            for number, track in enumerate(("a", "b")):
                for part, name in enumerate(_NAMES):
                    true = song(1.2, RATE, 2, 100 + 10 * number + part).T
                    noise = 0.01 * song(1.2, RATE, 2, 200 + part).T
                    for kind, samples in (("ref", true), ("est", true + noise)):
                        path = folder / suffix / kind / track / f"{name}.{suffix}"
                        path.parent.mkdir(parents=True, exist_ok=True)
                        soundfile.write(path, samples, RATE, subtype="PCM_16")
        self.scores: dict[str, tuple[Any, set[str]]] = {}
        self.checked: dict[str, Any] = {}
        for suffix in ("wav", "flac"):
            done = self._eval(folder / suffix)
            self.scores[suffix] = (self._result(done), done.remarks)
            self.checked[suffix] = self._facts(self._check(folder / suffix), folder / suffix)

    def case(self, index: int, rng: Random, folder: Path) -> Verdict:
        """Damage one stem and let a command read it."""
        suffix = rng.choice(["wav", "flac"])
        use, kind = rng.choice([("eval", "est"), ("eval", "ref"), ("data check", "ref")])
        copy = folder / suffix
        shutil.copytree(self.folder / suffix, copy)
        path = copy / kind / "a" / f"{rng.choice(_NAMES)}.{suffix}"
        whole = path.read_bytes()
        intact = soundfile.read(path)[0]
        damage = damaged(whole, rng)
        path.write_bytes(damage.data)
        try:
            judge = self._in_eval if use == "eval" else self._in_check
            outcome, why = judge(copy, path, intact)
            shown = suffix == "flac" or len(damage.data) != len(whole)
            promise(outcome != SILENT or not shown, f"not found: {why}")
        except BrokenPromiseError as error:
            outcome, why = BAD, str(error)
        what = f"{kind}/{path.name}: {damage}"
        return Verdict(index, f"{suffix} in {use}", what, outcome, why.replace(str(folder), ""))

    def _in_eval(self, copy: Path, path: Path, intact: np.ndarray) -> tuple[str, str]:
        done = self._eval(copy)
        if done.exit_code:
            promise(done.exit_code in (1, 4), f"exit {done.exit_code}: {done.reasons}")
            named = any(path.name in reason or path.stem in reason for reason in done.reasons)
            promise(named, f"the file is not named: {done.reasons}")
            return ERROR, "; ".join(done.reasons)
        scores, usual = self.scores[path.suffix[1:]]
        if said := done.remarks - usual:
            return NOTE, "; ".join(sorted(said))
        found = self._result(done)
        if found == scores:
            return HARMLESS, ""
        if found["skipped"] != scores["skipped"] or found["notes"] != scores["notes"]:
            return NOTE, f"{found['skipped']} {found['notes']}"
        return SILENT, "other scores"

    def _in_check(self, copy: Path, path: Path, intact: np.ndarray) -> tuple[str, str]:
        done = self._check(copy)
        if done.data is None or done.data["failures"]:
            promise(done.exit_code in (1, 4), f"exit {done.exit_code}: {done.reasons}")
            named = any(path.name in reason for reason in done.reasons)
            promise(named, f"the file is not named: {done.reasons}")
            return ERROR, "; ".join(done.reasons)
        promise(done.exit_code == 0, f"exit {done.exit_code}: {done.reasons}")
        if self._facts(done, copy) != self.checked[path.suffix[1:]] or done.remarks:
            return NOTE, f"{done.data['findings']} {sorted(done.remarks)}"
        try:
            found = soundfile.read(path)[0]
        except soundfile.LibsndfileError:
            return SILENT, "libsndfile cannot read it"
        if found.shape == intact.shape and bool((found == intact).all()):
            return HARMLESS, ""
        return SILENT, "other samples"

    @staticmethod
    def _eval(copy: Path) -> Call:
        return call("eval", copy / "est", "-r", copy / "ref", "--jobs", 1, "--per-track")

    @staticmethod
    def _check(copy: Path) -> Call:
        return call("data", "check", copy / "ref", "--stems", ",".join(_NAMES))

    @staticmethod
    def _result(done: Call) -> Any:
        promise(done.data is not None, f"the intact stems: {done.reasons}")
        return {key: done.data[key] for key in ("scores", "skipped", "notes")}

    @staticmethod
    def _facts(done: Call, copy: Path) -> Any:
        promise(done.data is not None, f"the intact stems: {done.reasons}")
        facts = {key: done.data[key] for key in ("roots", "songs", "findings", "skipped")}
        return json.loads(json.dumps(facts).replace(str(copy), ""))
