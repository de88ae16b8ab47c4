"""Rules for the section ``model`` of RoFormers in public training scripts (MSST)."""

from collections.abc import Mapping
from typing import Any

from mssctl.models.foreign import Flat, NotCarriedError, Rule, always, one_of, to
from mssctl.models.msst_rules import SHARED


def _ff_dropout(value: Any, flat: Flat) -> Mapping[str, Any]:
    if value != flat.get("model.attn_dropout", 0):
        raise NotCarriedError("attention and feed-forwards share model.dropout")
    return {"model.dropout": float(value)}


def _window(value: Any, flat: Flat) -> Mapping[str, Any]:
    if value != flat.get("model.stft_n_fft", 2048):
        raise NotCarriedError("the window is as long as the transform")
    return {}


RULES: dict[str, Rule] = SHARED | {
    "model.dim": to("model.emb_dim"),
    "model.depth": to("model.n_layers"),
    "model.stereo": one_of("audio.channels", {True: 2, False: 1}),
    "model.time_transformer_depth": to("model.time_depth"),
    "model.freq_transformer_depth": to("model.band_depth"),
    "model.linear_transformer_depth": always(0, "linear attention is not supported"),
    "model.freqs_per_bands": to("model.freqs_per_bands"),
    "model.num_bands": to("model.num_bands"),
    "model.dim_head": to("model.dim_head"),
    "model.heads": to("model.n_heads"),
    "model.attn_dropout": to("model.dropout", convert=float),
    "model.ff_dropout": _ff_dropout,
    "model.flash_attn": to("training.flash_attention"),
    "model.stft_n_fft": to("stft.n_fft"),
    "model.stft_hop_length": to("stft.hop_length"),
    "model.stft_win_length": _window,
    "model.stft_normalized": "without effect: each band of each frame is normalized",
    "model.mask_estimator_depth": to("model.mask_depth"),
    "model.mlp_expansion_factor": to("model.mask_expansion"),
    "model.multi_stft_resolution_loss_weight": always(1, "the weight of that loss is 1"),
    "model.multi_stft_resolutions_window_sizes": to("loss.multi_stft_window_sizes"),
    "model.multi_stft_hop_size": to("loss.multi_stft_hop_size"),
    "model.multi_stft_normalized": always(False, "the loss takes transforms as they are"),
    "model.skip_connection": to("model.skip_connection"),
    "model.zero_dc": to("model.zero_dc"),
    "model.match_input_audio_length": "the output always has the length of the input",
    "model.use_torch_checkpoint": one_of(
        "training.gradient_checkpointing", {True: "path", False: "none"}
    ),
    "model.sample_rate": to("audio.sample_rate"),
    "model.num_stems": "follows from audio.stems and audio.target_instrument",
    "model.dim_freqs_in": "follows from stft.n_fft",
}

LOSS = {"loss.name": "bsmamba2", "loss.l1_time_weight": 1.0}  # L1 and the multi-resolution STFT
