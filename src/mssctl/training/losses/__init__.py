"""Training losses, one file each: functions of estimate and target stems, in float32.

``loss.name: NAME`` is the function ``loss`` in the file ``NAME.py`` here, with its settings in
`mssctl.config.losses`. It takes ``estimate`` and ``target``, both ``(B, S, C, N)``, the mixture
``(B, C, N)`` and the section ``loss``; it returns the value to minimize and the terms for the log
by their names, all as scalar tensors. The loss of a batch is the mean of the losses of its
examples, so that the same examples give the same step in one batch, accumulated in parts, or on
several machines.
"""

from importlib import import_module

import torch
from torch import Tensor

from mssctl.config.losses import LossConfig
from mssctl.hardware.device import full_precision

Terms = dict[str, Tensor]

ACTIVE = 1e-4  # a target more than 40 dB below the mixture's power counts as silent
QUIETEST = 1e-4  # RMS of the quietest mixture that is scaled up to 1: -80 dBFS


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


def stem_weights(estimate: Tensor, config: LossConfig) -> Tensor | None:
    """``loss.stem_weights`` as ``(S,)``; None where all stems weigh the same."""
    if not config.stem_weights:
        return None
    return estimate.new_tensor(config.stem_weights)


def weighted(signal: Tensor, weights: Tensor | None) -> Tensor:
    """Each stem of ``(B, S, C, N)`` times its weight: so a distance of two signals is weighted."""
    return signal if weights is None else signal * weights[:, None, None]


def leveled(estimate: Tensor, target: Tensor, mix: Tensor) -> tuple[Tensor, Tensor]:
    """Both signals divided by the RMS of their mixture."""
    scale = 1.0 / mix.square().mean((-2, -1)).sqrt().clamp(min=QUIETEST)  # (B,)
    scale = scale[:, None, None, None]
    return estimate * scale, target * scale


def unit_hann(length: int, like: Tensor) -> Tensor:
    """Periodic Hann window of unit energy, in the dtype and on the device of ``like``.

    White noise of RMS 1 has magnitudes about 1 at any length, so resolutions weigh the same.
    """
    window = torch.hann_window(length, dtype=like.dtype, device=like.device)
    window /= window.square().sum().sqrt()
    return window


def stft(x: Tensor, window: Tensor) -> Tensor:
    """``(R, N)`` -> ``(R, F, T)`` complex, hop a quarter of the window, silence around."""
    return torch.stft(
        x,
        len(window),
        hop_length=len(window) // 4,
        window=window,
        pad_mode="constant",
        return_complex=True,
    )
