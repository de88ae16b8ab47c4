"""The folder of a run: where it goes, and what shows that one has lost its checkpoints."""

from datetime import datetime
from pathlib import Path

from mssctl.config.schema import TrainingConfig
from mssctl.errors import ExitCode, MssctlError
from mssctl.files import write_whole
from mssctl.staging import is_leftover
from mssctl.training.environment import SAVED, readable_sessions
from mssctl.training.init import INIT
from mssctl.training.log import last_step
from mssctl.training.sources import DATA, SONGS

CONFIG = "config.yaml"


def new_run_folder(preset: str, out: str | Path | None) -> Path:
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
    if run.is_dir() and not all(_left_by_a_start(path.name) for path in run.iterdir()):
        raise MssctlError(
            f"{run}: is not empty",
            hint=f"`mssctl resume {run}` continues it; or name another folder with --out",
            exit_code=ExitCode.USAGE,
        )
    return run


def _left_by_a_start(name: str) -> bool:
    """Files that a killed start leaves, of this version or an earlier one."""
    known = {DATA, SONGS, INIT, ".data.json.tmp", ".config.yaml.tmp"}
    return name in known or is_leftover(name)


def make(run: Path, files: dict[str, str]) -> None:
    """Make the folder of a new run, with its first files, ``config.yaml`` last.

    Raises:
        MssctlError: it cannot be written (exit 3); then `train` takes the folder again.
    """
    try:
        run.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MssctlError(
            f"{run}: cannot be made: {error.strerror}", exit_code=ExitCode.ENVIRONMENT
        ) from None
    for name, text in files.items():
        _write(run / name, text)


def _write(path: Path, text: str) -> None:
    try:
        write_whole(path, text)
    except OSError as error:
        # Nothing yet that `resume` could use: leave a folder that `train` takes again.
        for name in (DATA, SONGS, INIT, CONFIG):
            path.with_name(name).unlink(missing_ok=True)
        raise MssctlError(
            f"{path}: cannot be written: {error.strerror}", exit_code=ExitCode.ENVIRONMENT
        ) from None


def refuse_lost_checkpoints(run: Path, config: TrainingConfig) -> None:
    """Refuse to start over in a run that has had checkpoints.

    A run that was killed before its first checkpoint may start over: its first steps are the same
    again.

    Raises:
        MssctlError: there is none, and the run shows that there were some (exit 3).
    """
    folder = run / "checkpoints"
    if any(folder.glob("step-*")) or any(folder.glob(".step-*.old.tmp")):
        return
    step = _saved_step(run, config)
    if step is not None:
        which = f" of step {step}" if step else ""
        raise MssctlError(
            f"{folder}: no checkpoint, although the run had one{which}",
            hint="bring the folder back from a copy, or train a new run with `mssctl train`; "
            f"nothing was changed in {run}",
            exit_code=ExitCode.ENVIRONMENT,
        )


def _saved_step(run: Path, config: TrainingConfig) -> int | None:
    """A step of which a checkpoint was written, 0 if it is not known which; None for no sign."""
    sessions = readable_sessions(run)
    steps = [session.get(key) for session in sessions for key in ("from_step", SAVED)]
    known = [step for step in steps if isinstance(step, int) and step > 0]
    if known:
        return max(known)
    if sessions and all(SAVED in session for session in sessions):
        return None
    # Of an earlier version, or without its record: what a run leaves behind a checkpoint.
    every = config.save_every_steps or config.steps_per_epoch
    first = min(every, config.steps_per_epoch)
    if (run / "best.safetensors").exists() or last_step(run / "metrics.jsonl") > first:
        return 0
    return None
