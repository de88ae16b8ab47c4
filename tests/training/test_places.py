"""Which GPU each process takes, and how long it waits for the others, with CUDA presented."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
import torch

from mssctl.errors import ExitCode, MssctlError
from mssctl.training import distributed
from mssctl.training.distributed import joined, own_device
from presented_cuda import RTX_5090, presented_cuda


@pytest.fixture
def second_of_two(monkeypatch: pytest.MonkeyPatch) -> None:
    """This process is the second of two on its machine."""
    for name, value in {"RANK": "1", "LOCAL_RANK": "1", "WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def test_the_gpu_asked_for_becomes_the_current_one() -> None:
    with presented_cuda(RTX_5090, RTX_5090) as shown:
        assert own_device("cuda:1") == torch.device("cuda", 1)
        assert shown.current == 1


def test_a_process_takes_the_gpu_of_its_number(second_of_two: None) -> None:
    with presented_cuda(RTX_5090, RTX_5090) as shown:
        assert own_device("auto") == torch.device("cuda", 1)
        assert shown.current == 1


def test_a_process_that_sees_one_gpu_takes_it(
    second_of_two: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with presented_cuda(RTX_5090):
        with pytest.raises(MssctlError, match="LOCAL_RANK=1, but this machine has 1 GPU"):
            own_device("cuda")
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
        assert own_device("cuda") == torch.device("cuda", 0)


def test_one_gpu_for_several_processes_is_refused(second_of_two: None) -> None:
    with (
        presented_cuda(RTX_5090, RTX_5090),
        pytest.raises(MssctlError, match="--device cuda:1: each process") as caught,
    ):
        own_device("cuda:1")
    assert caught.value.exit_code == ExitCode.ENVIRONMENT


def test_gpus_wait_half_an_hour_and_hosts_for_a_validation(
    second_of_two: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, dict[str, Any]] = {}

    class JoinedError(Exception):
        pass

    def new_group(backend: str, **given: Any) -> None:
        asked[backend] = given
        raise JoinedError

    dist = distributed.dist
    monkeypatch.setattr(
        dist, "init_process_group", lambda name, **given: asked.update({name: given})
    )
    monkeypatch.setattr(dist, "new_group", new_group)
    monkeypatch.setattr(dist, "destroy_process_group", lambda: None)
    gpu = torch.device("cuda", 1)
    with pytest.raises(JoinedError), joined(gpu):
        pass
    assert asked["nccl"] == {"timeout": timedelta(minutes=30), "device_id": gpu}
    assert asked["gloo"]["timeout"] == timedelta(hours=6)
