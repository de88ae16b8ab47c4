"""``mssctl train`` and ``mssctl resume``: from arguments to a run folder and a result."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import torch

from mssctl import presets
from mssctl.data.layouts import SongSets, find_songs
from mssctl.documents import read_json
from mssctl.errors import ExitCode, MssctlError
from mssctl.events import Notice, Reporter, silent
from mssctl.files import is_leftover, sha256, write_whole
from mssctl.hardware.device import choose_device, let_segments_grow
from mssctl.models.run_config import RunConfig
from mssctl.planning.fit import GIB
from mssctl.planning.memory import check_memory, explained
from mssctl.planning.predict.fake_step import Peak
from mssctl.results.train import DryRunResult, TrainResult
from mssctl.training import song_list
from mssctl.training.changes import changes
from mssctl.training.distributed import World, joined, own_device, share_of
from mssctl.training.lock import locked
from mssctl.training.loop import Fit, fit, try_step
from mssctl.training.record import refuse_lost_checkpoints, writing


def train(
    preset: str,
    *,
    data: str | Path | Sequence[str | Path],
    layout: str = "auto",
    valid: str | Path | None = None,
    out: str | Path | None = None,
    overrides: Sequence[str] = (),
    device: str = "auto",
    force: bool = False,
    dry_run: bool = False,
    report: Reporter = silent,
) -> TrainResult | DryRunResult:
    """Train a model from a preset.

    Args:
        preset: bundled name or path of a YAML file.
        data: one or several folders of songs, see `mssctl.data.layouts.find_songs`; if there is
            none, the environment's ``MUSDB_PATH``.
        layout: how they are laid out.
        valid: folder of held-out songs, where ``data`` has no ``valid`` folder.
        out: run folder; ``runs/PRESET-DATE-TIME`` if None.
        overrides: ``section.key=value``.
        device: ``auto``, ``cpu``, ``cuda`` ...
        force: start even if it will not fit the GPU's memory.
        dry_run: do everything up to one step on real data, and leave nothing behind.
        report: is told what happens.

    Returns:
        How the run ended; ``finished`` is False when it was interrupted. With ``dry_run``, what
        one step took.

    Raises:
        MssctlError: see `mssctl.training.loop.fit`; also a run folder that is not empty, or a run
            that does not fit the GPU's memory.
    """
    let_segments_grow()
    config = presets.load(preset, overrides)
    chosen = own_device(choose_device(device).device)
    roots = [data] if isinstance(data, str | Path) else list(data)
    if not roots and (musdb := os.environ.get("MUSDB_PATH", "").strip()):
        roots = [musdb]
    sources = _Sources(
        [_absolute(root) for root in roots], _absolute(valid) if valid else None, layout
    )
    with joined(chosen) as world:
        report = report if world.leads else silent
        run = world.share(_new_run_folder(preset, out) if world.leads else Path())
        songs = sources.songs(config, report)
        own = share_of(config, world)
        expected = check_memory(own, chosen, force=force, report=report)
        with explained(expected, own, chosen):
            if dry_run:
                return _try(own, songs, run, chosen, _gib(expected), report)
            listed = sources.look(songs, report)
            if world.leads:
                _make(run)
                _write(run / "data.json", sources.text())
                _write(run / song_list.NAME, listed.text())
                _write(run / "config.yaml", presets.dump(config))
            return _fit(
                config,
                songs,
                run,
                chosen,
                world,
                resuming=False,
                expected=expected,
                validation=listed.validation,
                report=report,
            )


def resume(
    run: str | Path,
    *,
    data: Sequence[str | Path] = (),
    valid: str | Path | None = None,
    overrides: Sequence[str] = (),
    device: str = "auto",
    force: bool = False,
    report: Reporter = silent,
) -> TrainResult:
    """Continue a run from its newest whole checkpoint, to the same losses on the same CPU.

    Args:
        run: the run folder.
        data: where its data folders are now, all of them in their order; kept in ``data.json``.
        valid: where its folder of held-out songs is now, if it has one of its own; kept likewise.
        overrides: ``section.key=value`` of `mssctl.training.changes.CHANGEABLE`; kept in
            ``config.yaml``.
        device: to go on with.
        force: go on even if it will not fit the GPU's memory.
        report: is told what happens.

    Raises:
        MssctlError: no run there, a setting that a run cannot change, checkpoints that are gone,
            a song that was trained on among the held-out ones, or see `mssctl.training.loop.fit`.
    """
    let_segments_grow()
    folder = Path(run).expanduser()
    for name in ("config.yaml", "data.json"):
        if not (folder / name).is_file():
            raise MssctlError(
                f"{folder}: not a run folder (it has no {name})",
                hint="`mssctl train` makes one and says where",
            )
    before = presets.load(str(folder / "config.yaml"))
    config = presets.override(before, overrides)
    changed = changes(before, config)
    refuse_lost_checkpoints(folder, config.training)
    chosen = own_device(choose_device(device).device)
    kept = _Sources.stored(folder / "data.json")
    sources = kept.moved([_absolute(root) for root in data], _absolute(valid) if valid else None)
    listed_before = song_list.stored(folder)
    with joined(chosen) as world:
        report = report if world.leads else silent
        songs = sources.songs(config, report)
        listed = sources.look(songs, report)
        if listed_before is None:
            report(Notice("a run of an earlier version: its songs are listed from now on"))
        else:
            listed = song_list.compared(listed_before, listed, report)
        own = share_of(config, world)
        expected = check_memory(own, chosen, force=force, report=report)
        files = {song_list.NAME: listed.text()} if listed != listed_before else {}
        if sources != kept:
            files["data.json"] = sources.text()
        if changed:
            files["config.yaml"] = presets.dump(config)
        with explained(expected, own, chosen):
            return _fit(
                config,
                songs,
                folder,
                chosen,
                world,
                resuming=True,
                expected=expected,
                changed=changed,
                files=files,
                validation=listed.validation,
                report=report,
            )


@dataclass(frozen=True)
class _Sources:
    """Where a run's songs come from: what ``data.json`` holds, paths absolute."""

    roots: list[str]
    valid: str | None
    layout: str

    @classmethod
    def stored(cls, path: Path) -> _Sources:
        """Read ``data.json``.

        Raises:
            MssctlError: it is damaged.
        """
        try:
            found = cls(**read_json(path))
        except TypeError as error:
            raise MssctlError(f"{path}: damaged: {error}") from None
        roots: Any = found.roots
        texts = roots if isinstance(roots, list) and roots else [None]
        texts = [*texts, found.layout, found.valid or ""]
        if not all(isinstance(text, str) and "\0" not in text for text in texts):
            raise MssctlError(f"{path}: damaged: it names no data folders")
        return found

    def text(self) -> str:
        """As JSON."""
        return json.dumps(asdict(self), indent=2)

    def moved(self, roots: list[str], valid: str | None) -> _Sources:
        """The same sources in other places.

        Raises:
            MssctlError: other ones than a move explains (exit 2).
        """
        if roots and len(roots) != len(self.roots):
            raise MssctlError(
                f"the run has {len(self.roots)} data folders, --data names {len(roots)}",
                hint=f"name all of them in this order: {', '.join(self.roots)}",
                exit_code=ExitCode.USAGE,
            )
        if valid and not self.valid:
            raise MssctlError(
                "--valid: the held-out songs of this run are in its data folders",
                hint="leave it out",
                exit_code=ExitCode.USAGE,
            )
        return _Sources(roots or self.roots, valid or self.valid, self.layout)

    def look(self, songs: SongSets, report: Reporter) -> song_list.SongList:
        """The list of the songs for later resumes."""
        valid = Path(self.valid) if self.valid else None
        return song_list.look(songs, [Path(root) for root in self.roots], valid, report)

    def songs(self, config: RunConfig, report: Reporter) -> SongSets:
        """Find them, and say how many there are."""
        weights = config.data.weights
        if weights and len(weights) != len(self.roots):
            raise MssctlError(
                f"data.weights has {len(weights)} numbers, there are {len(self.roots)} data roots",
                hint="one weight per --data, in their order",
                exit_code=ExitCode.USAGE,
            )
        songs = find_songs(
            [Path(root) for root in self.roots],
            config.audio,
            layout=self.layout,
            valid=Path(self.valid) if self.valid else None,
            report=report,
        )
        report(Notice(f"{len(songs.train)} training songs, {len(songs.valid)} held out"))
        return songs


def _absolute(path: str | Path) -> str:
    return str(Path(path).expanduser().absolute())


def _fit(
    config: RunConfig,
    songs: SongSets,
    run: Path,
    device: torch.device,
    world: World,
    *,
    resuming: bool,
    expected: Peak | None,
    report: Reporter,
    validation: str,
    changed: dict[str, str] | None = None,
    files: Mapping[str, str] | None = None,
) -> TrainResult:
    """Train; ``files`` of the run folder are written first, by the process that leads."""
    started = time.perf_counter()
    with locked(run, report) if world.leads else nullcontext():
        found = sha256(run / "config.yaml") if world.leads else None
        if world.leads:
            for name, text in (files or {}).items():
                with writing(run / name):
                    write_whole(run / name, text)
        if changed:
            words = ", ".join(f"{key} {change}" for key, change in changed.items())
            report(Notice(f"changed for the rest of the run: {words}"))
        world.share(None)  # the others read what the first has written
        done: Fit = fit(
            share_of(config, world),
            songs,
            run,
            device,
            resuming=resuming,
            report=report,
            predicted_gib=_gib(expected),
            changes=changed,
            config_sha256=found,
            validation=validation,
            world=world,
        )
    best = run / "best.safetensors"
    per_epoch = config.training.steps_per_epoch
    return TrainResult(
        run=str(run),
        step=done.state.step,
        epoch=-(-done.state.step // per_epoch),
        finished=done.finished,
        best_score=done.state.best_score,
        best_metric=config.training.validate_metric,
        checkpoint=str(done.checkpoint),
        model=str(best) if best.is_file() else None,
        seconds=time.perf_counter() - started,
    )


def _try(
    config: RunConfig,
    songs: SongSets,
    run: Path,
    device: torch.device,
    predicted_gib: float | None,
    report: Reporter,
) -> DryRunResult:
    """One step on real data, without a run folder."""
    first = try_step(config, songs, device, predicted_gib, report)
    training = config.training
    return DryRunResult(
        run=str(run),
        training_songs=len(songs.train),
        validation_songs=len(songs.valid),
        steps=training.num_epochs * training.steps_per_epoch,
        effective_batch=training.batch_size * training.gradient_accumulation_steps,
        loss=first.loss,
        seconds=first.seconds,
        peak_gib=first.peak_gib,
        receipt=first.receipt,
    )


def _gib(peak: Peak | None) -> float | None:
    return peak.device / GIB if peak else None


def _new_run_folder(preset: str, out: str | Path | None) -> Path:
    """Where the run goes; checked, not made yet."""
    stamp = datetime.now().astimezone().strftime("%Y%m%d-%H%M%S")
    run = Path(out).expanduser() if out else Path("runs") / f"{Path(preset).stem}-{stamp}"
    if run.exists() and not run.is_dir():
        raise MssctlError(
            f"{run}: is a file, not a folder",
            hint="name another one with --out",
            exit_code=ExitCode.USAGE,
        )
    # Killed before config.yaml, the last of the files of a start, it is no run yet.
    if run.is_dir() and not all(_of_a_start(path.name) for path in run.iterdir()):
        raise MssctlError(
            f"{run}: is not empty",
            hint=f"`mssctl resume {run}` continues it; or name another folder with --out",
            exit_code=ExitCode.USAGE,
        )
    return run


def _of_a_start(name: str) -> bool:
    """Files that a killed start leaves, of this version or an earlier one."""
    known = {"data.json", song_list.NAME, ".data.json.tmp", ".config.yaml.tmp"}
    return name in known or is_leftover(name)


def _make(run: Path) -> None:
    try:
        run.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MssctlError(
            f"{run}: cannot be made: {error.strerror}", exit_code=ExitCode.ENVIRONMENT
        ) from None


def _write(path: Path, text: str) -> None:
    try:
        write_whole(path, text)
    except OSError as error:
        # Nothing yet that `resume` could use: leave a folder that `train` takes again.
        for name in ("data.json", song_list.NAME, "config.yaml"):
            path.with_name(name).unlink(missing_ok=True)
        raise MssctlError(
            f"{path}: cannot be written: {error.strerror}", exit_code=ExitCode.ENVIRONMENT
        ) from None
