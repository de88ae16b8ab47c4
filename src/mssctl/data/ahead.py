"""How many batches the worker processes load ahead: bounded in bytes."""

from mssctl.config.schema import TrainingConfig

# Bytes of batches that wait in shared memory: enough for dozens of small ones, and for a batch of
# each of eight workers of the largest presets.
READY = 2 * 2**30


def batches_ahead(config: TrainingConfig, batch_bytes: int) -> int:
    """Batches that each worker loads ahead: as set, or fewer so that all take `READY` bytes.

    One at least: a worker has it in hand anyway.

    Args:
        config: of the training.
        batch_bytes: of one batch.
    """
    fit = READY // (max(1, config.num_workers) * batch_bytes)
    return max(1, min(config.prefetch_factor, fit))
