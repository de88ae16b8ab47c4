"""Damage files and kill commands at random, and hold the program to its promises.

Run as ``python tests/measure/fuzz.py --seed 1 --count 2000``; the tests do it with fewer. A case
is its seed and its number: ``--seed 1 --only 17`` makes it again, and shows what came of it.

Exit code 0 if every promise was kept: an exit code and one sentence, no traceback, no foreign
line, stems of the intact file's length and content or a word about the damage, nothing
half-written left, nothing older lost.
"""

from __future__ import annotations

import argparse
import multiprocessing
import multiprocessing.connection
import os
import resource
import shutil
import sys
import tempfile
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch: forked processes want one thread
sys.path.insert(0, str(Path(__file__).parent))

from fuzzing.audio import Songs
from fuzzing.documents import Documents
from fuzzing.foreign import Foreign
from fuzzing.intrusions import Intrusions
from fuzzing.kills import Kills
from fuzzing.stems import Stems
from fuzzing.verdict import BAD, Verdict, table

WEIGHTS = {"audio": 61, "stems": 6, "documents": 23, "foreign": 4, "kills": 4, "intrusions": 2}
_MEMORY = 3 << 30  # bytes that a case may take: a damage must not cost all of a machine's
SECONDS = 90  # a case that takes longer hangs outside of Python


class World:
    """All that is made once, before the cases."""

    def __init__(self, folder: Path, kinds: Sequence[str]) -> None:
        self.folder = folder
        self.weights = {kind: WEIGHTS[kind] for kind in kinds}
        self.makers: dict[str, Any] = {}
        if "audio" in kinds:
            self.makers["audio"] = Songs(folder / "songs")
        if "stems" in kinds:
            self.makers["stems"] = Stems(folder / "stems")
        if {"documents", "kills", "intrusions", "foreign"} & {*kinds}:
            documents = self.makers["documents"] = Documents(folder / "documents")
        if "foreign" in kinds:
            self.makers["foreign"] = Foreign(folder / "foreign", documents.data)
        if {"kills", "intrusions"} & {*kinds}:
            kills = self.makers["kills"] = Kills(folder / "kills", documents)
        if "intrusions" in kinds:
            self.makers["intrusions"] = Intrusions(kills)

    def case(self, seed: int, index: int) -> Verdict:
        """Make one case and judge it; its folder is gone afterwards."""
        rng = Random(f"{seed}:{index}")
        folder = self.folder / f"case-{index}"
        folder.mkdir()
        try:
            (kind,) = rng.choices(list(self.weights), list(self.weights.values()))
            return self.makers[kind].case(index, rng, folder)
        except Exception:  # noqa: BLE001 (of the fuzzer itself; the other cases go on)
            return Verdict(index, "fuzzer", "an error of the fuzzer", BAD, traceback.format_exc())
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def run(world: World, seed: int, indices: Sequence[int], jobs: int) -> Iterator[Verdict]:
    """The verdicts of all cases, from ``jobs`` forked processes that may die of a case."""
    workers: list[Worker] = []
    try:
        yield from _share(world, seed, indices, jobs, workers)
    finally:
        for worker in workers:
            worker.stop()


def _share(
    world: World, seed: int, indices: Sequence[int], jobs: int, workers: list[Worker]
) -> Iterator[Verdict]:
    left = list(reversed(indices))
    while left or workers:
        while left and len(workers) < jobs:
            workers.append(Worker(world, seed))
        for worker in workers:
            if worker.index is None and left:
                worker.start(left.pop())
        busy = [worker for worker in workers if worker.index is not None]
        ready = multiprocessing.connection.wait([w.pipe for w in busy], timeout=SECONDS)
        for worker in busy:
            if ready and worker.pipe not in ready:
                continue
            verdict, alive = worker.end()
            if verdict:
                yield verdict
            if not alive or not left:
                worker.stop()
                workers.remove(worker)


class Worker:
    """A forked process that makes one case after the other."""

    def __init__(self, world: World, seed: int) -> None:
        context = multiprocessing.get_context("fork")
        self.pipe, other = context.Pipe()
        self.index: int | None = None
        self.process = context.Process(target=_work, args=(world, seed, other))
        self.process.start()
        other.close()

    def start(self, index: int) -> None:
        """Begin a case."""
        self.index = index
        self.pipe.send(index)

    def end(self) -> tuple[Verdict, bool]:
        """The verdict on the case, and whether the process can go on."""
        index, self.index = self.index, None
        assert index is not None
        try:
            if self.pipe.poll(0):
                return self.pipe.recv(), True
            why = f"no end after {SECONDS} s"
        except EOFError:
            self.process.join()
            why = f"the process died: exit code {self.process.exitcode}"
        return Verdict(index, "fuzzer", "died or hung; see --only", BAD, why), False

    def stop(self) -> None:
        """End the process."""
        self.pipe.close()
        self.process.kill()
        self.process.join()


def _work(world: World, seed: int, pipe: multiprocessing.connection.Connection) -> None:
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    resource.setrlimit(resource.RLIMIT_DATA, (used + _MEMORY, resource.RLIM_INFINITY))
    parent = os.getppid()
    while os.getppid() == parent:  # it may be killed
        if pipe.poll(1.0):
            pipe.send(world.case(seed, pipe.recv()))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the cases and print the table; 1 if a promise was broken."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--only", type=int, help="make this one case again")
    parser.add_argument("--kinds", default=",".join(WEIGHTS), help="of cases, with commas")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument("--verbose", action="store_true", help="one line per case")
    options = parser.parse_args(arguments)
    indices = range(options.count) if options.only is None else [options.only]
    verdicts = []
    with tempfile.TemporaryDirectory(prefix="fuzz-") as name:
        os.environ["MSSCTL_CACHE"] = str(Path(name, "cache"))
        world = World(Path(name), options.kinds.split(","))
        for verdict in run(world, options.seed, indices, options.jobs):
            verdicts.append(verdict)
            if options.verbose or options.only is not None or verdict.outcome == BAD:
                sys.stdout.write(verdict.line() + "\n")
                sys.stdout.flush()
    sys.stdout.write("\n" + table(verdicts))
    bad = sum(verdict.outcome == BAD for verdict in verdicts)
    sys.stdout.write(f"\nseed {options.seed}, {len(verdicts)} cases: {bad} broken promises\n")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
