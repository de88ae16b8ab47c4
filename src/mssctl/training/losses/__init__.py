"""Training losses, one file each: functions of estimate and target stems, in float32.

``loss.name: NAME`` is the function ``loss`` in the file ``NAME.py`` here, with its settings in
`mssctl.config.losses`. It takes ``estimate`` and ``target``, both ``(B, S, C, N)``, the mixture
``(B, C, N)`` and the section ``loss``; it returns the value to minimize and the terms for the log
by their names, all as scalar tensors. The loss of a batch is the mean of the losses of its
examples, so that the same examples give the same step in one batch, accumulated in parts, or on
several machines.
"""

from __future__ import annotations

from importlib import import_module

from torch import Tensor

from mssctl.config.losses import LossConfig
from mssctl.hardware.device import full_precision
from mssctl.training.losses.signals import Terms


def compute_loss(
    estimate: Tensor, target: Tensor, config: LossConfig, mix: Tensor | None = None
) -> tuple[Tensor, Terms]:
    """The loss that ``config.name`` names, in float32 also inside an autocast region.

    ``mix`` is the mixture; None where the targets add up to it. The terms carry no gradient.
    """
    formula = import_module(f"{__name__}.{config.name}").loss
    with full_precision(estimate.device):
        target = target.float()
        mix = target.sum(1) if mix is None else mix.float()
        loss, terms = formula(estimate.float(), target, mix, config)
        return loss, {name: term.detach() for name, term in terms.items()}
