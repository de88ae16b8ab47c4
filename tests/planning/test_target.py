"""Which card a plan is for: this machine's, where none is named."""

from __future__ import annotations

import pytest

from mssctl.hardware import nvml
from mssctl.planning.target import target

GIB = 2**30
CARD = nvml.Gpu(0, "NVIDIA GeForce RTX 5090", capability=(12, 0), total=32 * GIB, free=30 * GIB)


@pytest.fixture
def gpus(monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)

    def have(*found: nvml.Gpu) -> None:
        monkeypatch.setattr(nvml, "gpus", lambda: list(found))

    return have


def test_nvml_says_what_is_free(gpus):
    gpus(CARD)
    here = target()
    assert (here.name, here.vram) == ("NVIDIA GeForce RTX 5090", 30.0)
    assert here.card.name == "RTX 5090"


def test_a_card_that_is_not_in_the_table_has_its_own_capability(gpus):
    gpus(nvml.Gpu(0, "NVIDIA GeForce RTX 2080 Ti", capability=(7, 5), free=11 * GIB))
    assert (target().card, target().capability) == (None, (7, 5))


def test_the_gpu_is_the_one_that_this_process_may_use(gpus, monkeypatch):
    gpus(CARD, nvml.Gpu(1, "NVIDIA L40S", capability=(8, 9), free=40 * GIB))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    assert target().name == "NVIDIA L40S"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert target().vram is None


def test_of_a_gpu_in_slices_the_first_slice_counts(gpus):
    part = nvml.MigSlice("NVIDIA H100 MIG 1g.10gb", total=10 * GIB, free=9 * GIB)
    gpus(nvml.Gpu(0, "NVIDIA H100", capability=(9, 0), free=79 * GIB, mig=True, slices=(part,)))
    assert (target().name, target().vram) == ("NVIDIA H100 MIG 1g.10gb", 9.0)


@pytest.mark.parametrize("trouble", ["package", "no_driver", "mismatch"])
def test_where_nvml_does_not_answer_there_is_no_card(monkeypatch, trouble):
    def fail() -> list[nvml.Gpu]:
        raise nvml.NvmlError(trouble, "no")

    monkeypatch.setattr(nvml, "gpus", fail)
    assert target().vram is None


def test_a_gpu_that_cannot_be_read_is_none(gpus):
    gpus(nvml.Gpu(0, error="lost"))
    assert target().vram is None
