"""The card to plan for: named, described, or the one in this machine."""

from dataclasses import dataclass

from mssctl.errors import ExitCode, MssctlError
from mssctl.hardware import nvml
from mssctl.hardware.machine import GIB
from mssctl.planning.cards import Card, card_in, card_named
from mssctl.planning.fit import Budget

_CAPABILITY = (9, 0)  # where no card is known: the larger cuBLAS workspace


@dataclass(frozen=True)
class Target:
    """The card to plan for: any of it may be unknown.

    Attributes:
        name: of the card.
        vram: free memory, GiB.
        card: of the table.
        seen: compute capability of this machine's GPU, as NVML tells.
    """

    name: str | None
    vram: float | None
    card: Card | None
    seen: tuple[int, int] | None = None

    @property
    def capability(self) -> tuple[int, int]:
        """Compute capability, assumed where the card is unknown."""
        return self.card.capability if self.card else self.seen or _CAPABILITY

    def budget(self) -> Budget:
        """Its memory.

        Raises:
            MssctlError: nobody has said how much, and there is no GPU to ask (exit 3).
        """
        if self.vram is None:
            raise MssctlError(
                "how much GPU memory? NVML finds no GPU here",
                hint="name it: --vram 32, or --gpu 'RTX 5090'",
                exit_code=ExitCode.ENVIRONMENT,
            )
        return Budget(self.vram)


def target(vram: float | None = None, gpu: str | None = None) -> Target:
    """The card that ``--vram`` and ``--gpu`` mean; this machine's where neither is given."""
    if vram is not None and not 0.0 < vram < float("inf"):
        raise MssctlError(f"--vram {vram}: GiB above 0", exit_code=ExitCode.USAGE)
    if gpu is not None:
        card = card_named(gpu)
        return Target(card.name, card.memory if vram is None else vram, card)
    if vram is not None:
        return Target(None, vram, None)
    gpu_here = this_gpu()
    if gpu_here is None:
        return Target(None, None, None)
    part = gpu_here.slices[0] if gpu_here.slices else gpu_here  # of a GPU that MIG splits
    free = part.free / GIB if part.free is not None else None
    return Target(part.name, free, card_in(gpu_here.name), gpu_here.capability)


def this_gpu() -> nvml.Gpu | None:
    """The first GPU that this process may use, by NVML; None without one that can be read."""
    try:
        found = {gpu.index: gpu for gpu in nvml.gpus() if gpu.error is None}
    except nvml.NvmlError:
        return None
    index = nvml.index_of(0)
    return found.get(index) if index is not None else None
