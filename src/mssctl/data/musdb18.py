"""MUSDB18: its validation tracks, and the ``.stem.mp4`` files of its compressed form.

A ``.stem.mp4`` holds five AAC streams. AAC has no exact and fast way to a place in the middle, so
each file is decoded once, into the cache, and read by seeking from there.
"""

import hashlib
import os
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path

from mssctl.audio.encoding import W64_FLOAT
from mssctl.audio.files import blocks, inspect
from mssctl.audio.writer import AtomicWriter
from mssctl.data.cache import decoded_folder, stamp
from mssctl.data.names import MIXTURE, STEM_MP4
from mssctl.documents import read_yaml
from mssctl.errors import ExitCode, MssctlError

STREAMS = (MIXTURE, "drums", "bass", "other", "vocals")
_BLOCK = 65_536  # samples per channel decoded at once


@cache
def validation_tracks() -> frozenset[str]:
    """Names of the 14 tracks of the training folder that the field validates on.

    They stand in a file of the package musdb, which is read without importing the package: that
    would ask for ffmpeg.
    """
    spec = find_spec("musdb")
    if spec is None or spec.origin is None:
        raise MssctlError(
            "the package musdb is not installed",
            hint="pip install musdb",
            exit_code=ExitCode.ENVIRONMENT,
        )
    settings = Path(spec.origin).parent / "configs" / "mus.yaml"
    return frozenset(read_yaml(settings)["validation_tracks"])


def decoded(path: Path) -> dict[str, Path]:
    """The five streams of a ``.stem.mp4`` as float WAVE files in the cache, decoded if need be.

    Raises:
        MssctlError: the file is damaged or has other streams, or there is no space.
    """
    try:
        name = hashlib.blake2b(
            os.fsencode(path.absolute()) + stamp([path]).encode(), digest_size=16
        ).hexdigest()
    except OSError as error:
        raise MssctlError(f"{path}: cannot be read: {error.strerror}") from None
    folder = decoded_folder(name, partial(_decode, path))
    return {stream: folder / f"{stream}.w64" for stream in STREAMS}


def _decode(path: Path, folder: Path) -> None:
    """Decode all streams; any damage is an error."""
    info = inspect(path)
    if info.audio_streams != len(STREAMS):
        raise MssctlError(
            f"{path}: {info.audio_streams} audio streams, a {STEM_MP4} file has {len(STREAMS)}",
            hint="copy or export the file again",
        )
    lengths = set()
    for number, stream in enumerate(STREAMS):
        frames = 0
        target = folder / f"{stream}.w64"
        with AtomicWriter(target, info.sample_rate, info.channels, W64_FLOAT) as writer:
            for block in blocks(path, _BLOCK, stream=number):
                writer.write(block)
                frames += block.shape[1]
        lengths.add(frames)
    if len(lengths) > 1:
        raise MssctlError(f"{path}: damaged: its streams have {len(lengths)} different lengths")
