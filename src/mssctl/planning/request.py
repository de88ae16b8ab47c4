"""What ``mssctl plan`` asks: how to predict a configuration, on which card."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mssctl import presets
from mssctl.errors import ExitCode, MssctlError
from mssctl.files import check_new
from mssctl.hardware.device import DTYPES, auto_dtype, check_separation_dtype, check_training_dtype
from mssctl.models.run_config import RunConfig
from mssctl.options.base import as_overrides, key_options
from mssctl.options.plan import PlanOptions
from mssctl.planning.cache import remembered, training_peak_of
from mssctl.planning.fit import with_batch, with_training
from mssctl.planning.predict.fake_step import Peak
from mssctl.planning.predictions import separation_peak
from mssctl.planning.target import Target, target
from mssctl.separation.stream import SeparationSettings


@dataclass(frozen=True)
class Request:
    """A question about presets, and the card to answer it for.

    Attributes:
        options: as given.
        where: the card.
        overrides: ``section.key=value`` of all options that stand for a key, and of ``--set``.
    """

    options: PlanOptions
    where: Target
    overrides: Sequence[str]

    @property
    def trains(self) -> bool:
        """Whether it is about training."""
        return self.options.mode == "train"

    @property
    def attention(self) -> str | None:
        """The pinned attention kernel."""
        return None if self.options.attention == "auto" else self.options.attention

    def load(self, preset: str) -> tuple[RunConfig, list[str]]:
        """A preset with the overrides and the segment, and all of that as overrides."""
        return load_preset(preset, self.overrides, self.options.segment, self.options.mode)

    def dtype(self, config: RunConfig) -> str:
        """The dtype that separation is to run in: bf16, fp16 or fp32."""
        if self.options.dtype:
            return self.options.dtype
        if any(item.startswith("training.amp_dtype=") for item in self.overrides):
            return next(name for name, full in DTYPES.items() if full == config.training.amp_dtype)
        return auto_dtype(self.where.capability)

    def batch(self, config: RunConfig) -> int:
        """Examples or segments at a time."""
        return (config.training if self.trains else config.separation).batch_size

    def check(self, config: RunConfig) -> None:
        """Refuse what the card cannot compute in.

        Raises:
            MssctlError: (exit 3).
        """
        if self.trains:
            check_training_dtype(config.training.amp_dtype, self.where.capability)
        else:
            check_separation_dtype(DTYPES[self.dtype(config)], self.where.capability)

    def peak(self, config: RunConfig, batch: int) -> Peak:
        """The predicted peak at a batch, from the cache where it is known."""
        capability = self.where.capability
        if self.trains:
            config = with_training(config, batch_size=batch)
            return training_peak_of(config, capability, self.attention)
        settings = SeparationSettings.from_config(config)
        question: dict[str, Any] = {
            "segment": settings.segment,
            "batch_size": batch,
            "amp_dtype": DTYPES[self.dtype(config)],
            "capability": capability,
            "attention": self.attention,
        }
        return remembered(
            config, {"mode": "separate", **question}, lambda: separation_peak(config, **question)
        )

    def fitted(self, config: RunConfig, batch: int) -> RunConfig:
        """The same with as many at a time; a training step keeps its examples."""
        if self.trains:
            return with_batch(config, batch, config.training.gradient_checkpointing)
        return presets.override(config, [f"separation.batch_size={batch}"])


def request(options: PlanOptions) -> Request:
    """Check what is cheap to check, and find the card.

    Raises:
        MssctlError: options that do not go together (exit 2), an unknown card (exit 3), or a
            file to write that exists.
    """
    if options.write:
        check_new(Path(options.write).expanduser())
    return Request(options, target(options.vram, options.gpu), overrides_of(options))


def overrides_of(options: PlanOptions) -> list[str]:
    """All options that stand for a key, and ``--set``, as ``section.key=value``.

    Raises:
        MssctlError: a key is given twice, or means nothing in this mode (exit 2).
    """
    trains = options.mode == "train"
    if trains and options.dtype == "fp16":
        raise MssctlError(
            "`dtype=fp16`: training has bf16 and fp32 only",
            hint="float16 needs its gradients scaled; `mode=separate` takes fp16",
            exit_code=ExitCode.USAGE,
        )
    if options.checkpointing and not trains:
        raise MssctlError(
            "`checkpointing` does nothing with `mode=separate`: nothing is trained",
            exit_code=ExitCode.USAGE,
        )
    section = "training" if trains else "separation"
    length = "training.segment_length" if trains else "separation.segment_seconds"
    given = key_options(options) | {f"{section}.batch_size": ("batch", options.batch)}
    if trains:
        given["training.amp_dtype"] = ("dtype", options.dtype and DTYPES[options.dtype])
    as_overrides({length: ("segment", options.segment)}, options.overrides)
    return as_overrides(given, options.overrides)  # the segment follows: it depends on the rate


def load_preset(
    preset: str, overrides: Sequence[str], segment: float | None, mode: str = "train"
) -> tuple[RunConfig, list[str]]:
    """A preset with overrides and another segment, and all of that as overrides."""
    config = presets.load(preset, overrides)
    if segment is None:
        return config, list(overrides)
    if mode == "separate":
        change = f"separation.segment_seconds={segment:g}"
    else:
        change = f"training.segment_length={round(segment * config.audio.sample_rate)}"
    return presets.override(config, [change]), [*overrides, change]
