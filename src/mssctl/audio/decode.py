"""Formats that libsndfile lacks (m4a, wma, ...): decoded by ffmpeg into a temporary file."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from mssctl.audio.files import AudioInfo, UnknownFormatError, probe
from mssctl.errors import ExitCode, MssctlError

# Names that say "audio": what a walk through a folder picks up.
SNDFILE_SUFFIXES = frozenset(
    ".aif .aiff .aifc .au .caf .flac .mp3 .oga .ogg .opus .rf64 .snd .w64 .wav .wave".split()
)
FFMPEG_SUFFIXES = frozenset(
    ".3gp .aac .ac3 .alac .amr .ape .dsf .dts .m4a .m4b .mka .mkv .mov .mp2 .mp4 .mpc .tta .webm "
    ".wma .wv".split()
)


def check(path: Path) -> AudioInfo | None:
    """Cheap look at a file: its header, or None where only ffmpeg can read it, and says it can.

    Raises:
        MssctlError: nothing here can read it.
    """
    try:
        return probe(path)
    except UnknownFormatError:
        if shutil.which("ffmpeg"):
            _ffmpeg(path, "-t", "0", "-f", "null", "-")
            return None
        if path.suffix.lower() in FFMPEG_SUFFIXES:
            raise MssctlError(
                f"{path}: {path.suffix} files need ffmpeg, which is not installed",
                hint="install ffmpeg, or convert the file to wav or flac",
            ) from None
        raise MssctlError(
            f"{path}: not an audio file, or of an unknown format",
            hint="wav, flac, mp3, ogg and aiff are read directly, others with ffmpeg installed",
        ) from None


@contextmanager
def readable(path: Path, folder: Path) -> Iterator[AudioInfo]:
    """A file that `files.blocks` can read: ``path`` itself, or a decoded copy in ``folder``.

    ``info.path`` is the file to read; the copy is gone when the block is left. A decoded
    original counts as 24 bit (``subtype``), so that nothing is lost by default.
    """
    info = check(path)
    if info is not None:
        yield info
        return
    with tempfile.NamedTemporaryFile(dir=folder, prefix=".mssctl-", suffix=".part") as copy:
        target = f"file:{Path(copy.name).resolve()}"
        _ffmpeg(path, "-c:a", "pcm_f32le", "-f", "w64", target)  # W64 has no size limit
        try:
            yield replace(probe(Path(copy.name)), subtype="PCM_24")
        except MssctlError as error:  # about the copy, of which nobody knows
            message = error.message.replace(copy.name, str(path))
            raise MssctlError(message, error.hint, error.exit_code) from None


def _ffmpeg(path: Path, *output: str) -> None:
    """Decode the first audio stream of ``path``; a stream that is damaged is an error."""
    source = f"file:{path.resolve()}"
    command = ["ffmpeg", "-nostdin", "-v", "error", "-xerror", "-y", "-i", source]
    command += ["-map", "0:a:0", "-vn", *output]
    try:
        done = subprocess.run(command, capture_output=True, check=False)  # noqa: S603 (own list)
    except OSError as error:
        raise MssctlError(
            f"ffmpeg cannot be started: {error.strerror}", exit_code=ExitCode.ENVIRONMENT
        ) from None
    if done.returncode:
        detail = done.stderr.decode(errors="replace").strip().splitlines()
        raise MssctlError(
            f"{path}: not an audio file that libsndfile or ffmpeg can read, or damaged",
            hint=f"ffmpeg says: {detail[-1]}" if detail else None,
        )
