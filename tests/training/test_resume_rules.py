"""`resume --set`, `train --dry-run`, early stopping, TensorBoard and running out of memory."""

from __future__ import annotations

import builtins
import json
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from mssctl import presets
from mssctl.api.train import resume, train
from mssctl.config.section import leaves
from mssctl.errors import ExitCode, MssctlError
from mssctl.events import Event, Notice, Step, Validated
from mssctl.models.run_config import RunConfig
from mssctl.training import trainer as trainer_module
from mssctl.training.distributed import World
from mssctl.training.out_of_memory import needing_less
from mssctl.training.resume_rules import changes

TOY = """
audio: {sample_rate: 8000, stems: [vocals, drums]}
stft: {n_fft: 256, hop_length: 128}
model: {name: tf_locoformer, freqs_per_bands: [16, 16, 32, 65], n_layers: 1, emb_dim: 8,
        attention_dim: 8, n_heads: 2, ffn_hidden_dim: [8, 8], num_groups: 2, mask_expansion: 1}
loss: {spectral_n_fft: [256]}
optimizer: {lr: 1e-2}
training: {num_epochs: 2, steps_per_epoch: 2, segment_length: 2048, batch_size: 4,
           amp_dtype: float32, num_workers: 0}
"""


@pytest.fixture
def toy(tmp_path: Path, make_song: Any) -> Path:
    for name in ("train/a", "train/b", "valid/c"):
        make_song(tmp_path / "data" / name, frames=8_000, stems=("vocals", "drums"))
    (tmp_path / "toy.yaml").write_text(TOY)
    return tmp_path


def start(toy: Path, *overrides: str, run: str = "run", **settings: Any) -> Any:
    return train(
        str(toy / "toy.yaml"),
        data=toy / "data",
        out=toy / run,
        overrides=overrides,
        device="cpu",
        **settings,
    )


def sessions(toy: Path, run: str = "run") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((toy / run / "environment.json").read_text())[
        "sessions"
    ]
    return found


def losses(toy: Path, run: str) -> list[float]:
    lines = [json.loads(line) for line in (toy / run / "metrics.jsonl").read_text().splitlines()]
    return [line["loss"] for line in lines if line["kind"] == "step"]


# --- resume --set


def test_a_resumed_run_takes_what_leaves_its_model_as_it_is_and_keeps_it(toy):
    start(toy, "training.num_epochs=1")
    events: list[Event] = []
    longer = ("training.num_epochs=2", "optimizer.lr=1e-3", "training.save_every_steps=1")
    result = resume(toy / "run", overrides=longer, device="cpu", report=events.append)
    assert (result.finished, result.step) == (True, 4)
    assert [event.lr for event in events if isinstance(event, Step)] == [1e-3, 1e-3]
    stored = presets.load(str(toy / "run/config.yaml"))
    assert (stored.training.num_epochs, stored.optimizer.lr) == (2, 1e-3)
    assert sessions(toy)[-1]["changed"] == {
        "training.num_epochs": "1 -> 2",
        "optimizer.lr": "0.01 -> 0.001",
        "training.save_every_steps": "0 -> 1",
    }
    assert resume(toy / "run", device="cpu").step == 4  # it stays changed
    assert sessions(toy)[-1]["changed"] == {}


@pytest.mark.parametrize(
    ("override", "named"),
    [
        ("model.n_layers=2", r"model\.n_layers \(1 -> 2\)"),
        ("stft.hop_length=64", r"stft\.hop_length"),
        ("audio.sample_rate=16000", r"audio\.sample_rate"),
        ("training.seed=1", r"training\.seed"),
        ("training.steps_per_epoch=3", r"training\.steps_per_epoch"),
        ("data.remix=0.1", r"data\.remix"),
        ("loss.l1=2", r"loss\.l1"),
        ("training.batch_size=2", r"batch_size x training\.gradient_accumulation_steps \(4 -> 2\)"),
        ("training.numepochs=2", "unknown key 'numepochs'"),
    ],
)
def test_a_resumed_run_refuses_what_would_make_it_another(toy, override, named):
    start(toy, "training.num_epochs=1")
    files = {path: path.read_bytes() for path in (toy / "run").rglob("*") if path.is_file()}
    with pytest.raises(MssctlError, match=named) as refused:
        resume(toy / "run", overrides=[override, "training.num_epochs=9"], device="cpu")
    assert refused.value.exit_code == ExitCode.ENVIRONMENT
    assert {path: path.read_bytes() for path in files} == files


def test_what_describes_the_model_its_examples_or_its_loss_never_changes():
    fixed = ("audio.", "stft.", "loss.", "data.")
    resumable = {key for key, _, facts in leaves(RunConfig()) if facts.resumable}
    assert {key for key in resumable if key.startswith(fixed)} == set()
    assert "training.seed" not in resumable
    assert "training.num_epochs" in resumable


def test_the_same_examples_may_be_cut_otherwise():
    config = RunConfig()
    other = presets.override(
        config, ["training.batch_size=2", "training.gradient_accumulation_steps=2"]
    )
    assert changes(config, config) == {}
    assert set(changes(config, other)) == {
        "training.batch_size",
        "training.gradient_accumulation_steps",
    }


def test_scores_by_another_metric_are_not_compared_with_the_best(toy):
    start(toy, "training.num_epochs=1")
    metric = ["training.validate_metric=si_sdr", "training.num_epochs=2"]
    events: list[Event] = []
    result = resume(toy / "run", overrides=metric, device="cpu", report=events.append)
    (validated,) = [event for event in events if isinstance(event, Validated)]
    assert validated.best
    assert result.best_score == validated.scores["si_sdr"]


# --- early stopping


@pytest.mark.parametrize(("patience", "steps"), [(0, 12), (2, 6)])
def test_a_run_that_does_not_improve_ends_early(toy, patience, steps, monkeypatch):
    scores = iter([3.0, 2.0, 1.0, 0.0, -1.0, -2.0])
    monkeypatch.setattr(trainer_module, "validate", lambda *_, **__: {"sdr": next(scores)})
    setting = f"training.early_stopping={patience}"
    result = start(toy, "training.num_epochs=6", setting)
    assert (result.finished, result.step, result.best_score) == (True, steps, 3.0)
    assert resume(toy / "run", device="cpu").step == steps  # and stays ended


# --- dry run


def test_a_dry_run_does_one_step_and_leaves_nothing(toy):
    before = sorted(toy.rglob("*"))
    events: list[Event] = []
    result = start(toy, "training.num_workers=1", dry_run=True, report=events.append)
    assert sorted(toy.rglob("*")) == before
    assert (result.steps, result.effective_batch, result.training_songs) == (4, 4, 2)
    assert result.receipt["workers"] == 1
    assert any("in force:" in event.message for event in events if isinstance(event, Notice))
    start(toy)
    assert result.loss == losses(toy, "run")[0]


# --- TensorBoard


def test_tensorboard_gets_curves_and_sound(toy):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    start(toy, "training.tensorboard=true")
    board = EventAccumulator(str(toy / "run" / "tensorboard"))
    board.Reload()
    points = board.Scalars("train/loss")
    assert [point.step for point in points] == [1, 2, 3, 4]
    assert [point.value for point in points] == pytest.approx(losses(toy, "run"))
    assert [point.step for point in board.Scalars("valid/sdr")] == [2, 4]
    waits = [point.value for point in board.Scalars("resources/data_seconds")]
    whole = [point.value for point in board.Scalars("resources/seconds")]
    assert all(0.0 < wait < step for wait, step in zip(waits, whole, strict=True))
    (picture, _) = board.Images("song 1/vocals/spectrogram")
    assert (picture.height, picture.width) == (513, 28)
    assert (
        board.SummaryMetadata("_hparams_/session_start_info").plugin_data.plugin_name == "hparams"
    )
    (sound, _) = board.Audio("song 1/vocals")
    assert (sound.sample_rate, sound.length_frames) == (8_000, 8_000)


def test_tensorboard_that_is_not_there_is_an_error(toy, monkeypatch):
    load = builtins.__import__

    def without(name: str, *rest: Any, **named: Any) -> Any:
        if name.startswith(("tensorboard", "torch.utils.tensorboard")):
            raise ModuleNotFoundError(name)
        return load(name, *rest, **named)

    monkeypatch.delitem(sys.modules, "torch.utils.tensorboard", raising=False)
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MssctlError, match="tensorboard is not installed") as error:
        start(toy, "training.tensorboard=true")
    assert error.value.exit_code == ExitCode.ENVIRONMENT
    assert "mssctl[tensorboard]" in str(error.value.hint)


# --- out of memory


@pytest.fixture
def memory(monkeypatch):
    """A step that takes micro-batches of at most ``memory["fits"]`` examples."""
    limit = {"fits": 1, "without_checkpointing": True}
    real = trainer_module.train_step

    def step(state: Any, batches: Any, config: RunConfig, world: World) -> Any:
        torch.rand(3)  # what a failed try draws must not count
        largest = max(len(batch) for batch in batches)
        assert len(batches) == config.training.gradient_accumulation_steps
        plain = state.model.checkpointing == "none"
        if largest > limit["fits"] or (plain and not limit["without_checkpointing"]):
            raise torch.OutOfMemoryError("stub")
        torch.manual_seed(state.step)  # the draws above are of no account
        return real(state, batches, config, world)

    monkeypatch.setattr(trainer_module, "train_step", step)
    return limit


def test_out_of_memory_halves_the_micro_batch_once_and_for_good(toy, memory):
    events: list[Event] = []
    assert start(toy, report=events.append).finished
    warnings = [event.message for event in events if isinstance(event, Notice)
                and event.level == "warning" and "memory ran out" in event.message]  # fmt: skip
    assert len(warnings) == 2  # 4 -> 2 -> 1, each said once
    stored = presets.load(str(toy / "run/config.yaml")).training
    assert (stored.batch_size, stored.gradient_accumulation_steps) == (1, 4)
    assert [entry["batch_size"] for entry in sessions(toy)[0]["memory_ran_out"]] == [2, 1]
    assert resume(toy / "run", device="cpu", overrides=["training.num_epochs=3"]).step == 6
    assert "memory_ran_out" not in sessions(toy)[1]
    memory["fits"] = 4
    start(toy, "training.num_epochs=3", "training.batch_size=1",
          "training.gradient_accumulation_steps=4", run="small")  # fmt: skip
    assert losses(toy, "run") == losses(toy, "small")  # as if it had been 1 from the start


def test_smaller_parts_are_the_same_examples(toy, memory):
    # Without SI-SDR, which is a mean over active targets, the loss is a mean over examples.
    setting = "loss.si_sdr=0"
    start(toy, setting, run="parts")
    memory["fits"] = 4
    start(toy, setting, run="whole")
    assert losses(toy, "parts") == pytest.approx(losses(toy, "whole"), rel=1e-3)


def test_a_single_example_is_then_checkpointed(toy, memory):
    memory["without_checkpointing"] = False
    assert start(toy).finished
    stored = presets.load(str(toy / "run/config.yaml")).training
    assert (stored.batch_size, stored.gradient_checkpointing) == (1, "path")


def test_what_does_not_fit_at_all_ends_with_a_checkpoint(toy, memory):
    memory["fits"] = 0
    with pytest.raises(MssctlError, match="memory ran out") as error:
        start(toy)
    assert error.value.exit_code == ExitCode.BAD_INPUT
    assert error.value.hint
    memory["fits"] = 4
    assert resume(toy / "run", device="cpu").finished


def test_the_checkpoint_of_a_failed_step_is_of_before_it(toy, monkeypatch):
    """Its random numbers, too: else the run that goes on is another run."""
    before, saved = [], []

    def step(state: Any, batches: Any, config: RunConfig, world: World) -> Any:
        before.append(torch.get_rng_state())
        torch.rand(3)
        raise torch.OutOfMemoryError("stub")

    def save(self: Any) -> None:
        saved.append(torch.get_rng_state())

    monkeypatch.setattr(trainer_module, "train_step", step)
    monkeypatch.setattr(trainer_module.Trainer, "_save_if_new", save)
    with pytest.raises(MssctlError, match="memory ran out"):
        start(toy)
    assert torch.equal(saved[0], before[-1])
    assert all(torch.equal(one, before[0]) for one in before)


@pytest.mark.parametrize(
    ("batch", "sizes"), [(1, []), (2, [1]), (12, [6, 3, 1]), (9, [3, 1]), (7, [1])]
)
def test_parts_are_equal_and_hold_the_same_examples(batch, sizes):
    config: RunConfig | None = presets.override(RunConfig(), [f"training.batch_size={batch}"])
    seen = []
    while (config := needing_less(config)) is not None:
        training = config.training
        assert training.batch_size * training.gradient_accumulation_steps == batch
        seen.append((training.batch_size, training.gradient_checkpointing))
    assert seen == [*((size, "none") for size in sizes), (1, "path")]


def test_a_failed_try_leaves_the_random_generator_as_it_was(toy, monkeypatch):
    real, seen = trainer_module.train_step, []

    def step(state: Any, batches: Any, config: RunConfig, world: World) -> Any:
        seen.append(torch.rand(1).item())
        if len(seen) == 1:
            raise torch.OutOfMemoryError("stub")
        return real(state, batches, config, world)

    monkeypatch.setattr(trainer_module, "train_step", step)
    start(toy, "training.num_epochs=1", report=_interrupt)
    assert seen[0] == seen[1]


def _interrupt(event: Event) -> None:
    if isinstance(event, Step):
        signal.raise_signal(signal.SIGINT)
