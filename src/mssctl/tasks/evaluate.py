"""``mssctl eval``: separate reference mixtures with a model and score the stems."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from mssctl import __version__
from mssctl.errors import ExitCode, MssctlError
from mssctl.evaluation.frames import passport, score_frames, spreads
from mssctl.evaluation.references import ReferenceTrack, check, find_tracks, read
from mssctl.evaluation.scores import counts, means, score_track
from mssctl.evaluation.sdr import DEFINITIONS, Array
from mssctl.events import Notice, Progress, Reporter, silent
from mssctl.hardware.device import choose_device, configure
from mssctl.models import weights
from mssctl.models.base import Separator
from mssctl.results import EvalResult, Spread
from mssctl.separation.separator import SeparationSettings, memory_errors, separate_array
from mssctl.tasks.eval_store import Store, packed, unpacked, write, write_csv
from mssctl.tasks.separate import AMP_DTYPE, Dtype, check_numbers

Metrics = Literal["default", "bsseval"]


@dataclass(frozen=True)
class Frames:
    """How BSSEval cuts the tracks: seconds, and whether references are rounded to 16 bit."""

    window: float = 1.0
    hop: float = 1.0
    grid16: bool = True


def evaluate(
    *,
    name: str = "starter",
    reference: Path | str,
    device: str = "auto",
    dtype: Dtype = "auto",
    segment: float | None = None,
    overlap: float | None = None,
    batch: int | None = None,
    metrics: Metrics = "default",
    frames: Frames = Frames(),
    out: Path | str | None = None,
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
        metrics: ``default`` is uSDR and SI-SDR; ``bsseval`` adds BSSEval v4.
        frames: windows of BSSEval.
        out: folder for a document per track, ``scores.csv`` and ``summary.json``; tracks scored
            there before, with the same model, settings and files, are not computed again.
        report: is told what happens.

    Raises:
        MssctlError: no such model or device (exit 3); no tracks, audio that does not fit the
            model, unequal lengths, damaged audio, or nothing but silence (exit 4).
    """
    check_numbers(segment, overlap, batch, shifts=1)
    if not (0.0 < frames.window < float("inf") and 0.0 < frames.hop < float("inf")):
        raise MssctlError("--window and --hop are seconds above 0", exit_code=ExitCode.USAGE)
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
    run_settings: dict[str, str | int | float | bool] = {
        "sample_rate": config.audio.sample_rate,
        "segment_seconds": settings.segment / config.audio.sample_rate,
        "overlap": settings.overlap,
        "fade": settings.fade,
        "batch_size": settings.batch_size,
        "mix_consistent": settings.mix_consistent and config.audio.complete,
        **model.separator.backends(),
    }
    asked = frames if metrics == "bsseval" else None
    definition = {} if asked is None else passport(asked.window, asked.hop, asked.grid16)
    store = Store(
        None if out is None else Path(out),
        {
            "program": f"mssctl {__version__}",
            "model": model.name,
            "sha256": model.sha256,
            "device": str(chosen.device),
            "dtype": dtype,
            "settings": run_settings,
            "metrics": dict(DEFINITIONS),
            "bsseval": definition,
        },
    )
    documents = list(_score_all(model.separator, tracks, settings, asked, store, report))
    scores = [item for document in documents for item in unpacked(document)]
    skipped = [reason for document in documents for reason in document["skipped"]]
    if not scores:
        raise MssctlError(
            f"{reference}: nothing to score: {'; '.join(skipped)}",
            hint="a stem needs a reference that is not silent",
        )
    framewise = [document for document in documents if "targets" in document]
    result = EvalResult(
        model=model.name,
        sha256=model.sha256,
        device=str(chosen.device),
        dtype=dtype,
        reference=str(reference),
        tracks=len(tracks),
        definitions=dict(DEFINITIONS),
        settings=run_settings,
        means=means(scores, config.audio.outputs),
        counts=counts(scores, config.audio.outputs),
        scores=scores,
        skipped=skipped,
        notes=notes,
        passport=definition,
        bsseval=_ordered(spreads(framewise), config.audio.outputs),
        ill_conditioned=[d["track"] for d in framewise if d["ill_conditioned"]],
        out=None if out is None else str(out),
    )
    if out is not None:
        write_csv(Path(out) / "scores.csv", scores, framewise)
        write(Path(out) / "summary.json", asdict(result))
    return result


def _ordered(
    table: dict[str, dict[str, Spread]], stems: Sequence[str]
) -> dict[str, dict[str, Spread]]:
    """The rows in the model's order of stems."""
    return {stem: table[stem] for stem in stems if stem in table}


def _score_all(
    model: Separator,
    tracks: Sequence[ReferenceTrack],
    settings: SeparationSettings,
    frames: Frames | None,
    store: Store,
    report: Reporter,
) -> Iterator[dict[str, Any]]:
    """Separate and score track by track, unless the store has a track: its document."""
    task, rate = "eval", None
    for number, track in enumerate(tracks):
        report(Progress(task, number, len(tracks), "tracks", rate, "x real time"))
        document = store.find(track)
        if document is None:
            audio = read(track, model.stems)
            start = time.perf_counter()
            estimates = _separate(model, track.name, audio.mixture, settings)
            seconds = audio.mixture.shape[-1] / model.sample_rate
            rate = seconds / (time.perf_counter() - start)
            scores, skipped = score_track(track.name, audio.stems, estimates, audio.mixture)
            document = {"track": track.name, **packed(scores, skipped)}
            if frames is not None and scores:
                true = {item.stem: audio.stems[item.stem] for item in scores}
                document |= _frames(track.name, true, estimates, model.sample_rate, frames)
            document = store.keep(track, document)
        yield document
    report(Progress(task, len(tracks), len(tracks), "tracks", rate, "x real time"))


def _frames(
    track: str, true: dict[str, Array], estimates: dict[str, Array], rate: int, frames: Frames
) -> dict[str, Any]:
    """BSSEval of a track."""
    try:
        return score_frames(
            true,
            estimates,
            rate=rate,
            window=frames.window,
            hop=frames.hop,
            grid16=frames.grid16,
        )
    except ValueError as error:
        raise MssctlError(f"{track}: BSSEval: {error}") from None


def _separate(
    model: Separator, track: str, mixture: Array, settings: SeparationSettings
) -> dict[str, Array]:
    """Stem -> estimate ``(C, N)``, for a mixture ``(C, N)``."""
    with memory_errors(track):
        estimates = separate_array(model, torch.from_numpy(mixture), settings)
    return dict(zip(model.stems, estimates.numpy(), strict=True))
