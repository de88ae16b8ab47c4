"""Mean absolute difference of the waveforms."""

from torch import Tensor

from mssctl.config.losses import L1LossConfig
from mssctl.training.losses import Terms, stem_weights, weighted


def loss(
    estimate: Tensor, target: Tensor, _mix: Tensor, config: L1LossConfig
) -> tuple[Tensor, Terms]:
    """Mean absolute difference of the waveforms, as in Demucs (arXiv:1911.13254)."""
    distance = weighted(estimate - target, stem_weights(estimate, config)).abs().mean()
    return distance, {"l1": distance}
