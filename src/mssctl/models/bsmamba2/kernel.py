"""The scan as `Kernel`: its forms compared, for ``bench --mode scan`` and ``doctor``."""

from typing import get_args

import torch
from torch import Tensor

from mssctl.models.architecture import Variant
from mssctl.models.bsmamba2.config import BSMamba2Config
from mssctl.models.bsmamba2.scans import Name, choose_scan, has_mamba_ssm, scan
from mssctl.models.bsmamba2.ssd import ssd_loop
from mssctl.models.run_config import RunConfig

CHUNK_SIZES = (16, 32, 64, 128, 256)

_Inputs = tuple[Tensor, ...]  # x, dt, A, B, C, D


class ScanKernel:
    """The scan at the sizes of a configuration, or at small ones."""

    title = "scan"
    claim = "chunks against single steps, forward and backward"
    remedy = "--set model.scan_backend=torch"

    def __init__(self, config: RunConfig | None) -> None:
        self._model, self._steps = BSMamba2Config(expand=1, emb_dim=32, headdim=16, d_state=16), 150
        if config is not None:
            self._model = BSMamba2Config.of(config)
            self._steps = config.training.segment_length // config.stft.hop_length + 1

    def inputs(self, sequences: int) -> _Inputs:
        """What the first mixer along time would see at the start of a training, but random."""
        model, length = self._model, self._steps
        generator = torch.Generator().manual_seed(0)
        heads = model.expand * model.emb_dim // model.headdim

        def normal(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=generator, dtype=torch.float64)

        def uniform(low: float, high: float, *shape: int) -> Tensor:
            values = torch.rand(*shape, generator=generator, dtype=torch.float64)
            return low + (high - low) * values

        return (
            normal(sequences, length, heads, model.headdim),
            uniform(model.dt_min, model.dt_max, sequences, length, heads),
            -uniform(*model.A_init_range, heads),
            normal(sequences, length, model.d_state),
            normal(sequences, length, model.d_state),
            normal(heads),
        )

    def sizes(self, inputs: _Inputs) -> dict[str, int]:
        """Of ``x (N, L, H, P)`` and ``B (N, L, S)``."""
        sequences, steps, heads, headdim = inputs[0].shape
        return {
            "sequences": sequences,
            "steps": steps,
            "heads": heads,
            "headdim": headdim,
            "d_state": inputs[3].shape[-1],
        }

    def reference(self, inputs: _Inputs) -> Tensor:
        """One step at a time."""
        return ssd_loop(*inputs)[0]

    def chosen(self, device: torch.device) -> Variant:
        """The default backend of this device, in chunks of the default size."""
        return _chunked(choose_scan("auto", device).name, BSMamba2Config().chunk_size)

    def variants(self, device: torch.device) -> list[Variant]:
        """The loop, then each backend with each size of chunks."""
        names = [name for name in get_args(Name) if name == "torch" or device.type == "cuda"]
        if not has_mamba_ssm():
            names = [name for name in names if name != "mamba_ssm"]
        chunked = [_chunked(name, size) for name in names for size in CHUNK_SIZES]
        return [Variant("loop", None, self.reference), *chunked]

    def left_out(self, device: torch.device) -> list[str]:
        """Backends that were not measured, and why."""
        if device.type != "cuda":
            return [
                f"compiled: measured on CUDA only, where it is the default; this is {device.type}",
                f"mamba_ssm: its kernels do not run on {device.type}",
            ]
        return [] if has_mamba_ssm() else ["mamba_ssm: not installed"]


def _chunked(name: Name, chunk_size: int) -> Variant:
    def run(inputs: _Inputs) -> Tensor:
        x, dt, A, B, C, D = inputs
        return scan(name)(x, dt, A, B, C, D, chunk_size)

    return Variant(name, chunk_size, run)
