"""Says where the memory of a predicted step goes, what is to blame and what would help."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from mssctl.errors import MssctlError
from mssctl.hardware.attention import BF16_CAPABILITY
from mssctl.hardware.machine import GIB
from mssctl.models.registry import architecture
from mssctl.models.run_config import RunConfig
from mssctl.planning.closed_form import estimate, knows
from mssctl.planning.fit import LEVELS, with_training
from mssctl.planning.predict.fake_step import BUILT, Peak
from mssctl.planning.predict.tracker import BACKWARD, GRADIENTS, OUTSIDE
from mssctl.planning.predictions import AVERAGE, BATCH, OPTIMIZER, WEIGHTS
from mssctl.presets import override
from mssctl.results.plan import MemoryShare, Remedy

_FIXED = (WEIGHTS, GRADIENTS, OPTIMIZER, AVERAGE, BUILT)  # the same at every batch
_OWN = (*_FIXED, BATCH)


def components(config: RunConfig, peak: Peak) -> list[MemoryShare]:
    """The peak by purpose, largest first; it adds up to `Peak.device`."""
    shares: Counter[str] = Counter()
    parts = architecture(config.model).parts
    for label, size in peak.parts.items():
        shares[_purpose(label, parts)] += size
    shares.update({
        "kernel workspace": peak.workspace,
        "cuBLAS workspace": peak.cublas,
        "CUDA context (assumed)": peak.context,
    })  # fmt: skip
    return _shares(shares)


def modules(peak: Peak) -> list[MemoryShare]:
    """The activations at the peak by part of the model, in GiB, the ten largest."""
    shares: Counter[str] = Counter()
    for label, size in peak.parts.items():
        if label not in _OWN:  # to the depth of a reader's interest: ``blocks.3.freq_path``
            shares[".".join(label.split(".")[:3]) or "masks and inverse transform"] += size
    return _shares(shares)[:10]


def _shares(shares: Counter[str]) -> list[MemoryShare]:
    return [MemoryShare(name, size / GIB) for name, size in shares.most_common() if size]


def _purpose(label: str, parts: Mapping[str, str]) -> str:
    """What memory with this label is for."""
    if label in _OWN:
        return label
    if label == OUTSIDE:
        return "batch and loss"
    if label == BACKWARD:
        return "backward pass"
    if label.startswith(BACKWARD):
        return "recomputed activations"
    rest = "masks and transforms" if parts else "activations"
    return parts.get(label.split(".", maxsplit=1)[0], rest)


def notes(config: RunConfig, attention: str | None, capability: tuple[int, int]) -> list[str]:
    """What a reader should know of what is not predicted, of a per-bin model, of kept scores."""
    model = architecture(config.model)
    found = []
    if config.training.compile:
        found.append("training.compile is not predicted: this is the step as written")
    found += model.notes(config, attention)
    if attention == "math" and model.attention(config):
        found.append(_why_not_flash(config, capability))
    return found


def _why_not_flash(config: RunConfig, capability: tuple[int, int]) -> str:
    if config.training.amp_dtype == "float32":
        return "flash attention would not run: it takes bfloat16 and float16, and this is float32"
    if capability < BF16_CAPABILITY:
        return "flash attention would not run: it needs compute capability 8.0"
    return "flash attention would run with --attention auto"


def remedies(
    config: RunConfig,
    attention: str | None,
    capability: tuple[int, int],
    peak: Peak | None = None,
) -> list[Remedy]:
    """What to change first, with the memory then needed by the closed form.

    Where there is no closed form for the model: what follows from ``peak`` in proportion, if given.
    """
    if not knows(config):
        return _in_proportion(config, peak) if peak else []
    return [
        Remedy(change, estimate(changed, capability, kernel).device / GIB)
        for change, changed, kernel in _changes(config, attention, capability)
    ]


def fixed(peak: Peak) -> int:
    """Bytes of the peak that are there at every batch size."""
    return peak.cublas + sum(peak.parts.get(name, 0) for name in _FIXED)


def _in_proportion(config: RunConfig, peak: Peak) -> list[Remedy]:
    """Half of what grows with the batch: in truth a little more, where a slice is whole."""
    half = (peak.device - peak.context - fixed(peak)) / 2 + fixed(peak) + peak.context
    training = config.training
    batch, micro = -(-training.batch_size // 2), 2 * training.gradient_accumulation_steps
    seconds = training.segment_length / 2 / config.audio.sample_rate
    changes = [f"segments of {seconds:g} s"]
    if training.batch_size > 1:
        changes.insert(0, f"batch {batch} with gradient accumulation {micro}")
    return [Remedy(change, half / GIB) for change in changes]


def _changes(
    config: RunConfig, attention: str | None, capability: tuple[int, int]
) -> Iterator[tuple[str, RunConfig, str]]:
    training = config.training
    kernel = attention or ("flash" if training.amp_dtype == "bfloat16" else "efficient")
    slow = training.amp_dtype == "float32" or kernel == "math"
    if slow and capability >= BF16_CAPABILITY:
        yield "bfloat16 with flash attention", with_training(config, amp_dtype="bfloat16"), "flash"
    if training.batch_size > 1:
        half = -(-training.batch_size // 2)
        micro = 2 * training.gradient_accumulation_steps
        less = with_training(config, batch_size=half, gradient_accumulation_steps=micro)
        yield f"batch {half} with gradient accumulation {micro}", less, kernel
    for level in LEVELS[LEVELS.index(training.gradient_checkpointing) + 1 :]:
        less = with_training(config, gradient_checkpointing=level)
        yield f"checkpointing {level} (recomputes the forward pass)", less, kernel
    for change, ways in architecture(config.model).smaller(config):
        yield change, _first_valid(config, ways), kernel
    samples = training.segment_length // 2
    seconds = samples / config.audio.sample_rate
    if not config.model.uses_stft or samples >= config.stft.n_fft:
        yield f"segments of {seconds:g} s", with_training(config, segment_length=samples), kernel


def _first_valid(config: RunConfig, ways: Sequence[Sequence[str]]) -> RunConfig:
    """The configuration with the first overrides that fit it."""
    for overrides in ways[:-1]:
        try:
            return override(config, overrides)
        except MssctlError:
            continue
    return override(config, ways[-1])
