"""Rules for HTDemucs' configuration in public training scripts (MSST). Imports no torch."""

from collections.abc import Mapping
from typing import Any

from mssctl.models.foreign import Flat, ForeignPreset, NotCarriedError, always, one_of, to
from mssctl.models.msst_rules import SHARED

# Arguments that would change the network, and the values that it is computed for.
FIXED: dict[str, Any] = {
    "channels_time": None, "cac": True, "rewrite": True, "multi_freqs": None, "hybrid": True,
    "hybrid_old": False, "freq_emb": 0.2, "emb_scale": 10, "context": 1, "context_enc": 0,
    "kernel_size": 8, "stride": 4, "dconv_mode": 3, "t_emb": "sin", "t_max_period": 10000.0,
    "t_weight_pos_embed": 1.0, "t_norm_in": True, "t_norm_in_group": False,
    "t_group_norm": False, "t_norm_first": True, "t_norm_out": True, "t_layer_scale": True,
    "t_gelu": True, "t_cross_first": False, "t_sin_random_shift": 0,
    "t_sparse_self_attn": False, "t_sparse_cross_attn": False,
}  # fmt: skip

_UNUSED = "without effect on this form of the network"
_START = "weights start as PyTorch draws them"


def _transform(value: Any, _: Flat) -> Mapping[str, Any]:
    return {"stft.n_fft": value, "stft.hop_length": value // 4}


def _norm_starts(value: Any, flat: Flat) -> Mapping[str, Any]:
    if value < flat.get("htdemucs.depth", 4):
        raise NotCarriedError("no level of the U-Nets is normalized here")
    return {}


def _segment(value: Any, flat: Flat) -> Mapping[str, Any]:
    """In samples, where no chunk size is stated."""
    if "audio.chunk_size" in flat:
        raise NotCarriedError("audio.chunk_size is the length of the excerpts")
    rate = flat.get("training.samplerate", flat.get("audio.sample_rate", 44_100))
    return {"training.segment_length": round(value * rate)}


MSST = ForeignPreset(
    marks=("htdemucs", "training.instruments"),
    base={"model.name": "htdemucs", "stft.n_fft": 4096, "stft.hop_length": 1024,
          "loss.name": "l1", "separation.overlap": 0.25, "separation.fade": "linear",
          "separation.edges": "centered"},
    rules=SHARED | {
        f"htdemucs.{key}": always(
            value, f"only {'none' if value is None else value} is supported"
        )
        for key, value in FIXED.items()
    } | {
        "model": one_of("model.name", {"htdemucs": "htdemucs"}),
        "training.segment": _segment,
        "training.samplerate": to("audio.sample_rate"),
        "training.channels": to("audio.channels"),
        "training.shift": "excerpts start anywhere in a song",
        "training.normalize": "see separation.normalize",
        "training.read_metadata_procs": "nothing to set: metadata are kept in a cache",
        "htdemucs.channels": to("model.base_channels"),
        "htdemucs.growth": to("model.growth"),
        "htdemucs.nfft": _transform,
        "htdemucs.depth": to("model.depth"),
        "htdemucs.dconv_depth": to("model.dconv_depth"),
        "htdemucs.dconv_comp": to("model.dconv_compress"),
        "htdemucs.bottom_channels": to("model.emb_dim", convert=lambda value: value or None),
        "htdemucs.t_layers": to("model.n_layers"),
        "htdemucs.t_hidden_scale": to("model.ffn_expansion", convert=int),
        "htdemucs.t_heads": to("model.n_heads"),
        "htdemucs.t_dropout": to("model.dropout", convert=float),
        "htdemucs.norm_starts": _norm_starts,
        "htdemucs.multi_freqs": always([], "only none is supported"),
        "htdemucs.dconv_init": "the scales of residual branches start at 1e-3",
        "htdemucs.rescale": _START,
        "htdemucs.t_weight_decay": "optimizer.weight_decay holds for all matrices",
        "htdemucs.t_lr": "optimizer.lr holds for all weights",
        "htdemucs.num_subbands": always(1, "the spectrogram is not split into subbands"),
        **dict.fromkeys((f"htdemucs.{key}" for key in (
            "emb_smooth", "multi_freqs_depth", "time_stride", "norm_groups", "wiener_iters",
            "end_iters", "wiener_residual", "t_max_positions", "t_cape_mean_normalize",
            "t_cape_augment", "t_cape_glob_loc_scale", "t_mask_type", "t_mask_random_seed",
            "t_sparse_attn_window", "t_global_window", "t_sparsity", "t_auto_sparsity",
        )), _UNUSED),
    },
)  # fmt: skip
