"""`doctor` as a function: every check there is, on this machine and on broken ones."""

from __future__ import annotations

import time
from collections.abc import Iterator
from importlib import import_module

import pytest

import mssctl
from mssctl.api.doctor import LIGHT, WITH_TORCH, doctor


def states(result):
    return {finding.name: finding.state for finding in result.findings}


def test_every_check_exists_and_comes_after_those_it_needs():
    for group in (LIGHT, WITH_TORCH):
        titles = [check.title for check in group]
        assert len(set(titles)) == len(titles)
        for number, check in enumerate(group):
            module, _, function = check.function.partition(":")
            assert callable(getattr(import_module(module), function))
            assert set(check.needs) <= set(titles[:number])


@pytest.fixture
def place(tmp_path, monkeypatch) -> Iterator[None]:
    """A folder to look at, and an environment that says nothing about GPUs and data."""
    for name in ("MUSDB_PATH", "PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_ALLOC_CONF"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


def test_the_whole_report_on_this_machine(place):
    events = []
    result = mssctl.doctor(out=place, report=events.append)
    found = states(result)
    assert "crashed" not in found.values()
    assert found["PyTorch"] == found["scan"] == found["STFT"] == "ok"
    assert all((finding.state == "ok") == (finding.remedy is None) for finding in result.findings)
    assert result.fit == (not {"failed", "crashed"} & set(found.values()))
    assert (events[-1].done, events[-1].total) == (len(LIGHT) + len(WITH_TORCH),) * 2


def package(folder, name, text):
    (folder / name).mkdir(parents=True)
    (folder / name / "__init__.py").write_text(text)


@pytest.mark.parametrize(
    ("text", "state"),
    [
        ("raise OSError('libtorch_cuda.so: cannot open shared object file')", "failed"),
        ("raise ImportError('broken')", "failed"),
        ("import os; os.abort()", "crashed"),
        ("import sys; sys.exit(3)", "crashed"),
        ("", "failed"),
    ],
)
def test_a_broken_torch_is_one_line_and_the_rest_is_still_checked(place, monkeypatch, text, state):
    package(place / "packages", "torch", text)
    monkeypatch.setenv("PYTHONPATH", str(place / "packages"))
    result = doctor(out=place)
    found = states(result)
    assert found["PyTorch"] == state
    assert not result.fit
    assert found["device"] == found["scan"] == found["bundled weights"] == "note"
    assert found["Python"] == found["libsndfile"] == found["output folder"] == "ok"


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("raise OSError('undefined symbol: _ZN3c10')", marks=pytest.mark.slow),
        "import os; os.abort()",
    ],
)
def test_a_broken_torchaudio_is_one_line_and_torch_is_still_checked(place, monkeypatch, text):
    package(place / "packages", "torchaudio", text)
    monkeypatch.setenv("PYTHONPATH", str(place / "packages"))
    result = doctor(out=place)
    found = states(result)
    assert found["torchaudio"] in ("failed", "crashed")
    assert found["PyTorch"] == found["scan"] == "ok"


def test_a_torch_that_hangs_does_not_hang_the_report(place, monkeypatch):
    from mssctl.api import doctor as module
    from mssctl.checks.run import Check

    package(place / "packages", "torch", "import time; time.sleep(100)")
    monkeypatch.setenv("PYTHONPATH", str(place / "packages"))
    first, *rest = WITH_TORCH
    hasty = [Check(first.title, first.function, seconds=1.0)]
    # torchaudio asks for torch too, and would wait for as long.
    hasty += [check for check in rest if check.title != "torchaudio"]
    monkeypatch.setattr(module, "WITH_TORCH", tuple(hasty))
    started = time.monotonic()
    result = doctor(out=place)
    assert states(result)["PyTorch"] == "crashed"
    assert states(result)["scan"] == "note"
    assert time.monotonic() - started < 40


def test_a_gpu_that_is_required_and_not_there_is_a_failure(place):
    result = doctor(out=place, require_gpu=True)
    assert not result.fit
    assert states(result)["device"] == "failed"
