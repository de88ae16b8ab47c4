"""Finds what fits a card: the largest batch, and the lightest checkpointing that takes a preset."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mssctl.config.bounds import Checkpointing
from mssctl.hardware.machine import GIB
from mssctl.models.run_config import RunConfig
from mssctl.planning.predict.fake_step import Peak
from mssctl.planning.predict.workspaces import CONTEXT

LEVELS: tuple[Checkpointing, ...] = ("none", "block", "path")
MARGIN = 0.98  # predictions were within 2 % of measurements


@dataclass(frozen=True)
class Budget:
    """Memory of a card that a run may use.

    Attributes:
        vram: free memory, GiB.
    """

    vram: float

    @property
    def allocated(self) -> int:
        """Bytes that tensors and cuBLAS may take: less CUDA's context and a margin for error."""
        return round((self.vram * GIB - CONTEXT) * MARGIN)

    def risk(self, peak: Peak) -> str:
        """In words, how sure it is that ``peak`` fits."""
        if peak.allocated > self.allocated:
            return "does not fit"
        if peak.reserved + peak.context <= self.vram * GIB:
            return "low"
        return "medium: only with expandable segments, which `train` sets"


@dataclass(frozen=True)
class LargestBatch:
    """The largest batch that fits, 0 if none, with its peak and that of the next larger one.

    Where ``beyond`` is None, the batch was worked out in proportion and not run.
    """

    batch: int
    peak: Peak | None
    beyond: Peak | None


def largest_batch(
    peaks_of: Callable[[Sequence[int]], Sequence[Peak]], budget: Budget, guess: int
) -> LargestBatch:
    """Search until a batch is known to fit and the next one not to.

    Args:
        peaks_of: predicts the peaks at batches; the first two, which are the last ones where the
            guess is right, are asked for together.
        budget: of the card.
        guess: where to start.
    """
    seen: dict[int, Peak] = {}
    low, high = 0, 0
    batches = [max(1, guess), max(1, guess) + 1]
    while not high or high - low > 1:
        seen.update(zip(batches, peaks_of(batches), strict=True))
        fitting = {batch: peak.allocated <= budget.allocated for batch, peak in seen.items()}
        low = max((batch for batch, fits in fitting.items() if fits), default=0)
        high = min((batch for batch, fits in fitting.items() if not fits), default=0)
        batches = [_next(seen, low, high, budget.allocated)]
    return LargestBatch(low, seen.get(low), seen[high])


def _next(seen: dict[int, Peak], low: int, high: int, limit: int) -> int:
    """The batch to try next; what an example needs is over-estimated, so steps are careful."""
    if not high:
        needed = seen[low].allocated
        return low + max(1, (limit - needed) * low // needed)
    needed = seen[high].allocated
    down = max(1, -((limit - needed) * high // needed))
    return max(low + 1, min(high - 1, high - down))


def with_training(config: RunConfig, **values: object) -> RunConfig:
    """A copy with other values in its ``training`` section, checked."""
    tree = config.model_dump()
    tree["training"].update(values)
    return RunConfig.model_validate(tree)


def with_batch(config: RunConfig, batch: int, level: Checkpointing) -> RunConfig:
    """The same number of examples per optimizer step, or a few more, in batches of ``batch``."""
    training = config.training
    effective = training.batch_size * training.gradient_accumulation_steps
    batch = min(batch, effective)
    return with_training(
        config,
        batch_size=batch,
        gradient_accumulation_steps=-(-effective // batch),
        gradient_checkpointing=level,
    )
