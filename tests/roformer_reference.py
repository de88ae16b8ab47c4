"""The RoFormers of public training scripts in float64, band by band, from official keys.

Written as their papers and public weights define them, to compare with; slow, and shares no code
with the package except the edges of the mel bands.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

State = Mapping[str, Tensor]


def random_state(
    widths: Sequence[int], mel: bool, *, stems: int = 1, depth: int = 2, maps: int = 2
) -> dict[str, Tensor]:
    """Tensors under official keys: D 16, 2 heads of 8, hidden masks of 32, ``depth`` layers.

    Args:
        widths: bins per band, stereo.
        mel: a norm after each transformer, in place of one at the end.
        stems: mask estimators.
        depth: layers, each along time and along bands.
        maps: linear maps of a mask estimator.
    """
    dim, inner = 16, 16
    shapes: dict[str, tuple[int, ...]] = {} if mel else {"final_norm.gamma": (dim,)}
    for path in (f"layers.{i}.{j}" for i in range(depth) for j in (0, 1)):
        shapes |= {f"{path}.norm.gamma": (dim,)} if mel else {}
        attend, net = f"{path}.layers.0.0", f"{path}.layers.0.1.net"
        shapes |= {
            f"{attend}.norm.gamma": (dim,), f"{attend}.to_qkv.weight": (3 * inner, dim),
            f"{attend}.to_gates.weight": (2, dim), f"{attend}.to_gates.bias": (2,),
            f"{attend}.to_out.0.weight": (dim, inner),
            f"{net}.0.gamma": (dim,), f"{net}.1.weight": (64, dim), f"{net}.1.bias": (64,),
            f"{net}.4.weight": (dim, 64), f"{net}.4.bias": (dim,),
        }  # fmt: skip
    for band, size in enumerate(4 * width for width in widths):
        split = f"band_split.to_features.{band}"
        shapes |= {f"{split}.0.gamma": (size,), f"{split}.1.weight": (dim, size)}
        shapes[f"{split}.1.bias"] = (dim,)
        sizes = [dim, *[32] * (maps - 1), 2 * size]
        for stem in range(stems):
            for index in range(maps):
                mask = f"mask_estimators.{stem}.to_freqs.{band}.0.{2 * index}"
                shapes[f"{mask}.weight"] = (sizes[index + 1], sizes[index])
                shapes[f"{mask}.bias"] = (sizes[index + 1],)
    state = {key: torch.randn(shape) * shape[-1] ** -0.5 for key, shape in shapes.items()}
    for key in [key for key in state if key.endswith("gamma")]:
        state[key] = 1 + 0.1 * state[key]
    for key in [key for key in state if key.endswith("to_qkv.weight")]:
        freqs = key.replace("to_qkv.weight", "rotary_embed.freqs")
        state[freqs] = 10_000 ** (-torch.arange(4) / 4)
    return state


def separate(
    weights: State, config: Mapping[str, Any], bands: Sequence[range], mix: Tensor
) -> Tensor:
    """``(B, C, N) -> (B, S, C, N)`` in float64.

    Args:
        weights: official state dict.
        config: official constructor's arguments.
        bands: bins of each band.
        mix: the mixture.
    """
    state = {key: value.double() for key, value in weights.items()}
    n_fft, hop = config.get("stft_n_fft", 2048), config.get("stft_hop_length", 512)
    window = torch.hann_window(n_fft, dtype=torch.float64)
    flat = mix.double().flatten(0, 1)
    norm = config.get("stft_normalized", False)
    spec = torch.stft(flat, n_fft, hop, window=window, return_complex=True, normalized=norm)
    spec = spec.unflatten(0, mix.shape[:2])  # (B, C, F, T)
    x = torch.stack([_embedded(state, k, spec[:, :, list(b)]) for k, b in enumerate(bands)], dim=2)
    earlier: Any = 0  # (B, T, K, D)
    for layer in range(sum(key.endswith(".0.layers.0.0.norm.gamma") for key in state)):
        x = x + earlier if config.get("skip_connection") else x
        x = _transformed(state, f"layers.{layer}.0", x.transpose(1, 2)).transpose(1, 2)
        x = _transformed(state, f"layers.{layer}.1", x)
        earlier = earlier + x
    x = _normed(x, state["final_norm.gamma"]) if "final_norm.gamma" in state else x
    stems = []
    while f"mask_estimators.{len(stems)}.to_freqs.0.0.0.weight" in state:
        mask, count = torch.zeros_like(spec), torch.zeros(spec.shape[2], dtype=torch.float64)
        for index, band in enumerate(bands):
            part = _mask(state, f"mask_estimators.{len(stems)}.to_freqs.{index}.0", x[:, :, index])
            part = torch.view_as_complex(part.unflatten(-1, (len(band), -1, 2)))  # (B, T, w, C)
            mask[:, :, list(band)] += part.permute(0, 3, 2, 1)
            count[list(band)] += 1
        stems.append(spec * mask / count[:, None])
    out = torch.stack(stems, dim=1)
    if config.get("zero_dc", True):
        out[:, :, :, 0] = 0
    length = mix.shape[-1]
    wave = torch.istft(out.flatten(0, 2), n_fft, hop, window=window, normalized=norm, length=length)
    return wave.unflatten(0, out.shape[:3])


def _normed(x: Tensor, gamma: Tensor) -> Tensor:
    return x / x.norm(dim=-1, keepdim=True).clamp_min(1e-12) * x.shape[-1] ** 0.5 * gamma


def _embedded(state: State, band: int, spec: Tensor) -> Tensor:
    key = f"band_split.to_features.{band}"
    x = torch.view_as_real(spec).permute(0, 3, 2, 1, 4).flatten(2)  # (B, T, bin·channel·re/im)
    return _normed(x, state[f"{key}.0.gamma"]) @ state[f"{key}.1.weight"].T + state[f"{key}.1.bias"]


def _mask(state: State, key: str, x: Tensor) -> Tensor:
    index = 0
    while f"{key}.{index}.weight" in state:
        x = x.tanh() if index else x
        x = x @ state[f"{key}.{index}.weight"].T + state[f"{key}.{index}.bias"]
        index += 2
    value, gate = x.chunk(2, dim=-1)
    return value * gate.sigmoid()


def _transformed(state: State, key: str, x: Tensor) -> Tensor:
    """Along the last but one axis."""
    attend, net = f"{key}.layers.0.0", f"{key}.layers.0.1.net"
    y = _normed(x, state[f"{attend}.norm.gamma"])
    heads = state[f"{attend}.to_gates.bias"].shape[0]
    qkv = (y @ state[f"{attend}.to_qkv.weight"].T).unflatten(-1, (3, heads, -1))
    q, k, v = qkv.movedim(-3, 0).transpose(-2, -3)  # each (..., H, L, d)
    freqs = state[f"{attend}.rotary_embed.freqs"]
    angle = torch.arange(x.shape[-2], dtype=torch.float64)[:, None] * freqs
    turn = torch.polar(torch.ones_like(angle), angle)  # (L, d / 2)
    q, k = (
        torch.view_as_real(torch.view_as_complex(z.unflatten(-1, (-1, 2)).contiguous()) * turn)
        for z in (q, k)
    )
    scores = q.flatten(-2) @ k.flatten(-2).mT * v.shape[-1] ** -0.5
    heard = (scores.softmax(-1) @ v).transpose(-2, -3)  # (..., L, H, d)
    gates = y @ state[f"{attend}.to_gates.weight"].T + state[f"{attend}.to_gates.bias"]
    heard = (heard * gates.sigmoid()[..., None]).flatten(-2)
    x = x + heard @ state[f"{attend}.to_out.0.weight"].T
    y = _normed(x, state[f"{net}.0.gamma"]) @ state[f"{net}.1.weight"].T + state[f"{net}.1.bias"]
    y = y * 0.5 * (1 + torch.erf(y / 2**0.5))
    x = x + y @ state[f"{net}.4.weight"].T + state[f"{net}.4.bias"]
    return _normed(x, state[f"{key}.norm.gamma"]) if f"{key}.norm.gamma" in state else x
