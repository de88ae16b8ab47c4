"""What `mssctl bench` measures: one step of training, of separation, or of reading examples."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mssctl.benchmark.clock import Clock, Parts
from mssctl.data.ahead import batches_ahead
from mssctl.data.loader import batches
from mssctl.data.mixing import Mixer
from mssctl.data.training_set import find_songs
from mssctl.events import Notice, Reporter
from mssctl.hardware.device import choose_dtype, configure
from mssctl.models.build import build
from mssctl.models.run_config import RunConfig
from mssctl.options.bench import Mode
from mssctl.options.data import SynthOptions
from mssctl.planning.cache import training_peak_of
from mssctl.planning.predict.fake_step import Peak
from mssctl.planning.predictions import separation_peak
from mssctl.separation.stream import SeparationSettings, separate_array
from mssctl.synth.generate import synthesize
from mssctl.training.prepare import prepare
from mssctl.training.receipt import make_receipt
from mssctl.training.step import train_step

Capability = tuple[int, int]


@dataclass(frozen=True)
class Predicted:
    """What the planner says of a step: its peak, and operations in TFLOP."""

    peak: Peak
    tflop: float


@dataclass(frozen=True)
class Work:
    """One step of what is measured, and what is known of it.

    Attributes:
        read: gives ``step`` its examples, and may wait for them.
        step: does it.
        audio: seconds of audio that go through it.
        dtype: it computes in.
        parts: starts to look at its parts; None where it has none.
        predict: what the planner says of it on a GPU; None where that is nothing.
        receipt: what is in force.
    """

    read: Callable[[], Any]
    step: Callable[[Any], object]
    audio: float
    dtype: str
    parts: Callable[[Clock], Parts] | None
    predict: Callable[[Capability], Predicted] | None
    receipt: dict[str, Any]


@contextmanager
def work_of(
    mode: Mode, config: RunConfig, device: torch.device, data: Path | str | None, report: Reporter
) -> Iterator[Work]:
    """The work of a mode, with its examples at hand."""
    if mode == "separate":
        yield _separation(config, device)
    elif mode == "loader":
        with _examples(config, data, torch.device("cpu"), report) as read:
            yield _loading(config, read)
    elif data is None:
        yield _training(config, device, _noise(config, device))
    else:
        with _examples(config, data, device, report) as read:
            yield _training(config, device, read)


def _noise(config: RunConfig, device: torch.device) -> Callable[[], list[Tensor]]:
    training, audio = config.training, config.audio
    shape = training.batch_size, len(audio.stems), audio.channels, training.segment_length
    noise = 0.1 * torch.randn(shape, generator=torch.Generator().manual_seed(0))
    noise = noise.pin_memory() if device.type == "cuda" else noise
    return lambda: [noise] * training.gradient_accumulation_steps


@contextmanager
def _examples(
    config: RunConfig, data: Path | str | None, device: torch.device, report: Reporter
) -> Iterator[Callable[[], list[Tensor]]]:
    """The examples of one step after the other, of a data set or of a small one made up for it."""
    training = config.training
    with tempfile.TemporaryDirectory(prefix="mssctl-bench-") as made:
        folder = Path(made) if data is None else Path(data)
        if data is None:
            report(Notice("no --data: reading eight made-up songs of 20 s"))
            small = SynthOptions(hours=8 * 20 / 3600, song_seconds=20.0, workers=1)
            synthesize(folder, small, sample_rate=config.audio.sample_rate)
        songs = find_songs([folder], config.audio, report=report)
        stream = batches(
            Mixer(songs.train, config),
            training,
            first=0,
            end=1_000_000_000,
            pin_memory=device.type == "cuda",
        )
        with closing(stream):
            yield lambda: [next(stream) for _ in range(training.gradient_accumulation_steps)]


def _seconds(config: RunConfig) -> float:
    """Of audio in a step's examples."""
    training = config.training
    count = training.batch_size * training.gradient_accumulation_steps
    return count * training.segment_length / config.audio.sample_rate


def _training(config: RunConfig, device: torch.device, read: Callable[[], list[Tensor]]) -> Work:
    state = prepare(config, device)
    return Work(
        read=read,
        step=lambda examples: train_step(state, examples, config),
        audio=_seconds(config),
        dtype=config.training.amp_dtype,
        parts=lambda clock: Parts(state.model, state.optimizer, clock),
        predict=partial(predict_training, config),
        receipt=make_receipt(state, config, device, None),
    )


def predict_training(config: RunConfig, capability: Capability) -> Predicted:
    """What the planner says of a training step."""
    peak = training_peak_of(config, capability, None)
    return Predicted(peak, peak.flops * config.training.gradient_accumulation_steps / 1e12)


def _separation(config: RunConfig, device: torch.device) -> Work:
    training = config.training
    precise = training.amp_dtype == "float32"
    dtype = choose_dtype("fp32" if precise else "auto", device).amp_dtype
    configure(
        device,
        tf32=training.tf32,
        cudnn_benchmark=training.cudnn_benchmark,
        flash_attention=training.flash_attention,
    )
    torch.manual_seed(training.seed)
    model = build(config).to(device).eval()
    settings = SeparationSettings.from_config(config, amp_dtype=dtype)
    song = 0.1 * torch.randn(
        config.audio.channels, 4 * settings.segment, generator=torch.Generator().manual_seed(0)
    )
    segments: list[int] = []  # of each forward pass of a step
    model.register_forward_pre_hook(lambda _, inputs: segments.append(inputs[0].shape[0]))

    def step(_: object) -> None:
        segments.clear()
        separate_array(model, song, settings)

    def predict(capability: Capability) -> Predicted:
        peak = separation_peak(
            config,
            segment=settings.segment,
            batch_size=settings.batch_size,
            amp_dtype=dtype,
            capability=capability,
        )
        return Predicted(peak, peak.flops / settings.batch_size * sum(segments) / 1e12)

    return Work(
        read=lambda: None,
        step=step,
        audio=song.shape[-1] / config.audio.sample_rate,
        dtype=dtype,
        parts=None,
        predict=predict,
        receipt={
            "amp_dtype": dtype,
            "segment_seconds": settings.segment / config.audio.sample_rate,
            "overlap": settings.overlap,
            "batch_size": settings.batch_size,
            "tf32": torch.backends.cuda.matmul.allow_tf32 if device.type == "cuda" else None,
        },
    )


def _loading(config: RunConfig, read: Callable[[], list[Tensor]]) -> Work:
    training = config.training
    return Work(
        read=lambda: None,
        step=lambda _: read(),
        audio=_seconds(config),
        dtype="float32",
        parts=None,
        predict=None,
        receipt={
            "workers": training.num_workers,
            "prefetch": batches_ahead(training, config.audio),
        },
    )
