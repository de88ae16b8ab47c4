"""A toy network and a toy configuration, quick enough for a step in milliseconds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mssctl.config.schema import AudioConfig
from mssctl.models.base import Separator
from mssctl.models.run_config import RunConfig
from mssctl.training.optim import LearningRate, MovingAverage, build_optimizer
from mssctl.training.step import TrainState


class Toy(Separator):
    """One convolution with dropout from mixture to stems."""

    def __init__(self, audio: AudioConfig, dropout: float = 0.1) -> None:
        super().__init__(audio)
        self.conv = nn.Conv1d(audio.channels, len(audio.stems) * audio.channels, 9, padding=4)
        self.dropout = nn.Dropout(dropout)

    def forward(self, mix: Tensor) -> Tensor:
        out = self.dropout(self.conv(mix))
        return out.unflatten(1, (len(self.stems), self.channels)).float()


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Toys are slower on several threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def make_config() -> Callable[..., RunConfig]:
    """A configuration for `Toy`: sections given as keyword arguments are merged in."""

    def make(**sections: dict[str, Any]) -> RunConfig:
        tree: dict[str, dict[str, Any]] = {
            "audio": {"sample_rate": 8_000, "stems": ("vocals", "drums")},
            "loss": {"spectral_n_fft": (256,)},
            "training": {"segment_length": 2048, "batch_size": 2, "amp_dtype": "float32"},
        }
        for name, section in sections.items():
            tree[name] = {**tree.get(name, {}), **section}
        return RunConfig.model_validate(tree)

    return make


@pytest.fixture
def make_state() -> Callable[[RunConfig], TrainState]:
    """A fresh state around a `Toy` with the same weights each time."""

    def make(config: RunConfig, dropout: float = 0.1) -> TrainState:
        torch.manual_seed(0)
        model = Toy(config.audio, dropout)
        momentum = config.training.ema_momentum
        return TrainState(
            model,
            build_optimizer(model, config.optimizer),
            LearningRate(config.optimizer.lr, 100, config.scheduler),
            MovingAverage(model, momentum) if momentum else None,
        )

    return make


@pytest.fixture
def make_batch() -> Callable[[int], Tensor]:
    """Stems ``(2, 2, 2, 2048)`` of noise, other for each number."""

    def make(number: int) -> Tensor:
        generator = torch.Generator().manual_seed(number)
        return 0.1 * torch.randn(2, 2, 2, 2048, generator=generator)

    return make
