"""Runs checks in child processes, so that one that hangs or dies costs one line, not the report."""

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import IO, Any

from mssctl.checks.findings import crashed, note
from mssctl.documents import parse_json
from mssctl.errors import MssctlError
from mssctl.options.doctor import DoctorOptions
from mssctl.results.doctor import Finding

START_SECONDS = 60.0  # for Python itself to start, on a slow disk
STDERR_LINES = 20


@dataclass(frozen=True)
class Check:
    """One check.

    Attributes:
        title: what it looks at; names its finding when it gives no answer.
        function: ``module:function``, from `DoctorOptions` to findings.
        group: what it matters for, see `mssctl.results.doctor.GROUPS`.
        seconds: after which it is given up.
        needs: titles of checks of the same group; once one of them has failed or crashed, this
            one is not run.
    """

    title: str
    function: str
    group: str = ""
    seconds: float = 60.0  # on a busy machine a second can take half a minute
    needs: tuple[str, ...] = ()


class Group:
    """Checks that run one after the other in a child process, in a new one if that ends early.

    Args:
        checks: in an order in which each comes after those it needs.
        settings: for the checks.
        done: is called after each.
    """

    def __init__(
        self, checks: Sequence[Check], settings: DoctorOptions, done: Callable[[Check], None]
    ) -> None:
        self.checks = checks
        self.rest = list(checks)
        self.settings = settings
        self.done = done
        self.found: dict[str, list[Finding]] = {}
        self.stopped = False
        self.child: _Child | None = None

    def run(self) -> None:
        """Fill ``found``: what each check found, by its title."""
        while self.rest and not self.stopped:
            try:
                self.child = _Child(self.rest, self.settings)
            except OSError as error:
                for check in list(self.rest):
                    self._take(check, [_cannot_start(check, error)])
                return
            try:
                self._listen(self.child)
            finally:
                self.child.end()
            for check in [other for other in self.rest if _blocked(other, self.found)]:
                self._take(check, [_not_run(check, self.found)])

    def stop(self) -> None:
        """End now; for another thread."""
        self.stopped = True
        if self.child:
            self.child.end()

    def _listen(self, child: "_Child") -> None:
        for check, answer in child.answers():
            self._take(check, answer)
            if _bad(answer) and any(check.title in other.needs for other in self.rest):
                return

    def _take(self, check: Check, answer: list[Finding]) -> None:
        self.found[check.title] = [replace(one, group=check.group) for one in answer]
        self.rest.remove(check)
        self.done(check)


def _bad(findings: list[Finding]) -> bool:
    return any(finding.state in ("failed", "crashed") for finding in findings)


def _blocked(check: Check, found: dict[str, list[Finding]]) -> bool:
    return any(_bad(found.get(title, [])) for title in check.needs)


def _not_run(check: Check, found: dict[str, list[Finding]]) -> Finding:
    needed = next(title for title in check.needs if _bad(found.get(title, [])))
    return note(check.title, f"not checked: it needs {needed}", f"fix {needed} first")


def _cannot_start(check: Check, error: OSError) -> Finding:
    remedy = "free memory or processes, and run doctor again"
    return crashed(check.title, f"no process for it: {error.strerror}", remedy)


class _Child:
    """A child process at work, and what it says."""

    def __init__(self, checks: Sequence[Check], settings: DoctorOptions) -> None:
        self.checks = list(checks)
        self.said: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self.errors: deque[str] = deque(maxlen=STDERR_LINES)
        names = [check.function for check in checks]
        self.process = subprocess.Popen(  # noqa: S603 (this program)
            # -P: a torch.py in the current folder is not the user's PyTorch.
            [sys.executable, "-P", "-m", "mssctl.checks.child",
             json.dumps(asdict(settings), default=os.fspath), *names],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=_environment(),
            start_new_session=True,  # so that what it starts ends with it
        )  # fmt: skip
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        self.readers = [
            threading.Thread(target=self._listen, args=(self.process.stdout,), daemon=True),
            threading.Thread(target=self._keep, args=(self.process.stderr,), daemon=True),
        ]
        for reader in self.readers:
            reader.start()

    def answers(self) -> Iterator[tuple[Check, list[Finding]]]:
        """Each check with what it found; ends early after one that gave no answer."""
        for check in self.checks:
            try:
                begun = self.said.get(timeout=START_SECONDS)
                answer = begun and self.said.get(timeout=check.seconds)
            except queue.Empty:
                yield check, [self._hangs(check)]
                return
            if answer is None:
                yield check, [self._died(check)]
                return
            yield check, [Finding(**finding) for finding in answer["findings"]]

    def end(self) -> None:
        """End the process and all that it started."""
        with contextlib.suppress(ProcessLookupError):  # all of them have ended
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        for reader in self.readers:
            reader.join(timeout=1.0)  # longer only if something has left the process group

    def _listen(self, stream: IO[bytes]) -> None:
        with stream, contextlib.suppress(MssctlError):  # half a line: it has died
            for line in stream:
                self.said.put(parse_json(line, "check"))
        self.said.put(None)

    def _keep(self, stream: IO[bytes]) -> None:
        with stream:
            for line in stream:
                self.errors.append(line.decode(errors="replace").rstrip())

    def _hangs(self, check: Check) -> Finding:
        remedy = "run doctor again; if it stays, the driver, disk or package behind it hangs"
        return crashed(check.title, f"no answer in {check.seconds:g} s", remedy, self.errors)

    def _died(self, check: Check) -> Finding:
        with contextlib.suppress(subprocess.TimeoutExpired):  # it has closed its stdout
            self.process.wait(timeout=2.0)
        self.end()
        code = self.process.returncode
        how = f"ended with code {code}"
        if code < 0:
            how = f"was killed by {signal.Signals(-code).name}"
        remedy = (
            "see doctor -v; a library that ends Python is damaged or not built for this machine"
        )
        return crashed(check.title, f"the process of this check {how}", remedy, self.errors)


def _environment() -> dict[str, str]:
    """This process's, so that the child imports the same packages."""
    own = Path(__file__).resolve().parents[2]
    paths = [os.environ.get("PYTHONPATH", "")]
    if own.name not in ("site-packages", "dist-packages"):  # found anyway, and after Python's own
        paths.append(str(own))
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
