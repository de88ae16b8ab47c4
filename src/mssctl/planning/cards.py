"""GPUs by name: memory, compute capability and the two speeds a roofline needs."""

from dataclasses import dataclass

from mssctl.errors import ExitCode, MssctlError, did_you_mean
from mssctl.planning.predict.fake_step import Peak


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
