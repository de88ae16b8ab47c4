"""Optimizer, learning rate over the run, and the moving average of the weights."""

import copy
import math
from typing import Any

import torch
from torch import Tensor, nn

from mssctl.config.schema import OptimizerConfig, SchedulerConfig
from mssctl.models.base import Separator


def build_optimizer(model: nn.Module, config: OptimizerConfig) -> torch.optim.AdamW:
    """AdamW over the trainable parameters.

    Weight decay acts on matrices and kernels only, not on gains and biases (one dimension),
    as is usual for transformers. With ``fused``, a device without the fused kernel raises.
    """
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {
            "params": [parameter for parameter in trainable if parameter.ndim > 1],
            "weight_decay": config.weight_decay,
        },
        {
            "params": [parameter for parameter in trainable if parameter.ndim <= 1],
            "weight_decay": 0.0,
        },
    ]
    return torch.optim.AdamW(
        [group for group in groups if group["params"]],
        lr=config.lr,
        betas=config.betas,
        eps=config.eps,
        fused=config.fused,
    )


class LearningRate:
    """Learning rate per step: linear warm-up, then ``plateau``, ``cosine`` or ``constant``.

    ``plateau`` multiplies the rate by ``factor`` once the validation score has not risen for more
    than ``patience`` validations in a row. ``cosine`` falls from ``lr`` to ``min_lr`` between the
    end of the warm-up and the last step.

    Args:
        lr: the highest rate.
        total_steps: of the whole run.
        config: shape of the schedule.
    """

    def __init__(self, lr: float, total_steps: int, config: SchedulerConfig) -> None:
        self.lr = lr
        self.total_steps = total_steps
        self.config = config
        self.scale = 1.0
        self.best = -math.inf
        self.waited = 0

    def at(self, step: int) -> float:
        """Rate for the step after ``step`` finished ones."""
        warmup = self.config.warmup_steps
        if step < warmup:
            return self.lr * (step + 1) / warmup
        if self.config.name == "constant":
            return self.lr
        if self.config.name == "plateau":
            return max(self.lr * self.scale, min(self.config.min_lr, self.lr))
        done = (step - warmup) / max(1, self.total_steps - warmup)
        low = min(self.config.min_lr, self.lr)
        return low + (self.lr - low) * 0.5 * (1.0 + math.cos(math.pi * min(1.0, done)))

    def validated(self, step: int, score: float) -> None:
        """Take note of a validation score (higher is better) after ``step`` steps."""
        if score > self.best:
            self.best, self.waited = score, 0
        elif step >= self.config.warmup_steps:
            self.waited += 1
            if self.waited > self.config.patience:
                self.scale *= self.config.factor
                self.waited = 0

    def forget_scores(self) -> None:
        """Scores to come cannot be compared with those before; the rate stays."""
        self.best, self.waited = -math.inf, 0

    def state_dict(self) -> dict[str, Any]:
        """What changes during a run, as JSON values."""
        best = self.best if math.isfinite(self.best) else None
        return {"scale": self.scale, "best": best, "waited": self.waited}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over a state of `state_dict`."""
        self.scale = float(state["scale"])
        self.best = -math.inf if state["best"] is None else float(state["best"])
        self.waited = int(state["waited"])


class MovingAverage:
    """Exponential moving average of a model's weights, as a model of its own in eval mode.

    Early in a run the average follows faster, ``min(momentum, (1 + t) / (10 + t))`` after ``t``
    steps, so that it does not carry the random start along.
    """

    def __init__(self, model: Separator, momentum: float) -> None:
        self.momentum = momentum
        self.model: Separator = copy.deepcopy(model).eval().requires_grad_(False)
        self._pairs: tuple[list[Tensor], list[Tensor]] | None = None

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Move towards ``model`` after its step number ``step``."""
        if self._pairs is None:
            mine, current = tensors_of(self.model), tensors_of(model)
            moving = [name for name, tensor in mine.items() if tensor.is_floating_point()]
            self._pairs = [mine[name] for name in moving], [current[name] for name in moving]
        weight = 1.0 - min(self.momentum, (1 + step) / (10 + step))
        torch._foreach_lerp_(*self._pairs, weight)


def tensors_of(model: nn.Module) -> dict[str, Tensor]:
    """Name -> stored tensor of the model; one that several modules share appears once."""
    seen: set[int] = set()
    tensors = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        if id(tensor) not in seen:
            seen.add(id(tensor))
            tensors[name] = tensor.detach()
    return tensors
