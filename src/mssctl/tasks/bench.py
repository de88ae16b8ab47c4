"""``mssctl bench``: how fast this machine trains, separates, and reads a data set."""

from __future__ import annotations

import resource
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from mssctl import presets
from mssctl.config.schema import RunConfig
from mssctl.data.layouts import find_songs
from mssctl.data.loader import batches
from mssctl.data.mixing import Mixer
from mssctl.data.synth import synthesize
from mssctl.errors import ExitCode, MssctlError
from mssctl.events import Notice, Progress, Reporter, silent
from mssctl.hardware.device import choose_device, configure
from mssctl.models.registry import build
from mssctl.planning.cache import training_peak_of
from mssctl.planning.cards import card_in
from mssctl.planning.fit import GIB
from mssctl.results import StepBench
from mssctl.separation.separator import SeparationSettings, separate_array
from mssctl.tasks.bench_clock import Clock, Parts, Watch, spread
from mssctl.tasks.bench_place import environment, matmul_rate
from mssctl.tasks.bench_trace import check_writable, profiled
from mssctl.training.loop import prepare
from mssctl.training.receipt import make_receipt
from mssctl.training.step import train_step

Mode = Literal["train", "separate", "loader"]

ON_CPU = "starter"  # a step takes about two seconds on two cores
ON_GPU = "base"
_PARTS = 3  # more steps, for the shares of their parts


def bench(
    preset: str | None = None,
    *,
    mode: Mode = "train",
    steps: int = 50,
    warmup: int = 3,
    device: str = "auto",
    batch: int | None = None,
    overrides: Sequence[str] = (),
    data: Path | str | None = None,
    memory: float | None = None,
    profile: Path | str | None = None,
    report: Reporter = silent,
) -> StepBench:
    """Measure steps of a preset.

    Args:
        preset: bundled name or path of a YAML file; None: ``base`` on a GPU, ``starter`` elsewhere.
        mode: ``train``: the trainer's own step on noise; ``separate``: a song of four segments of
            noise per step; ``loader``: a batch of training examples per step, without a model.
        steps: measured.
        warmup: steps before them that are not.
        device: ``auto``, ``cpu``, ``cuda`` ...
        batch: examples, or segments, at once; None as in the preset.
        overrides: ``section.key=value``.
        data: songs for mode ``loader``; a few are made up without.
        memory: GiB that the process may take of the GPU's.
        profile: file for a trace that browsers open (chrome://tracing, Perfetto), of two more
            steps; the result then has the operators that took longest.
        report: is told what happens.

    Raises:
        MssctlError: no such preset or device, a trace that cannot be written, or out of memory.
    """
    chosen = choose_device(device).device
    if preset is None:
        preset = ON_GPU if chosen.type == "cuda" else ON_CPU
        report(Notice(f"preset {preset}: the default on {chosen.type}"))
    if batch is not None:
        section = "separation" if mode == "separate" else "training"
        overrides = [*overrides, f"{section}.batch_size={batch}"]
    config = presets.load(preset, overrides)
    if data is not None and mode != "loader":
        raise MssctlError("--data is read in mode loader only", exit_code=ExitCode.USAGE)
    if profile is not None:
        check_writable(Path(profile))
    if mode == "loader":
        chosen = torch.device("cpu")  # nothing of it happens on a GPU
    if memory is not None:
        _cap(memory, chosen)
    try:
        with _bench_of(mode, config, chosen, data, report) as work:
            return _measure(work, preset, mode, config, chosen, steps, warmup, profile, report)
    except torch.OutOfMemoryError:
        raise MssctlError(
            f"{preset}, batch {config.training.batch_size}: memory ran out",
            hint=f"`mssctl plan {preset}` says what to change; a smaller --batch needs less",
        ) from None


def _cap(memory: float, device: torch.device) -> None:
    """Let the process take ``memory`` GiB of a GPU."""
    if device.type != "cuda":
        raise MssctlError(
            f"--memory caps a GPU, and this is {device.type}", exit_code=ExitCode.USAGE
        )
    if not memory > 0.0:
        raise MssctlError("--memory is GiB above 0", exit_code=ExitCode.USAGE)
    total = torch.cuda.get_device_properties(device).total_memory
    torch.cuda.set_per_process_memory_fraction(min(1.0, memory * GIB / total), device)


@dataclass
class _Work:
    """One step of what is measured, and what is known of it.

    Attributes:
        step: does it.
        audio: seconds of audio that go through it.
        parts: starts to look at its parts; None where it has none.
        receipt: what is in force.
        learns: whether the planner's step is the same.
    """

    step: Callable[[], object]
    audio: float
    parts: Callable[[Clock], Parts] | None
    receipt: dict[str, Any]
    learns: bool


@contextmanager
def _bench_of(
    mode: Mode, config: RunConfig, device: torch.device, data: Path | str | None, report: Reporter
) -> Iterator[_Work]:
    if mode == "train":
        yield _training(config, device)
    elif mode == "separate":
        yield _separation(config, device)
    else:
        with _loading(config, data, report) as work:
            yield work


def _training(config: RunConfig, device: torch.device) -> _Work:
    training, audio = config.training, config.audio
    state = prepare(config, device)
    receipt = make_receipt(state, config, device, None)
    shape = training.batch_size, len(audio.stems), audio.channels, training.segment_length
    noise = 0.1 * torch.randn(shape, generator=torch.Generator().manual_seed(0))
    noise = noise.pin_memory() if device.type == "cuda" else noise
    micro = training.gradient_accumulation_steps
    seconds = training.batch_size * micro * training.segment_length / audio.sample_rate
    return _Work(
        step=lambda: train_step(state, [noise] * micro, config),
        audio=seconds,
        parts=lambda clock: Parts(state.model, state.optimizer, clock),
        receipt=receipt,
        learns=True,
    )


def _separation(config: RunConfig, device: torch.device) -> _Work:
    training = config.training
    dtype = training.amp_dtype if device.type == "cuda" else "float32"
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
    receipt = {
        "amp_dtype": dtype,
        "segment_seconds": settings.segment / config.audio.sample_rate,
        "overlap": settings.overlap,
        "batch_size": settings.batch_size,
        "tf32": torch.backends.cuda.matmul.allow_tf32 if device.type == "cuda" else None,
    }
    return _Work(
        step=lambda: separate_array(model, song, settings),
        audio=song.shape[-1] / config.audio.sample_rate,
        parts=None,
        receipt=receipt,
        learns=False,
    )


@contextmanager
def _loading(config: RunConfig, data: Path | str | None, report: Reporter) -> Iterator[_Work]:
    """Batches of a data set, or of a small one that is made up for it."""
    training = config.training
    with tempfile.TemporaryDirectory(prefix="mssctl-bench-") as made:
        folder = Path(made) if data is None else Path(data)
        if data is None:
            report(Notice("no --data: reading eight made-up songs of 20 s"))
            synthesize(
                folder,
                hours=8 * 20 / 3600,
                song_seconds=20.0,
                sample_rate=config.audio.sample_rate,
                workers=1,
            )
        songs = find_songs([folder], config.audio, report=report)
        stream = batches(Mixer(songs.train, config), training, first=0, end=1_000_000_000)
        micro = training.gradient_accumulation_steps
        with closing(stream):
            yield _Work(
                step=lambda: [next(stream) for _ in range(micro)],
                audio=training.batch_size
                * micro
                * training.segment_length
                / config.audio.sample_rate,
                parts=None,
                receipt={"workers": training.num_workers, "prefetch": training.prefetch_factor},
                learns=False,
            )


def _measure(
    work: _Work,
    preset: str,
    mode: Mode,
    config: RunConfig,
    device: torch.device,
    steps: int,
    warmup: int,
    profile: Path | str | None,
    report: Reporter,
) -> StepBench:
    clock = Clock(device)
    total = warmup + steps
    marks = []
    with Watch(device) as watch:
        for number in range(total):
            report(Progress("bench", number, total, "steps"))
            if number == warmup:
                clock.wait()
                watch.samples.clear()
                if clock.cuda:
                    torch.cuda.reset_peak_memory_stats(device)
            start = clock.now()
            work.step()
            marks.append((start, clock.now()))
        clock.wait()
    report(Progress("bench", total, total, "steps"))
    times = spread([clock.between(*pair) for pair in marks[warmup:]])
    cuda = device.type == "cuda"
    resident = None if cuda else _resident()
    allocated = torch.cuda.max_memory_allocated(device) / GIB if cuda else None
    reserved = torch.cuda.max_memory_reserved(device) / GIB if cuda else None
    flops, predicted, rate, whose = _arithmetic(work, config, device)
    return StepBench(
        preset=preset,
        mode=mode,
        device=str(device),
        steps=steps,
        warmup=warmup,
        seconds=times.median,
        seconds_p10=times.p10,
        seconds_p90=times.p90,
        seconds_least=times.least,
        audio_seconds=work.audio,
        speed=work.audio / times.median,
        shares=_shares(work, clock),
        allocated_gib=allocated,
        reserved_gib=reserved,
        predicted_gib=predicted,
        resident_gib=resident,
        tflop=flops,
        tflop_rate=flops / times.median if flops else None,
        full_rate=rate,
        full_rate_of=whose,
        utilisation=watch.mean("utilisation"),
        power=watch.mean("power"),
        clock=watch.mean("clock"),
        operators=profiled(work.step, device, Path(profile)) if profile is not None else [],
        trace=None if profile is None else str(profile),
        environment=environment(device, work.receipt),
    )


def _shares(work: _Work, clock: Clock) -> dict[str, float]:
    """Where the time goes, in steps of their own: looking costs time."""
    if work.parts is None:
        return {}
    parts = work.parts(clock)
    try:
        for _ in range(_PARTS):
            with parts.step():
                work.step()
        return parts.shares()
    finally:
        parts.remove()


def _arithmetic(
    work: _Work, config: RunConfig, device: torch.device
) -> tuple[float | None, float | None, float | None, str | None]:
    """TFLOP of a step and its peak by the planner; TFLOP/s of the machine, and of what."""
    if not work.learns:
        return None, None, None, None
    cuda, dtype = device.type == "cuda", config.training.amp_dtype
    capability = torch.cuda.get_device_capability(device) if cuda else (9, 0)
    peak = training_peak_of(config, capability, None)
    flops = peak.flops * config.training.gradient_accumulation_steps / 1e12
    if cuda:
        card = card_in(torch.cuda.get_device_name(device))
        if card is None or dtype != "bfloat16":
            return flops, peak.allocated / GIB, None, None
        return flops, peak.allocated / GIB, card.bf16, f"{card.name}'s bf16"
    return flops, None, matmul_rate(device, dtype), f"a {dtype} matrix product here"


def _resident() -> float:
    """Peak of the process's memory so far, GiB."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / GIB
