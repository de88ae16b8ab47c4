"""A run that is killed with SIGKILL at any moment goes on to the same bits."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("kill_and_resume.py")


@pytest.mark.parametrize(("kills", "seed"), [(1, 1), pytest.param(20, 0, marks=pytest.mark.slow)])
def test_a_run_killed_at_random_moments_is_the_run_that_was_not(tmp_path, kills, seed):
    spec = importlib.util.spec_from_file_location("kill_and_resume", SCRIPT)
    assert spec
    assert spec.loader
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    assert script.main(kills, seed, tmp_path) == kills
