"""`train` and `resume` from end to end, on a toy preset and generated songs."""

from __future__ import annotations

import errno
import json
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from mssctl import presets
from mssctl.api.train import resume, train
from mssctl.errors import ExitCode, MssctlError
from mssctl.events import Event, Notice, Saved, Step, Validated, silent
from mssctl.files import FileSet
from mssctl.models import weights
from mssctl.staging import is_leftover

TOY = """
audio: {sample_rate: 8000, stems: [vocals, drums, bass, other]}
stft: {n_fft: 256, hop_length: 128}
model: {name: tf_locoformer, freqs_per_bands: [16, 16, 32, 65], n_layers: 1, emb_dim: 8,
        attention_dim: 8, n_heads: 2, ffn_hidden_dim: [8, 8], num_groups: 2, mask_expansion: 1,
        dropout: 0.1}
loss: {spectral_n_fft: [256]}
optimizer: {lr: 1e-2}
training: {num_epochs: 2, steps_per_epoch: 4, segment_length: 2048, batch_size: 2,
           gradient_accumulation_steps: 2, amp_dtype: float32, num_workers: 0,
           validate_songs: 1, keep_last: 9}
"""


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def toy(tmp_path, make_song) -> Path:
    for name in ("train/a", "train/b", "valid/c"):
        make_song(tmp_path / "data" / name, frames=8_000)
    (tmp_path / "toy.yaml").write_text(TOY)
    return tmp_path


def start(toy: Path, run: str, *overrides: str, report: Callable[[Event], None] = silent) -> Any:
    return train(
        str(toy / "toy.yaml"),
        data=toy / "data",
        out=toy / run,
        overrides=overrides,
        device="cpu",
        report=report,
    )


def interrupt_at(*steps: int, number: int = signal.SIGINT) -> Callable[[Event], None]:
    def report(event: Event) -> None:
        if isinstance(event, Step) and event.step in steps:
            signal.raise_signal(number)

    return report


def story(run: Path) -> list[dict[str, Any]]:
    """The lines of metrics.jsonl, without times."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [
        {key: line[key] for key in line if key not in ("seconds", "resources")} for line in lines
    ]


def tensors(run: Path, step: int) -> dict[str, bytes]:
    folder = run / "checkpoints" / f"step-{step:08d}"
    return {path.name: path.read_bytes() for path in folder.glob("*.safetensors")}


def test_a_run_leaves_everything_that_explains_it(toy):
    events: list[Event] = []
    result = start(toy, "run", report=events.append)
    run = toy / "run"
    assert result.finished
    assert (result.step, result.epoch) == (8, 2)
    assert presets.load(str(run / "config.yaml")) == presets.load(str(toy / "toy.yaml"))
    assert [line["step"] for line in story(run)] == [1, 2, 3, 4, 4, 5, 6, 7, 8, 8]
    steps = [event for event in events if isinstance(event, Step)]
    assert [event.step for event in steps] == list(range(1, 9))
    assert [event.epoch for event in steps] == [1] * 4 + [2] * 4
    assert steps[0].total_steps == 8
    validated = [event for event in events if isinstance(event, Validated)]
    assert [event.step for event in validated] == [4, 8]
    assert result.best_score == max(event.scores["sdr"] for event in validated)
    assert Saved(str(run / "checkpoints" / "step-00000008"), "checkpoint") in events
    assert json.loads((run / "environment.json").read_text())["sessions"][0]["device"] == "cpu"


def test_the_exported_model_is_the_validated_average(toy):
    result = start(toy, "run")
    loaded = weights.load(result.model, torch.device("cpu"))
    best = max(
        (line for line in story(toy / "run") if line["kind"] == "validation"),
        key=lambda line: line["scores"]["sdr"],
    )
    stored = weights_of(toy / "run", best["step"], "ema.safetensors")
    exported = loaded.separator.state_dict()
    assert all(torch.equal(tensor, exported[name]) for name, tensor in stored.items())
    assert loaded.card["step"] == str(best["step"])


def weights_of(run: Path, step: int, file: str) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return load_file(run / "checkpoints" / f"step-{step:08d}" / file)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_anywhere_and_resumed_it_is_the_same_run(toy, number):
    start(toy, "whole")
    result = start(toy, "parts", report=interrupt_at(3, number=number))
    assert not result.finished
    assert result.step == 3
    result = resume(toy / "parts", device="cpu", report=interrupt_at(4, 6, number=number))
    assert (result.finished, result.step) == (False, 4)  # at the end of an epoch, not validated yet
    result = resume(toy / "parts", device="cpu", report=interrupt_at(6, number=number))
    assert (result.finished, result.step) == (False, 6)
    result = resume(toy / "parts", device="cpu")
    assert result.finished
    assert story(toy / "parts") == story(toy / "whole")
    assert tensors(toy / "parts", 8) == tensors(toy / "whole", 8)


def test_workers_and_a_kill_change_nothing(toy):
    start(toy, "whole", "training.num_epochs=1")

    class Killed(BaseException):
        """Nothing of the program catches this, like SIGKILL."""

    def kill(event: Event) -> None:
        if isinstance(event, Step) and event.step == 3:
            raise Killed

    settings = ("training.num_epochs=1", "training.num_workers=2", "training.save_every_steps=2")
    with pytest.raises(Killed):
        start(toy, "parts", *settings, report=kill)
    assert resume(toy / "parts", device="cpu").finished
    assert story(toy / "parts") == story(toy / "whole")
    assert tensors(toy / "parts", 4) == tensors(toy / "whole", 4)


def test_a_second_interrupt_aborts_at_once_and_leaves_nothing_half_written(toy):
    def twice(event: Event) -> None:
        if isinstance(event, Step) and event.step == 2:
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        start(toy, "run", report=twice)
    assert signal.getsignal(signal.SIGINT) is before
    assert not (toy / "run" / "checkpoints").exists()
    assert resume(toy / "run", device="cpu").finished  # from the first step


def test_resuming_a_finished_run_does_nothing_more(toy):
    start(toy, "run", "training.num_epochs=1")
    before = story(toy / "run")
    assert resume(toy / "run", device="cpu").step == 4
    assert story(toy / "run") == before


@pytest.mark.parametrize("momentum", ["0", "0.9"])
def test_settings_of_the_loop_are_in_force(toy, momentum):
    start(
        toy,
        "run",
        "training.save_every_steps=3",
        f"training.ema_momentum={momentum}",
        "training.gradient_checkpointing=block",
        "training.validate_metric=si_sdr",
        "training.keep_last=2",
        "training.batch_size=1",
    )
    folders = sorted(path.name for path in (toy / "run/checkpoints").iterdir())
    best = max(
        (line for line in story(toy / "run") if line["kind"] == "validation"),
        key=lambda line: line["scores"]["si_sdr"],
    )["step"]
    # Saved at 3, 4 (end of epoch), 6 and 8; the last two and the best are kept.
    assert folders == sorted({f"step-{step:08d}" for step in (6, 8, best)})
    assert (toy / "run/checkpoints/step-00000008/ema.safetensors").exists() == (momentum != "0")


def test_checkpointing_changes_no_loss(toy):
    for run, level in (("none", "none"), ("path", "path")):
        start(toy, run, f"training.gradient_checkpointing={level}", "training.num_epochs=1",
              "model.dropout=0.0")  # fmt: skip
    plain, less_memory = (
        [line["loss"] for line in story(toy / run) if line["kind"] == "step"]
        for run in ("none", "path")
    )
    assert plain == pytest.approx(less_memory, rel=1e-5)


def test_a_loss_that_stays_nan_ends_the_run(toy, monkeypatch):
    from mssctl.training import step as step_module

    compute = step_module.compute_loss

    def poisoned(estimate: torch.Tensor, target: torch.Tensor, *settings: Any) -> Any:
        return compute(estimate * float("nan"), target, *settings)

    monkeypatch.setattr(step_module, "compute_loss", poisoned)
    events: list[Event] = []
    with pytest.raises(MssctlError, match="step 10: loss or gradient was not finite 10 times"):
        start(toy, "run", "training.steps_per_epoch=20", report=events.append)
    skipped = [
        event for event in events if isinstance(event, Notice) and "skipped" in event.message
    ]
    assert len(skipped) == 9
    assert [line["loss"] for line in story(toy / "run")] == [None] * 10


def test_a_run_that_diverged_says_so_and_continues_from_sound_weights(toy, monkeypatch):
    from mssctl.models.base import Separator
    from mssctl.training import validate as validate_module

    separate = validate_module.separate_array
    good = [1]  # validations before the output overflows

    def overflowing(model: Separator, mix: torch.Tensor, settings: Any) -> torch.Tensor:
        good[0] -= 1
        if good[0] < 0:
            with torch.no_grad():
                next(iter(model.parameters())).fill_(float("nan"))
        return separate(model, mix, settings)

    monkeypatch.setattr(validate_module, "separate_array", overflowing)
    said = "step 2: the model's output is not finite: training has diverged"
    with pytest.raises(MssctlError, match=said) as caught:
        start(toy, "run", "training.steps_per_epoch=1")
    assert caught.value.exit_code == ExitCode.BAD_INPUT
    lower = f"`mssctl resume {toy / 'run'} --set optimizer.lr=0.005` continues from step-00000001"
    assert caught.value.hint == lower
    assert [path.name for path in (toy / "run/checkpoints").iterdir()] == ["step-00000001"]
    with pytest.raises(MssctlError, match=said):  # and so does the next, from the same weights
        resume(toy / "run", device="cpu")
    good[0] = 9
    assert resume(toy / "run", overrides=["optimizer.lr=0.005"], device="cpu").finished


def test_twenty_steps_give_the_stored_losses(toy):
    # Stored with torch 2.11 on x86-64 (AVX-512), one thread. Other CPUs sum in another order, and
    # the difference grows from step to step: 0.05 dB is allowed at the end.
    start(toy, "run", "training.steps_per_epoch=20", "training.num_epochs=1", "model.dropout=0.0")
    losses = [line["loss"] for line in story(toy / "run") if line["kind"] == "step"]
    assert losses[0] == pytest.approx(STORED[0], rel=1e-4)
    assert losses == pytest.approx(STORED, abs=0.05)


STORED = [
    6.81961, 5.45089, 4.22842, 3.96547, 0.51371, -0.63113, -2.40164, -2.24920, -4.59980,
    -4.75544, -6.20661, -6.65678, -8.46953, -8.97791, -10.41844, -10.79837, -10.75894, -10.85364,
    -9.96621, -12.07566,
]  # fmt: skip


def test_unreadable_audio_stops_the_run_with_the_files_name(toy):
    def spoil(event: Event) -> None:
        if isinstance(event, Step) and event.step == 1:
            for path in (toy / "data/train").glob("*/drums.wav"):
                path.write_bytes(b"garbage")

    with pytest.raises(MssctlError, match=r"drums\.wav"):
        start(toy, "run", report=spoil)


def test_cheap_checks_come_before_any_file(toy):
    (toy / "full").mkdir()
    (toy / "full" / "x").touch()
    with pytest.raises(MssctlError, match="is not empty") as caught:
        start(toy, "full")
    assert "mssctl resume" in str(caught.value.hint)
    with pytest.raises(MssctlError, match="unknown device"):
        train(str(toy / "toy.yaml"), data=toy / "data", out=toy / "new", device="abacus")
    with pytest.raises(MssctlError, match="no such folder"):
        train(str(toy / "toy.yaml"), data=toy / "nowhere", out=toy / "new", device="cpu")
    with pytest.raises(MssctlError, match="unknown key 'batchsize'"):
        start(toy, "new", "training.batchsize=3")
    assert not (toy / "new").exists()


def test_resume_needs_a_run_folder(toy):
    with pytest.raises(MssctlError, match="not a run folder"):
        resume(toy)


def test_the_default_run_folder_is_named_after_preset_and_time(toy, monkeypatch):
    monkeypatch.chdir(toy)
    result = train("toy.yaml", data="data", overrides=["training.num_epochs=1"], device="cpu")
    assert Path(result.run).parent == Path("runs")
    assert Path(result.run).name.startswith("toy-20")
    monkeypatch.chdir(toy.parent)
    assert resume(toy / result.run, device="cpu").finished  # data was noted as an absolute path


def test_a_run_folder_that_cannot_be_made_is_an_environment_error(toy):
    (toy / "file").touch()
    with pytest.raises(MssctlError, match="cannot be made") as caught:
        start(toy, "file/run")
    assert caught.value.exit_code == ExitCode.ENVIRONMENT


@pytest.mark.parametrize("song", ["train/b/drums.wav", "valid/c/drums.wav"])
def test_after_an_unreadable_file_is_mended_the_run_goes_on_without_a_loss(toy, song):
    path = toy / "data" / song
    audio = path.read_bytes()

    def spoil(event: Event) -> None:
        if isinstance(event, Step) and event.step == 3:
            path.write_bytes(b"garbage")

    with pytest.raises(MssctlError, match=r"drums\.wav"):
        start(toy, "parts", report=spoil)
    (saved,) = (toy / "parts" / "checkpoints").iterdir()
    assert saved.name >= "step-00000003"
    path.write_bytes(audio)
    assert resume(toy / "parts", device="cpu").finished
    start(toy, "straight")
    assert story(toy / "parts") == story(toy / "straight")
    assert tensors(toy / "parts", 8) == tensors(toy / "straight", 8)


def test_a_run_is_trained_by_one_process_at_a_time(toy):
    refused: list[MssctlError] = []

    def go_on_elsewhere(event: Event) -> None:
        if isinstance(event, Step) and event.step == 1:
            with pytest.raises(MssctlError, match="another process") as caught:
                resume(toy / "run", device="cpu")
            refused.append(caught.value)

    assert start(toy, "run", "training.num_epochs=1", report=go_on_elsewhere).finished
    assert refused[0].exit_code == ExitCode.ENVIRONMENT
    assert resume(toy / "run", device="cpu").finished  # the lock is gone with the run


def test_an_interrupt_counts_even_where_it_cannot_be_told(toy):
    def report(event: Event) -> None:
        if isinstance(event, Step) and event.step == 1:
            signal.raise_signal(signal.SIGINT)
        if isinstance(event, Notice) and event.message.startswith("stopping"):
            raise RuntimeError("reentrant call inside <_io.BufferedWriter name='<stderr>'>")

    assert start(toy, "run", report=report).step == 1


def refuse(patch: pytest.MonkeyPatch, name: str, error: BaseException) -> None:
    """Let a file of this name fail to appear."""
    publish = FileSet.publish

    def failing(files: FileSet) -> None:
        if any(member.final.name == name for member in files._members):
            raise error
        publish(files)

    patch.setattr(FileSet, "publish", failing)


@pytest.mark.parametrize("name", ["data.json", "songs.json", "config.yaml"])
def test_a_full_disk_at_the_start_leaves_a_folder_that_can_be_used(toy, monkeypatch, name):
    with monkeypatch.context() as patch:
        refuse(patch, name, OSError(errno.ENOSPC, "No space left on device"))
        with pytest.raises(MssctlError, match="No space left") as error:
            start(toy, "run")
    assert error.value.exit_code == ExitCode.ENVIRONMENT
    assert list((toy / "run").iterdir()) == []
    if name == "config.yaml":
        assert start(toy, "run", "training.num_epochs=1").finished


def test_a_start_that_was_killed_leaves_a_folder_that_can_be_used(toy, monkeypatch):
    class Killed(BaseException):
        """Nothing of the program catches this, like SIGKILL."""

    with monkeypatch.context() as patch:
        refuse(patch, "config.yaml", Killed())
        patch.setattr(FileSet, "discard", lambda _: None)  # a killed process tidies nothing
        with pytest.raises(Killed):
            start(toy, "run")
    names = sorted(path.name for path in (toy / "run").iterdir())
    assert names[-2:] == ["data.json", "songs.json"]
    assert all(is_leftover(name) for name in names[:-2])
    (toy / "run" / ".data.json.tmp").touch()  # of an earlier version
    assert start(toy, "run", "training.num_epochs=1").finished


@pytest.mark.parametrize("file", ["metrics.jsonl", "environment.json"])
def test_a_run_folder_that_cannot_be_written_is_an_environment_error(toy, monkeypatch, file):
    # Not by its mode: root, whom containers like, may write everywhere.
    start(toy, "run", "training.num_epochs=1")
    with monkeypatch.context() as patch:
        refuse(patch, file, OSError(errno.EROFS, "Read-only file system"))
        with pytest.raises(MssctlError, match="Read-only file system") as error:
            resume(toy / "run", device="cpu")
    assert error.value.exit_code == ExitCode.ENVIRONMENT
    assert file in str(error.value)
    assert resume(toy / "run", device="cpu").finished
