"""The helper that presents a CUDA answers as PyTorch does, and refuses what it refuses."""

from __future__ import annotations

import pytest
import torch
from torch.utils.checkpoint import checkpoint

from mssctl.planning.predict.workspaces import cublas
from presented_cuda import T4, Card, presented_cuda

GIB = 2**30
GPU = torch.device("cuda", 0)


def test_a_presented_gpu_answers_for_itself() -> None:
    with presented_cuda(Card("a card", (9, 0), gib=80.0, free=70.0), T4) as shown:
        assert torch.cuda.is_initialized()
        assert torch.cuda.device_count() == 2
        assert torch.cuda.get_device_name(1) == "Tesla T4"
        assert torch.cuda.get_device_capability("cuda:1") == (7, 5)
        assert torch.cuda.mem_get_info(GPU) == (70 * GIB, 80 * GIB)
        assert torch.cuda.is_bf16_supported(including_emulation=False)
        with torch.cuda.device(1):
            assert torch.cuda.current_device() == shown.current == 1
        assert torch.cuda.current_device() == 0
        torch.cuda.synchronize(GPU)
        torch.cuda.empty_cache()
        assert shown.calls[-2:] == ["_cuda_synchronize", "_cuda_emptyCache"]
        torch.cuda.manual_seed_all(3)
        state = torch.cuda.get_rng_state(0)
        torch.cuda.manual_seed(4)
        torch.cuda.set_rng_state(state, 0)
        assert torch.cuda.initial_seed() == 3
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        end.record()
        assert start.elapsed_time(end) == 1.0
    assert not torch.cuda.is_initialized()


def test_it_refuses_what_pytorch_refuses() -> None:
    with presented_cuda() as shown:
        with pytest.raises(ValueError, match="index"):
            torch.cuda.set_per_process_memory_fraction(0.5, torch.device("cuda"))
        torch.cuda.set_per_process_memory_fraction(0.5, GPU)
        assert shown.fractions == {0: 0.5}
        with pytest.raises(RuntimeError, match="negative"):
            torch.cuda.get_rng_state(-1)


def test_work_runs_on_tensors_without_data_and_its_memory_is_counted() -> None:
    model = torch.nn.Linear(512, 512, bias=False)  # 1 MiB
    with presented_cuda() as shown, shown.pretending():
        torch.cuda.reset_peak_memory_stats(GPU)
        model.to(GPU)
        x = torch.ones(1024, 512).pin_memory().to(GPU, non_blocking=True)
        assert (model.weight.device, model.weight.get_device(), x.is_cuda) == (GPU, 0, True)
        checkpoint(model, x, use_reentrant=False).sum().backward()
        assert model.weight.grad is not None
        own = cublas(shown.cards[0].capability) / 2**20
        assert 4 <= torch.cuda.max_memory_allocated(GPU) / 2**20 - own <= 8
        assert torch.cuda.max_memory_reserved(GPU) >= torch.cuda.max_memory_allocated(GPU)
