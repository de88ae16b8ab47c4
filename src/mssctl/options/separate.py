"""The options of ``mssctl separate``, and those that other commands share with it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from mssctl.config import bounds
from mssctl.options.base import Options, option

Dtype = Literal["auto", "bf16", "fp16", "fp32"]
Format = Literal["wav", "flac", "aiff", "mp3", "m4a", "ogg", "opus"]
BitDepth = Literal["auto", "16", "24", "float32"]
ClipMode = Literal["rescale", "clamp", "none"]
OtherMethod = Literal["add", "minus", "none"]
EnsembleMethod = Literal["avg_wave", "median_wave", "avg_spec", "min_spec", "max_spec"]
Existing = Literal["error", "skip", "overwrite"]

DEFAULT_TEMPLATE = "{track}/{stem}.{ext}"


def device_option() -> Any:
    """Where to compute."""
    return option(
        "auto", "--device", "-d", help="auto, cuda, cuda:N, mps or cpu.", metavar="DEVICE"
    )


def dtype_option() -> Any:
    """The dtype inside the model."""
    return option(
        "auto",
        "--dtype",
        help="Dtype of the computation; auto is bf16 on CUDA (fp16 on GPUs without it), else fp32.",
    )


def segment_option() -> Any:
    """The length of a segment."""
    return option(
        None,
        "--segment",
        help="Seconds the model sees at once [default: the model's].",
        bounds=bounds.SEGMENT_SECONDS,
    )


def overlap_option() -> Any:
    """The overlap of segments."""
    return option(
        None,
        "--overlap",
        help="Fraction of a segment shared with the next.",
        bounds=bounds.OVERLAP,
    )


def batch_option() -> Any:
    """The number of segments at once."""
    return option(
        None, "--batch", help="Segments computed at once.", bounds=bounds.BATCH, metavar="N"
    )


def start_option() -> Any:
    """Where the excerpt begins."""
    return option(None, "--start", help="Seconds into the song to begin at.", bounds=bounds.SECONDS)


def duration_option() -> Any:
    """The length of the excerpt."""
    return option(
        None, "--duration", help="Seconds to separate from there on.", bounds=bounds.SECONDS
    )


@dataclass(frozen=True, kw_only=True)
class SeparateOptions(Options):
    """What `mssctl.separate` does with songs. ``None`` is the model's own setting."""

    name: str | Sequence[str] | None = option(
        None,
        "--name",
        "-n",
        "--model",
        "-m",
        help="Model: a name of `models list`, a .safetensors file or hf:org/repo [default: that of "
        "`models use`, else starter]. Several make an ensemble.",
        metavar="NAME",
        repeatable=True,
    )
    ensemble: EnsembleMethod | None = option(
        None,
        "--ensemble",
        help="How the stems of several models become one [default: avg_wave].",
    )
    weights: Sequence[float] | None = option(
        None,
        "--weights",
        help="Shares of the models in averages, in their order [default: equal].",
        metavar="A,B",
        commas=True,
    )
    stem_model: Sequence[str] | None = option(
        None,
        "--stem-model",
        help="Take one stem from another model, as in vocals=mel_kim.",
        metavar="STEM=MODEL",
        repeatable=True,
    )
    accept_license: bool = option(
        False, "--accept-license", help="Use a model although no license is stated for it."
    )
    out: Path | None = option(
        None, "--out", "-o", help="Folder of the outputs [default: separated/{model}]."
    )
    filename: str = option(
        DEFAULT_TEMPLATE,
        "--filename",
        help="Names below the folder, from {track} {stem} {ext} {trackext} {model} {dir}.",
        metavar="TEMPLATE",
    )
    device: str = device_option()
    dtype: Dtype = dtype_option()
    segment: float | None = segment_option()
    overlap: float | None = overlap_option()
    batch: int | None = batch_option()
    shifts: int = option(
        1,
        "--shifts",
        help="Passes to average, with shifted segments; time grows N-fold.",
        bounds=bounds.SHIFTS,
        metavar="N",
    )
    seed: int | None = option(
        None,
        "--seed",
        help="Random seed for --shifts [default: 0].",
        bounds=bounds.SEED,
        metavar="N",
    )
    tta: bool = option(
        False,
        "--tta",
        help="Average over opposite polarity and swapped channels too, in three times the time.",
    )
    stems: Sequence[str] | None = option(
        None,
        "--stems",
        help="Write only these, separated by commas.",
        metavar="A,B",
        commas=True,
    )
    two_stems: str | None = option(
        None, "--two-stems", help="Write this stem and the rest (no_STEM).", metavar="STEM"
    )
    other_method: OtherMethod | None = option(
        None,
        "--other-method",
        help="The rest: sum of the other stems (no_STEM), mixture less the stem (minus_STEM), "
        "or not written [default: add].",
    )
    format: Format = option(
        "wav",
        "--format",
        help="Format of the stems [default: wav].",
        shorthands={
            "--flac": ("flac", "Same as --format flac."),
            "--mp3": ("mp3", "Same as --format mp3."),
        },
    )
    bitrate: int | None = option(
        None,
        "--bitrate",
        "--mp3-bitrate",
        help="kbit/s of the stems [default: 320 for mp3, 256 for m4a, 192 for opus].",
        bounds=bounds.BITRATE,
        metavar="KBPS",
    )
    sample_rate: int | None = option(
        None,
        "--sample-rate",
        help="Hz of the stems [default: the song's].",
        bounds=bounds.SAMPLE_RATE,
        metavar="HZ",
    )
    bit_depth: BitDepth = option(
        "auto",
        "--bit-depth",
        help="auto keeps the input's, 16 at least [default: auto].",
        shorthands={
            "--int24": ("24", "Same as --bit-depth 24."),
            "--float32": ("float32", "Same as --bit-depth float32."),
        },
    )
    clip_mode: ClipMode | None = option(
        None,
        "--clip-mode",
        help="For peaks beyond full scale: one gain for all stems, or clipping; none clips "
        "integers only [default: rescale, none for float32].",
    )
    normalize: float | None = option(
        None,
        "--normalize",
        help="Bring the highest peak of all stems to this level, dBFS, by one gain for all.",
        bounds=bounds.PEAK_DB,
        metavar="DB",
    )
    start: float | None = start_option()
    duration: float | None = duration_option()
    page: bool = option(
        False, "--page", help="Write a page beside the stems of each song, to hear them in."
    )
    existing: Existing = option(
        "error",
        "--skip-existing/--overwrite",
        help="Outputs that exist already; without either they are an error.",
        switch=("skip", "overwrite"),
    )
    fail_fast: bool = option(False, "--fail-fast", help="Stop at the first failure.")
