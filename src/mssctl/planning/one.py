"""``mssctl plan PRESET``: what one preset needs, and the largest batch that fits."""

from functools import partial

from mssctl.hardware.device import DTYPES, auto_dtype
from mssctl.hardware.machine import GIB
from mssctl.models.run_config import RunConfig
from mssctl.planning import closed_form, explain, fit
from mssctl.planning.command import separate_command, train_command, write
from mssctl.planning.parallel import side_by_side
from mssctl.planning.predict.fake_step import Peak
from mssctl.planning.request import Request
from mssctl.results.plan import LargeTensor, PlannedRun, PlanResult
from mssctl.separation.stream import SeparationSettings

_LONG = 100_000  # operations: a step that takes ten seconds or more on fake tensors


def plan_one(preset: str, asked: Request) -> PlanResult:
    """Predict a preset's peak and search for the largest batch.

    Raises:
        MssctlError: an unknown preset or key; a dtype that the card lacks; nothing to write that
            fits.
    """
    config, overrides = asked.load(preset)
    asked.check(config)
    where, attention = asked.where, asked.attention
    batch = asked.batch(config)
    peak, found = _search(asked, config, batch)
    run = planned(preset, config, asked, batch, peak)
    fitted = asked.fitted(config, found.batch) if found and found.batch else None
    best = fitted if run.fits is False else config
    if asked.trains:
        command = train_command(preset, config, best, overrides)
    else:
        dtype = asked.dtype(config)
        unusual = dtype if dtype != auto_dtype(where.capability) else None
        command = separate_command(preset, config, best, unusual)
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
        tensors=[
            LargeTensor(item.size / GIB, list(item.shape), item.dtype, item.operation, item.where)
            for item in peak.largest[:5]
        ],
        notes=explain.notes(config, attention, where.capability),
        remedies=(
            explain.remedies(config, attention, where.capability, peak) if asked.trains else []
        ),
        largest_batch=found.batch if found else None,
        next_gib=found.beyond.device / GIB if found and found.beyond else None,
        command=command,
        written=write(asked.options.write, best) if asked.options.write else None,
    )


def planned(name: str, config: RunConfig, asked: Request, batch: int, peak: Peak) -> PlannedRun:
    """A way to run a preset, with its predicted peak."""
    vram, training = asked.where.vram, config.training
    budget = fit.Budget(vram) if vram is not None else None
    samples = training.segment_length
    if not asked.trains:
        samples = SeparationSettings.from_config(config).segment
    return PlannedRun(
        preset=name,
        mode=asked.options.mode,
        batch_size=batch,
        accumulation=training.gradient_accumulation_steps if asked.trains else 1,
        checkpointing=training.gradient_checkpointing if asked.trains else "none",
        segment_seconds=samples / config.audio.sample_rate,
        dtype=training.amp_dtype if asked.trains else DTYPES[asked.dtype(config)],
        parameters=closed_form.parameter_count(config),
        peak_gib=peak.device / GIB,
        headroom_gib=vram - peak.device / GIB if vram is not None else None,
        fits=peak.allocated <= budget.allocated if budget else None,
        risk=budget.risk(peak) if budget else "no card named",
        confirmed=True,
    )


def _search(asked: Request, config: RunConfig, batch: int) -> tuple[Peak, fit.LargestBatch | None]:
    """The peak at ``batch``; and the largest batch that fits, where a card is known."""
    if asked.where.vram is None:
        return asked.peak(config, batch), None
    budget = asked.where.budget()
    closed_form.parameter_count(config)  # imports what both processes will need
    with side_by_side(partial(asked.peak, config), warm_up=batch) as peaks_of:
        [peak] = peaks_of([batch])
        # What does not belong to the model grows with the batch.
        fixed = explain.fixed(peak)
        each = (peak.allocated - fixed) / batch
        guess = max(0, int((budget.allocated - fixed) / each))
        if peak.operations > _LONG:
            return peak, fit.LargestBatch(guess, None, None)
        return peak, fit.largest_batch(peaks_of, budget, guess)
