"""The Mamba-2 mixer: projection, short causal convolution, state space scan, gated norm.

Source: Dao & Gu, "Transformers are SSMs" (arXiv:2405.21060), with the defaults and the
initialization of its released code (one group, gate before norm).
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from mssctl.hardware.device import full_precision
from mssctl.models.bsmamba2.config import BSMamba2Config
from mssctl.models.bsmamba2.scans import choose_scan, scan

NORM_EPS = 1e-5


class RMSNorm(nn.Module):
    """Divide by the root mean square over the last axis, and scale; in float32.

    ``y = x / sqrt(mean(x^2) + eps) * gain``.

    Shape:
        ``(..., D) -> (..., D)``.
    """

    def __init__(self, dim: int, eps: float = NORM_EPS) -> None:
        super().__init__()
        self.eps = eps
        self.gain = nn.Parameter(torch.ones(dim))

    def forward(self, x: Tensor) -> Tensor:
        """Normalize the last axis."""
        with full_precision(x.device):
            return F.rms_norm(x.float(), self.gain.shape, self.gain, self.eps)


class Mamba2(nn.Module):
    """A causal mixer: each position sees itself and those before it.

    ``dt_bias``, ``A_log`` and ``D`` have one number per head and get no weight decay, like all
    parameters of one dimension.

    Shape:
        ``(N, L, D) -> (N, L, D)``.
    """

    def __init__(self, model: BSMamba2Config) -> None:
        super().__init__()
        self.inner, self.d_state = model.expand * model.emb_dim, model.d_state
        self.heads = self.inner // model.headdim
        self.chunk_size = model.chunk_size
        self.scan_backend = model.scan_backend
        mixed = self.inner + 2 * model.d_state  # x, B and C
        self.in_proj = nn.Linear(model.emb_dim, self.inner + mixed + self.heads, bias=False)
        self.conv = nn.Conv1d(mixed, mixed, model.d_conv, groups=mixed, padding=model.d_conv - 1)
        self.dt_bias = nn.Parameter(_step_bias(self.heads, model))
        self.A_log = nn.Parameter(torch.empty(self.heads).uniform_(*model.A_init_range).log())
        self.D = nn.Parameter(torch.ones(self.heads))
        self.norm = RMSNorm(self.inner)
        self.out_proj = nn.Linear(self.inner, model.emb_dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Mix each position with those before it."""
        length = x.shape[1]
        widths = [self.inner, self.inner + 2 * self.d_state, self.heads]
        z, mixed, dt = self.in_proj(x).split(widths, dim=-1)
        mixed = F.silu(self.conv(mixed.transpose(1, 2))[..., :length]).transpose(1, 2)
        values, B, C = mixed.split([self.inner, self.d_state, self.d_state], dim=-1)
        with full_precision(x.device):
            dt = F.softplus(dt.float() + self.dt_bias)  # (N, L, H)
            A = -self.A_log.float().exp()
            run = scan(choose_scan(self.scan_backend, x.device).name)
            heads = values.unflatten(-1, (self.heads, -1))  # (N, L, H, P)
            y = run(heads, dt, A, B, C, self.D, self.chunk_size).flatten(2)
            y = self.norm(y.float() * F.silu(z.float()))
        return self.out_proj(y)  # type: ignore[no-any-return]


def _step_bias(heads: int, model: BSMamba2Config) -> Tensor:
    """Biases whose softplus is log-uniform between ``dt_min`` and ``dt_max``."""
    low, high = math.log(model.dt_min), math.log(model.dt_max)
    dt = torch.empty(heads).uniform_(low, high).exp().clamp(min=model.dt_init_floor)
    return dt + torch.log(-torch.expm1(-dt))
