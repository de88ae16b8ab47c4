"""Errors about audio files, worded the same for every format."""

from pathlib import Path

from mssctl.errors import MssctlError

_AGAIN = "copy or export the file again"


class UnknownFormatError(MssctlError):
    """Neither libsndfile nor FFmpeg recognizes the file."""


def unknown_kind(path: Path) -> MssctlError:
    """No decoder knows the audio in a container that is known."""
    return MssctlError(f"{path}: audio of an unknown kind", hint="convert it to wav or flac first")


def no_frames(path: Path) -> MssctlError:
    """There is a header and nothing after it."""
    return MssctlError(f"{path}: no audio frames", hint="check that the file is complete")


def absurd(path: Path, rate: int, channels: int) -> MssctlError:
    """Numbers in a header that no recording has."""
    return MssctlError(
        f"{path}: {rate} Hz, {channels} channels: implausible for audio",
        hint="the header may be damaged; export the file again",
    )


def cut_off(path: Path, seconds: float, stated: float | None = None) -> MssctlError:
    """The file ends before its audio does."""
    instead = "" if stated is None else f" instead of {stated:.2f} s"
    return MssctlError(f"{path}: cut off: {seconds:.2f} s of audio{instead}", hint=_AGAIN)


def bytes_missing(path: Path, missing: int) -> MssctlError:
    """The file is shorter than its header states."""
    share = missing / (path.stat().st_size + missing)
    return MssctlError(
        f"{path}: cut off: {missing} bytes that its header states are missing ({share:.0%})",
        hint=_AGAIN,
    )


def damaged(path: Path, seconds: float | None, what: str) -> MssctlError:
    """The audio is not what it was, from ``seconds`` on; None where nobody can say from where."""
    place = "" if seconds is None else f" at {seconds:.2f} s"
    return MssctlError(f"{path}: damaged{place}: {what}", hint=_AGAIN)


def changed(path: Path) -> MssctlError:
    """Another program wrote to the file while it was read."""
    return MssctlError(
        f"{path}: changed while it was read", hint="wait until nothing writes to it, then try again"
    )
