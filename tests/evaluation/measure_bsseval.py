"""Time and memory of BSSEval v4 against museval: ``python tests/evaluation/measure_bsseval.py``.

Four stereo stems of generated 16-bit audio at 44.1 kHz. Each program runs in a process of its own;
memory is the process's peak. Prints one Markdown row per length.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

RATE = 44_100


def song(seconds: float) -> tuple[np.ndarray, np.ndarray]:
    """Four coloured stems ``(4, N, 2)`` on the 16-bit grid, and estimates that leak."""
    noise = np.random.default_rng(0)
    s = 0.1 * noise.standard_normal((4, int(seconds * RATE), 2))
    s[:, 1:] += 0.8 * s[:, :-1]
    s = np.round(s * 32_768) / 32_768
    return s, 0.9 * s + 0.1 * s.sum(axis=0) + 0.01 * noise.standard_normal(s.shape)


def one(engine: str, seconds: float, out: Path) -> None:
    s, e = song(seconds)
    if engine == "museval":
        from mssctl.evaluation.bsseval.frames import museval_metrics

        bss_eval = museval_metrics().bss_eval
        start = time.perf_counter()
        scores = np.stack(bss_eval(s, e, window=RATE, hop=RATE)[:4])
    else:
        from mssctl.evaluation.bsseval import bsseval

        bsseval(s[:, : 2 * RATE], e[:, : 2 * RATE])  # torch and its threads are there
        start = time.perf_counter()
        found = bsseval(s, e)
        scores = np.stack([found.sdr, found.isr, found.sir, found.sar])
    wall = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    np.savez(out, scores=scores, wall=wall, peak=peak)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("seconds", nargs="*", type=float, default=[30, 60, 240])
    parser.add_argument("--one", nargs=2)
    given = parser.parse_args()
    if given.one:
        one(given.one[0], given.seconds[0], Path(given.one[1]))
        return
    sys.stdout.write("| length | museval | mssctl | ratio | memory | largest difference |\n")
    for seconds in given.seconds:
        runs = {}
        with tempfile.TemporaryDirectory() as folder:
            for engine in ("mssctl", "museval"):
                out = f"{folder}/{engine}.npz"
                command = [sys.executable, __file__, str(seconds), "--one", engine, out]
                subprocess.run(command, check=True)
                runs[engine] = dict(np.load(out))
        a, b = runs["mssctl"], runs["museval"]
        difference = np.nanmax(np.abs(a["scores"] - b["scores"]))
        sys.stdout.write(
            f"| {seconds:g} s | {b['wall']:.1f} s | {a['wall']:.2f} s "
            f"| {b['wall'] / a['wall']:.0f} x | {a['peak']:.1f} against {b['peak']:.1f} GiB "
            f"| {difference:.0e} dB |\n"
        )
        sys.stdout.flush()


if __name__ == "__main__":
    main()
