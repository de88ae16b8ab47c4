"""A stem that is there and cannot be opened is named by every reader, and never silence."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import soundfile

from mssctl.api.data import check
from mssctl.config.schema import AudioConfig
from mssctl.data.tracks import find_tracks
from mssctl.data.training_set import find_songs
from mssctl.errors import ExitCode, MssctlError
from mssctl.evaluation import references
from mssctl.evaluation.estimates import FromFolder
from mssctl.evaluation.references import ReferenceAudio
from mssctl.synth.material import SampleReader, find_samples

AUDIO = AudioConfig(sample_rate=8_000, stems=("vocals", "drums"))
STEMS = AUDIO.stems


def write(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    audio = 0.1 * np.random.default_rng(list(os.fsencode(path))).standard_normal((600, 2))
    soundfile.write(path, audio, 8_000, format="WAV")
    return path


def build(root: Path) -> None:
    for song in ("train/one", "train/two", "valid/three"):
        for stem in STEMS:
            write(root / song / f"{stem}.wav")


def dangling(path: Path) -> None:
    path.symlink_to("/mnt/unmounted/vocals.wav")


def circle(path: Path) -> None:
    path.symlink_to(path.name)


def forbidden(path: Path) -> None:
    write(path).chmod(0)


def a_socket(path: Path) -> None:
    short = tempfile.mkdtemp(prefix="s")  # the name of a socket may have a hundred characters
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(f"{short}/s")
    shutil.move(f"{short}/s", path)
    Path(short).rmdir()


def damaged(path: Path) -> None:
    whole = write(path).read_bytes()
    path.write_bytes(bytes(44) + whole[44:])


UNOPENABLE: dict[str, Callable[[Path], None]] = {
    "dangling link": dangling,
    "circle of links": circle,
    "pipe": os.mkfifo,
    "socket": a_socket,
    "folder": Path.mkdir,
    "no permission": forbidden,
    "empty": Path.touch,
    "damaged header": damaged,
}


@contextmanager
def as_somebody() -> Iterator[None]:
    """Root may read everything: look as a user who may not."""
    if os.geteuid():
        yield
        return
    os.seteuid(65_534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def disk(monkeypatch) -> Iterator[Path]:
    """A folder that every user may look into, and a cache that they may write to."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        cache = folder / "cache"
        cache.mkdir()
        cache.chmod(0o777)
        monkeypatch.setenv("MSSCTL_CACHE", str(cache))
        yield folder / "data"


def trained(root: Path) -> str:
    with pytest.raises(MssctlError) as caught:
        find_songs([root], AUDIO)
    assert caught.value.exit_code == ExitCode.BAD_INPUT
    return caught.value.message


def looked_at(root: Path) -> str:
    result = check([root], stems=STEMS)
    (failure,) = result.failures
    assert failure.exit_code == ExitCode.BAD_INPUT
    assert result.findings == []
    return f"{failure.path}: {failure.error}"


def refer_to(root: Path) -> None:
    for track in find_tracks(root, nested=True)[0]:
        references.check(track, model="tiny", audio=AUDIO)


def referred_to(root: Path) -> str:
    with pytest.raises(MssctlError) as caught:
        refer_to(root)
    assert caught.value.exit_code == ExitCode.BAD_INPUT
    return caught.value.message


def estimated(root: Path) -> str:
    """An estimate is left out by name; it is never just not there."""
    source = FromFolder(root)
    silence = np.zeros((2, 600), np.float32)
    audio = ReferenceAudio(dict.fromkeys(STEMS, silence), silence, 8_000)
    said = []
    for track in find_tracks(root, nested=True)[0]:
        source.mark(track)
        found = source.of(track, audio)
        said += found.left_out
        said += [f"{failure.path}: {failure.error}" for failure in found.failures]
    assert "no estimate" not in "".join(said)
    return "".join(said)


@pytest.mark.parametrize("reader", [trained, looked_at, referred_to, estimated])
@pytest.mark.parametrize("kind", UNOPENABLE)
def test_a_stem_that_cannot_be_opened_is_named_and_never_silence(disk, reader, kind):
    build(disk)
    path = disk / "train" / "two" / "Drums.WAV"
    (path.parent / "drums.wav").unlink()
    UNOPENABLE[kind](path)
    with as_somebody():
        assert str(path) in reader(disk)


@pytest.mark.parametrize("layout", ["samples", "csv"])
@pytest.mark.parametrize("kind", UNOPENABLE)
def test_a_sample_that_cannot_be_opened_is_named_too(disk, layout, kind):
    for stem in STEMS:
        write(disk / "train" / stem / "a.wav")
        write(disk / "held" / "v" / f"{stem}.wav")
    path = disk / "train" / "drums" / "b.wav"
    UNOPENABLE[kind](path)
    root = disk / "train"
    if layout == "csv":
        root = disk / "train.csv"
        root.write_text("stem,path\nvocals,train/vocals/a.wav\ndrums,train/drums/b.wav")
    with as_somebody(), pytest.raises(MssctlError) as caught:
        find_songs([root], AUDIO, valid=disk / "held")
    assert str(path) in caught.value.message
    assert caught.value.exit_code == ExitCode.BAD_INPUT


@pytest.mark.parametrize("kind", UNOPENABLE)
def test_a_sample_to_make_songs_of_that_cannot_be_opened_is_named(disk, kind):
    write(disk / "bass" / "a.wav")
    path = disk / "bass" / "b.wav"
    UNOPENABLE[kind](path)
    with as_somebody(), pytest.raises(MssctlError) as caught:
        read_samples(disk)
    assert str(path) in caught.value.message
    assert caught.value.exit_code == ExitCode.BAD_INPUT


def read_samples(folder: Path) -> None:
    reader = SampleReader(8_000)
    for samples in find_samples(folder).values():
        for sample in samples:
            reader.read(sample)


@pytest.mark.parametrize("reader", [trained, referred_to])
@pytest.mark.parametrize("where", ["train/four", "train"])
@pytest.mark.parametrize("kind", ["dangling link", "circle of links", "no permission"])
def test_a_folder_of_a_song_or_split_that_cannot_be_opened_is_named(disk, reader, where, kind):
    build(disk)
    path = disk / where
    if where == "train":
        path.rename(disk / "elsewhere")
    if kind == "no permission":
        path.mkdir()
        path.chmod(0)
    else:
        UNOPENABLE[kind](path)
    with as_somebody():
        assert str(path) in reader(disk)
    if kind == "no permission":
        path.chmod(0o700)


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (["train", "small", "--dry-run", "--data", "{root}", "-o", "{root}/run"], 4),
        (["eval", "{root}/train", "-r", "{root}/train"], 1),
        (["data", "check", "{root}"], 1),  # the others can be read
    ],
)
def test_the_exit_code_of_a_command_says_so(mssctl, tmp_path, make_song, command, code):
    for song in ("train/a", "train/b", "valid/c"):
        make_song(tmp_path / song, sample_rate=44_100, frames=600)
    path = tmp_path / "train/b/drums.wav"
    path.unlink()
    dangling(path)
    outcome = mssctl(*(word.format(root=tmp_path) for word in command), "--json")
    assert outcome.exit_code == code
    assert str(path) in outcome.stdout
    assert not (tmp_path / "run").exists()
