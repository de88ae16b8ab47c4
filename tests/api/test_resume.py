"""`resume` never starts over where steps were made, and knows its songs."""

from __future__ import annotations

import json
import re
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mssctl import presets
from mssctl.api.train import resume, train
from mssctl.errors import ExitCode, MssctlError
from mssctl.events import Event, Notice, Step

TOY = """
audio: {sample_rate: 8000, stems: [vocals, drums]}
stft: {n_fft: 256, hop_length: 128}
model: {name: tf_locoformer, freqs_per_bands: [16, 16, 32, 65], n_layers: 1, emb_dim: 8,
        attention_dim: 8, n_heads: 2, ffn_hidden_dim: [8, 8], num_groups: 2, mask_expansion: 1}
loss: {spectral_n_fft: [256]}
training: {num_epochs: 1, steps_per_epoch: 2, segment_length: 2048, batch_size: 1,
           amp_dtype: float32, num_workers: 0}
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of two steps, and its songs."""
    import numpy as np
    import soundfile

    folder = tmp_path_factory.mktemp("trained")
    rng = np.random.default_rng(0)
    for song in ("train/a", "train/b", "valid/c"):
        (folder / "data" / song).mkdir(parents=True)
        for stem in ("vocals", "drums"):
            sound = 0.1 * rng.standard_normal((4_000, 2))
            soundfile.write(folder / "data" / song / f"{stem}.wav", sound, 8_000)
    (folder / "toy.yaml").write_text(TOY)
    assert start(folder).finished
    return folder


@pytest.fixture
def toy(trained: Path, tmp_path: Path) -> Path:
    """The same in a place of its own."""
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    sources = json.loads((tmp_path / "run" / "data.json").read_text())
    (tmp_path / "run" / "data.json").write_text(
        json.dumps({**sources, "roots": [str(tmp_path / "data")]})
    )
    return tmp_path


def start(folder: Path, run: str = "run", report: Callable[[Event], None] = lambda _: None) -> Any:
    return train(
        str(folder / "toy.yaml"),
        data=folder / "data",
        out=folder / run,
        device="cpu",
        report=report,
    )


def said(toy: Path, *overrides: str, **settings: Any) -> list[str]:
    """Resume, and give the warnings."""
    events: list[Event] = []
    resume(toy / "run", overrides=overrides, device="cpu", report=events.append, **settings)
    return [
        event.message for event in events if isinstance(event, Notice) and event.level == "warning"
    ]


def files(run: Path) -> dict[str, bytes]:
    return {
        path.relative_to(run).as_posix(): path.read_bytes()
        for path in run.rglob("*")
        if path.is_file()
    }


# --- checkpoints that are gone


def edit_sessions(run: Path, change: Callable[[dict[str, Any]], object]) -> None:
    path = run / "environment.json"
    document = json.loads(path.read_text())
    for session in document["sessions"]:
        change(session)
    path.write_text(json.dumps(document))


def of_an_earlier_version(run: Path) -> None:
    edit_sessions(run, lambda session: session.pop("saved_step"))


@pytest.mark.parametrize("folder", ["gone", "empty", "half-written"])
@pytest.mark.parametrize(
    "record",
    [lambda run: None, of_an_earlier_version, lambda run: (run / "environment.json").unlink()],
)
def test_a_run_whose_checkpoints_are_gone_is_refused_and_kept(toy, folder, record):
    run = toy / "run"
    record(run)
    shutil.rmtree(run / "checkpoints")
    if folder != "gone":
        (run / "checkpoints").mkdir()
    if folder == "half-written":
        (run / "checkpoints" / ".step-00000002.tmp").mkdir()
    before = files(run)
    with pytest.raises(MssctlError, match="no checkpoint, although the run had one") as caught:
        resume(run, device="cpu", overrides=["training.num_epochs=2"])
    assert caught.value.exit_code == ExitCode.ENVIRONMENT
    assert caught.value.hint
    assert files(run) == before


def test_so_is_one_that_was_interrupted_in_its_first_epoch(toy):
    def report(event: Event) -> None:
        if isinstance(event, Step):
            signal.raise_signal(signal.SIGINT)

    assert start(toy, "short", report).step == 1
    shutil.rmtree(toy / "short" / "checkpoints")
    with pytest.raises(MssctlError, match="the run had one of step 1"):
        resume(toy / "short", device="cpu")


def test_a_run_that_was_killed_before_its_first_checkpoint_starts_over(toy):
    class Killed(BaseException):
        """Nothing of the program catches this, like SIGKILL."""

    def report(event: Event) -> None:
        if isinstance(event, Step) and event.step == 2:
            raise Killed

    with pytest.raises(Killed):
        start(toy, "short", report)
    assert (toy / "short" / "metrics.jsonl").read_text().count("\n") == 1
    assert resume(toy / "short", device="cpu").finished


# --- config.yaml


def test_its_own_change_of_the_configuration_is_no_surprise(toy):
    assert said(toy, "training.num_epochs=2") == []
    assert said(toy, "training.keep_last=7") == []  # and no checkpoint since
    assert said(toy) == []
    path = toy / "run" / "config.yaml"
    path.write_text(path.read_text().replace("keep_last: 7", "keep_last: 8"))
    assert said(toy, "training.early_stopping=5") == [
        "config.yaml was changed since the checkpoint"
    ]


def test_a_smaller_batch_of_its_own_is_no_surprise(toy):
    from mssctl.training.environment import record_config

    path = toy / "run" / "config.yaml"
    path.write_text(path.read_text() + "\n")
    record_config(toy / "run")
    assert said(toy) == []


# --- songs


def copy_song(toy: Path, old: str, new: str) -> None:
    shutil.copytree(toy / "data" / old, toy / "data" / new)


def change_song(toy: Path, song: str) -> None:
    path = toy / "data" / song / "vocals.wav"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1  # of the same length
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda toy: copy_song(toy, "train/a", "train/n"),
            "training songs changed.*1 added .train/n",
        ),
        (
            lambda toy: shutil.rmtree(toy / "data/train/b"),
            "training songs changed.*1 removed .train/b",
        ),
        (lambda toy: change_song(toy, "train/b"), "training songs changed.*1 replaced .train/b"),
        (lambda toy: change_song(toy, "valid/c"), "validation songs changed.*1 replaced .valid/c"),
    ],
)
def test_songs_that_changed_are_named_once(toy, change, words):
    change(toy)
    (warning,) = said(toy)
    assert re.search(words, warning)
    assert said(toy) == []


def test_a_long_list_of_songs_is_shortened(toy):
    for number in range(20):
        copy_song(toy, "train/a", f"train/{number:02d}{'x' * 200}")
    (warning,) = said(toy)
    assert "20 added" in warning
    assert len(warning) < 400


def test_scores_of_other_songs_are_not_compared_with_the_best(toy):
    copy_song(toy, "valid/c", "valid/d")
    events: list[Event] = []
    resume(toy / "run", device="cpu", report=events.append)
    assert any("the search for the best score starts over" in event.message for event in events
               if isinstance(event, Notice))  # fmt: skip


@pytest.mark.parametrize("name", ["a", "another"])
@pytest.mark.parametrize("later", [False, True])
def test_a_trained_song_never_validates(toy, name, later):
    if later:  # it was taken out first, and the run was resumed without it
        shutil.move(toy / "data/train/a", toy / "away")
        said(toy)
        shutil.move(toy / "away", toy / "data/valid" / name)
    else:
        shutil.move(toy / "data/train/a", toy / "data/valid" / name)
    before = files(toy / "run")
    with pytest.raises(MssctlError, match=f"valid/{name}: a validation song.*train/a") as caught:
        resume(toy / "run", device="cpu")
    assert caught.value.exit_code == ExitCode.ENVIRONMENT
    assert files(toy / "run") == before


def test_not_even_one_that_was_replaced_twice_since(toy):
    shutil.copytree(toy / "data/train/a", toy / "first")
    for _ in range(2):
        change_song(toy, "train/a")
        path = toy / "data/train/a/vocals.wav"
        path.write_bytes(path.read_bytes() + b"\0" * 2)  # another size
        said(toy)
    shutil.move(toy / "first", toy / "data/valid/x")
    with pytest.raises(MssctlError, match="valid/x: a validation song"):
        resume(toy / "run", device="cpu")


def test_a_moved_data_folder_is_named_and_kept(toy):
    shutil.move(toy / "data", toy / "moved")
    with pytest.raises(MssctlError):
        resume(toy / "run", device="cpu")
    assert said(toy, data=[toy / "moved"]) == []
    assert said(toy) == []
    assert json.loads((toy / "run/data.json").read_text())["roots"] == [str(toy / "moved")]


def test_held_out_songs_of_their_own_may_move_too(toy):
    shutil.move(toy / "data/valid", toy / "held")
    train(str(toy / "toy.yaml"), data=toy / "data/train", valid=toy / "held", out=toy / "two",
          device="cpu")  # fmt: skip
    shutil.move(toy / "held", toy / "away")
    events: list[Event] = []
    resume(toy / "two", valid=toy / "away", device="cpu", report=events.append)
    assert not [e for e in events if isinstance(e, Notice) and e.level == "warning"]
    assert json.loads((toy / "two/data.json").read_text())["valid"] == str(toy / "away")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"data": ["x", "y"]}, "the run has 1 data folders, --data names 2"),
        ({"valid": "x"}, "--valid: the held-out songs of this run are in its data folders"),
    ],
)
def test_sources_of_another_shape_are_refused(toy, settings, words):
    with pytest.raises(MssctlError, match=words) as caught:
        resume(toy / "run", device="cpu", **settings)
    assert caught.value.exit_code == ExitCode.USAGE


def test_a_run_of_an_earlier_version_gets_its_list(toy):
    (toy / "run" / "songs.json").unlink()
    copy_song(toy, "train/a", "train/n")
    events: list[Event] = []
    resume(toy / "run", device="cpu", report=events.append)
    assert any("its songs are listed from now on" in event.message for event in events
               if isinstance(event, Notice))  # fmt: skip
    change_song(toy, "train/b")
    assert len(said(toy)) == 1


@pytest.mark.parametrize("damage", ["{", '{"train": {}}', "[]"])
def test_a_damaged_list_is_named(toy, damage):
    (toy / "run" / "songs.json").write_text(damage)
    with pytest.raises(MssctlError, match=r"songs\.json") as caught:
        resume(toy / "run", device="cpu")
    assert "move it away" in (caught.value.hint or "")


@pytest.mark.parametrize(
    "damage",
    [
        '{"roots": 3, "valid": null, "layout": "auto"}',
        "{}",
        '{"roots": ["x"], "valid": 3, "layout": "auto"}',
        r'{"roots": ["x\u0000"], "valid": null, "layout": "auto"}',
    ],
)
def test_a_damaged_list_of_folders_is_named(toy, damage):
    (toy / "run" / "data.json").write_text(damage)
    with pytest.raises(MssctlError, match=r"data\.json: damaged"):
        resume(toy / "run", device="cpu")


def test_a_folder_that_is_no_new_run_is_refused_and_kept(toy):
    before = files(toy / "run")
    with pytest.raises(MssctlError, match="is not empty") as caught:
        start(toy)
    assert caught.value.exit_code == ExitCode.USAGE
    assert files(toy / "run") == before
    assert presets.load(str(toy / "run/config.yaml")).training.num_epochs == 1
