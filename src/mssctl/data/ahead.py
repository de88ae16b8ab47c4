"""How many batches the worker processes load ahead: bounded in bytes."""

from mssctl.config.schema import AudioConfig, TrainingConfig

# Bytes of batches that wait in shared memory: enough for dozens of small ones, and for a batch of
# each of eight workers of the largest presets.
READY = 2 * 2**30


def batch_bytes(training: TrainingConfig, audio: AudioConfig) -> int:
    """Bytes of one batch of stems, in float32."""
    example = len(audio.stems) * audio.channels * training.segment_length
    return 4 * training.batch_size * example


def batches_ahead(training: TrainingConfig, audio: AudioConfig) -> int:
    """Batches that each worker loads ahead: as set, or fewer so that all take `READY` bytes.

    One at least, which a worker has in hand anyway; 0 without workers.
    """
    if not training.num_workers:
        return 0
    fit = READY // (training.num_workers * batch_bytes(training, audio))
    return max(1, min(training.prefetch_factor, fit))
