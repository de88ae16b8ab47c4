"""``separate`` where outputs exist already: nothing older is lost, whatever happens."""

from __future__ import annotations

import os
import resource
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import torch
from torch import Tensor

from mssctl.api.separate import separate
from mssctl.config.schema import AudioConfig, TrainingConfig
from mssctl.errors import ExitCode, MssctlError
from mssctl.events import Event, Progress
from mssctl.models import weights
from mssctl.models.base import Separator
from mssctl.models.run_config import RunConfig

RATE = 8_000
STEMS = ("vocals", "drums", "rest")
CONFIG = RunConfig(
    audio=AudioConfig(stems=STEMS, sample_rate=RATE), training=TrainingConfig(segment_length=4_096)
)


class Fake(Separator):
    """Gives each stem a fixed share of the mixture."""

    shares = (0.5, 0.3, 0.2)

    def forward(self, mix: Tensor) -> Tensor:
        return torch.stack([mix * share for share in self.shares], dim=1)


@pytest.fixture(autouse=True)
def model(monkeypatch, tmp_path) -> Separator:
    """Whatever model is asked for, it is the fake one. Work happens in an empty folder."""
    fake = Fake(CONFIG.audio)
    loaded = weights.LoadedModel(fake, CONFIG, {}, "fake", Path("fake.safetensors"), "")
    monkeypatch.setattr(weights, "find", lambda name: Path(f"{name}.safetensors"))
    monkeypatch.setattr(weights, "read_metadata", lambda path: (CONFIG, {}))
    monkeypatch.setattr(weights, "load", lambda name, device: loaded)
    monkeypatch.chdir(tmp_path)
    return fake


def song(name: str, frames: int = 3_000) -> Path:
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = np.random.default_rng(list(name.encode())).uniform(-0.5, 0.5, (frames, 2))
    sf.write(path, samples, RATE)
    return path


def tree(folder: str = "out") -> dict[str, bytes]:
    return {
        path.as_posix(): path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()
    }


def at_the_end(action: Callable[[], object]) -> Callable[[Event], None]:
    """Do something when a song is separated and its files are not published yet."""

    def report(event: Event) -> None:
        if isinstance(event, Progress) and event.done == event.total:
            action()

    return report


@pytest.fixture
def done() -> dict[str, bytes]:
    """Two songs and their stems."""
    song("in/a.wav")
    song("in/b.wav")
    assert separate("in", out="out").failures == []
    return tree()


@pytest.mark.usefixtures("done")
def test_existing_outputs_are_an_error_before_any_work(monkeypatch):
    monkeypatch.setattr(weights, "load", lambda *_: pytest.fail("weights were loaded"))
    before = tree()
    with pytest.raises(MssctlError, match=r"vocals\.wav: exists already") as caught:
        separate("in", out="out")
    assert caught.value.exit_code == ExitCode.USAGE
    result = separate("in", out="out", existing="skip")
    assert [item.notes for item in result.songs] == [["kept: the outputs exist already"]] * 2
    assert tree() == before


@pytest.mark.parametrize("clip_mode", ["rescale", "clamp"])
@pytest.mark.parametrize("stem", STEMS)
def test_a_stem_that_appears_during_the_work_is_kept(stem, clip_mode):
    path = song("a.wav")
    mine = Path("out/a") / f"{stem}.wav"

    def write_mine() -> None:
        mine.parent.mkdir(exist_ok=True)
        mine.write_text("mine")

    result = separate(path, out="out", clip_mode=clip_mode, report=at_the_end(write_mine))
    assert [failure.exit_code for failure in result.failures] == [ExitCode.USAGE]
    assert "exists already" in result.failures[0].error
    assert tree() == {mine.as_posix(): b"mine"}


def test_of_two_runs_into_one_folder_the_first_to_end_wins():
    path = song("a.wav")
    first: list[dict[str, bytes]] = []

    def other_run() -> None:
        if not first:
            first.append({})
            assert separate(path, out="out").failures == []
            first.append(tree())

    result = separate(path, out="out", report=at_the_end(other_run))
    assert "exists already" in result.failures[0].error
    assert tree() == first[1] != {}


@pytest.mark.parametrize("clip_mode", ["rescale", "clamp"])
def test_a_write_that_fails_leaves_the_old_set(done, model, clip_mode):
    model.shares = (0.2, 0.3, 0.5)
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, old[1]))
    try:
        result = separate("in", out="out", existing="overwrite", clip_mode=clip_mode)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
    assert [failure.exit_code for failure in result.failures] == [ExitCode.ENVIRONMENT] * 2
    assert tree() == done


def test_overwriting_replaces_the_set(done, model):
    model.shares = (0.2, 0.3, 0.5)
    assert separate("in", out="out", existing="overwrite").failures == []
    after = tree()
    assert after.keys() == done.keys()
    assert all(after[name] != done[name] for name in done if "drums" not in name)


def test_a_missing_stem_is_made_and_the_others_are_kept(done):
    for name in ("out/a/drums.wav", "out/a/rest.wav"):
        Path(name).unlink()
    kept = {name: Path(name).stat().st_mtime_ns for name in tree()}
    result = separate("in", out="out", existing="skip")
    assert result.failures == []
    assert result.songs[0].notes == ["1 of 3 stems were there already and are kept"]
    assert tree() == done
    assert {name: Path(name).stat().st_mtime_ns for name in kept} == kept


def test_a_set_is_not_completed_with_stems_of_another_model(done, model):
    Path("out/a/rest.wav").unlink()
    before = tree()
    model.shares = (0.2, 0.3, 0.5)
    result = separate("in", out="out", existing="skip")
    assert [failure.path for failure in result.failures] == ["in/a.wav"]
    assert "vocals.wav: exists already and is not this model's" in result.failures[0].error
    assert "`existing=overwrite`" in (result.failures[0].hint or "")
    assert len(result.songs) == 1
    assert tree() == before


@pytest.mark.parametrize(
    ("stem", "fault", "words"),
    [
        ("vocals", "garbage", "cannot be kept"),
        ("drums", "garbage", "cannot be kept"),
        ("drums", "length", "2999 frames of 2 channels at 8000 Hz"),
        ("rest", "rate", "3000 frames of 2 channels at 16000 Hz"),
        ("vocals", "channels", "3000 frames of 1 channels at 8000 Hz"),
        ("rest", "cut", "cannot be kept: cut off"),
        ("drums", "folder", "a folder is in the place"),
    ],
)
def test_every_kept_stem_must_be_one_of_the_song(done, stem, fault, words):
    path = Path("out/a") / f"{stem}.wav"
    samples = sf.read(path)[0]
    if fault == "garbage":
        path.write_bytes(b"garbage" * 100)
    elif fault == "cut":
        path.write_bytes(path.read_bytes()[:-100])
    elif fault == "folder":
        path.unlink()
        path.mkdir()
    else:
        wrong = samples[1:] if fault == "length" else samples
        wrong = wrong[:, :1] if fault == "channels" else wrong
        sf.write(path, wrong, 2 * RATE if fault == "rate" else RATE)
    before = tree()
    result = separate("in", out="out", existing="skip")
    assert [failure.path for failure in result.failures] == ["in/a.wav"]
    assert words in result.failures[0].error
    assert path.name in result.failures[0].error
    assert result.failures[0].hint
    assert len(result.songs) == 1  # the other song is kept
    assert tree() == before


@pytest.mark.parametrize(
    ("place", "filename"),
    [
        ("file", "{track}/{stem}.{ext}"),
        ("broken link", "{track}/{stem}.{ext}"),
        ("no permission", "{track}/{stem}.{ext}"),
        ("nothing", "{track}/" + "x" * 300 + "/{stem}.{ext}"),
        ("folder", "{track}/{stem}" + "x" * 300),
    ],
)
@pytest.mark.parametrize("existing", ["error", "skip", "overwrite"])
def test_where_nothing_can_be_written_shows_before_any_work(place, filename, existing, monkeypatch):
    monkeypatch.setattr(weights, "load", lambda *_: pytest.fail("weights were loaded"))
    path, place_of_stems = song("a.wav"), Path("out/a")
    place_of_stems.parent.mkdir()
    if place == "file":
        place_of_stems.write_text("mine")
    elif place == "broken link":
        place_of_stems.symlink_to("nowhere")
    elif place != "nothing":
        place_of_stems.mkdir()
    if place == "no permission":
        access = os.access
        closed = place_of_stems.absolute()
        monkeypatch.setattr(os, "access", lambda at, mode: at != closed and access(at, mode))
    result = separate(path, out="out", filename=filename, existing=existing)
    assert [failure.exit_code for failure in result.failures] == [ExitCode.ENVIRONMENT]
    assert place == "nothing" or os.path.lexists(place_of_stems)


@pytest.mark.parametrize(
    "wrong",
    [{"existing": "keep"}, {"format": "aac"}, {"bit_depth": 16}, {"clip_mode": ""}, {"out": " "}],
)
def test_a_word_that_means_nothing_is_refused_in_python_too(wrong):
    with pytest.raises(MssctlError, match=next(iter(wrong))) as caught:
        separate(song("a.wav"), **{"out": "out", **wrong})
    assert caught.value.exit_code == ExitCode.USAGE
    assert sorted(path.name for path in Path().iterdir()) == ["a.wav"]
