"""``mssctl separate``: songs in, one file per stem out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from mssctl.errors import ExitCode, MssctlError
from mssctl.events import Reporter, silent
from mssctl.hardware.device import Dtype
from mssctl.results.separate import SeparateResult
from mssctl.separation import outputs
from mssctl.separation.formats import BitDepth, ClipMode, Format, StemFormat, check_choice
from mssctl.separation.open_model import find_model
from mssctl.separation.outputs import Existing, Namer
from mssctl.separation.song import SongSeparation
from mssctl.separation.songs import separate_songs
from mssctl.separation.stems import OtherMethod, select
from mssctl.separation.stream import SeparationSettings, check_numbers


def separate(
    songs: Path | str | Sequence[Path | str],
    *,
    name: str = "starter",
    out: Path | str | None = None,
    filename: str = outputs.DEFAULT_TEMPLATE,
    device: str = "auto",
    dtype: Dtype = "auto",
    segment: float | None = None,
    overlap: float | None = None,
    batch: int | None = None,
    shifts: int = 1,
    seed: int | None = None,
    stems: Sequence[str] | None = None,
    two_stems: str | None = None,
    other_method: OtherMethod | None = None,
    format: Format = "wav",  # noqa: A002 (the flag's name)
    bit_depth: BitDepth = "auto",
    clip_mode: ClipMode | None = None,
    existing: Existing = "error",
    fail_fast: bool = False,
    report: Reporter = silent,
) -> SeparateResult:
    """Split songs into stems that have each song's rate, channels and length, and add up to it.

    Args:
        songs: files, folders (walked) and patterns, one or several.
        name: bundled model, or path of a ``.safetensors`` file.
        out: folder of the outputs; ``separated/{model}`` if None.
        filename: template below ``out``, see `mssctl.separation.outputs.Namer`.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
        dtype: inside the model; ``auto`` is bf16 on CUDA (below compute capability 8.0, which
            has none, fp16; below 7.0 fp32) and fp32 elsewhere.
        segment: seconds that the model sees at once; None as in its configuration.
        overlap: fraction of a segment shared with the next; None likewise.
        batch: segments computed at once; None likewise.
        shifts: passes to average, all but the first with randomly shifted segments.
        seed: of the shifts, of two and more; None is 0.
        stems: write only these.
        two_stems: write this stem and the rest, see `mssctl.separation.stems.select`.
        other_method: what the rest is; None is ``add``.
        format: of the files.
        bit_depth: ``auto`` keeps that of the input, 16 at least.
        clip_mode: for samples beyond full scale; None: ``rescale``, but ``none`` for float32.
        existing: what to do where outputs exist already.
        fail_fast: stop at the first song that fails.
        report: is told what happens.

    Returns:
        What was written, and the songs that failed: those never stop the others.

    Raises:
        MssctlError: a setting, the model, the device or the output folder is of no use, or an
            output exists already; nothing has been done then.
    """
    files = StemFormat(format, bit_depth, clip_mode)
    check_choice("existing", existing, get_args(Existing))
    if out is not None and not str(out).strip():
        raise MssctlError("out: the folder's name is blank", exit_code=ExitCode.USAGE)
    check_numbers(segment, overlap, batch, shifts, seed)
    if seed is not None and shifts == 1:
        raise MssctlError(
            "--seed does nothing without --shifts of 2 or more", exit_code=ExitCode.USAGE
        )
    model = find_model(name, device, dtype)
    selection = select(
        model.config.audio.outputs,
        only=stems,
        two_stems=two_stems,
        other_method=other_method,
        whole=model.config.audio.complete,
    )
    folder = Path("separated") / model.name if out is None else Path(out)
    settings = SeparationSettings.from_config(
        model.config,
        segment_seconds=segment,
        overlap=overlap,
        batch_size=batch,
        amp_dtype=model.dtype.amp_dtype,
        mix_consistent=False,  # done at the song's own rate, see SongSeparation.outputs
        shifts=shifts,
        seed=seed or 0,
    )
    namer = Namer(folder, filename, model.name, format)
    run = SongSeparation(namer, selection, settings, files, existing, report)
    arguments = [songs] if isinstance(songs, str | Path) else songs
    with outputs.folder_for_outputs(folder):
        done, failures = separate_songs(run, arguments, model, fail_fast=fail_fast)
    return SeparateResult(model.name, str(model.device.device), model.dtype.name, done, failures)
