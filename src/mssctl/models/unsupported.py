"""Networks that are not computed here, recognized by keys that only their files have.

Some share most keys with a network that is. Their files are refused by name, before a layout is
looked for.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from mssctl.errors import MssctlError


@dataclass(frozen=True)
class Unsupported:
    """A network that is not computed here.

    Attributes:
        name: what it is.
        key: pattern of a key that its files have and no others.
        instead: what to take, as an imperative.
    """

    name: str
    key: str
    instead: str


_PLAIN_ROFORMER = "take a BS-RoFormer or Mel-Band RoFormer without it"
_PLAIN_SCNET = "take an SCNet of the original form"
_ANY = "take a model of another kind for these stems, such as a RoFormer"

UNSUPPORTED = (
    Unsupported("a RoFormer with PoPE", r"\bpope_embed\.", _PLAIN_ROFORMER),
    Unsupported(
        "a RoFormer with hyper-connections",
        r"\.(static_alpha|dynamic_alpha_fn)$",
        _PLAIN_ROFORMER,
    ),
    Unsupported(
        "a RoFormer with value residuals",
        r"\b(to|learned)_value_residual_mix\.",
        _PLAIN_ROFORMER,
    ),
    Unsupported("a RoFormer with linear attention", r"\.to_qkv\.0\.weight$", _PLAIN_ROFORMER),
    Unsupported(
        "a RoFormer with shared biases",
        r"\b(linear_\d+_bias_0|(cos|sin)_emb_(time|freq)|to_qkv\.bias)$",
        _PLAIN_ROFORMER,
    ),
    Unsupported("SCNet Masked", r"\bpos_embed_f$", _PLAIN_SCNET),
    Unsupported("SCNet Tran", r"\bdp_modules\.\d+\.(time|freq)_layer\.", _PLAIN_SCNET),
    Unsupported("MDX23C (TFC-TDF)", r"\bbottleneck_block\.blocks\.\d+\.tfc1\.", _ANY),
    Unsupported("BandIt", r"\bband_split\.norm_fc_modules\.", _ANY),
    Unsupported(
        "Apollo",
        r"\bnet\.\d+\.band_net\.",
        "take a separator: Apollo restores what a lossy codec has removed",
    ),
    Unsupported("a VR model", r"\bstg1_low_band_net\.", _ANY),
    Unsupported(
        "a network quantized by DiffQ",
        r"^__quantized$",
        "take the file of the same network that is not quantized: its name has no 'q'",
    ),
)


def refuse(keys: Iterable[str]) -> None:
    """Refuse the file of a network that is not computed here.

    Args:
        keys: all keys of the file.

    Raises:
        MssctlError: it is one of `UNSUPPORTED` (exit 4).
    """
    keys = list(keys)
    for network in UNSUPPORTED:
        if any(map(re.compile(network.key).search, keys)):
            raise MssctlError(f"{network.name}: not supported", hint=network.instead)
