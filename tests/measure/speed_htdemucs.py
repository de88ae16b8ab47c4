"""Speed of our HTDemucs and of the package demucs, the same random weights in both, in pairs.

    python tests/measure/speed_htdemucs.py [--demucs SITE_PACKAGES] [--seconds 60] [--pairs 3]

demucs 4.1 may be installed elsewhere, with the same PyTorch: ``--demucs`` names that folder. Needs
a quiet machine. Prints seconds of music per second of computing, and how far the outputs differ.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from mssctl.api.models import import_model
from mssctl.hardware.device import autocast, configure
from mssctl.models import weights
from mssctl.models.weights import LoadedModel
from mssctl.separation.stream import SeparationSettings, separate_array

CPU = torch.device("cpu")
RATE = 44_100
KWARGS: dict[str, Any] = {
    "sources": ["drums", "bass", "other", "vocals"], "channels": 48, "growth": 2, "nfft": 4096,
    "depth": 4, "freq_emb": 0.2, "norm_starts": 4, "dconv_mode": 3, "dconv_depth": 2,
    "dconv_comp": 8, "bottom_channels": 512, "t_layers": 5, "t_heads": 8, "t_hidden_scale": 4.0,
}  # fmt: skip


def theirs() -> Any:
    """demucs' network as released, with random weights whose branches all count."""
    from demucs.htdemucs import HTDemucs  # type: ignore[import-not-found]

    torch.manual_seed(0)
    model = HTDemucs(**KWARGS, segment=7.8).eval()
    for name, parameter in model.named_parameters():
        if name.endswith(".scale"):
            torch.nn.init.uniform_(parameter.data, 0.05, 0.3)
    return model


def ours(model: Any, folder: Path) -> LoadedModel:
    """The same weights, imported."""
    kwargs = json.dumps({**KWARGS, "segment": {"numerator": 39, "denominator": 5}})
    metadata = {"klass": "demucs.htdemucs.HTDemucs", "args": "[]", "kwargs": kwargs}
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, folder / "a", metadata)
    import_model(folder / "a", folder / "b.safetensors")
    return weights.load(str(folder / "b.safetensors"), CPU)


def timed(function: Callable[[], Tensor]) -> tuple[float, Tensor]:
    start = time.perf_counter()
    result = function()
    return time.perf_counter() - start, result


def main() -> None:
    """Time both, alternately."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--demucs", help="site-packages folder with demucs")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch", type=int, default=1, help="segments at once, ours")
    parser.add_argument("--dtype", action="append", choices=["float32", "bfloat16"])
    given = parser.parse_args()
    if given.demucs:
        sys.path.append(given.demucs)
    from demucs.apply import apply_model  # type: ignore[import-not-found]

    torch.set_num_threads(given.threads)
    configure(CPU, tf32=False, cudnn_benchmark=False)
    reference = theirs()
    with tempfile.TemporaryDirectory() as folder:
        model = ours(reference, Path(folder))
    song = torch.randn(2, round(given.seconds * RATE)) * 0.1
    level = (song - song.mean(0).mean()) / song.mean(0).std()
    for dtype in given.dtype or ["float32", "bfloat16"]:
        settings = SeparationSettings.from_config(
            model.config, mix_consistent=False, amp_dtype=dtype, batch_size=given.batch
        )

        def theirs_once(dtype: str = dtype) -> Tensor:
            with torch.inference_mode(), autocast(CPU, dtype):
                return apply_model(reference, level[None], overlap=0.25, shifts=0)[0]

        def ours_once(settings: SeparationSettings = settings) -> Tensor:
            return separate_array(model.separator, song, settings)

        times: list[tuple[float, float]] = []
        for _ in range(given.pairs):
            (a, x), (b, y) = timed(theirs_once), timed(ours_once)
            times.append((a, b))
            x = x * song.mean(0).std() + song.mean(0).mean()
        speeds = [given.seconds / statistics.median(pair) for pair in zip(*times, strict=True)]
        ratio = statistics.median(a / b for a, b in times)
        print(
            f"{dtype}: demucs {speeds[0]:.2f} x real time, mssctl {speeds[1]:.2f} x, "
            f"ratio {ratio:.2f} (pairs: {', '.join(f'{a / b:.2f}' for a, b in times)}), "
            f"difference {float((y - x).norm() / x.norm()):.1e}",
            flush=True,
        )


if __name__ == "__main__":
    main()
