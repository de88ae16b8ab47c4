"""A few hundred damages and kills with a fixed seed: every promise is kept."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("fuzz.py")


@pytest.mark.parametrize(("kinds", "count"), [("audio,stems", 160), ("documents,kills", 44)])
def test_damages_and_kills_keep_every_promise(kinds, count):
    command = [sys.executable, SCRIPT, "--seed", "13", "--kinds", kinds, "--count", count]
    done = subprocess.run(
        [*map(str, command), "--jobs", "1"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert f"{count} cases: 0 broken promises" in done.stdout
