"""``mssctl models try``: one song through several models, to compare them by number and by ear."""

import traceback
from collections import Counter
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

from mssctl.api.separate import separate
from mssctl.audio import files
from mssctl.audio.files import AudioInfo
from mssctl.audio.writer import AtomicWriter
from mssctl.errors import ExitCode, MssctlError
from mssctl.evaluation.likeness import likeness
from mssctl.events import Notice, Reporter, silent
from mssctl.failures import failure
from mssctl.files import FileSet, refuse_existing
from mssctl.hardware.machine import GIB
from mssctl.hardware.peak import peak_during
from mssctl.hub.pull import Confirm, nobody
from mssctl.options.models import TryOptions
from mssctl.options.separate import SeparateOptions
from mssctl.pages import listening
from mssctl.pages.listening.tracks import Take
from mssctl.results.common import FileFailure
from mssctl.results.models import StemLikeness, TriedModel, TryResult
from mssctl.separation.excerpt import Excerpt
from mssctl.separation.formats import StemFormat
from mssctl.separation.open_model import FoundModel, find_model
from mssctl.separation.outputs import folder_for_outputs

_PAGE = "listen"
_MIXTURE = "mixture.wav"


def try_models(
    song: Path | str,
    options: TryOptions | None = None,
    *,
    confirm: Confirm = nobody,
    report: Reporter = silent,
    **changes: Any,
) -> TryResult:
    """Separate a song with several models, one after the other, and write a page to compare them.

    A model that cannot be used or fails does not stop the others.

    Args:
        song: the file.
        options: the models, and how; two models at least.
        confirm: asks about the license of a model that is fetched first, if it is not stated.
        report: receives events.
        changes: fields of `TryOptions`, instead of those in ``options``.

    Raises:
        MssctlError: fewer than two models, or outputs that exist already (exit 2); the song cannot
            be read (exit 4); the folder cannot be written (exit 3). Nothing is separated then.
    """
    given = TryOptions.given(options, changes)
    if len(given.name) < 2:
        raise MssctlError(
            "`name`: a comparison needs two models or more",
            hint="name several: -n A -n B, or name=['A', 'B']",
            exit_code=ExitCode.USAGE,
        )
    source = Path(song)
    info = files.probe(source)
    excerpt = Excerpt(given.start or 0.0, given.duration)
    excerpt.frames(info)  # refuses one after the song's end
    folder = Path("tried") / source.stem if given.out is None else Path(given.out)
    models, failures = _find(given, confirm, report)
    if not given.overwrite:
        for name in (*models, _PAGE, _MIXTURE):
            refuse_existing(folder / name, hint="`overwrite` replaces stems and page of before")
    tried: list[TriedModel] = []
    page = None
    with folder_for_outputs(folder):
        for name, model in models.items():
            try:
                tried.append(_tried(source, folder / name, model, given, report))
            except Exception as error:  # noqa: BLE001 (the other models are still tried)
                failures.append(failure(name, error))
                if not isinstance(error, MssctlError | OSError | MemoryError):
                    report(Notice(traceback.format_exc(), level="warning"))
                report(Notice(f"{name} failed, continuing", level="warning"))
        if tried:
            try:
                page = _page(folder, info, tried, given, report)
            except (MssctlError, OSError) as error:
                failures.append(failure(str(folder / _PAGE), error))
    first = Path(next(iter(tried[0].stems.values()))) if tried else None
    seconds = files.probe(first).seconds if first else 0.0
    return TryResult(str(source), seconds, tried, _compared(tried), page, failures)


def _find(
    given: TryOptions, confirm: Confirm, report: Reporter
) -> tuple[dict[str, FoundModel], list[FileFailure]]:
    """The models by the names they have on the page, and those that cannot be used.

    All are found, or fetched, before the first one runs.

    Raises:
        MssctlError: a model is named twice (exit 2).
    """
    found: list[FoundModel] = []
    failures = []
    for name in given.name:
        try:
            model = find_model(
                name,
                given.device,
                given.dtype,
                accept_license=given.accept_license,
                confirm=confirm,
                report=report,
            )
        except (MssctlError, OSError) as error:
            failures.append(failure(name, error))
            report(Notice(f"{name} cannot be used, continuing", level="warning"))
            continue
        if model.path.resolve() in [one.path.resolve() for one in found]:
            raise MssctlError(f"`name` {name}: named twice", exit_code=ExitCode.USAGE)
        found.append(model)
    return dict(zip(_names(found), found, strict=True)), failures


def _names(models: Sequence[FoundModel]) -> list[str]:
    """A name for each: its own, or with its folder, such as that of its run, or with a number."""
    own = Counter(model.name for model in models)
    names: list[str] = []
    for model in models:
        parent = model.path.resolve().parent.name
        name = model.name if own[model.name] == 1 else f"{parent}-{model.name}"
        if name.casefold() in [taken.casefold() for taken in (*names, _PAGE, _MIXTURE)]:
            name = f"{name}-{len(names) + 1}"
        names.append(name)
    return names


def _tried(
    source: Path, folder: Path, model: FoundModel, given: TryOptions, report: Reporter
) -> TriedModel:
    """Separate the song with one model.

    Raises:
        MssctlError: it failed.
    """
    report(Notice(f"model {folder.name}"))
    options = SeparateOptions(
        name=str(model.path),
        out=folder,
        filename="{stem}.{ext}",
        device=given.device,
        dtype=given.dtype,
        start=given.start,
        duration=given.duration,
        bit_depth="float32",  # no clipping, no rescaling: all models at one level
        existing="overwrite" if given.overwrite else "error",
        accept_license=given.accept_license,
    )
    with peak_during(model.device.device) as peak:
        result = separate(source, options, report=report)
    if not result.songs:
        failed = result.failures[0]
        raise MssctlError(failed.error, failed.hint, ExitCode(failed.exit_code))
    song = result.songs[0]
    return TriedModel(
        name=folder.name,
        path=str(model.path),
        license=result.license,
        device=result.device,
        dtype=result.dtype,
        speed=song.speed,
        memory_gib=(peak.main if peak.gpu is None else peak.gpu) / GIB,
        stems=song.stems,
        notes=song.notes,
    )


def _page(
    folder: Path, info: AudioInfo, tried: Sequence[TriedModel], given: TryOptions, report: Reporter
) -> str:
    """Write the page; its path."""
    takes = [
        Take(
            one.name, {stem: Path(path) for stem, path in one.stems.items()}, one.license, one.speed
        )
        for one in tried
    ]
    mixture = info.path
    if given.start is not None or given.duration is not None:
        mixture = folder / _MIXTURE
        _write_excerpt(info, Excerpt(given.start or 0.0, given.duration), mixture)
    return listening.write(
        folder / _PAGE, info.path.stem, takes, mixture, overwrite=given.overwrite, report=report
    ).path


def _write_excerpt(info: AudioInfo, excerpt: Excerpt, path: Path) -> None:
    """The part of the song that the models were given."""
    encoding = StemFormat("wav", "float32").encoding(info)
    with (
        FileSet(path.parent, overwrite=True) as output,
        AtomicWriter(path, info.sample_rate, info.channels, encoding, output) as file,
    ):
        for block in excerpt.of(info):
            file.write(block.numpy())


def _compared(tried: Sequence[TriedModel]) -> list[StemLikeness]:
    """Each stem of each two models that both give it."""
    return [
        StemLikeness(stem, one.name, other.name, likeness(Path(path), Path(other.stems[stem])))
        for one, other in combinations(tried, 2)
        for stem, path in one.stems.items()
        if stem in other.stems
    ]
