"""``mssctl eval``: separate reference mixtures with a model and score the stems."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from mssctl.errors import MssctlError
from mssctl.evaluation.references import ReferenceTrack, check, find_tracks, read
from mssctl.evaluation.scores import counts, means, score_track
from mssctl.evaluation.sdr import DEFINITIONS, Array
from mssctl.events import Notice, Progress, Reporter, silent
from mssctl.hardware.device import choose_device, configure
from mssctl.models import weights
from mssctl.models.base import Separator
from mssctl.results import EvalResult, StemScore
from mssctl.separation.separator import SeparationSettings, memory_errors, separate_array
from mssctl.tasks.separate import AMP_DTYPE, Dtype, check_numbers


def evaluate(
    *,
    name: str = "starter",
    reference: Path | str,
    device: str = "auto",
    dtype: Dtype = "auto",
    segment: float | None = None,
    overlap: float | None = None,
    batch: int | None = None,
    report: Reporter = silent,
) -> EvalResult:
    """Score a model on reference tracks, and the unprocessed mixture beside it.

    All file headers are checked before the model runs. One track is held in memory at a time.

    Args:
        name: bundled model, or path of a ``.safetensors`` file.
        reference: folder of track folders, or one track folder; a track holds the model's stems
            and ``mixture`` as wav or flac. Without ``mixture`` the sum of its stems is used.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
        dtype: inside the model; ``auto`` is bf16 on CUDA and fp32 elsewhere.
        segment: seconds that the model sees at once; None as in its configuration.
        overlap: fraction of a segment shared with the next; None likewise.
        batch: segments computed at once; None likewise.
        report: is told what happens.

    Raises:
        MssctlError: no such model or device (exit 3); no tracks, audio that does not fit the
            model, unequal lengths, damaged audio, or nothing but silence (exit 4).
    """
    check_numbers(segment, overlap, batch, shifts=1)
    chosen = choose_device(device)
    if dtype == "auto":
        dtype = "bf16" if chosen.device.type == "cuda" else "fp32"
    path = weights.find(name)
    config, _ = weights.read_metadata(path)
    settings = SeparationSettings.from_config(
        config,
        segment_seconds=segment,
        overlap=overlap,
        batch_size=batch,
        amp_dtype=AMP_DTYPE[dtype],
    )
    tracks, notes = find_tracks(Path(reference))
    for track in tracks:
        notes += check(track, model=path.stem, audio=config.audio)

    report(Notice(f"device {chosen.device}: {chosen.reason}"))
    model = weights.load(name, chosen.device)
    configure(
        chosen.device,
        tf32=config.training.tf32,
        cudnn_benchmark=config.training.cudnn_benchmark,
        flash_attention=config.training.flash_attention,
    )
    scores: list[StemScore] = []
    skipped: list[str] = []
    for found, left_out in _score_all(model.separator, tracks, settings, report):
        scores += found
        skipped += left_out
    if not scores:
        raise MssctlError(
            f"{reference}: nothing to score: {'; '.join(skipped)}",
            hint="a stem needs a reference that is not silent",
        )
    return EvalResult(
        model=model.name,
        sha256=model.sha256,
        device=str(chosen.device),
        dtype=dtype,
        reference=str(reference),
        tracks=len(tracks),
        definitions=dict(DEFINITIONS),
        settings={
            "sample_rate": config.audio.sample_rate,
            "segment_seconds": settings.segment / config.audio.sample_rate,
            "overlap": settings.overlap,
            "fade": settings.fade,
            "batch_size": settings.batch_size,
            "mix_consistent": settings.mix_consistent and config.audio.complete,
            **model.separator.backends(),
        },
        means=means(scores, config.audio.outputs),
        counts=counts(scores, config.audio.outputs),
        scores=scores,
        skipped=skipped,
        notes=notes,
    )


def _score_all(
    model: Separator,
    tracks: Sequence[ReferenceTrack],
    settings: SeparationSettings,
    report: Reporter,
) -> Iterator[tuple[list[StemScore], list[str]]]:
    """Separate and score track by track: the scores, and the stems left out."""
    task, rate = "eval", None
    for number, track in enumerate(tracks):
        report(Progress(task, number, len(tracks), "tracks", rate, "x real time"))
        audio = read(track, model.stems)
        start = time.perf_counter()
        estimates = _separate(model, track.name, audio.mixture, settings)
        seconds = audio.mixture.shape[-1] / model.sample_rate
        rate = seconds / (time.perf_counter() - start)
        yield score_track(track.name, audio.stems, estimates, audio.mixture)
    report(Progress(task, len(tracks), len(tracks), "tracks", rate, "x real time"))


def _separate(
    model: Separator, track: str, mixture: Array, settings: SeparationSettings
) -> dict[str, Array]:
    """Stem -> estimate ``(C, N)``, for a mixture ``(C, N)``."""
    with memory_errors(track):
        estimates = separate_array(model, torch.from_numpy(mixture), settings)
    return dict(zip(model.stems, estimates.numpy(), strict=True))
