"""``mssctl plan --verify``: real training steps on the GPU beside the prediction."""

import torch

from mssctl.errors import ExitCode, MssctlError
from mssctl.events import Progress, Reporter, silent
from mssctl.hardware.device import check_training_dtype, choose_device, let_segments_grow
from mssctl.hardware.machine import GIB
from mssctl.models.run_config import RunConfig
from mssctl.options.base import refuse
from mssctl.options.plan import PlanOptions
from mssctl.planning.predictions import training_peak
from mssctl.planning.request import load_preset, overrides_of
from mssctl.results.plan import CheckedPrediction, PlanVerification
from mssctl.training.prepare import prepare
from mssctl.training.step import train_step

# Band-split and per-bin, all levels of checkpointing, both dtypes, with and without accumulation.
GRID: dict[str, tuple[str, ...]] = {
    "ultra_safe": ("ultra_safe",),
    "ultra_safe, no accumulation": ("ultra_safe", "training.gradient_accumulation_steps=1"),
    "ultra_safe, batch 4, block": (
        "ultra_safe",
        "training.batch_size=4",
        "training.gradient_checkpointing=block",
    ),
    "ultra_safe, float32": ("ultra_safe", "training.amp_dtype=float32"),
    "ultra_safe, per bin, 1 s, path": (
        "ultra_safe",
        "model.front_end=bins",
        "training.segment_length=44100",
        "training.gradient_checkpointing=path",
    ),
    "ultra_safe, per bin, 1 s": (
        "ultra_safe",
        "model.front_end=bins",
        "training.segment_length=44100",
    ),
    "memory_optimized": ("memory_optimized",),
    "memory_optimized, batch 4, path": (
        "memory_optimized",
        "training.batch_size=4",
        "training.gradient_checkpointing=path",
    ),
    "small, batch 4": (
        "small",
        "training.batch_size=4",
        "training.gradient_checkpointing=none",
    ),
    "small": ("small",),
    "base": ("base",),
    "xlarge": ("xlarge",),
}


def verify(
    preset: str | None = None,
    options: PlanOptions | None = None,
    *,
    report: Reporter = silent,
) -> PlanVerification:
    """Measure what `mssctl.planning.predictions.training_peak` predicts.

    Args:
        preset: to measure; None: the configurations of `GRID`.
        options: segment and settings, of all of them.
        report: receives the progress.

    Raises:
        MssctlError: no CUDA GPU, or one without bfloat16 (exit 3); a step does not fit it
            (exit 4).
    """
    given = options or PlanOptions()
    refuse(given, "--verify", ["vram", "gpu", "mode", "attention", "write"])
    let_segments_grow()  # as `train` does
    try:
        device = choose_device("cuda").device
    except MssctlError as error:
        raise MssctlError(
            f"--verify runs real steps: {error.message}",
            hint="leave --verify out: a prediction needs no GPU",
            exit_code=error.exit_code,
        ) from None
    overrides, segment = overrides_of(given), given.segment
    asked = GRID if preset is None else {preset: (preset,)}
    configs = {
        name: load_preset(first, [*rest, *overrides], segment)[0]
        for name, (first, *rest) in asked.items()
    }
    capability = torch.cuda.get_device_capability(device)
    for config in configs.values():
        check_training_dtype(config.training.amp_dtype, capability)
    checks = []
    for number, (name, config) in enumerate(configs.items()):
        report(Progress("measuring", number, len(configs), "configurations"))
        predicted = training_peak(config, capability).allocated / GIB
        checks.append(CheckedPrediction(name, predicted, measured(config, device) / GIB))
    return PlanVerification(torch.cuda.get_device_name(device), str(torch.__version__), checks)


def measured(config: RunConfig, device: torch.device) -> int:
    """Bytes that a third training step allocates at its peak, on noise."""
    training, audio = config.training, config.audio
    torch.cuda.empty_cache()
    state = prepare(config, device)
    shape = (training.batch_size, len(audio.stems), audio.channels, training.segment_length)
    stems = 0.1 * torch.randn(shape)
    try:
        for _ in range(3):
            torch.cuda.reset_peak_memory_stats(device)
            train_step(state, (stems for _ in range(training.gradient_accumulation_steps)), config)
        return torch.cuda.max_memory_allocated(device)
    except torch.OutOfMemoryError:
        seconds = training.segment_length / audio.sample_rate
        raise MssctlError(
            f"a step does not fit this GPU: batch {training.batch_size} × {seconds:g} s, "
            f"{training.gradient_checkpointing}",
            hint="name a smaller preset, or --batch",
            exit_code=ExitCode.BAD_INPUT,
        ) from None
