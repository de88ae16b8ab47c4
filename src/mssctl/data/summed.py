"""Stems that are several files: added up once, into the cache.

A song whose stems are one file each, all of one length and channel count, needs no copy.
"""

import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from mssctl.audio.encoding import W64_FLOAT
from mssctl.audio.files import AudioInfo, blocks, probe
from mssctl.audio.writer import AtomicWriter
from mssctl.data.cache import decoded_folder, stamp
from mssctl.data.folders import real, refuse_broken_link
from mssctl.errors import MssctlError

_BLOCK = 65_536  # samples per channel added at once


def summed(parts: Mapping[str, Sequence[Path]]) -> dict[str, Path]:
    """A file for each stem: its only one, or the sum of its files in the cache.

    Sums are 32-bit float, as long as the longest file of the song (silence follows the end of a
    shorter one), with as many channels as the widest (a mono file fills them all).

    Raises:
        MssctlError: a file cannot be read, sample rates differ, or there is no space.
    """
    files = [path for paths in parts.values() for path in paths]
    for path in files:
        refuse_broken_link(path)
    infos = {path: probe(path) for path in files}
    _refuse_other_rates(infos)
    frames = max(info.frames for info in infos.values())
    channels = max(info.channels for info in infos.values())
    alike = all((info.frames, info.channels) == (frames, channels) for info in infos.values())
    if alike and all(len(paths) == 1 for paths in parts.values()):
        return {stem: paths[0] for stem, paths in parts.items()}
    rate = next(iter(infos.values())).sample_rate

    def fill(folder: Path) -> None:
        for stem, paths in parts.items():
            with AtomicWriter(folder / f"{stem}.w64", rate, channels, W64_FLOAT) as writer:
                _write(writer, paths, frames, channels)

    folder = decoded_folder(_key(parts, files), fill)
    return {stem: folder / f"{stem}.w64" for stem in parts}


def _write(writer: AtomicWriter, paths: Sequence[Path], frames: int, channels: int) -> None:
    streams = [blocks(path, _BLOCK) for path in paths]
    waiting = [np.empty((channels, 0), np.float32) for _ in paths]
    done = 0
    while done < frames:
        size = min(_BLOCK, frames - done)
        total = np.zeros((channels, size), np.float64)
        for number, stream in enumerate(streams):
            while waiting[number].shape[1] < size and (block := next(stream, None)) is not None:
                wide = np.broadcast_to(block, (channels, block.shape[1]))
                waiting[number] = np.concatenate([waiting[number], wide], axis=1)
            piece, waiting[number] = waiting[number][:, :size], waiting[number][:, size:]
            total[:, : piece.shape[1]] += piece
        writer.write(total.astype(np.float32))
        done += size
    if any(
        rest.shape[1] or next(stream, None) is not None
        for rest, stream in zip(waiting, streams, strict=True)
    ):
        raise MssctlError(f"{paths[0]}: it or a file of its stem is longer than its header says")


def _refuse_other_rates(infos: Mapping[Path, AudioInfo]) -> None:
    first, *others = infos.items()
    for path, info in others:
        if info.sample_rate != first[1].sample_rate:
            raise MssctlError(
                f"{path}: {info.sample_rate} Hz, but {first[0]} has {first[1].sample_rate} Hz",
                hint="resample it",
            )
    widths = {info.channels for info in infos.values()} - {1}
    if len(widths) > 1:
        raise MssctlError(
            f"{first[0]}: files of this song have {max(widths)} and {min(widths)} channels",
            hint="mix them down first",
        )


def _key(parts: Mapping[str, Sequence[Path]], files: Sequence[Path]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for stem, paths in parts.items():
        digest.update(b"\0\0".join([stem.encode(), *(os.fsencode(real(p)) for p in paths)]))
        digest.update(b"\0\0\0")
    digest.update(stamp(files).encode())
    return digest.hexdigest()
