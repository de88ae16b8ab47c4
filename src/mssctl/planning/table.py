"""``mssctl plan`` without a preset: how to train each one on a card; all of them side by side."""

from collections.abc import Callable, Sequence
from functools import partial

from mssctl import presets
from mssctl.hardware.machine import GIB
from mssctl.models.registry import architecture
from mssctl.models.run_config import RunConfig
from mssctl.planning import closed_form, explain, fit
from mssctl.planning.command import train_command, write
from mssctl.planning.one import planned
from mssctl.planning.parallel import side_by_side
from mssctl.planning.predict.fake_step import Peak
from mssctl.planning.request import Request
from mssctl.planning.target import Target
from mssctl.results.plan import ComparedPreset, PlanComparison, PlannedRun, PlanTable


def plan_table(asked: Request) -> PlanTable:
    """How to train each bundled preset on a card, and which one to use.

    Ranked by the closed form; the pick, and the next larger batch that must not fit, are confirmed
    by the real step on fake tensors.

    Raises:
        MssctlError: no card known; nothing to write that fits.
    """
    where, budget = asked.where, asked.where.budget()
    known, left_out = _in_table(asked, closed_form.knows)
    fitted = {name: _lightest(config, where) for name, config in known.items()}
    order = sorted(known, key=lambda name: -closed_form.parameter_count(known[name]))
    runs = {name: _estimated(name, fitted[name] or known[name], where) for name in order}
    pick, found, config, command = None, None, None, None
    for name in order:
        best = fitted[name]
        if best is None or (found := _largest(asked, best)).peak is None:
            continue
        pick, batch = name, min(found.batch, best.training.batch_size)
        config = fit.with_batch(known[name], batch, best.training.gradient_checkpointing)
        runs[name] = planned(name, config, asked, batch, asked.peak(config, batch))
        command = train_command(name, known[name], config, asked.load(name)[1])
        break
    return PlanTable(
        gpu=where.name,
        vram_gib=budget.vram,
        runs=[runs[name] for name in order],
        pick=pick,
        reason="the largest model that fits" if pick else "no preset fits, not even at batch 1",
        next_gib=found.beyond.device / GIB if pick and found and found.beyond else None,
        command=command,
        written=write(asked.options.write, config) if asked.options.write else None,
        left_out=left_out,
    )


def compare(asked: Request) -> PlanComparison:
    """All bundled presets side by side, as they are, each predicted by a fake step."""
    known, left_out = _in_table(asked, lambda config: architecture(config.model).quick)
    rows = [
        _compared(name, config, asked.peak(config, config.training.batch_size), asked.where)
        for name, config in known.items()
    ]
    return PlanComparison(asked.where.name, rows, left_out)


def _in_table(
    asked: Request, fits_in: Callable[[RunConfig], bool]
) -> tuple[dict[str, RunConfig], list[str]]:
    """The presets that a table can hold, changed as asked, and the names of the others.

    Those without a key that is changed are others, unless no preset has it.
    """
    candidates = [name for name in presets.names() if fits_in(presets.load(name))]
    here = [name for name in candidates if _has_keys(presets.load(name), asked.overrides)]
    known = {name: asked.load(name)[0] for name in here or candidates}
    for config in known.values():
        asked.check(config)
    return known, [name for name in presets.names() if name not in known]


def _has_keys(config: RunConfig, overrides: Sequence[str]) -> bool:
    keys = [item.partition("=")[0].removeprefix("model.") for item in overrides]
    return all("." in key or hasattr(config.model, key) for key in keys)


def _largest(asked: Request, config: RunConfig) -> fit.LargestBatch:
    """The largest batch that fits, from the one that the closed form says."""
    guess = config.training.batch_size
    with side_by_side(partial(asked.peak, config), warm_up=guess + 1) as peaks_of:
        return fit.largest_batch(peaks_of, asked.where.budget(), guess)


def _lightest(config: RunConfig, where: Target) -> RunConfig | None:
    """The preset's batch with the least recomputation that fits, or the largest with the most."""
    batch = config.training.batch_size
    ways = [(batch, level) for level in fit.LEVELS]
    ways += [(fewer, "path") for fewer in range(batch - 1, 0, -1)]
    for size, level in ways:
        candidate = fit.with_batch(config, size, level)
        if closed_form.estimate(candidate, where.capability).allocated <= where.budget().allocated:
            return candidate
    return None


def _estimated(name: str, config: RunConfig, where: Target) -> PlannedRun:
    """A row of the table by the closed form."""
    found = closed_form.estimate(config, where.capability)
    budget, training = where.budget(), config.training
    fits = found.allocated <= budget.allocated
    return PlannedRun(
        preset=name,
        mode="train",
        batch_size=training.batch_size if fits else 0,
        accumulation=training.gradient_accumulation_steps,
        checkpointing=training.gradient_checkpointing,
        segment_seconds=training.segment_length / config.audio.sample_rate,
        dtype=training.amp_dtype,
        parameters=closed_form.parameter_count(config),
        peak_gib=found.device / GIB,
        headroom_gib=budget.vram - found.device / GIB,
        fits=fits,
        risk="estimate" if fits else "does not fit",
        confirmed=False,
    )


def _compared(name: str, config: RunConfig, peak: Peak, where: Target) -> ComparedPreset:
    training, model, card = config.training, config.model, where.card
    micro = training.gradient_accumulation_steps
    seconds = card.seconds(peak) * micro if card else None  # the peak is of one micro-batch
    length = training.segment_length / config.audio.sample_rate
    keys = ("n_layers", "emb_dim", "n_heads", "ffn_hidden_dim", "dropout")
    settings = {key: str(getattr(model, key)) for key in keys if hasattr(model, key)}
    settings |= {
        "n_fft": str(config.stft.n_fft),
        "hop_length": str(config.stft.hop_length),
        "segment": f"{length:g} s",
        "batch": f"{training.batch_size} × {micro}",
        "checkpointing": training.gradient_checkpointing,
    }
    return ComparedPreset(
        preset=name,
        settings=settings,
        parameters=closed_form.parameter_count(config),
        tokens=closed_form.tokens(config) if closed_form.knows(config) else None,
        components=explain.components(config, peak),
        peak_gib=peak.device / GIB,
        tflop=peak.flops / 1e12 * micro,
        step_seconds=seconds,
        speed=training.batch_size * micro * length / seconds if seconds else None,
    )
