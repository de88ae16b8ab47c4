"""``mssctl plan``: what a run needs, what fits a card, and how the presets compare."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from mssctl import presets
from mssctl.files import check_new
from mssctl.hardware.device import (
    DTYPES,
    auto_dtype,
    check_separation_dtype,
    check_training_dtype,
)
from mssctl.hardware.machine import GIB
from mssctl.models.run_config import RunConfig
from mssctl.planning import explain
from mssctl.planning.cache import remembered, training_peak_of
from mssctl.planning.cards import Card
from mssctl.planning.closed_form import estimate, knows, parameter_count, tokens
from mssctl.planning.command import load_preset, separate_command, train_command
from mssctl.planning.command import write as write_preset
from mssctl.planning.fit import (
    LEVELS,
    Budget,
    LargestBatch,
    largest_batch,
    with_batch,
    with_training,
)
from mssctl.planning.parallel import side_by_side
from mssctl.planning.predict.fake_step import Peak
from mssctl.planning.predict.shims import KERNELS
from mssctl.planning.predictions import separation_peak
from mssctl.planning.target import Target, target
from mssctl.results.plan import (
    ComparedPreset,
    LargeTensor,
    PlanComparison,
    PlannedRun,
    PlanResult,
    PlanTable,
)
from mssctl.separation.stream import SeparationSettings

_LONG = 100_000  # operations: a step that takes ten seconds or more on fake tensors


def plan(
    preset: str,
    *,
    vram: float | None = None,
    gpu: str | None = None,
    segment: float | None = None,
    overrides: Sequence[str] = (),
    attention: str | None = None,
    mode: str = "train",
    dtype: str | None = None,
    write: str | Path | None = None,
) -> PlanResult:
    """Predict what one preset needs, and the largest batch that fits.

    Args:
        preset: bundled name or path of a YAML file.
        vram: free memory of the card, GiB; by default what NVML reports.
        gpu: name of a card instead, see `mssctl.planning.cards`.
        segment: seconds of audio per example, in place of the preset's.
        overrides: ``section.key=value``.
        attention: pins a kernel: flash, cudnn, efficient or math; None: what `train` would use.
        mode: ``train`` or ``separate``.
        dtype: bf16, fp16 or fp32, of separation; None: what `separate` would take. A training
            step's is ``training.amp_dtype``.
        write: file for a preset like this one that fits.

    Raises:
        MssctlError: unknown preset, key or card; a dtype that the card lacks; nothing to write
            that fits.
    """
    if attention is not None and attention not in KERNELS:
        raise ValueError(f"attention {attention!r}: one of {', '.join(KERNELS)}")
    if write:
        check_new(Path(write).expanduser())
    config, overrides = load_preset(preset, overrides, segment, mode)
    where = target(vram, gpu)
    inside = dtype or _dtype_asked(config, overrides) or auto_dtype(where.capability)
    question = _Question(mode, where.capability, attention, DTYPES[inside])
    question.check(config)
    batch = question.batch(config)
    peak, found = _search(question, config, batch, where)
    run = _planned(preset, config, question, batch, peak, where)
    fitted = question.fitted(config, found.batch) if found and found.batch else None
    best = fitted if run.fits is False else config
    if mode == "separate":
        asked = inside if inside != auto_dtype(where.capability) else None
        command = separate_command(preset, config, best, asked)
    else:
        command = train_command(preset, config, best, overrides)
    return PlanResult(
        run=run,
        gpu=where.name,
        vram_gib=where.vram,
        allocated_gib=peak.allocated / GIB,
        reserved_gib=peak.reserved / GIB,
        peak_at=f"{peak.operation} in {peak.where or 'the model'}",
        attention=list(peak.kernels),
        components=explain.components(config, peak),
        modules=explain.modules(peak),
        tensors=_tensors(peak),
        notes=explain.notes(config, attention, where.capability),
        remedies=(
            explain.remedies(config, attention, where.capability, peak) if mode == "train" else []
        ),
        largest_batch=found.batch if found else None,
        next_gib=found.beyond.device / GIB if found and found.beyond else None,
        command=command,
        written=write_preset(write, best) if write else None,
    )


def plan_table(
    *,
    vram: float | None = None,
    gpu: str | None = None,
    segment: float | None = None,
    overrides: Sequence[str] = (),
    write: str | Path | None = None,
) -> PlanTable:
    """How to train each bundled preset on a card, and which one to take.

    Ranked by the closed form; the pick, and the next larger batch that must not fit, are confirmed
    by the real step on fake tensors.

    Raises:
        MssctlError: no card known; nothing to write that fits.
    """
    if write:
        check_new(Path(write).expanduser())
    where = target(vram, gpu)
    budget = where.budget()
    question = _Question("train", where.capability)
    known, left_out = _in_table(overrides, segment)
    for each in known.values():
        question.check(each)
    sizes = {name: parameter_count(config) for name, config in known.items()}
    fitted = {name: _lightest(config, where) for name, config in known.items()}
    order = sorted(known, key=lambda name: -sizes[name])
    runs = {name: _estimated(name, fitted[name] or known[name], where) for name in order}
    pick, found, config = None, None, None
    for name in order:
        best = fitted[name]
        if best is None:
            continue
        guess = best.training.batch_size
        with side_by_side(partial(question.peak, best), warm_up=guess + 1) as peaks_of:
            found = largest_batch(peaks_of, budget, guess)
        if found.batch == 0 or found.peak is None:
            continue
        pick = name
        batch = min(found.batch, best.training.batch_size)
        config = with_batch(known[name], batch, best.training.gradient_checkpointing)
        peak = question.peak(config, batch)
        runs[name] = _planned(name, config, question, batch, peak, where)
        break
    command = None
    if pick:
        command = train_command(pick, known[pick], config, load_preset(pick, overrides, segment)[1])
    return PlanTable(
        gpu=where.name,
        vram_gib=budget.vram,
        runs=[runs[name] for name in order],
        pick=pick,
        reason="the largest model that fits" if pick else "no preset fits, not even at batch 1",
        next_gib=found.beyond.device / GIB if found and found.beyond else None,
        command=command,
        written=write_preset(write, config) if write else None,
        left_out=left_out,
    )


def compare(
    *,
    gpu: str | None = None,
    vram: float | None = None,
    segment: float | None = None,
    overrides: Sequence[str] = (),
) -> PlanComparison:
    """All bundled presets side by side, as they are, each predicted by a fake step."""
    where = target(vram, gpu)
    question = _Question("train", where.capability)
    rows = []
    known, left_out = _in_table(overrides, segment)
    for name, config in known.items():
        question.check(config)
        peak = question.peak(config, config.training.batch_size)
        rows.append(_compared(name, config, peak, where.card))
    return PlanComparison(where.name, rows, left_out)


def _in_table(
    overrides: Sequence[str], segment: float | None
) -> tuple[dict[str, RunConfig], list[str]]:
    """The presets that a table can hold, changed as asked, and the names of the others.

    A step of BSMamba2 is a hundred thousand small operations: half a minute on fake tensors, and
    the overrides of a table are a TF-Locoformer's.
    """
    here = [name for name in presets.names() if knows(presets.load(name))]
    others = [name for name in presets.names() if name not in here]
    return {name: load_preset(name, overrides, segment)[0] for name in here}, others


@dataclass(frozen=True)
class _Question:
    """What to predict of a configuration."""

    mode: str
    capability: tuple[int, int]
    attention: str | None = None
    dtype: str = ""  # of separation; a training step's is in its configuration

    def batch(self, config: RunConfig) -> int:
        """Examples or segments at a time."""
        separation = config.separation.batch_size
        return config.training.batch_size if self.mode == "train" else separation

    def peak(self, config: RunConfig, batch: int) -> Peak:
        """The predicted peak at a batch, from the cache where it is known."""
        if self.mode == "train":
            config = with_training(config, batch_size=batch)
            return training_peak_of(config, self.capability, self.attention)
        asked = {
            "mode": self.mode,
            "capability": self.capability,
            "attention": self.attention,
            "dtype": self.dtype,
        }
        settings = SeparationSettings.from_config(config)
        return remembered(
            config,
            {**asked, "segment": settings.segment, "batch": batch},
            lambda: separation_peak(
                config,
                segment=settings.segment,
                batch_size=batch,
                amp_dtype=self.dtype,
                capability=self.capability,
                attention=self.attention,
            ),
        )

    def check(self, config: RunConfig) -> None:
        """Refuse what the card cannot compute in.

        Raises:
            MssctlError: (exit 3).
        """
        if self.mode == "train":
            check_training_dtype(config.training.amp_dtype, self.capability)
        else:
            check_separation_dtype(self.dtype, self.capability)

    def fitted(self, config: RunConfig, batch: int) -> RunConfig:
        """The same with as many at a time; a training step keeps its examples."""
        if self.mode == "train":
            return with_batch(config, batch, config.training.gradient_checkpointing)
        return presets.override(config, [f"separation.batch_size={batch}"])


def _dtype_asked(config: RunConfig, overrides: Sequence[str]) -> str | None:
    """What ``--set training.amp_dtype`` says of separation, by the name of its option."""
    if not any(item.startswith("training.amp_dtype=") for item in overrides):
        return None
    return next(name for name, full in DTYPES.items() if full == config.training.amp_dtype)


def _search(
    question: _Question, config: RunConfig, batch: int, where: Target
) -> tuple[Peak, LargestBatch | None]:
    """The peak at ``batch``; and the largest batch that fits, where a card is known."""
    if where.vram is None:
        return question.peak(config, batch), None
    budget = where.budget()
    parameter_count(config)  # imports what both processes will need
    with side_by_side(partial(question.peak, config), warm_up=batch) as peaks_of:
        [peak] = peaks_of([batch])
        guess = _guess(batch, peak, budget)
        if peak.operations > _LONG:
            return peak, LargestBatch(guess, None, None)
        return peak, largest_batch(peaks_of, budget, guess)


def _guess(batch: int, peak: Peak, budget: Budget) -> int:
    """Where to start the search: what does not belong to the model grows with the batch."""
    fixed = explain.fixed(peak)
    each = (peak.allocated - fixed) / batch
    return max(0, int((budget.allocated - fixed) / each))


def _lightest(config: RunConfig, where: Target) -> RunConfig | None:
    """The preset's batch with the least recomputation that fits, or the largest with the most."""
    budget = where.budget()

    def fits(candidate: RunConfig) -> bool:
        return estimate(candidate, where.capability).allocated <= budget.allocated

    batch = config.training.batch_size
    for level in LEVELS:
        candidate = with_batch(config, batch, level)
        if fits(candidate):
            return candidate
    for fewer in range(batch - 1, 0, -1):
        candidate = with_batch(config, fewer, "path")
        if fits(candidate):
            return candidate
    return None


def _planned(
    name: str, config: RunConfig, question: _Question, batch: int, peak: Peak, where: Target
) -> PlannedRun:
    budget = Budget(where.vram) if where.vram is not None else None
    training = config.training
    separating = question.mode == "separate"
    settings = SeparationSettings.from_config(config)
    samples = settings.segment if separating else training.segment_length
    return PlannedRun(
        preset=name,
        mode=question.mode,
        batch_size=batch,
        accumulation=1 if separating else training.gradient_accumulation_steps,
        checkpointing="none" if separating else training.gradient_checkpointing,
        segment_seconds=samples / config.audio.sample_rate,
        dtype=question.dtype if separating else training.amp_dtype,
        parameters=_count(config),
        peak_gib=peak.device / GIB,
        headroom_gib=where.vram - peak.device / GIB if where.vram is not None else None,
        fits=peak.allocated <= budget.allocated if budget else None,
        risk=budget.risk(peak) if budget else "no card named",
        confirmed=True,
    )


def _estimated(name: str, config: RunConfig, where: Target) -> PlannedRun:
    """A row of the table by the closed form."""
    found = estimate(config, where.capability)
    budget, training = where.budget(), config.training
    need, fits = found.device, found.allocated <= budget.allocated
    return PlannedRun(
        preset=name,
        mode="train",
        batch_size=training.batch_size if fits else 0,
        accumulation=training.gradient_accumulation_steps,
        checkpointing=training.gradient_checkpointing,
        segment_seconds=training.segment_length / config.audio.sample_rate,
        dtype=training.amp_dtype,
        parameters=_count(config),
        peak_gib=need / GIB,
        headroom_gib=budget.vram - need / GIB,
        fits=fits,
        risk="estimate" if fits else "does not fit",
        confirmed=False,
    )


def _compared(name: str, config: RunConfig, peak: Peak, card: Card | None) -> ComparedPreset:
    training, model = config.training, config.model
    micro = training.gradient_accumulation_steps
    seconds = card.seconds(peak) * micro if card else None  # the peak is of one micro-batch
    audio = training.batch_size * micro * training.segment_length / config.audio.sample_rate
    keys = ("n_layers", "emb_dim", "n_heads", "ffn_hidden_dim", "dropout")
    settings = {key: str(getattr(model, key)) for key in keys if hasattr(model, key)}
    settings |= {
        "n_fft": str(config.stft.n_fft),
        "hop_length": str(config.stft.hop_length),
        "segment": f"{training.segment_length / config.audio.sample_rate:g} s",
        "batch": f"{training.batch_size} × {micro}",
        "checkpointing": training.gradient_checkpointing,
    }
    return ComparedPreset(
        preset=name,
        settings=settings,
        parameters=_count(config),
        tokens=tokens(config),
        components=explain.components(config, peak),
        peak_gib=peak.device / GIB,
        tflop=peak.flops / 1e12 * micro,
        step_seconds=seconds,
        speed=audio / seconds if seconds else None,
    )


def _count(config: RunConfig) -> int:
    return parameter_count(config)


def _tensors(peak: Peak) -> list[LargeTensor]:
    return [
        LargeTensor(item.size / GIB, list(item.shape), item.dtype, item.operation, item.where)
        for item in peak.largest[:5]
    ]
