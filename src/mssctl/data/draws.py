"""Random numbers of one example: a stream for what is read, and one of its own per effect."""

import numpy as np

# The place of a name is part of the seed of its stream: add at the end only.
EFFECTS = ("gain", "warp", "eq", "compress", "clip", "reverb", "mono", "codec")


class Draws:
    """Generators that depend on ``(seed, epoch, index)`` alone.

    Turning an effect on or off, or changing its range, changes nothing that another one draws. Only
    ``tempo`` does: another length is read, so that other places may fit or be loud enough.

    Attributes:
        places: which songs and places, and the gain, polarity, channels and dropout of the stems.
    """

    def __init__(self, seed: int, epoch: int, index: int) -> None:
        self._entropy = [seed, epoch, index]
        self.places = self._generator(())

    def of(self, effect: str, number: int = 0) -> np.random.Generator:
        """The generator of an effect, for the stem or place with this number."""
        return self._generator((EFFECTS.index(effect), number))

    def _generator(self, key: tuple[int, ...]) -> np.random.Generator:
        sequence = np.random.SeedSequence(self._entropy, spawn_key=key)
        return np.random.Generator(np.random.Philox(sequence))
