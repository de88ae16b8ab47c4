"""Damaged songs through ``separate``: found, harmless, silent, or a broken promise.

What a file can show of a damage that changes its audio, and what is therefore promised (`shows`):

| format | bytes lost, added or repeated | as many bytes, but others |
| --- | --- | --- |
| flac | always: MD5 over all samples | always |
| ogg, opus | always: checksum and number of each page | always |
| wav, caf, aiff, au, w64, rf64 | always: the header states the length | never: no checksum |
| m4a | always: sizes of all boxes and samples | if the length changes |
| mp3 with Xing or Info header | always: its number of frames and bytes | if the length changes |
| mp3 without one, others | if the decoder stumbles: not promised | if it stumbles: not promised |

A damaged header may state another length, rate or format that agrees with the rest: that cannot be
seen. Bytes behind the end are noted where the format states an end.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any
from unittest.mock import patch

import numpy as np
import soundfile
import torch
from torch import Tensor

from fuzzing import songs
from fuzzing.calls import Call, call
from fuzzing.damage import Damage, damaged
from fuzzing.songs import Intact
from fuzzing.verdict import BAD, ERROR, HARMLESS, NOTE, SILENT, BrokenPromiseError, Verdict, promise

STEMS = ("vocals", "rest")
_OLD = b"an older result"
_STEP = 2.0**-15
_PADDING = 2_048  # samples that an AAC encoder may add at the end
# What is always said about a song of this kind: no word about a damage.
_PROCESSING = (
    "resampled to", "above ", "mono:", " channels:", "dBFS", "clipped at", " in, ", "decoded by",
    "device cpu", "along time", "along frequency", "failed, going on",
)  # fmt: skip


@dataclass(frozen=True)
class Heard:
    """The sum of a song's stems ``(n, C)``, its rate, and what was said about it."""

    total: np.ndarray
    rate: int
    remarks: frozenset[str]

    def same(self, other: Heard) -> bool:
        """Whether both are one song, up to the rounding of the stems."""
        return (
            self.rate == other.rate
            and self.total.shape == other.total.shape
            and bool(np.abs(self.total - other.total).max(initial=0.0) <= 3 * _STEP)
        )


class Songs:
    """The intact files, a model that costs nothing, and what comes of the intact files."""

    def __init__(self, folder: Path) -> None:
        self.files = songs.make_all(folder / "intact")
        self.model = folder / "model.safetensors"
        _write_model(self.model)
        self.heard: dict[str, Heard] = {}
        self.refused: dict[str, str] = {}  # intact files that the program does not take
        for file in self.files:
            try:
                self.heard[file.name] = self._intact(file, folder / "expected")
            except BrokenPromiseError as error:
                self.refused[file.name] = str(error)
        self.files = [file for file in self.files if file.name in self.heard or not file.optional]

    def _intact(self, file: Intact, out: Path) -> Heard:
        with quick_model():
            done = call("separate", file.path, "-n", self.model, "-o", out)
        promise(done.exit_code == 0, f"refused, though intact: {done.reasons}")
        heard = _hear(done, 0)
        pcm = file.row in ("wav", "caf") or file.row.endswith("pcm")
        samples, rate = (_decoded if pcm else songs.decoded)(file.path)
        padding = len(samples) - len(heard.total)
        if file.row in ("m4a", "other") and 0 < padding < _PADDING:  # its edit list cuts that off
            samples = samples[: len(heard.total)]
        true = Heard(samples, rate, frozenset())
        promise(true.same(heard), f"not what FFmpeg decodes: {difference(true, heard)}")
        return heard

    def case(self, index: int, rng: Random, folder: Path) -> Verdict:
        """Damage one file and separate it."""
        file = rng.choice(_by_row(self.files, rng))
        if file.name in self.refused:
            return Verdict(index, file.row, file.name, BAD, self.refused[file.name])
        if rng.random() < 0.06:
            damage, expected = self._joined(file, rng)
        else:
            damage, expected = damaged(file.path.read_bytes(), rng), None
        what = f"{file.name}: {damage}"
        try:
            outcome, why = self._judge(file, damage, expected, rng, folder)
        except BrokenPromiseError as error:
            outcome, why = BAD, str(error)
        return Verdict(index, file.row, what, outcome, why)

    def _joined(self, file: Intact, rng: Random) -> tuple[Damage, Heard | None]:
        """Two files one after the other; both are expected, if they are of one kind."""
        usable = [other for other in self.files if other.name in self.heard]
        same = [other for other in usable if other.row == file.row]
        other = rng.choice(same if rng.random() < 0.8 else usable)
        data = file.path.read_bytes()
        joined = Damage("join", data + other.path.read_bytes(), len(data), len(data), tail=True)
        first, second = self.heard[file.name], self.heard[other.name]
        if first.rate != second.rate or first.total.shape[1] != second.total.shape[1]:
            return joined, None
        total = np.concatenate([first.total, second.total])
        return joined, replace(first, total=total)

    def _judge(
        self, file: Intact, damage: Damage, both: Heard | None, rng: Random, folder: Path
    ) -> tuple[str, str]:
        path = folder / f"song{file.path.suffix}"
        if rng.random() < 0.05:  # a wrong name
            path = path.with_suffix(rng.choice([".wav", ".flac", ".mp3", ".ogg", ".m4a"]))
        path.write_bytes(damage.data)
        neighbor = folder / "neighbor.wav" if rng.random() < 0.2 else None
        out = folder / "out"
        old = [out / "song" / f"{stem}.wav" for stem in STEMS] if rng.random() < 0.5 else []
        for stem in old:
            stem.parent.mkdir(parents=True, exist_ok=True)
            stem.write_bytes(_OLD)
        arguments: list[object] = [path]
        if neighbor:
            shutil.copy(next(f.path for f in self.files if f.name == "wav_16"), neighbor)
            arguments.insert(rng.randrange(2), neighbor)
        with quick_model():
            done = call(
                "separate", *arguments, "-n", self.model, "-o", out, *["--overwrite"] * bool(old)
            )
        promise(path.read_bytes() == damage.data, "the input was changed")
        failed = list(done.data["failures"]) if done.data else []
        promise(done.data is not None or done.exit_code in (2, 3), f"no result: {done.reasons}")
        promise(done.data is not None, f"exit {done.exit_code}: {done.reasons}")
        kept = {"neighbor"} if neighbor else set()
        if failed:
            promise(done.exit_code == (1 if neighbor else 4), f"exit {done.exit_code}: {failed}")
            promise([one["path"] for one in failed] == [str(path)], f"failed: {failed}")
            promise(failed[0]["exit_code"] == 4, f"exit code of the song: {failed[0]}")
            promise(all(stem.read_bytes() == _OLD for stem in old), "the older stems are lost")
            kept |= {"song"} if old else set()
        else:
            promise(done.exit_code == 0, f"exit {done.exit_code} without a failure")
            kept |= {"song"}
        _nothing_else(out, kept)
        where = [song["path"] for song in done.data["songs"]]
        if neighbor:
            heard = _hear(done, where.index(str(neighbor)))
            promise(heard.same(self.heard["wav_16"]), "the neighbor has other stems")
        if failed:
            return ERROR, failed[0]["error"]
        return self._content(file, damage, both, _hear(done, where.index(str(path))))

    def _content(
        self, file: Intact, damage: Damage, both: Heard | None, heard: Heard
    ) -> tuple[str, str]:
        """Judge stems that were written: are they those of the intact file?"""
        intact = self.heard[file.name]
        if said := sorted(heard.remarks - intact.remarks):
            return NOTE, "; ".join(said)
        if both is not None and len(heard.total) >= 0.98 * len(both.total):
            return HARMLESS, "both were read"
        if heard.same(intact):
            behind = damage.tail and damage.kind != "tag_behind" and file.measured
            behind = behind and len(damage.data) >= damage.stop + 8  # less may pad a chunk
            promise(not behind or bool(intact.remarks), "bytes behind the end, nothing said")
            return HARMLESS, ""
        why = difference(intact, heard)
        if intact.remarks:  # said of every file of this kind
            return NOTE, "; ".join(sorted(intact.remarks))
        promise(not shows(file, damage, intact, heard), f"not found: {why}")
        return SILENT, why


def shows(file: Intact, damage: Damage, intact: Heard, heard: Heard) -> bool:
    """Whether the format shows such a damage, by a checksum or a stated length."""
    if damage.start < file.head:  # no length is stated any more
        return False
    change = abs(len(damage.data) - file.path.stat().st_size)
    longer = change > (1 if file.row == "old pcm" else 0)  # voc has an end mark of one byte
    other_length = heard.total.shape != intact.total.shape
    return file.checked or (file.measured and (longer or other_length))


def difference(intact: Heard, heard: Heard) -> str:
    """How the stems of a damaged file differ, in words."""
    if heard.rate != intact.rate:
        return f"{heard.rate} Hz instead of {intact.rate}"
    if heard.total.shape != intact.total.shape:
        return f"{heard.total.shape} samples instead of {intact.total.shape}"
    other = np.abs(heard.total - intact.total).max(axis=1) > 3 * _STEP
    first = int(np.argmax(other)) / intact.rate
    peak = float(np.abs(heard.total - intact.total).max())
    return f"{other.sum()} other samples from {first:.3f} s on, by up to {peak:.3f}"


def _by_row(files: list[Intact], rng: Random) -> list[Intact]:
    """The variants of one format, each format as often as any other."""
    row = rng.choice(sorted({file.row for file in files}))
    return [file for file in files if file.row == row]


def _hear(done: Call, number: int) -> Heard:
    song = done.data["songs"][number]
    promise(set(song["stems"]) == set(STEMS), f"stems {sorted(song['stems'])}")
    parts = [_decoded(Path(path)) for path in song["stems"].values()]
    promise(len({part.shape for part, _ in parts}) == 1, "stems of different lengths")
    total = sum((part for part, _ in parts), np.zeros(1))
    length = f"{len(total) / parts[0][1]} s were written, {song['seconds']} reported"
    promise(abs(song["seconds"] * parts[0][1] - len(total)) < 1, f"{length}: {song['notes']}")
    remarks = {*song["notes"], *(done.remarks if len(done.data["songs"]) == 1 else ())}
    told = frozenset(note for note in remarks if not any(word in note for word in _PROCESSING))
    return Heard(total, parts[0][1], told)


def _decoded(path: Path) -> tuple[np.ndarray, int]:
    samples, rate = soundfile.read(path, dtype="float64", always_2d=True)
    return samples, int(rate)


def _nothing_else(out: Path, songs_kept: set[str]) -> None:
    """Only whole sets of stems lie in the folder of the outputs."""
    found = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    expected = {f"{name}/{stem}.wav" for name in songs_kept for stem in STEMS}
    promise(found == expected, f"files {sorted(found)} instead of {sorted(expected)}")


def _write_model(path: Path) -> None:
    from mssctl.config.schema import AudioConfig, STFTConfig, TrainingConfig
    from mssctl.models import build as builder
    from mssctl.models import weights
    from mssctl.models.run_config import RunConfig
    from mssctl.models.tf_locoformer.config import TFLocoformerConfig

    config = RunConfig(
        audio=AudioConfig(sample_rate=songs.RATE, stems=STEMS),
        stft=STFTConfig(n_fft=64, hop_length=32),
        model=TFLocoformerConfig(
            front_end="bins",
            n_layers=1,
            emb_dim=8,
            attention_dim=8,
            n_heads=2,
            ffn_hidden_dim=(8, 8),
            num_groups=2,
        ),
        training=TrainingConfig(segment_length=22_050),
    )
    weights.save(path, builder.build(config), config, {})


@contextmanager
def quick_model() -> Iterator[None]:
    """Let every model that is loaded give each stem its share of the mixture at once."""
    from mssctl.models.base import SpectralSeparator

    def forward(self: Any, mix: Tensor) -> Tensor:
        shares = torch.linspace(0.7, 0.3, len(self.stems))
        return torch.stack([mix * share for share in shares], dim=1)

    with patch.object(SpectralSeparator, "forward", forward):
        yield
