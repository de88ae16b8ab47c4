"""The card to plan for: named, described, or the one in this machine; and a table of cards."""

from dataclasses import dataclass

from mssctl.errors import ExitCode, MssctlError, did_you_mean
from mssctl.hardware import nvml
from mssctl.hardware.machine import GIB
from mssctl.planning.fit import Budget
from mssctl.planning.predict.fake_step import Peak

_CAPABILITY = (9, 0)  # where no card is known: the larger cuBLAS workspace


@dataclass(frozen=True)
class Card:
    """A GPU.

    Attributes:
        name: as people call it.
        memory: GiB in all, as NVML reports it.
        capability: compute capability.
        bandwidth: of its memory, GB/s, from the vendor's data sheet.
        bf16: dense bf16 matrix products with float32 sums, TFLOP/s.
    """

    name: str
    memory: float
    capability: tuple[int, int]
    bandwidth: float
    bf16: float

    def seconds(self, peak: Peak) -> float:
        """A roofline estimate of a step: each operation is bound by arithmetic or by memory.

        No kernel reaches either limit and launching takes time, so a real step takes longer.
        """
        rate, width = self.bf16 * 1e12, self.bandwidth * 1e9
        products = sum(times * max(f / rate, b / width) for f, b, times in peak.work)
        return products + peak.moved / width


CARDS = (
    Card("RTX 3060", 12.0, (8, 6), 360, 25),
    Card("RTX 3090", 24.0, (8, 6), 936, 71),
    Card("RTX 4080", 16.0, (8, 9), 717, 97),
    Card("RTX 4090", 24.0, (8, 9), 1008, 165),
    Card("RTX 5080", 15.9, (12, 0), 960, 113),
    Card("RTX 5090", 31.8, (12, 0), 1792, 209),
    Card("RTX A6000", 48.0, (8, 6), 768, 155),
    Card("RTX 6000 Ada", 48.0, (8, 9), 960, 364),
    Card("RTX PRO 6000", 95.6, (12, 0), 1792, 504),
    Card("L40S", 45.0, (8, 9), 864, 362),
    Card("A100 40GB", 40.0, (8, 0), 1555, 312),
    Card("A100 80GB", 80.0, (8, 0), 2039, 312),
    Card("H100", 79.6, (9, 0), 3350, 989),
    Card("H200", 140.4, (9, 0), 4800, 989),
)


def card_named(name: str) -> Card:
    """The card of that name, or the only one with these words; spaces and case do not matter.

    Raises:
        MssctlError: not in the table, or several are meant (exit 3).
    """
    wanted = _plain(name)
    for card in CARDS:
        if _plain(card.name) == wanted:
            return card
    words = set(name.lower().split())
    found = [card for card in CARDS if words and words <= set(card.name.lower().split())]
    if len(found) == 1:
        return found[0]
    if found:
        raise MssctlError(
            f"'{name}' may be {' or '.join(card.name for card in found)}",
            hint="name one of them, or say --vram GIB",
            exit_code=ExitCode.ENVIRONMENT,
        )
    raise MssctlError(
        f"no GPU '{name}' in the table",
        hint=did_you_mean(name, [card.name for card in CARDS]),
        exit_code=ExitCode.ENVIRONMENT,
    )


def card_in(machine_name: str) -> Card | None:
    """The card of the table that a name such as ``NVIDIA GeForce RTX 5090`` means, if any."""
    found = [card for card in CARDS if _plain(card.name) in _plain(machine_name)]
    return max(found, key=lambda card: len(card.name), default=None)


def _plain(name: str) -> str:
    return "".join(name.lower().removeprefix("nvidia").replace("geforce", "").split())


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
