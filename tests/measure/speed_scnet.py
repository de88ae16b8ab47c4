"""Speed of SCNet on the CPU against `pymss-core`'s, with the same random weights, in pairs.

`pip install pymss-core`, then `python tests/measure/speed_scnet.py`; `--help` lists what can be
changed. It prints seconds of each forward, and how much sooner ours is done.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from pymss_core.modules.scnet.scnet import SCNet
from torch import Tensor

from mssctl.hardware.device import configure
from mssctl.models import official

SIZES = {
    "scnet": {},
    "scnet_large": {"dims": [4, 64, 128, 256], "band_SR": [0.225, 0.372, 0.403]},
}


def timed(model: Callable[[Tensor], Tensor], mix: Tensor) -> tuple[Tensor, float, float]:
    """The output, wall clock seconds and processor seconds of one forward."""
    wall, cpu = time.perf_counter(), time.process_time()
    with torch.inference_mode():
        stems = model(mix)
    return stems, time.perf_counter() - wall, time.process_time() - cpu


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", choices=SIZES, default="scnet")
    parser.add_argument("--seconds", type=float, default=11.0, help="of the mixture")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--pairs", type=int, default=3, help="after one that does not count")
    parser.add_argument("--keep-memory", action="store_true", help="as `separate` does, for both")
    options = parser.parse_args()
    if options.keep_memory:
        configure(torch.device("cpu"), tf32=False, cudnn_benchmark=False)
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    settings = {
        "dims": [4, 32, 64, 128],
        "band_SR": [0.175, 0.392, 0.433],
        "band_stride": [1, 4, 16],
        "band_kernel": [3, 4, 16],
        "sources": ["drums", "bass", "other", "vocals"],
    } | SIZES[options.size]
    theirs = SCNet(**settings).eval()
    ours, _ = official.load_with_config(theirs.state_dict(), "scnet", settings)
    mix = 0.1 * torch.randn(1, 2, round(options.seconds * 44_100))
    ratios = []
    for pair in range(options.pairs + 1):
        wanted, wall, cpu = timed(theirs, mix)
        stems, our_wall, our_cpu = timed(ours.eval(), mix)
        if not pair:
            error = float((stems - wanted).norm() / wanted.norm())
            print(f"relative difference {error:.1e}")
            continue
        ratios.append((wall / our_wall, cpu / our_cpu))
        print(f"theirs {wall:.2f} s ({cpu:.2f} s cpu), ours {our_wall:.2f} s ({our_cpu:.2f} s cpu)")
    wall, cpu = (statistics.median(column) for column in zip(*ratios, strict=True))
    print(f"ours is {wall:.2f} times as fast, by processor time {cpu:.2f} times")


if __name__ == "__main__":
    main()
