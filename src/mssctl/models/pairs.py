"""Complex numbers as pairs of real and imaginary part, on a last axis of 2.

Exported graphs know real numbers only; elsewhere PyTorch's complex kernels take one pass over
memory where real arithmetic takes several.
"""

import torch
from torch import Tensor


def product(a: Tensor, b: Tensor) -> Tensor:
    """``a`` times ``b``, ``(..., 2)`` each, broadcast."""
    if not torch.compiler.is_exporting():
        return torch.view_as_real(torch.view_as_complex(a) * torch.view_as_complex(b))
    (x, y), (u, v) = a.unbind(-1), b.unbind(-1)
    return torch.stack((x * u - y * v, x * v + y * u), dim=-1)


def magnitude(x: Tensor) -> Tensor:
    """``(..., 2) -> (...)``."""
    if not torch.compiler.is_exporting():
        return torch.view_as_complex(x).abs()
    return x.square().sum(-1).sqrt()


def taken(x: Tensor, bins: Tensor) -> Tensor:
    """These ``bins`` of ``x (B, C, F, T, 2)``."""
    if not torch.compiler.is_exporting():
        return torch.view_as_real(torch.view_as_complex(x)[:, :, bins])
    return x[:, :, bins]
