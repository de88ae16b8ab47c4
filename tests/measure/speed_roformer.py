"""Speed of the RoFormers on the CPU against `pymss-core`'s, with the same random weights, in pairs.

`pip install pymss-core`, then `python tests/measure/speed_roformer.py`; `--help` lists what can be
changed. It prints seconds of each forward, and how much sooner ours is done.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from pymss_core.modules.bs_roformer.bs_roformer import BSRoformer
from pymss_core.modules.bs_roformer.mel_band_roformer import MelBandRoformer
from torch import Tensor

from mssctl.models import official

NETWORKS = {
    "bs_roformer": (BSRoformer, {"depth": 8, "num_stems": 4, "mlp_expansion_factor": 2}),
    "mel_band_roformer": (MelBandRoformer, {"depth": 6, "num_stems": 1}),
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
    parser.add_argument("--network", choices=NETWORKS, default="bs_roformer")
    parser.add_argument("--depth", type=int, help="layers; as published by default")
    parser.add_argument("--seconds", type=float, default=11.0, help="of the mixture")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--pairs", type=int, default=3, help="after one that does not count")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    network, sizes = NETWORKS[options.network]
    settings = {
        "dim": 384,
        "stereo": True,
        "dim_head": 64,
        "heads": 8,
        "mask_estimator_depth": 2,
        "stft_hop_length": 441,
    } | sizes
    settings |= {"depth": options.depth} if options.depth else {}
    theirs = network(**settings).eval()
    ours, _ = official.load_with_config(theirs.state_dict(), options.network, settings)
    mix = 0.1 * torch.randn(1, 2, round(options.seconds * 44_100))
    ratios = []
    for pair in range(options.pairs + 1):
        wanted, wall, cpu = timed(theirs, mix)
        stems, our_wall, our_cpu = timed(ours.eval(), mix)
        if not pair:
            # Theirs may have no axis of stems, and end with the last frame.
            stems = stems[..., : wanted.shape[-1]].reshape(wanted.shape)
            error = float((stems - wanted).norm() / wanted.norm())
            print(f"relative difference {error:.1e}")
            continue
        ratios.append((wall / our_wall, cpu / our_cpu))
        print(f"theirs {wall:.2f} s ({cpu:.2f} cpu), ours {our_wall:.2f} s ({our_cpu:.2f} cpu)")
    wall, cpu = (statistics.median(column) for column in zip(*ratios, strict=True))
    print(f"ours is {wall:.2f} times as fast by the clock, {cpu:.2f} times by processor time")


if __name__ == "__main__":
    main()
