"""One process per run folder: two would write the same checkpoints and metrics."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import lock_descriptor

from mssctl.errors import ExitCode, MssctlError
from mssctl.events import Notice, Reporter, silent


def is_locked(run: Path) -> bool:
    """Whether a process is training in a run folder, on this machine or where locks are shared.

    Looking takes the lock itself, for an instant.
    """
    try:
        folder = os.open(run, os.O_RDONLY)
    except OSError:
        return False
    try:
        return not lock_descriptor(folder, blocking=False)
    except OSError:  # some network file systems have no locks
        return False
    finally:
        os.close(folder)


@contextmanager
def locked(run: Path, report: Reporter = silent) -> Iterator[None]:
    """Hold a run folder alone. The lock goes with the process, however it ends; no file stays.

    Args:
        run: the run folder.
        report: gets a notice where the file system has no locks.

    Raises:
        MssctlError: another process holds it.
    """
    folder = os.open(run, os.O_RDONLY)
    try:
        try:
            alone = lock_descriptor(folder, blocking=False)
        except OSError as error:  # some network file systems
            message = f"{run}: cannot be locked ({error.strerror}): train it from one process only"
            report(Notice(message, level="warning"))
            alone = True
        if not alone:
            raise MssctlError(
                f"{run}: another process is training this run",
                hint="wait for it, or end it with Ctrl-C",
                exit_code=ExitCode.ENVIRONMENT,
            )
        yield
    finally:
        os.close(folder)
