"""Time of a training step on the CPU in two source trees, in pairs.

`python tests/measure/speed_step.py OLD/src NEW/src --preset small --batch 1`; `--help` lists what
can be changed. Each run is a process of its own, the older tree first and second in turn. It prints
seconds per step, the losses, and how much sooner the new tree is done.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

STEP = """
import json, sys, time
import torch
from mssctl import presets
from mssctl.training.prepare import prepare
from mssctl.training.step import train_step

preset, overrides, steps, threads = json.loads(sys.argv[1])
torch.set_num_threads(threads)
config = presets.load(preset, overrides)
training, audio = config.training, config.audio
state = prepare(config, torch.device("cpu"))
shape = (training.batch_size, len(audio.stems), audio.channels, training.segment_length)
noise = 0.1 * torch.randn(shape, generator=torch.Generator().manual_seed(0))
seconds, losses = [], []
for _ in range(steps + 1):
    start = time.perf_counter()
    outcome = train_step(state, [noise] * training.gradient_accumulation_steps, config)
    losses.append(outcome.loss.item())
    seconds.append(time.perf_counter() - start)
print(json.dumps([seconds[1:], losses]))
"""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("trees", nargs=2, metavar="SRC", help="the old one and the new one")
    parser.add_argument("--preset", default="small")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--steps", type=int, default=3, help="after one that does not count")
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--set", action="append", default=[], dest="overrides", metavar="KEY=VALUE")
    options = parser.parse_args()
    overrides = [
        f"training.batch_size={options.batch}",
        "training.gradient_accumulation_steps=1",
        *options.overrides,
    ]
    asked = json.dumps([options.preset, overrides, options.steps, options.threads])
    ratios = []
    for pair in range(options.pairs):
        found = {}
        for tree in options.trees if pair % 2 == 0 else options.trees[::-1]:
            environment = os.environ | {"PYTHONPATH": str(Path(tree).resolve())}
            command = [sys.executable, "-c", STEP, asked]
            run = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True)
            found[tree] = json.loads(run.stdout.splitlines()[-1])
        (old, losses), (new, others) = (found[tree] for tree in options.trees)
        ratios.append(statistics.median(old) / statistics.median(new))
        print(f"old {statistics.median(old):.3f} s, new {statistics.median(new):.3f} s per step")
        apart = max(abs(a - b) / abs(a) for a, b in zip(losses, others, strict=True))
        print(f"losses {losses[-1]:.6f} and {others[-1]:.6f}, at most {apart:.1e} apart")
    print(f"the new tree is {statistics.median(ratios):.2f} times as fast")


if __name__ == "__main__":
    main()
