"""How much of an input a CPU computes at once.

What layers make of their input in between is several times its size. A few sequences at a time, it
stays in the cache; of a whole segment, each step would fetch it from memory and put it back.
"""

import torch

POSITIONS = 1 << 11  # 3 MiB of 384 features, 12 MiB in a feed-forward


def at_once(total: int, positions: int, device: torch.device) -> int:
    """How many of ``total`` sequences, or bands, of ``positions`` each to compute at once.

    All of them on other devices, in graphs to export, and where gradients are wanted, which keep
    everything anyway.
    """
    if device.type != "cpu" or torch.is_grad_enabled() or torch.compiler.is_exporting():
        return total
    return min(total, max(1, POSITIONS // positions))
