"""Memory of a training step by the formula of its architecture, where that has one."""

from dataclasses import dataclass
from functools import lru_cache

import torch

from mssctl.models.build import build
from mssctl.models.registry import architecture
from mssctl.models.run_config import RunConfig
from mssctl.planning.predict.modes import no_collection
from mssctl.planning.predict.workspaces import CONTEXT, cublas


@dataclass(frozen=True)
class Estimate:
    """Bytes by component at the peak, and their sum with context and cuBLAS."""

    parts: dict[str, int]

    @property
    def device(self) -> int:
        """What the card must have free."""
        return sum(self.parts.values())

    @property
    def allocated(self) -> int:
        """What PyTorch's allocator counts."""
        return self.device - CONTEXT


def knows(config: RunConfig) -> bool:
    """Whether there are formulas for this model."""
    return architecture(config.model).closed_form() is not None


def estimate(
    config: RunConfig, capability: tuple[int, int] = (9, 0), attention: str = "flash"
) -> Estimate:
    """Estimate the peak of a training step.

    Args:
        config: of a model that `knows`.
        capability: compute capability of the card.
        attention: kernel: flash, cudnn, efficient or math.
    """
    form = architecture(config.model).closed_form()
    assert form is not None, "knows(config)"
    sizes = parameter_sizes(config)
    total = sum(sizes.values())
    states = {
        "weights": 4 * total,
        "optimizer": 8 * total,
        "moving average": 4 * total if config.training.ema_momentum else 0,
        "cuBLAS": cublas(capability),
        "CUDA context": CONTEXT,
    }
    moments = form.moments(config, sizes, attention)
    return max((Estimate(states | moment) for moment in moments), key=lambda one: one.device)


def tokens(config: RunConfig) -> int:
    """Positions of one example that go through a block."""
    form = architecture(config.model).closed_form()
    assert form is not None, "knows(config)"
    return form.tokens(config)


def parameter_count(config: RunConfig) -> int:
    """Number of parameters, from a model without data."""
    return sum(parameter_sizes(config).values())


def parameter_sizes(config: RunConfig) -> dict[str, int]:
    """Number of values of each parameter, by its name."""
    changes = {"description": "", "training": type(config.training)()}
    return _parameter_sizes(config.model_copy(update=changes))


@lru_cache(maxsize=64)
def _parameter_sizes(config: RunConfig) -> dict[str, int]:
    with no_collection(), torch.device("meta"):
        model = build(config)
    return {name: parameter.numel() for name, parameter in model.named_parameters()}
