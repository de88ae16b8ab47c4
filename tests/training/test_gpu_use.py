"""How busy the GPU of a run is: read now and then, and never a reason to stop."""

from __future__ import annotations

import pytest
import torch

from mssctl.hardware import nvml
from mssctl.training.gpu_use import GpuUse

CUDA = torch.device("cuda", 1)


def test_the_reading_of_the_runs_own_gpu_is_kept_for_ten_seconds(monkeypatch):
    asked = []

    def gpus():
        asked.append(1)
        return [nvml.Gpu(0, utilisation=5), nvml.Gpu(1, utilisation=93)]

    monkeypatch.setattr(nvml, "gpus", gpus)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    use = GpuUse(CUDA)
    assert [use.percent(), use.percent(), len(asked)] == [93, 93, 1]


def test_without_a_gpu_or_a_driver_there_is_no_reading(monkeypatch):
    def no_driver():
        raise nvml.NvmlError("no_driver", "no driver")

    monkeypatch.setattr(nvml, "gpus", no_driver)
    assert GpuUse(torch.device("cpu")).percent() is None
    assert GpuUse(CUDA).percent() is None


@pytest.mark.parametrize("visible", ["GPU-1b2c", "0"])
def test_a_gpu_that_cannot_be_told_apart_has_no_reading(monkeypatch, visible):
    monkeypatch.setattr(nvml, "gpus", lambda: [nvml.Gpu(0, utilisation=5)])
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert GpuUse(CUDA).percent() is None
