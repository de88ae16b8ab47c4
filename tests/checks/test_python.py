"""Python, packages, weights and the allocator's configuration: each check as it fails."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest

from mssctl.checks import python as checks
from mssctl.config.bundled import bundled_folder
from mssctl.config.checksums import WEIGHTS
from mssctl.files import sha256
from mssctl.models.weights import bundled
from mssctl.options.doctor import DoctorOptions


def look(check):
    findings = list(check(DoctorOptions()))
    for finding in findings:
        assert (finding.state == "ok") == (finding.remedy is None)
    (finding,) = findings
    return finding


def test_this_python_and_these_packages_are_all_right():
    assert look(checks.python).state == "ok"
    assert look(checks.program).state == "ok"


def test_an_old_python_fails(monkeypatch):
    monkeypatch.setattr(sys, "version_info", (3, 9, 1))
    assert look(checks.python).state == "failed"


def test_a_32_bit_python_fails(monkeypatch):
    monkeypatch.setattr(sys, "maxsize", 2**31 - 1)
    assert "32 bit" in look(checks.python).summary


@pytest.fixture
def packages(monkeypatch):
    """Packages that import as these modules, or raise these errors."""

    def stand_in(**modules):
        def importing(name):
            module = modules.get(name, SimpleNamespace())
            if isinstance(module, Exception):
                raise module
            return module

        monkeypatch.setattr(checks, "import_module", importing)

    return stand_in


def test_a_package_that_does_not_import_fails_and_is_named(packages):
    packages(soundfile=OSError("sndfile library not found"), yaml=ImportError("no yaml"))
    finding = look(checks.program)
    assert finding.state == "failed"
    assert "soundfile, yaml" in finding.summary
    assert "soundfile: OSError: sndfile library not found" in finding.details


def test_a_package_that_is_missing_fails(monkeypatch):
    monkeypatch.setattr(checks, "find_spec", lambda name: None)
    assert "musdb, museval" in look(checks.program).summary


def built(version, cuda="12.8"):
    return SimpleNamespace(__version__=version, __file__="/x", version=SimpleNamespace(cuda=cuda))


@pytest.mark.parametrize("error", [ImportError("libcudart.so"), OSError("bad ELF"), KeyError("x")])
def test_a_broken_torch_fails_with_the_install_line(packages, monkeypatch, error):
    for name in checks.ALLOCATOR_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    packages(torch=error)
    finding = look(checks.torch)
    assert finding.state == "failed"
    assert "cannot be imported" in finding.summary
    assert finding.remedy == 'pip install --force-reinstall "torch==2.11.*" "torchaudio==2.11.*"'


def test_a_torch_that_a_variable_of_its_allocator_stops_is_not_installed_again_first(
    packages, monkeypatch
):
    monkeypatch.setenv("PYTORCH_CUDA_ALLOC_CONF", "expandable_segments")
    packages(torch=RuntimeError("INTERNAL ASSERT FAILED"))
    assert look(checks.torch).remedy.startswith("unset PYTORCH_CUDA_ALLOC_CONF; if")


@pytest.mark.parametrize(
    ("value", "states"),
    [
        ("", []),
        ("expandable_segments:True,roundup_power2_divisions:[256:1,512:2,>:4]", []),
        ("expandable_segments", ["failed"]),
        ("expandable_segments:True,", []),
        ("max_split_size_mb:64,expandable_segments", ["failed"]),
    ],
)
def test_an_allocator_variable_that_stops_torch_is_told_apart(monkeypatch, value, states):
    monkeypatch.delenv("PYTORCH_ALLOC_CONF", raising=False)
    monkeypatch.setenv("PYTORCH_CUDA_ALLOC_CONF", value)
    findings = list(checks.allocator_form(DoctorOptions()))
    assert [finding.state for finding in findings] == states
    assert all("unset PYTORCH_CUDA_ALLOC_CONF" in finding.remedy for finding in findings)


def test_another_torch_is_a_warning(packages):
    packages(torch=built("2.10.0"))
    assert look(checks.torch).state == "warning"
    packages(torch=built("2.110.0"))
    assert look(checks.torch).state == "warning"


def test_the_right_torch_is_all_right(packages):
    packages(torch=built("2.11.0+cpu", None))
    assert look(checks.torch).summary == "2.11.0+cpu, without CUDA"


@pytest.mark.parametrize(
    ("audio", "words"),
    [
        (OSError("undefined symbol"), "undefined symbol"),
        (built("2.10.0+cu128"), "is not for PyTorch"),
        (built("2.11.0+cu130"), "different builds"),
    ],
)
def test_a_torchaudio_that_does_not_go_with_torch_fails(packages, audio, words):
    packages(torch=built("2.11.0+cu128"), torchaudio=audio)
    finding = look(checks.torchaudio)
    assert finding.state == "failed"
    assert words in finding.summary


@pytest.mark.parametrize("audio", ["2.11.0+cu128", "2.11.1"])
def test_a_torchaudio_of_the_same_release_is_all_right(packages, audio):
    packages(torch=built("2.11.0+cu128"), torchaudio=built(audio))
    assert look(checks.torchaudio).state == "ok"


def test_torchaudio_without_torch_fails(packages):
    packages(torch=ImportError("gone"), torchaudio=built("2.11.0"))
    assert look(checks.torchaudio).state == "failed"


def test_every_bundled_model_has_its_checksum_on_record():
    """After a change of weights: sha256sum presets/weights/* tells what checksums.py must say."""
    folder = bundled_folder() / "weights"
    assert {name: sha256(folder / f"{name}.safetensors") for name in bundled()} == WEIGHTS
    assert look(checks.weights).state == "ok"


def test_damaged_and_missing_weights_fail(tmp_path, monkeypatch):
    monkeypatch.setattr(checks, "bundled_folder", lambda: tmp_path)
    assert "No such file" in look(checks.weights).summary
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "starter.safetensors").write_bytes(b"half of it")
    assert "damaged" in look(checks.weights).summary
    assert look(checks.weights).state == "failed"


def test_no_tensorboard_is_a_note(monkeypatch):
    assert look(checks.tensorboard).state == "ok"
    monkeypatch.setattr(checks, "find_spec", lambda name: None)
    assert look(checks.tensorboard).state == "note"
