"""Where the stems go: file names from a template, and no file lost by accident."""

import errno
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from string import Formatter

import numpy as np

from mssctl.audio import files
from mssctl.audio.files import AudioInfo
from mssctl.errors import ExitCode, MssctlError, did_you_mean
from mssctl.files import storage_error
from mssctl.options.separate import Existing
from mssctl.separation.inputs import Song
from mssctl.staging import sweep

EXISTING_HINT = "`existing=overwrite` replaces it, `existing=skip` keeps it"
REDO_HINT = "`existing=overwrite` makes the stems of this song again"

_BLOCK = 65_536  # frames read at once
_ROUNDING = 2.0**-13  # a few steps of 16 bit, for a GPU that does not repeat its last digits
_FIELDS = ["track", "stem", "ext", "trackext", "model", "dir"]


class Namer:
    """Gives each stem its file below ``out``.

    Args:
        out: folder of all outputs.
        template: with the fields ``{track}`` (file name without suffix), ``{stem}``, ``{ext}``,
            ``{trackext}`` (the input's suffix), ``{model}`` and ``{dir}`` (see `Song.folder`).
        model: name of the model.
        ext: suffix of the outputs, without dot.

    Raises:
        MssctlError: an unknown field, or text that is no template (exit 2).
    """

    def __init__(self, out: Path, template: str, model: str, ext: str) -> None:
        _check_template(template)
        self.out = out
        self._template = template
        self._known = {"model": model, "ext": ext}

    def path(self, song: Song, stem: str) -> Path:
        """The file for one stem of one song.

        Raises:
            MssctlError: the template leads out of the folder (exit 2).
        """
        name = self._template.format(
            track=song.path.stem,
            trackext=song.path.suffix.removeprefix("."),
            dir=song.folder,
            stem=stem,
            **self._known,
        )
        path = Path(os.path.normpath(name))
        if path.is_absolute() or ".." in path.parts or path == Path() or "\0" in name:
            raise MssctlError(
                f"`filename` {self._template}: '{name}' is not a file below the output folder",
                hint="choose the folder with `out`",
                exit_code=ExitCode.USAGE,
            )
        return self.out / path


def _check_template(template: str) -> None:
    try:
        parts = list(Formatter().parse(template))
    except ValueError as error:
        raise MssctlError(f"`filename` {template}: {error}", exit_code=ExitCode.USAGE) from None
    for _, field, spec, conversion in parts:
        if field is None:
            continue
        if field not in _FIELDS or spec or conversion:
            shown = field + (f"!{conversion}" if conversion else "") + (f":{spec}" if spec else "")
            raise MssctlError(
                f"`filename` {template}: unknown field {{{shown}}}",
                hint=did_you_mean(field, _FIELDS),
                exit_code=ExitCode.USAGE,
            )


def check_distinct(namer: Namer, songs: Sequence[Song], stems: Sequence[str]) -> None:
    """Make sure that no two outputs have one path, and none is a song's own file.

    Raises:
        MssctlError: they have (exit 2).
    """
    inputs = {song.path.resolve() for song in songs}
    seen: dict[str, str] = {}
    for song in songs:
        for stem in stems:
            path = namer.path(song, stem)
            source = f"{song.path} ({stem})"
            other = seen.setdefault(os.path.normcase(path), source)
            if other != source:
                raise MssctlError(
                    f"{path}: both {other} and {source} would be written there",
                    hint="tell them apart with `filename` '{dir}/{track}.{trackext}/{stem}.{ext}'",
                    exit_code=ExitCode.USAGE,
                )
            if path.resolve() in inputs:
                raise MssctlError(
                    f"{path}: {source} would be written over an input",
                    hint="choose another folder with `out`",
                    exit_code=ExitCode.USAGE,
                )


def already_there(paths: Sequence[Path], existing: Existing) -> list[Path]:
    """The outputs of a song that are there already and stay as they are.

    Raises:
        MssctlError: one is there, and nothing says what to do about it (exit 2), or a folder is.
    """
    there = [path for path in paths if os.path.lexists(path)]
    folder = next((path for path in there if path.is_dir()), None)
    if folder:
        raise MssctlError(
            f"{folder}: a folder is in the place of an output",
            hint="choose another folder with `out`",
            exit_code=ExitCode.USAGE,
        )
    if there and existing == "error":
        raise MssctlError(
            f"{there[0]}: exists already", hint=EXISTING_HINT, exit_code=ExitCode.USAGE
        )
    return there if existing == "skip" else []


def check_kept(paths: Sequence[Path], song: AudioInfo | None) -> AudioInfo:
    """Make sure that files are the stems of a song, as far as their form shows it.

    Args:
        paths: of the stems.
        song: what its own file holds; None or 0 frames if it takes decoding to know.

    Returns:
        What the stems hold.

    Raises:
        MssctlError: one is not audio, cut off, or of another length, rate or channels.
    """
    stems = [_kept(path) for path in paths]
    whole = song if song and song.frames else stems[0]
    for stem in stems:
        if _form(stem) != _form(whole):
            raise MssctlError(
                f"{stem.path}: is not a stem of this song: it has {_words(stem)}, "
                f"{'the song' if whole is song else 'another stem'} {_words(whole)}",
                hint=REDO_HINT,
            )
    return stems[0]


def same_samples(path: Path, other: Path) -> bool:
    """Whether two files hold the same audio, to rounding."""
    try:
        if _form(files.probe(path)) != _form(files.probe(other)):
            return False
        pairs = zip(files.blocks(path, _BLOCK), files.blocks(other, _BLOCK), strict=True)
        return all(np.allclose(one, two, rtol=0, atol=_ROUNDING) for one, two in pairs)
    except (MssctlError, ValueError):
        return False


def _kept(path: Path) -> AudioInfo:
    """A stem that is there, read at its end: there a cut shows."""
    try:
        info = files.probe(path)
        files.read(path, max(0, info.frames - _BLOCK))
    except MssctlError as error:
        message = error.message.removeprefix(f"{path}: ")
        raise MssctlError(f"{path}: cannot be kept: {message}", hint=REDO_HINT) from None
    return info


def _form(info: AudioInfo) -> tuple[int, int, int]:
    return info.frames, info.sample_rate, info.channels


def _words(info: AudioInfo) -> str:
    return f"{info.frames} frames of {info.channels} channels at {info.sample_rate} Hz"


@contextmanager
def folder_for_outputs(path: Path) -> Iterator[None]:
    """Make a folder, with its parents; afterwards remove those made that stayed empty.

    Raises:
        MssctlError: it cannot be made, or nothing can be written into it (exit 3).
    """
    made = [folder for folder in (path, *path.parents) if not os.path.lexists(folder)]
    try:
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise storage_error(path, error) from None
        if not os.access(path, os.W_OK | os.X_OK):
            raise storage_error(path, PermissionError(errno.EACCES, ""))
        sweep(path)  # also where everything is kept and nothing is written
        yield
    finally:
        for folder in made:
            # Unlike Path.is_dir, this takes a name that is too long.
            if os.path.isdir(folder) and not any(folder.iterdir()):  # noqa: PTH112
                folder.rmdir()
