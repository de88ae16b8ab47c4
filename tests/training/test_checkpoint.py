"""Checkpoints are whole or absent, hold everything, and damage is noticed."""

from __future__ import annotations

import errno
import json
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import SafetensorError

from mssctl.documents import unsealed
from mssctl.errors import ExitCode, MssctlError
from mssctl.events import Notice, silent
from mssctl.training.checkpoint import save as save_module
from mssctl.training.checkpoint.load import checkpoints, generator_states, load_newest
from mssctl.training.checkpoint.save import save_checkpoint
from mssctl.training.optim import tensors_of
from mssctl.training.step import train_step


@pytest.fixture
def run(tmp_path):
    (tmp_path / "config.yaml").write_text("description: toy\n")
    return tmp_path


@pytest.fixture
def advance(make_config, make_batch):
    def go(state, steps):
        config = make_config()
        steps_done = (train_step(state, [make_batch(state.step)], config) for _ in range(steps))
        return [outcome.loss.item() for outcome in steps_done]

    return go


def save(run, state, keep_last=9):
    generators = [generator_states(torch.device("cpu"))]
    return save_checkpoint(run, state, generators, epoch=1, keep_last=keep_last)


def test_what_is_loaded_goes_on_bit_for_bit(run, make_config, make_state, advance):
    straight = make_state(make_config())
    advance(straight, 3)
    straight.schedule.validated(3, 1.5)
    straight.best_score, straight.best_step = 1.5, 3
    straight.history.append({"step": 3, "epoch": 1, "scores": {"sdr": 1.5}})
    save(run, straight)
    losses = advance(straight, 3)

    resumed = make_state(make_config())
    assert load_newest(run, resumed, silent).name == "step-00000003"
    assert resumed.step == 3
    assert (resumed.best_score, resumed.best_step) == (1.5, 3)
    assert resumed.history == straight.history
    assert resumed.schedule.state_dict() == straight.schedule.state_dict()
    assert advance(resumed, 3) == losses
    for a, b in ((straight.model, resumed.model), (straight.average.model, resumed.average.model)):
        torch.testing.assert_close(tensors_of(a), tensors_of(b), rtol=0, atol=0)


def test_the_random_generators_are_put_back(run, make_config, make_state):
    save(run, make_state(make_config()))
    draws = random.random(), np.random.random(), torch.rand(1).item()  # noqa: NPY002
    load_newest(run, make_state(make_config()), silent)
    assert (random.random(), np.random.random(), torch.rand(1).item()) == draws  # noqa: NPY002


def test_the_last_ones_and_the_best_are_kept(run, make_config, make_state, advance):
    state = make_state(make_config())
    for _ in range(5):
        advance(state, 1)
        if state.step == 2:
            state.best_score, state.best_step = 1.0, 2
        save(run, state, keep_last=2)
    assert [path.name[-1] for path in checkpoints(run)] == ["2", "4", "5"]


@pytest.mark.parametrize("file", ["model.safetensors", "optimizer.safetensors", "state.json"])
@pytest.mark.parametrize("damage", ["cut", "flipped", "removed"])
def test_a_damaged_checkpoint_gives_way_to_the_one_before(
    run, make_config, make_state, advance, file, damage
):
    state = make_state(make_config())
    advance(state, 1)
    save(run, state)
    advance(state, 1)
    path = save(run, state) / file
    content = path.read_bytes()
    if damage == "removed":
        path.unlink()
    elif damage == "cut":
        path.write_bytes(content[: len(content) // 2])
    else:
        path.write_bytes(content[:-20] + bytes(byte ^ 1 for byte in content[-20:]))
    events = []
    loaded = make_state(make_config())
    load_newest(run, loaded, events.append)
    assert loaded.step == 1
    (notice,) = events
    assert isinstance(notice, Notice)
    assert notice.level == "warning"
    assert "step-00000002" in notice.message
    advance(loaded, 1)
    save(run, loaded)  # takes the damaged one's place
    again = make_state(make_config())
    load_newest(run, again, silent)
    assert again.step == 2


def test_without_a_usable_checkpoint_there_is_an_error(run, make_config, make_state):
    (save(run, make_state(make_config())) / "state.json").unlink()
    with pytest.raises(MssctlError, match="no undamaged checkpoint"):
        load_newest(run, make_state(make_config()), silent)


def nested(depth):
    """Lists in lists."""
    value = []
    for _ in range(depth):
        value = [value]
    return value


def other(value):
    """Another value of the same type."""
    if isinstance(value, str):
        return value + "x"
    if isinstance(value, list):
        return value[:-1] or [1]
    if isinstance(value, dict):
        return {**value, "x": 1}
    return 1.5 if value is None else 3 - value


CHANGES = {
    "another value": other,
    "a huge value": lambda _: 10**18,
    "another type": lambda value: [value] if isinstance(value, dict | str) else {"a": value},
    "nested": lambda _: nested(60),
    "nested deeply": lambda _: nested(400),
    "null": lambda _: None,
    "removed": None,
}


def changed_texts(values, change):
    """Name and text of ``values`` with one value of it changed, for each of them."""
    for path in [(key,) for key in values] + [
        (key, inner) for key in ("schedule", "sha256") for inner in values[key]
    ]:
        copy = json.loads(json.dumps(values))
        place = copy
        for key in path[:-1]:
            place = place[key]
        before = place.pop(path[-1])
        if change is not None:
            place[path[-1]] = change(before)
            if place[path[-1]] == before:
                continue
        yield ".".join(path), json.dumps(copy)


@pytest.fixture
def two_checkpoints(run, make_config, make_state, advance):
    """A run of two checkpoints; the second knows of a validation."""
    state = make_state(make_config())
    advance(state, 1)
    save(run, state)
    advance(state, 1)
    state.best_score, state.best_step = 1.5, 2
    state.history.append({"step": 2, "epoch": 1, "scores": {"sdr": 1.5}})
    return save(run, state)


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_any_change_of_the_values_gives_way_to_the_checkpoint_before(
    run, make_config, make_state, two_checkpoints, change
):
    path = two_checkpoints / "state.json"
    loaded, believed = make_state(make_config()), []
    for name, text in changed_texts(json.loads(path.read_text()), change):
        path.write_text(text)
        events = []
        load_newest(run, loaded, events.append)
        told = [
            event.message for event in events if "trying the checkpoint before" in event.message
        ]
        if loaded.step != 1 or len(told) != 1 or len(told[0]) > 400:
            believed.append(name)
    assert believed == []


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_an_earlier_format_without_a_checksum_is_checked_as_a_whole(
    run, make_config, make_state, two_checkpoints, change
):
    path = two_checkpoints / "state.json"
    values = {
        key: value for key, value in json.loads(path.read_text()).items() if key != "checksum"
    }
    path.write_text(json.dumps({**values, "format": 1}))
    loaded, events = make_state(make_config()), []
    load_newest(run, loaded, events.append)
    assert loaded.step == 2
    assert "without a checksum over its values" in events[0].message
    values["format"] = 1
    for name, text in changed_texts(values, change):
        path.write_text(text)
        load_newest(run, loaded, silent)  # what cannot be told from a right value is believed
        if name in ("step", "format", "history", "python_rng", "processes"):
            assert loaded.step == 1 or (name, change) == ("processes", None), name


@pytest.mark.parametrize("text", ["", "[]", "3", "{", "[" * 100_000, "\0", "\ufeff"])
def test_no_text_in_place_of_the_values_is_a_traceback(run, make_config, make_state, text):
    (save(run, make_state(make_config())) / "state.json").write_text(text, encoding="utf-8")
    with pytest.raises(MssctlError, match="no undamaged checkpoint") as caught:
        load_newest(run, make_state(make_config()), silent)
    assert caught.value.exit_code == ExitCode.BAD_INPUT


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        SafetensorError("I/O error: No space left on device (os error 28)"),
        MemoryError(),
    ],
)
def test_a_checkpoint_that_cannot_be_finished_leaves_nothing(
    run, make_config, make_state, advance, monkeypatch, error
):
    state = make_state(make_config())
    save(run, state)
    advance(state, 1)

    def fail(*_):
        raise error

    monkeypatch.setattr(save_module, "_replace", fail)
    with pytest.raises((MssctlError, MemoryError)) as caught:
        save(run, state)
    if not isinstance(error, MemoryError):
        assert "No space left on device" in str(caught.value)
        assert caught.value.exit_code == ExitCode.ENVIRONMENT
    assert [path.name for path in (run / "checkpoints").iterdir()] == ["step-00000000"]


def test_leftovers_of_a_killed_run_are_no_checkpoints_and_go_away(run, make_config, make_state):
    leftover = run / "checkpoints" / ".step-00000007.tmp"
    leftover.mkdir(parents=True)
    assert checkpoints(run) == []
    save(run, make_state(make_config()))
    assert not leftover.exists()


def test_another_model_is_refused_by_name_and_shape(run, make_config, make_state):
    save(run, make_state(make_config()))
    other = make_state(make_config(audio={"stems": ("vocals", "drums", "bass")}))
    with pytest.raises(MssctlError, match=r"conv\.bias is \(6,\) by config\.yaml, \(4,\) stored"):
        load_newest(run, other, silent)


def test_a_changed_configuration_is_noticed(run, make_config, make_state):
    save(run, make_state(make_config()))
    (run / "config.yaml").write_text("description: edited\n")
    events = []
    load_newest(run, make_state(make_config()), events.append)
    assert [event.message for event in events] == ["config.yaml was changed since the checkpoint"]


def test_state_is_json_with_versions_and_checksums(run, make_config, make_state):
    folder = save(run, make_state(make_config()))
    values = json.loads((folder / "state.json").read_text())
    assert values["format"] == 2
    assert unsealed(values, "state.json")["step"] == 0
    assert values["versions"]["torch"] == torch.__version__
    assert set(values["sha256"]) == {path.name for path in folder.glob("*.safetensors")}
    assert {path.suffix for path in folder.iterdir()} == {".json", ".safetensors"}


def test_a_kill_while_a_checkpoint_is_replaced_loses_nothing(
    run, make_config, make_state, monkeypatch
):
    save(run, make_state(make_config()))

    class Killed(BaseException):
        """Nothing of the program catches this, like SIGKILL."""

    rename = Path.rename

    def rename_once(path, target):
        if not path.name.startswith("step-"):
            raise Killed
        return rename(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", rename_once)
        with pytest.raises(Killed):
            save(run, make_state(make_config()))
    assert not (run / "checkpoints" / "step-00000000").exists()
    assert load_newest(run, make_state(make_config()), silent).name == "step-00000000"
