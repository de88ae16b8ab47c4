"""What doctor says about drivers and GPUs, each on a machine that is stood in for."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import SimpleNamespace

import pynvml
import pytest
import torch

from mssctl.checks import gpu as checks
from mssctl.hardware import nvml
from mssctl.options.doctor import DoctorOptions

_PATH = Path(__file__).parents[1] / "hardware" / "fake_gpus.py"
_SPEC = importlib.util.spec_from_file_location("fake_gpus", _PATH)
fake = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(fake)
GIB = fake.GIB
SETTINGS = DoctorOptions()


@pytest.fixture
def machine(monkeypatch):
    def stand_in(*gpus, **rest):
        library = fake.FakeNvml(*gpus, **rest)
        monkeypatch.setattr(nvml, "library", lambda: library)

    return stand_in


def look(check, settings=SETTINGS):
    findings = list(check(settings))
    for finding in findings:
        assert (finding.state == "ok") == (finding.remedy is None)
    return findings


def states(findings):
    return [finding.state for finding in findings]


def test_a_5090_with_nothing_on_it_is_all_right(machine):
    machine(fake.RTX_5090)
    assert states(look(checks.gpus)) == ["ok"] * 4
    assert states(look(checks.driver)) == ["ok"]


def test_no_driver_is_a_note_and_a_failure_where_a_gpu_is_required(machine):
    machine(fails=pynvml.NVML_ERROR_LIBRARY_NOT_FOUND)
    for check in (checks.driver, checks.gpus, checks.build):
        assert states(look(check)) == ["note"]
        assert states(look(check, DoctorOptions(require_gpu=True))) == ["failed"]


def test_a_driver_without_gpus_counts_as_none(machine):
    machine()
    assert states(look(checks.gpus)) == ["note"]
    assert states(look(checks.gpus, DoctorOptions(require_gpu=True))) == ["failed"]


@pytest.mark.parametrize(
    ("code", "word"),
    [
        (pynvml.NVML_ERROR_DRIVER_NOT_LOADED, "modprobe"),
        (pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH, "reboot"),
        (pynvml.NVML_ERROR_NO_PERMISSION, "container"),
        (pynvml.NVML_ERROR_UNKNOWN, "nvidia-smi"),
    ],
)
def test_a_driver_that_is_there_and_does_not_answer_fails_with_its_remedy(machine, code, word):
    machine(fails=code)
    for check in (checks.driver, checks.gpus):
        (finding,) = look(check)
        assert finding.state == "failed"
        assert word in finding.remedy


def test_memory_held_by_others_names_the_processes_and_what_is_left(machine):
    gpu = {
        **fake.RTX_5090,
        "MemoryInfo": SimpleNamespace(total=32 * GIB, free=20 * GIB),
        "ComputeRunningProcesses": [fake.process(4321, 12 * GIB)],
    }
    machine(gpu)
    memory = look(checks.gpus)[0]
    assert memory.state == "warning"
    assert "python-4321 (pid 4321, 12.0 GiB)" in memory.summary
    assert "--vram 20.0" in memory.remedy


def test_a_desktop_that_holds_a_little_is_a_note(machine):
    gpu = {
        **fake.RTX_5090,
        "GraphicsRunningProcesses": [fake.process(99, GIB)],
    }
    machine(gpu)
    assert look(checks.gpus)[0].state == "note"


def test_memory_that_nobody_admits_to_holding_is_a_warning(machine):
    machine({**fake.RTX_5090, "MemoryInfo": SimpleNamespace(total=32 * GIB, free=10 * GIB)})
    memory = look(checks.gpus)[0]
    assert memory.state == "warning"
    assert "another container or user" in memory.remedy


def test_a_small_card_is_told_what_fits(machine):
    machine(fake.LAPTOP)
    memory, health, link, sharing = look(checks.gpus)
    assert memory.state == "note"
    assert "mssctl plan --vram 5.5" in memory.remedy
    assert (health.state, link.state) == ("ok", "ok")
    assert sharing.state == "note"
    assert "display" in sharing.summary


def test_memory_that_is_not_told_is_a_note(machine):
    machine({**fake.RTX_5090, "MemoryInfo": None})
    assert look(checks.gpus)[0].state == "note"


@pytest.mark.parametrize(
    ("change", "state", "word"),
    [
        ({"Temperature": 93}, "warning", "cool"),
        ({"CurrentClocksThrottleReasons": 0x40}, "warning", "cool"),
        ({"CurrentClocksThrottleReasons": 0x80}, "warning", "power cables"),
        ({"CurrentClocksThrottleReasons": 0x04}, "note", "-pl"),
        ({"EnforcedPowerLimit": 400_000}, "note", "nvidia-smi -pl 575"),
        ({"TotalEccErrors": 3}, "failed", "reboot"),
        (dict.fromkeys(("Temperature", "PowerUsage", "ClockInfo", "EccMode")), "ok", None),
    ],
)
def test_the_health_of_a_card(machine, change, state, word):
    machine({**fake.RTX_5090, **change})
    health = look(checks.gpus)[1]
    assert health.state == state
    assert word is None or word in health.remedy


def test_lanes_that_are_not_in_use_are_a_note_and_a_slow_idle_link_is_not(machine):
    machine({**fake.RTX_5090, "CurrPcieLinkWidth": 4})
    link = look(checks.gpus)[2]
    assert link.state == "note"
    assert "× 4 (at most 5 × 16)" in link.summary
    machine({**fake.RTX_5090, "CurrPcieLinkWidth": None})
    assert look(checks.gpus)[2].state == "note"


def test_mig_says_that_a_process_sees_one_slice(machine):
    machine(fake.H100_WITH_MIG, slices=(20, 40))
    sharing = look(checks.gpus)[3]
    assert sharing.state == "note"
    assert "2 instances, the largest 40.0 GiB" in sharing.summary
    assert "--vram 40.0" in sharing.remedy


def test_mig_without_a_slice_fails(machine):
    machine(fake.H100_WITH_MIG)
    assert look(checks.gpus)[3].state == "failed"


def test_a_busy_card_is_a_note(machine):
    machine({**fake.RTX_5090, "UtilizationRates": SimpleNamespace(gpu=97)})
    assert "97 % busy" in look(checks.gpus)[3].summary


def test_a_lost_card_fails_and_the_other_is_reported(machine):
    machine({"lost": True}, fake.RTX_5090)
    assert states(look(checks.gpus)) == ["failed", *["ok"] * 4]


@pytest.fixture
def build_for(monkeypatch):
    """PyTorch built for this CUDA and these architectures."""

    def make(cuda: str | None, architectures: str = "sm_80 sm_86 sm_90 sm_120"):
        monkeypatch.setattr(torch.version, "cuda", cuda)
        monkeypatch.setattr(torch._C, "_cuda_getArchFlags", lambda: architectures, raising=False)

    return make


def test_a_build_that_goes_with_driver_and_card_is_all_right(machine, build_for):
    machine(fake.RTX_5090)
    build_for("12.8")
    (finding,) = look(checks.build)
    assert finding.state == "ok"
    assert "sm_120" in finding.summary


def test_a_build_without_code_for_a_5090_gets_the_install_line(machine, build_for):
    machine(fake.RTX_5090)
    build_for("12.6", "sm_80 sm_86 sm_90")
    (finding,) = look(checks.build)
    assert finding.state == "failed"
    assert "is sm_120" in finding.summary
    assert '"torch==2.11.*" "torchaudio==2.11.*"' in finding.remedy
    assert "cu128" in finding.remedy


def test_a_build_without_cuda_beside_a_card_fails(machine, build_for):
    machine(fake.RTX_5090)
    build_for(None)
    (finding,) = look(checks.build)
    assert finding.state == "failed"
    assert "cu128" in finding.remedy


def test_a_driver_too_old_for_the_build_fails(machine, build_for):
    machine(fake.LAPTOP, cuda=12_020, version="535.10")
    build_for("13.0")
    (finding,) = look(checks.build)
    assert finding.state == "failed"
    assert "driver 535.10 is too old" in finding.summary
    assert "580 or newer" in finding.remedy
