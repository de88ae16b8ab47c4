"""``mssctl train`` and ``mssctl resume``: from arguments to a run folder and a result."""

import json
import os
import time
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

from mssctl import presets
from mssctl.data.stem_map import parse_stem_map
from mssctl.errors import ExitCode, MssctlError
from mssctl.events import Notice, Reporter, silent
from mssctl.files import sha256, write_whole
from mssctl.hardware.device import let_segments_grow
from mssctl.hardware.machine import GIB
from mssctl.models.registry import architecture
from mssctl.models.run_config import RunConfig
from mssctl.options.base import as_overrides, refuse
from mssctl.options.train import Paths, ResumeOptions, TrainOptions
from mssctl.planning.memory import check_memory, explained
from mssctl.planning.predict.fake_step import Peak
from mssctl.results.train import DryRunResult, TrainResult
from mssctl.training import run_folder
from mssctl.training.distributed import joined, own_device, share_of
from mssctl.training.dry_run import dry_run
from mssctl.training.environment import writing
from mssctl.training.init import INIT, Init
from mssctl.training.lock import locked
from mssctl.training.resume_rules import changes as changed_settings
from mssctl.training.run import Run, Start
from mssctl.training.sources import DATA, SONGS, Sources, absolute, compared, stored_songs
from mssctl.training.trainer import Trainer


def train(
    preset: str, options: TrainOptions | None = None, *, report: Reporter = silent, **changes: Any
) -> TrainResult | DryRunResult:
    """Train a model from a preset.

    Args:
        preset: bundled name or path of a YAML file.
        options: on what, where and how; the defaults if None.
        report: receives events.
        changes: fields of `TrainOptions`, instead of those in ``options``.

    Returns:
        How the run ended; ``finished`` is False when it was interrupted. With ``dry_run``, what
        one step took.

    Raises:
        MssctlError: a run folder that is not empty, a run that does not fit the GPU's memory, or
            see `mssctl.training.trainer.Trainer`.
    """
    given = TrainOptions.given(options, changes)
    let_segments_grow()
    config = presets.load(preset, _with_freeze(given))
    if not architecture(config.model).trainable:
        raise MssctlError(
            f"{config.model.name} cannot be trained here, it only separates",
            hint="`mssctl plan` lists presets that can",
            exit_code=ExitCode.USAGE,
        )
    init = _init(given)
    chosen = own_device(given.device)
    table = parse_stem_map(given.stem_map)
    sources = Sources(_roots(given.data), _absolute(given.valid), given.layout, table)
    with joined(chosen) as world:
        report = report if world.leads else silent
        folder = world.share(
            run_folder.new_run_folder(preset, given.out) if world.leads else Path()
        )
        run = Run(folder, sources.songs(config, report), chosen, report, world, init)
        own = share_of(config, world)
        expected = check_memory(own, chosen, force=given.force, report=report, processes=world.size)
        with explained(expected, own, chosen):
            if given.dry_run:
                allocated = expected.allocated / GIB if expected else None
                return dry_run(own, run, _gib(expected), allocated)
            listed = sources.listed(run.songs, report)
            if world.leads:
                files = {
                    DATA: sources.text(),
                    SONGS: listed.text(),
                    **({INIT: init.text()} if init else {}),
                    run_folder.CONFIG: presets.dump(config),
                }
                run_folder.make(folder, files)
            start = Start(predicted_gib=_gib(expected), held_out=listed.validation)
            return _fit(config, run, start)


def resume(
    run: str | Path,
    options: ResumeOptions | None = None,
    *,
    report: Reporter = silent,
    **changes: Any,
) -> TrainResult:
    """Continue a run from its newest intact checkpoint, to the same losses on the same CPU.

    Where its data is now is kept in ``data.json``, changed settings in ``config.yaml``.

    Args:
        run: the run folder.
        options: what is changed; nothing if None.
        report: receives events.
        changes: fields of `ResumeOptions`, instead of those in ``options``.

    Raises:
        MssctlError: no run there, a setting that a run cannot change, checkpoints that are gone,
            a song that was trained on among the held-out ones, or see
            `mssctl.training.trainer.Trainer`.
    """
    given = ResumeOptions.given(options, changes)
    let_segments_grow()
    folder = Path(run).expanduser()
    for name in (run_folder.CONFIG, DATA):
        if not (folder / name).is_file():
            raise MssctlError(
                f"{folder}: not a run folder (it has no {name})",
                hint="`mssctl train` creates one and prints its path",
            )
    before = presets.load(str(folder / run_folder.CONFIG))
    config = presets.override(before, given.overrides)
    changed = changed_settings(before, config)
    run_folder.refuse_lost_checkpoints(folder, config.training)
    chosen = own_device(given.device)
    kept = Sources.stored(folder / DATA)
    sources = kept.moved([absolute(root) for root in given.data], _absolute(given.valid))
    listed_before = stored_songs(folder)
    with joined(chosen) as world:
        report = report if world.leads else silent
        songs = sources.songs(config, report)
        this = Run(folder, songs, chosen, report, world, Init.stored(folder))
        listed = compared(listed_before, sources.listed(this.songs, report), report)
        own = share_of(config, world)
        expected = check_memory(own, chosen, force=given.force, report=report, processes=world.size)
        files = {SONGS: listed.text()} if listed != listed_before else {}
        if sources != kept:
            files[DATA] = sources.text()
        if changed:
            files[run_folder.CONFIG] = presets.dump(config)
        start = Start(True, _gib(expected), changed, held_out=listed.validation)
        with explained(expected, own, chosen):
            return _fit(config, this, start, files)


def _with_freeze(given: TrainOptions) -> list[str]:
    """The changes of the preset, ``freeze`` among them."""
    frozen = json.dumps(list(given.freeze)) if given.freeze else None
    return as_overrides({"training.freeze": ("freeze", frozen)}, given.overrides)


def _init(given: TrainOptions) -> Init | None:
    """The weights to start from.

    Raises:
        MssctlError: no such model (exit 3), or a prefix without one (exit 2).
    """
    if given.init is not None:
        return Init.of(given.init, given.init_prefix)
    refuse(given, "fresh weights", ["init_prefix"], hint="name a model with --init")
    return None


def _roots(data: Paths) -> list[str]:
    """The data folders, or the one that the environment names."""
    roots = [data] if isinstance(data, str | Path) else list(data)
    if not roots and (musdb := os.environ.get("MUSDB_PATH", "").strip()):
        roots = [musdb]
    return [absolute(root) for root in roots]


def _absolute(path: str | Path | None) -> str | None:
    return absolute(path) if path else None


def _fit(
    config: RunConfig, run: Run, start: Start, files: Mapping[str, str] | None = None
) -> TrainResult:
    """Train; ``files`` of the run folder are written first, by the process that leads."""
    started = time.perf_counter()
    leads = run.world.leads
    with locked(run.folder, run.report) if leads else nullcontext():
        if leads:
            start = replace(start, config_sha256=sha256(run.folder / run_folder.CONFIG))
            for name, text in (files or {}).items():
                with writing(run.folder / name):
                    write_whole(run.folder / name, text)
        if start.changes:
            words = ", ".join(f"{key} {change}" for key, change in start.changes.items())
            run.report(Notice(f"changed for the rest of the run: {words}"))
        run.world.share(None)  # the others read what the first has written
        done = Trainer(share_of(config, run.world), run, start).fit()
    best = run.folder / "best.safetensors"
    return TrainResult(
        run=str(run.folder),
        step=done.state.step,
        epoch=-(-done.state.step // config.training.steps_per_epoch),
        finished=done.finished,
        best_score=done.state.best_score,
        best_metric=config.training.validate_metric,
        checkpoint=str(done.checkpoint),
        model=str(best) if best.is_file() else None,
        seconds=time.perf_counter() - started,
    )


def _gib(peak: Peak | None) -> float | None:
    return peak.device / GIB if peak else None
