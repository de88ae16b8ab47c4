"""What all tests share: no network, and a way to run the program in-process."""

from __future__ import annotations

import json
import shutil
import signal
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

if hasattr(signal, "SIGHUP"):
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # also under `nohup make test`


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip, with a reason, what this machine lacks something for."""
    for marker, (has, needed) in _NEEDED.items():
        if item.get_closest_marker(marker) and not has():
            pytest.skip(f"needs {needed}")


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def _has(*programs: str) -> bool:
    return any(shutil.which(program) for program in programs)


BROWSERS = "chromium", "chromium-browser", "google-chrome"
_NEEDED = {
    "browser": (partial(_has, *BROWSERS), "Chromium or Chrome"),
    "compiler": (partial(_has, "g++", "clang++"), "a C++ compiler"),
    "gpu": (_has_gpu, "a CUDA GPU"),
}


@dataclass(frozen=True)
class Outcome:
    """How one command line ended."""

    exit_code: int
    stdout: str
    stderr: str

    @property
    def document(self) -> dict[str, Any]:
        """The one JSON document on stdout; fails if there is anything else."""

        def refuse(constant: str) -> None:
            raise AssertionError(f"{constant} is not JSON")

        document: dict[str, Any] = json.loads(self.stdout, parse_constant=refuse)
        return document


@pytest.fixture(scope="session", autouse=True)
def no_network() -> Iterator[None]:
    """Fail any test that tries to reach another machine."""
    connect = socket.socket.connect

    def refuse(self: socket.socket, address: Any) -> None:
        local = self.family == socket.AF_UNIX or address[0] in ("127.0.0.1", "::1")
        if not local:
            raise AssertionError(f"a test tried to reach {address}")
        connect(self, address)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", refuse)
        patch.setenv("HF_HUB_OFFLINE", "1")
        yield


@pytest.fixture(scope="session", autouse=True)
def private_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep what tests cache, and which models they pull, out of the user's own folders."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MSSCTL_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("MSSCTL_HOME", str(tmp_path_factory.mktemp("home")))
        yield


@pytest.fixture
def mssctl(capsys: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """Run ``mssctl ARGUMENTS`` in this process."""
    from mssctl.cli.app import main

    def call(*arguments: object) -> Outcome:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments])
        code = ended.value.code
        assert isinstance(code, int)
        return Outcome(code, *capsys.readouterr())

    return call


@pytest.fixture
def make_song() -> Callable[..., Path]:
    """Write one song folder of stems: a tone or noise each, other in each song."""

    def make(
        folder: Path,
        *,
        stems: tuple[str, ...] = ("vocals", "drums", "bass", "other"),
        frames: int = 16_000,
        sample_rate: int = 8_000,
        channels: int = 2,
        suffix: str = "wav",
    ) -> Path:
        import numpy as np
        import soundfile

        folder.mkdir(parents=True)
        rng = np.random.default_rng(list(folder.name.encode()))
        time = np.arange(frames)[:, None] / sample_rate
        tones = {"vocals": 440.0, "bass": 55.0, "other": 880.0}
        for stem in stems:
            pitch = tones.get(stem, 0.0) * rng.uniform(0.8, 1.2)
            tone = np.sin(2 * np.pi * (pitch * time + rng.random((1, channels))))
            noise = rng.standard_normal((frames, channels))
            audio = 0.1 * (tone if pitch else noise * np.exp(-8 * (time % 0.25)))
            soundfile.write(folder / f"{stem}.{suffix}", audio, sample_rate)
        return folder

    return make


@pytest.fixture
def make_stem_mp4() -> Callable[..., Path]:
    """Write a ``.stem.mp4`` as MUSDB18 has them, from a song folder: mixture, then four stems."""

    def make(path: Path, song: Path, *, streams: int = 5) -> Path:
        import numpy as np
        import soundfile

        from encoded import encode

        names = ["drums", "bass", "other", "vocals"]
        parts = [soundfile.read(song / f"{name}.wav") for name in names]
        mixture = sum(audio for audio, _ in parts)
        soundfile.write(song / "mixture.wav", mixture, parts[0][1])
        songs = np.stack([mixture.T, *(audio.T for audio, _ in parts)])
        encode(path, songs[:streams], parts[0][1], format="mp4", bit_rate=256_000)
        return path

    return make
