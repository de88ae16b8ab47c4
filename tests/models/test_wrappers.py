"""Checkpoints as training programs save them, and files that are none."""

from __future__ import annotations

import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from mssctl.api.models import import_model
from mssctl.errors import ExitCode, MssctlError
from mssctl.models import official, weights
from mssctl.models.wrappers import find_weights

GOLDEN = Path(__file__).parent.parent / "golden"
LAYOUTS = ["tf_locoformer", "bs_locoformer", "bsmamba2", "bs_roformer"]


def golden(layout: str) -> dict[str, torch.Tensor]:
    name = "bs_roformer_mono" if layout == "bs_roformer" else layout
    with safe_open(GOLDEN / f"{name}_dev.safetensors", framework="pt") as file:
        return {
            key.removeprefix("weight."): file.get_tensor(key)
            for key in file.keys()  # noqa: SIM118
            if key.startswith("weight.")
        }


def before(prefix, state):
    return {f"{prefix}{key}": value for key, value in state.items()}


def other(state):
    return {key: value + 1 for key, value in state.items()}


def compiled_inside(state):
    """The keys of a model whose blocks were compiled one by one."""
    return {key.replace(".0.", ".0._orig_mod.", 1): value for key, value in state.items()}


COUNT = torch.tensor(7)
WINDOW = torch.ones(4)
OPTIMIZER = {
    "state": {0: {"exp_avg": torch.ones(3), "step": torch.tensor(1.0)}},
    "param_groups": [],
}
WRAPPERS: dict[str, tuple[Any, str]] = {  # how it is saved, and the place it is found at
    "bare": (lambda s: s, ""),
    "module.": (lambda s: before("module.", s), "module"),
    "_orig_mod.": (lambda s: before("_orig_mod.", s), ""),
    "model._orig_mod.": (lambda s: before("model._orig_mod.", s), "model"),
    "module._orig_mod.": (lambda s: before("module._orig_mod.", s), "module"),
    "compiled blocks": (compiled_inside, ""),
    "net.": (lambda s: before("net.", s), "net"),
    "model.module.": (lambda s: before("model.module.", s), "model.module"),
    "average": (lambda s: {"n_averaged": COUNT, **before("module.", s)}, "module"),
    "lightning": (
        lambda s: {"state_dict": before("model.", s), "epoch": 3, "optimizer_states": [OPTIMIZER]},
        "state_dict.model",
    ),
    "a buffer beside": (lambda s: {**before("model.", s), "loss.window": WINDOW}, "model"),
    "a counter among": (lambda s: {**s, "num_batches_tracked": COUNT}, ""),
    "model": (lambda s: {"model": s, "optimizer": OPTIMIZER, "epoch": 3}, "model"),
    "state_dict": (lambda s: {"state_dict": s}, "state_dict"),
    "model_state_dict": (lambda s: {"model_state_dict": s}, "model_state_dict"),
    "state": (lambda s: {"state": s, "step": 1}, "state"),
    "params": (lambda s: {"params": s}, "params"),
    "ema": (lambda s: {"ema": s}, "ema"),
    "model and ema": (lambda s: {"model": other(s), "ema": s}, "ema"),
    "params and params_ema": (lambda s: {"params": other(s), "params_ema": s}, "params_ema"),
    "ema beside online": (
        lambda s: {
            "model": {**before("online_model.", other(s)), **before("ema_model.", s), "step": COUNT}
        },
        "model.ema_model",
    ),
    "average in a table": (
        lambda s: {"model": other(s), "avg": {"n_averaged": COUNT, **before("module.", s)}},
        "avg.module",
    ),
    "nested": (
        lambda s: {"checkpoint": {"model": {"state_dict": before("module._orig_mod.", s)}}},
        "checkpoint.model.state_dict.module",
    ),
}


@pytest.mark.parametrize("wrapper", WRAPPERS.values(), ids=WRAPPERS.keys())
@pytest.mark.parametrize("layout", LAYOUTS)
def test_weights_are_found_in_what_programs_save_around_them(layout, wrapper):
    wrap, place = wrapper
    state = golden(layout)
    found, notes = find_weights(wrap(state), official.chosen(), None)
    assert (found.layout, found.place) == (layout, place)
    assert found.state.keys() == state.keys()
    assert all(torch.equal(found.state[key], state[key]) for key in state)
    assert any(f"'{place}'" in note for note in notes) == bool(place)


def test_what_was_chosen_and_left_out_is_said():
    state = golden("bsmamba2")
    tree = {"model": {**other(state)}, "ema": {**before("module.", state), "n_averaged": COUNT}}
    _, notes = find_weights(tree, official.chosen(), None)
    assert notes == [
        "a moving average of the weights, from 'ema.module'",
        "also in the file: 'model'; choose with --key",
        "left out, no weights of the model: n_averaged",
    ]
    found, _ = find_weights(tree, official.chosen(), "model")
    assert found.place == "model"
    assert torch.equal(found.state["final_norm.gamma"], other(state)["final_norm.gamma"])


def test_what_only_the_user_can_choose_is_asked():
    state = golden("bsmamba2")
    tree = {"teacher": state, "student": other(state)}
    with pytest.raises(MssctlError, match="several weights in it: 'teacher', 'student'") as caught:
        find_weights(tree, official.chosen(), None)
    assert "--key" in str(caught.value.hint)
    with pytest.raises(MssctlError, match="no weights at 'pupil'") as caught:
        find_weights(tree, official.chosen(), "pupil")
    assert caught.value.exit_code == ExitCode.USAGE


@pytest.mark.parametrize("tree", [None, 3, [], {}, {"a": 1}, [torch.ones(1)], {"a": {"b": "c"}}])
def test_a_file_without_tensors_has_no_state_dict(tree):
    with pytest.raises(MssctlError, match="no state dict in it"):
        find_weights(tree, official.chosen(), None)


def test_keys_of_no_known_layout_are_shown():
    with pytest.raises(MssctlError, match="no layout known here; the first ones: a, b"):
        find_weights({"b": torch.zeros(1), "a": torch.zeros(1)}, official.chosen(), None)


def test_a_table_in_itself_ends():
    tree: dict[str, Any] = {"a": 1}
    tree["again"] = tree
    with pytest.raises(MssctlError, match="no state dict"):
        find_weights(tree, official.chosen(), None)


class Trap:
    def __reduce__(self) -> Any:
        return (exec, ("raise SystemExit(99)",))


def zip_of(path, names):
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, b"x")


FILES: dict[str, Any] = {
    "empty": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_text("hello"),
    "numbers": lambda path: path.write_text("12345"),
    "yaml": lambda path: path.write_text("model: {n_layers: 2}\n"),
    "html": lambda path: path.write_text("<!DOCTYPE html><html></html>"),
    "lfs": lambda path: path.write_text("version https://git-lfs.github.com/spec/v1\noid 1\n"),
    "wav": lambda path: path.write_bytes(b"RIFF\x24\0\0\0WAVEfmt " + bytes(40)),
    "mp4": lambda path: path.write_bytes(b"\0\0\0\x20ftypM4A " + bytes(40)),
    "zeros": lambda path: path.write_bytes(bytes(1000)),
    "noise": lambda path: path.write_bytes(bytes(range(256)) * 4),
    "zip": lambda path: zip_of(path, ["a.txt"]),
    "npz": lambda path: zip_of(path, ["a.npy"]),
    "a zip that is cut": lambda path: path.write_bytes(b"PK\x03\x04" + bytes(50)),
    "a zip with a pickle of nothing": lambda path: zip_of(path, ["archive/data.pkl"]),
    "a pickle of numbers": lambda path: path.write_bytes(pickle.dumps([1, 2])),
    "a pickle with a trap": lambda path: path.write_bytes(pickle.dumps(Trap())),
    "a pickle that is cut": lambda path: path.write_bytes(pickle.dumps(list(range(999)))[:50]),
    "a deep pickle": lambda path: path.write_bytes(b"\x80\x02" + b"(" * 100_000 + b"."),
    "a checkpoint with a trap": lambda path: torch.save({"a": torch.ones(1), "b": Trap()}, path),
    "a checkpoint of numbers": lambda path: torch.save({"a": 1}, path),
    "a checkpoint of others": lambda path: torch.save({"a": torch.ones(1)}, path),
    "safetensors of others": lambda path: save_file({"a": torch.ones(1)}, path),
    "safetensors that are cut": lambda path: path.write_bytes(
        b"\x08" + bytes(7) + b"{      }" + b"1"
    ),
    "a deep header": lambda path: path.write_bytes(
        (200_000).to_bytes(8, "little") + b'{"a":' * 40_000
    ),
    "a folder": lambda path: path.mkdir(),
    "a pipe": os.mkfifo,
}
KINDS = {
    "text": "a text file", "yaml": "a text file", "html": "an HTML page", "lfs": "Git LFS",
    "wav": "a RIFF file", "mp4": "an MP4 file", "zip": "a zip archive", "npz": "NumPy arrays",
    "a folder": "folder|directory", "a pipe": "a pipe or a device",
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_no_file_given_as_a_checkpoint_is_a_traceback(tmp_path, name):
    path = tmp_path / "file.ckpt"
    FILES[name](path)
    with pytest.raises(MssctlError, match=KINDS.get(name, r"file\.ckpt")) as caught:
        import_model(path, tmp_path / "out.safetensors")
    assert caught.value.exit_code == ExitCode.BAD_INPUT
    assert len(str(caught.value)) < 500 + len(str(path))
    assert "\n" not in str(caught.value)
    assert "weights_only" not in str(caught.value)
    assert str(path) in caught.value.message
    assert not (tmp_path / "out.safetensors").exists()


@pytest.mark.parametrize("name", FILES)
def test_no_file_given_as_a_model_is_a_traceback(tmp_path, name):
    path = tmp_path / "file.ckpt"
    FILES[name](path)
    with pytest.raises(MssctlError, match=KINDS.get(name, r"file\.ckpt")) as caught:
        weights.load(str(path), torch.device("cpu"))
    assert caught.value.exit_code == ExitCode.BAD_INPUT
    assert len(str(caught.value)) < 500 + 2 * len(str(path))


def test_an_intact_checkpoint_given_as_a_model_names_the_command(tmp_path, monkeypatch):
    torch.save(golden("bsmamba2"), tmp_path / "x.ckpt")
    monkeypatch.chdir(tmp_path)
    for name in ("x.ckpt", "./x.ckpt", str(tmp_path / "x.ckpt")):
        with pytest.raises(MssctlError, match="a file of PyTorch, not a model file") as caught:
            weights.read_metadata(weights.find(name))
        assert "mssctl models import" in str(caught.value.hint)


def test_a_run_given_as_a_model_names_its_best(tmp_path):
    (tmp_path / "best.safetensors").touch()
    with pytest.raises(MssctlError, match="a folder, not a model file") as caught:
        weights.find(str(tmp_path))
    assert str(tmp_path / "best.safetensors") in str(caught.value.hint)


@pytest.mark.parametrize("name", ["~nosuchuser/x.safetensors", "x" * 300, "a\0b", "/x/y.ckpt", ""])
def test_any_name_of_a_model_is_one_sentence(name):
    with pytest.raises(MssctlError):
        weights.find(name)
