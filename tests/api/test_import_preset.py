"""`preset import`: every key of a foreign file becomes something, or has a reason."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import pytest

from mssctl import presets
from mssctl.api.presets import import_preset
from mssctl.documents import dump_yaml
from mssctl.errors import ExitCode, MssctlError
from mssctl.models.foreign import flatten

LOCOFORMER: dict[str, Any] = {
    "dataset": {
        "name": "musdb18hq", "root_dir": "/data", "sample_rate": 44_100, "segment_length": 220_500,
        "sources": ["drums", "vocals", "bass", "other"], "augmentation": True,
        "random_chunks": True,
    },
    "model": {
        "n_fft": 2048, "hop_length": 512, "n_sources": 4, "n_layers": 5, "emb_dim": 64,
        "norm_type": "rmsgroupnorm", "num_groups": 8, "tf_order": "ft", "n_heads": 4,
        "flash_attention": True, "attention_dim": 64, "pos_enc": "rope",
        "ffn_type": ["swiglu_conv1d", "swiglu_conv1d"], "ffn_hidden_dim": [256, 128],
        "conv1d_kernel": 3, "conv1d_shift": 1, "dropout": 0.1, "eps": 1e-5,
    },
    "loss": {
        "loss_type": "combined", "si_sdr_weight": 1, "l1_weight": 0.1, "spectral_weight": 0.2,
        "eps": 1e-8,
    },
    "training": {
        "batch_size": 3, "num_epochs": 150, "gradient_clip": 5.0, "num_workers": 8,
        "pin_memory": True, "prefetch_factor": 2, "persistent_workers": True, "use_amp": True,
        "amp_dtype": "bfloat16", "gradient_accumulation_steps": 2,
        "gradient_checkpointing": True, "warmup_steps": 10, "warmup_start_lr": 1e-6,
        "save_interval": 1, "keep_last": 3, "save_best": True, "save_optimizer": True,
        "val_interval": 1,
        "optimizer": {
            "type": "adamw", "lr": 1e-3, "weight_decay": 0.01, "eps": 1e-8, "betas": [0.9, 0.98],
            "fused": True,
        },
        "scheduler": {
            "type": "reducelronplateau", "mode": "min", "factor": 0.4, "patience": 5,
            "min_lr": 1e-7, "cooldown": 0,
        },
        "early_stopping": {"enabled": False, "patience": 20, "min_delta": 0.0},
    },
    "evaluation": {"batch_size": 1, "save_outputs": True, "metrics": ["sdr", "sar"]},
    "paths": {"output_dir": "o", "checkpoint_dir": "c", "log_dir": "l"},
    "seed": 42, "device": "cuda", "num_gpu": 1, "gpu_id": 0,
    "performance": {
        "cudnn_benchmark": True, "cudnn_deterministic": False, "tf32": False,
        "compile_model": False, "channels_last": False,
        "cuda": {"allow_tf32_matmul": False, "allow_tf32_conv": True, "max_split_size_mb": 512},
    },
    "memory": {
        "clear_cache_every": 50, "clear_before_validation": True, "non_blocking_transfer": True,
        "set_to_none": True,
    },
}  # fmt: skip
BSMAMBA2: dict[str, Any] = {
    "model": {
        "hidden_dim": 256, "num_layers": 6, "num_subbands": 62, "d_state": 64, "d_conv": 4,
        "use_gradient_checkpointing": True,
    },
    "audio": {"sample_rate": 44_100, "n_fft": 2048, "hop_length": 441, "segment_length": 8.0},
    "training": {
        "batch_size": 1, "gradient_accumulation_steps": 8, "learning_rate": 5e-4,
        "num_epochs": 100, "precision": "bf16", "lambda_time": 10, "dropout": 0.1,
        "output_dir": "o", "resume_from": None, "save_every_n_epochs": 5,
        "keep_last_n_checkpoints": 3,
    },
    "loss": {"stft_windows": [4096, 2048, 1024], "stft_hop": 147},
    "data": {"root": "/data"},
}  # fmt: skip
MEL = """
audio: {chunk_size: 352800, dim_f: 1024, dim_t: 801, hop_length: 441, n_fft: 2048, num_channels: 2,
        sample_rate: 44100, min_mean_abs: 0.0}
model: {dim: 384, depth: 6, stereo: true, num_stems: 1, time_transformer_depth: 1,
        freq_transformer_depth: 1, num_bands: 60, dim_head: 64, heads: 8, attn_dropout: 0,
        ff_dropout: 0, flash_attn: true, dim_freqs_in: 1025, sample_rate: 44100, stft_n_fft: 2048,
        stft_hop_length: 441, stft_win_length: 2048, stft_normalized: false,
        mask_estimator_depth: 2, multi_stft_resolution_loss_weight: 1.0,
        multi_stft_resolutions_window_sizes: !!python/tuple [4096, 2048, 1024, 512, 256],
        multi_stft_hop_size: 147, multi_stft_normalized: false}
training: {batch_size: 7, gradient_accumulation_steps: 8, grad_clip: 0,
           instruments: [vocals, other], target_instrument: vocals,
           lr: 5.0e-05, patience: 2, reduce_factor: 0.95,
           num_epochs: 1000, num_steps: 1000, q: 0.95, coarse_loss_clip: true,
           ema_momentum: 0.999, optimizer: adam, other_fix: false, use_amp: true}
augmentations: {enable: true, loudness: true, all: {channel_shuffle: 0.5}}
inference: {batch_size: 4, dim_t: 801, num_overlap: 2}
"""

HTDEMUCS = """
audio: {chunk_size: 485100, num_channels: 2, sample_rate: 44100, hop_length: 1024,
        min_mean_abs: 0.001}
training: {batch_size: 8, gradient_accumulation_steps: 1, grad_clip: 0, segment: 11, shift: 1,
           samplerate: 44100, channels: 2, normalize: true, target_instrument: null,
           instruments: [drums, bass, other, vocals], num_epochs: 1000, num_steps: 1000,
           optimizer: adam, lr: 9.0e-05, patience: 2, reduce_factor: 0.95, q: 0.95,
           coarse_loss_clip: true, ema_momentum: 0.999, other_fix: false, use_amp: false}
augmentations: {enable: true}
inference: {num_overlap: 4, batch_size: 8}
model: htdemucs
htdemucs: {channels: 48, channels_time: null, growth: 2, num_subbands: 1, nfft: 4096,
           wiener_iters: 0, end_iters: 0, wiener_residual: false, cac: true, depth: 4,
           rewrite: true, hybrid: true, hybrid_old: false, multi_freqs: [],
           multi_freqs_depth: 3, freq_emb: 0.2, emb_scale: 10, emb_smooth: true,
           kernel_size: 8, stride: 4, time_stride: 2, context: 1, context_enc: 0,
           norm_starts: 4, norm_groups: 4, dconv_mode: 3, dconv_depth: 2, dconv_comp: 8,
           dconv_init: 0.001, bottom_channels: 512, t_layers: 5, t_hidden_scale: 4.0, t_heads: 8,
           t_dropout: 0.02, t_layer_scale: true, t_gelu: true, t_emb: sin, t_max_positions: 10000,
           t_max_period: 10000.0, t_weight_pos_embed: 1.0, t_cape_mean_normalize: true,
           t_cape_augment: true, t_cape_glob_loc_scale: [5000.0, 1.0, 1.4], t_sin_random_shift: 0,
           t_norm_in: true, t_norm_in_group: false, t_group_norm: false, t_norm_first: true,
           t_norm_out: true, t_weight_decay: 0.0, t_lr: null, t_sparse_self_attn: false,
           t_sparse_cross_attn: false, t_mask_type: diag, t_mask_random_seed: 42,
           t_sparse_attn_window: 400, t_global_window: 100, t_sparsity: 0.95,
           t_auto_sparsity: false, rescale: 0.1}
"""


def imported(tmp_path: Path, content: dict[str, Any] | str, **options: bool) -> tuple[Any, Any]:
    tmp_path.mkdir(exist_ok=True)
    source, out = tmp_path / "old.yaml", tmp_path / "new.yaml"
    source.write_text(content if isinstance(content, str) else dump_yaml(content))
    result = import_preset(source, out, **options)
    return result, presets.load(str(out))


def test_a_locoformer_file_becomes_the_same_model(tmp_path):
    result, config = imported(tmp_path, LOCOFORMER)
    assert set(result.carried) | set(result.left_out) == set(flatten(LOCOFORMER))
    model = config.model.model_dump()
    wanted = {"front_end": "bins", "masking": "mapping", "n_layers": 5, "conv1d_kernel": 3}
    assert {key: model[key] for key in wanted} == wanted
    assert (config.audio.channels, config.audio.stems[1]) == (1, "vocals")
    assert (config.loss.spectral, config.scheduler.factor) == (0.2, 0.4)
    assert (config.training.gradient_checkpointing, config.training.early_stopping) == ("block", 0)
    assert "early stopping is off" in result.left_out["training.early_stopping.patience"]
    assert "tf32" in result.left_out["performance.cuda.allow_tf32_conv"]


def test_bands_make_it_another_model(tmp_path):
    _, config = imported(tmp_path, LOCOFORMER, bands=True)
    model = config.model.model_dump()
    assert (model["front_end"], model["masking"]) == ("bands", "complex")


def test_the_loss_si_sdr_has_one_term(tmp_path):
    loss = {**LOCOFORMER["loss"], "loss_type": "si_sdr"}
    result, config = imported(tmp_path, {**LOCOFORMER, "loss": loss})
    assert (config.loss.si_sdr, config.loss.l1, config.loss.spectral) == (1.0, 0.0, 0.0)
    assert "one term" in result.left_out["loss.l1_weight"]


def test_a_bsmamba2_file(tmp_path):
    result, config = imported(tmp_path, BSMAMBA2)
    assert set(result.carried) | set(result.left_out) == set(flatten(BSMAMBA2))
    assert config.training.segment_length == 352_800
    assert config.loss.multi_stft_window_sizes == (4096, 2048, 1024)
    assert result.left_out["training.dropout"] == "the model has no dropout"


def test_a_file_of_public_scripts(tmp_path):
    result, config = imported(tmp_path, MEL)
    assert config.audio.outputs == ("vocals",)
    assert config.separation.overlap == 0.5
    assert config.training.steps_per_epoch == 1000
    assert "worst examples" in result.left_out["training.q"]
    assert "section data" in result.left_out["augmentations.all.channel_shuffle"]
    assert "always clipped" in result.left_out["training.grad_clip"]
    assert "no counterpart of 'adam'" in result.left_out["training.optimizer"]


@pytest.mark.parametrize("content", [LOCOFORMER, BSMAMBA2])
def test_a_key_that_nobody_knows_is_named(tmp_path, content):
    result, _ = imported(tmp_path, {**content, "model": {**content["model"], "typo": 1}})
    assert result.left_out["model.typo"] == "unknown here"


@pytest.mark.parametrize("key", ["n_layers", "dropout", "ffn_hidden_dim", "n_fft"])
@pytest.mark.parametrize("value", [None, "x", [1], -1, 1e9])
def test_bad_values_are_an_error_or_a_reason(tmp_path, key, value):
    tree = {**LOCOFORMER, "model": {**LOCOFORMER["model"], key: value}}
    with contextlib.suppress(MssctlError):
        result, _ = imported(tmp_path, tree)
        assert f"model.{key}" in result.left_out


def test_what_cannot_be_imported(tmp_path):
    (tmp_path / "a.yaml").write_text("model: {x: 1}\n")
    with pytest.raises(MssctlError, match="no training program") as caught:
        import_preset(tmp_path / "a.yaml", tmp_path / "b.yaml")
    assert caught.value.exit_code == ExitCode.BAD_INPUT
    with pytest.raises(MssctlError, match="a preset ends in"):
        import_preset(tmp_path / "a.yaml", tmp_path / "b.txt")
    with pytest.raises(MssctlError, match="exists") as caught:
        import_preset(tmp_path / "a.yaml", tmp_path / "a.yaml")
    assert caught.value.exit_code == ExitCode.USAGE
    with pytest.raises(MssctlError, match="has bands"):
        imported(tmp_path, BSMAMBA2, bands=True)


def test_an_htdemucs_file_becomes_the_same_model(tmp_path):
    result, config = imported(tmp_path, HTDEMUCS)
    assert "unknown here" not in result.left_out.values()
    own = presets.load("htdemucs")
    same = {"dropout": 0.02, "bag": None}
    assert config.model.model_dump() == own.model.model_dump() | same
    assert (config.stft, config.audio) == (own.stft, own.audio)
    assert config.training.segment_length == 485_100
    assert config.separation.overlap == 0.75
    assert "audio.chunk_size" in result.left_out["training.segment"]
    result, _ = imported(tmp_path / "2", HTDEMUCS.replace("cac: true", "cac: false"))
    assert "only True" in result.left_out["htdemucs.cac"]
