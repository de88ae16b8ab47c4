"""Damaged checkpoints of other programs through ``models import``, and a damaged cache."""

from __future__ import annotations

import io
import os
import zipfile
from pathlib import Path
from random import Random
from typing import Any
from unittest.mock import patch

import torch
from safetensors import safe_open
from safetensors.torch import load_file

from fuzzing.calls import call
from fuzzing.damage import Damage, damaged
from fuzzing.verdict import BAD, ERROR, HARMLESS, NOTE, SILENT, BrokenPromiseError, Verdict, promise

_GOLDEN = Path(__file__).parents[2] / "golden" / "bsmamba2_dev.safetensors"


class Foreign:
    """A checkpoint as torch saves it, and the facts that ``data check`` keeps about songs."""

    def __init__(self, folder: Path, data: Path) -> None:
        folder.mkdir()
        self.data = data
        with safe_open(_GOLDEN, framework="pt") as file:
            names = [key for key in file.keys() if key.startswith("weight.")]  # noqa: SIM118
            state = {key.removeprefix("weight."): file.get_tensor(key) for key in names}
        self.checkpoint = folder / "whole.pt"
        torch.save({"state_dict": state, "epoch": 3}, self.checkpoint)
        done = call("models", "import", self.checkpoint, "-o", folder / "whole.safetensors")
        promise(done.exit_code == 0, f"the intact checkpoint: {done.reasons}")
        self.tensors = load_file(folder / "whole.safetensors")
        self.facts = folder / "cache" / "facts.sqlite"
        with patch.dict(os.environ, {"MSSCTL_CACHE": str(self.facts.parent)}):
            self.checked = self._check()

    def case(self, index: int, rng: Random, folder: Path) -> Verdict:
        """Damage one of both."""
        row, judge = rng.choice(
            [("torch checkpoint", self._imported), ("cache of facts", self._cached)]
        )
        source = self.checkpoint if judge == self._imported else self.facts
        data = source.read_bytes()
        inside = judge == self._imported and rng.random() < 0.5
        damage = damaged_member(data, rng) if inside else damaged(data, rng)
        try:
            outcome, why = judge(folder, damage)
        except BrokenPromiseError as error:
            outcome, why = BAD, str(error)
        return Verdict(index, row, str(damage), outcome, why.replace(str(folder), ""))

    def _imported(self, folder: Path, damage: Damage) -> tuple[str, str]:
        path, out = folder / "damaged.pt", folder / "out" / "model.safetensors"
        out.parent.mkdir()
        path.write_bytes(damage.data)
        done = call("models", "import", path, "-o", out)
        left = sorted(file.name for file in out.parent.iterdir())
        if done.exit_code:
            promise(not left, f"left behind: {left}")
            promise("safe_globals" not in done.stderr, f"advice to allow code: {done.reasons}")
            promise("weights_only" not in done.stderr, f"advice to allow code: {done.reasons}")
            return ERROR, "; ".join(done.reasons)
        promise(left == [out.name], f"left behind: {left}")
        found = load_file(out)
        if found.keys() == self.tensors.keys() and all(
            torch.equal(found[name], tensor) for name, tensor in self.tensors.items()
        ):
            return HARMLESS, ""
        return (NOTE, "; ".join(done.remarks)) if done.remarks else (SILENT, "other tensors")

    def _cached(self, folder: Path, damage: Damage) -> tuple[str, str]:
        cache = folder / "cache"
        cache.mkdir()
        (cache / self.facts.name).write_bytes(damage.data)
        with patch.dict(os.environ, {"MSSCTL_CACHE": str(cache)}):
            found, said = self._check()
        if said:
            promise(found == self.checked[0], "other facts")
            return NOTE, "; ".join(said)
        return (HARMLESS, "") if found == self.checked[0] else (SILENT, "other facts")

    def _check(self) -> tuple[Any, set[str]]:
        done = call("data", "check", self.data, "--stems", "vocals,drums")
        promise(done.exit_code == 0, f"exit {done.exit_code}: {done.reasons}")
        return done.data, done.remarks


def damaged_member(data: bytes, rng: Random) -> Damage:
    """A zip file of which one member is damaged, with checksums that are right."""
    result = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as whole, zipfile.ZipFile(result, "w") as changed:
        names = whole.namelist()
        pickled = next(name for name in names if name.endswith("data.pkl"))
        hit = pickled if rng.random() < 0.7 else rng.choice(names)
        for name in names:
            content = whole.read(name)
            changed.writestr(name, damaged(content, rng).data if name == hit else content)
    return Damage(f"member {hit}", result.getvalue(), 0, len(data))
