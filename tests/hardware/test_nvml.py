"""NVML's readings and failures, on machines that are stood in for."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pynvml
import pytest

from mssctl.hardware import nvml

_SPEC = importlib.util.spec_from_file_location(
    "fake_gpus", Path(__file__).with_name("fake_gpus.py")
)
fake = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(fake)
GIB = fake.GIB


@pytest.fixture
def machine(monkeypatch):
    """A machine with these GPUs."""

    def stand_in(*gpus, **rest):
        library = fake.FakeNvml(*gpus, **rest)
        monkeypatch.setattr(nvml, "library", lambda: library)
        return library

    return stand_in


def test_a_5090_is_read_in_full(machine):
    library = machine(fake.RTX_5090)
    (gpu,) = nvml.gpus()
    assert (gpu.name, gpu.capability) == ("NVIDIA GeForce RTX 5090", (12, 0))
    assert (gpu.total, gpu.free) == (32 * GIB, 31 * GIB)
    assert (gpu.power, gpu.power_limit) == (30.0, 575.0)
    assert (gpu.pcie_width, gpu.pcie_generation, gpu.pcie_generation_limit) == (16, 1, 5)
    assert gpu.throttle == ()  # idle clocks are no throttling
    assert (gpu.mig, gpu.ecc, gpu.display) == (None, None, False)
    assert library.open == 0


def test_the_slices_of_an_h100_with_mig_are_read(machine):
    machine(fake.H100_WITH_MIG, slices=(40, 20))
    (gpu,) = nvml.gpus()
    assert gpu.mig is True
    assert [part.total for part in gpu.slices] == [40 * GIB, 20 * GIB]
    assert gpu.utilisation is None  # not told under MIG
    assert (gpu.ecc, gpu.ecc_errors) == (True, 0)


def test_what_a_laptop_does_not_tell_is_none(machine):
    machine(fake.LAPTOP)
    (gpu,) = nvml.gpus()
    assert gpu.name == "NVIDIA GeForce RTX 3060 Laptop GPU"
    assert (gpu.power_limit, gpu.power_default) == (None, None)
    assert gpu.display is True


def test_processes_are_named_the_largest_first_and_counted_once(machine):
    gpu = {
        **fake.RTX_5090,
        "ComputeRunningProcesses": [fake.process(10, GIB), fake.process(11, 4 * GIB)],
        "GraphicsRunningProcesses": [fake.process(10, GIB), fake.process(1_000_000_012, None)],
    }
    machine(gpu)
    (found,) = nvml.gpus()
    assert [(item.pid, item.memory) for item in found.processes] == [
        (11, 4 * GIB),
        (10, GIB),
        (1_000_000_012, None),
    ]
    assert found.processes[0].name == "python-11"
    assert "unknown" in found.processes[2].name


def test_reasons_for_throttling_are_put_in_words(machine):
    machine({**fake.RTX_5090, "CurrentClocksThrottleReasons": 0x44})
    (gpu,) = nvml.gpus()
    assert gpu.throttle == ("power limit", "hardware thermal slowdown")


def test_a_lost_gpu_is_one_error_and_the_others_are_read(machine):
    machine({"lost": True}, fake.RTX_5090)
    lost, other = nvml.gpus()
    assert "lost" in lost.error.lower()
    assert (other.index, other.error) == (1, None)


def test_the_driver_says_which_cuda_it_runs(machine):
    machine(cuda=12_080, version="570.10")
    assert nvml.driver() == nvml.Driver("570.10", (12, 8))


@pytest.mark.parametrize(
    ("code", "trouble"),
    [
        (pynvml.NVML_ERROR_LIBRARY_NOT_FOUND, "no_driver"),
        (pynvml.NVML_ERROR_DRIVER_NOT_LOADED, "not_loaded"),
        (pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH, "mismatch"),
        (pynvml.NVML_ERROR_NO_PERMISSION, "permission"),
        (pynvml.NVML_ERROR_UNKNOWN, "other"),
    ],
)
@pytest.mark.parametrize("ask", [nvml.driver, nvml.gpus])
def test_each_failure_has_a_kind(machine, ask, code, trouble):
    machine(fails=code)
    with pytest.raises(nvml.NvmlError) as caught:
        ask()
    assert caught.value.trouble == trouble
    assert str(caught.value)


def test_a_broken_pynvml_is_a_failure_of_its_own(monkeypatch):
    def broken(name):
        raise ImportError("libfoo is missing")

    monkeypatch.setattr(nvml, "import_module", broken)
    with pytest.raises(nvml.NvmlError, match="libfoo is missing") as caught:
        nvml.gpus()
    assert caught.value.trouble == "package"
