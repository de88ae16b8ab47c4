"""Flags of demucs and audio-separator that ``separate`` does not have, and what to use instead."""

_NO_MDX = "there are no MDX-Net models here; `--segment`, `--overlap` and `--batch` are for all"
_NO_VR = "there are no VR models here"
_MODELS = "use `mssctl models list`"
_LISTED = "use `mssctl models list`, which has `--stems`, `--license` and `--json`"
_PRESETS = "name the models: `-n A -n B --ensemble avg_wave`"
_LENGTH = "use `--segment SECONDS`"

DEMUCS = {
    "-s": "name a model with `-n`; `mssctl models import FILE` takes demucs' .th files",
    "--sig": "name a model with `-n`; `mssctl models import FILE` takes demucs' .th files",
    "--repo": "`mssctl models import FILE` takes demucs' files, then use `-n MODEL.safetensors`",
    "--list-models": _MODELS,
    "--no-split": "`--segment SECONDS` says how much is computed at once, 600 at most",
    "--mp3-preset": "mp3 is encoded at its best; `--bitrate` sets the size",
    "-j": "all cores work on each song already; `mssctl job` shares songs among machines",
    "--jobs": "all cores work on each song already; `mssctl job` shares songs among machines",
}
AUDIO_SEPARATOR = {
    "--debug": "use `-v`, or `-vv`",
    "-e": "use `mssctl doctor`",
    "--env_info": "use `mssctl doctor`",
    "-l": _MODELS,
    "--list_models": _MODELS,
    "--log_level": "use `-v` for more and `-q` for less",
    "--list_filter": _LISTED,
    "--list_limit": _LISTED,
    "--list_format": _LISTED,
    "--model_filename": "use `-n NAME`; `mssctl models import FILE` takes checkpoints",
    "--extra_models": _PRESETS,
    "--output_format": "use `--format`",
    "--output_bitrate": "use `--bitrate KBPS`",
    "--output_dir": "use `-o FOLDER`",
    "--model_file_dir": "set the environment variable MSSCTL_HOME",
    "--download_model_only": "use `mssctl models pull NAME`",
    "--invert_spect": "the rest is what the mixture has more than the stem, sample by sample",
    "--normalization": "use `--normalize DB`: a peak of 0.9 is -0.92 dBFS",
    "--amplification": "use `--normalize DB`, one gain for all stems",
    "--single_stem": "use `--stems NAME`",
    "--sample_rate": "use `--sample-rate HZ`",
    "--use_soundfile": "long files are always written piece by piece",
    "--use_autocast": "use `--dtype bf16`, or fp16",
    "--use_native_fp16": "use `--dtype fp16`",
    "--use_torch_compile": "separation runs as it is written; `mssctl bench` measures it",
    "--use_directml": "on Windows `-d cuda` and `-d cpu` are what there is",
    "--chunk_duration": "songs of any length run in the same memory",
    "--ensemble_algorithm": "use `--ensemble avg_wave`, `median_wave`, `avg_spec` ...",
    "--ensemble_weights": "use `--weights A,B`",
    "--ensemble_preset": _PRESETS,
    "--list_presets": _PRESETS,
    "--custom_output_names": "use `--filename '{track}/{stem}.{ext}'`",
    **dict.fromkeys(
        (
            "--mdx_segment_size", "--mdx_overlap", "--mdx_batch_size", "--mdx_hop_length",
            "--mdx_enable_denoise",
        ),
        _NO_MDX,
    ),
    **dict.fromkeys(
        (
            "--vr_batch_size", "--vr_window_size", "--vr_aggression", "--vr_enable_tta",
            "--vr_high_end_process", "--vr_enable_post_process", "--vr_post_process_threshold",
        ),
        _NO_VR,
    ),
    "--demucs_segment_size": _LENGTH,
    "--demucs_shifts": "use `--shifts N`",
    "--demucs_overlap": "use `--overlap`",
    "--demucs_segments_enabled": "songs are always computed in segments; `--segment` sets them",
    "--mdxc_segment_size": _LENGTH,
    "--mdxc_override_model_segment_size": _LENGTH,
    "--mdxc_overlap": "use `--overlap`, a fraction of a segment",
    "--mdxc_batch_size": "use `--batch N`",
    "--mdxc_pitch_shift": "there is no pitch shift here",
}  # fmt: skip


def instead_of(flag: str) -> str | None:
    """What to use instead of another program's flag."""
    return (DEMUCS | AUDIO_SEPARATOR).get(flag)
