"""Model files: compared before memory is taken, and their tensors are those that were written."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from mssctl.errors import ExitCode, MssctlError
from mssctl.models import weights
from mssctl.models.build import build
from mssctl.models.run_config import parse

CPU = torch.device("cpu")
TREE = {
    "audio": {"sample_rate": 8000, "stems": ["vocals", "drums"]},
    "stft": {"n_fft": 64, "hop_length": 32},
    "model": {
        "freqs_per_bands": [11, 22], "n_layers": 1, "emb_dim": 4, "attention_dim": 4, "n_heads": 1,
        "ffn_hidden_dim": [4, 4], "num_groups": 2, "mask_expansion": 1,
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def original(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("models") / "model.safetensors"
    config = parse(TREE, "tree")
    torch.manual_seed(0)
    weights.save(path, build(config), config, {"license": "CC0"})
    return path


@pytest.fixture
def rewritten(original, tmp_path):
    """Write the model again with other metadata or tensors."""

    def write(metadata=None, tensors=None):
        with safe_open(original, framework="pt") as file:
            kept = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            own = file.metadata()
        path = tmp_path / "model.safetensors"
        save_file({**kept, **(tensors or {})}, path, {**own, **(metadata or {})})
        return path

    return write


def config_with(section, **values):
    tree = json.loads(json.dumps(parse(TREE, "tree").model_dump(mode="json")))
    tree[section].update(values)
    return {"config": json.dumps(tree)}


DAMAGED = {
    "a huge model": config_with("model", n_layers=100_000),
    "many layers": config_with("model", n_layers=100),
    "more layers": config_with("model", n_layers=2),
    "a wide model": config_with(
        "model", emb_dim=8192, attention_dim=8192, ffn_hidden_dim=[65536] * 2
    ),
    "text for a number": config_with("model", n_layers="1"),
    "a boolean for a number": config_with("model", n_layers=True),
    "an unknown key": config_with("model", colour=1),
    "a deep configuration": {"config": '{"a":' * 100_000},
    "a list for a configuration": {"config": "[]"},
    "a number for a configuration": {"config": "3"},
    "NaN": config_with("optimizer", lr=float("nan")),
    "a deep card": {"card": "[" * 100_000},
    "a list for a card": {"card": "[]"},
    "null for a card": {"card": "null"},
    "numbers in a card": {"card": '{"license": 3}'},
    "no card": {"card": ""},
    "another format": {"format": "99"},
}


@pytest.mark.parametrize("metadata", DAMAGED.values(), ids=DAMAGED.keys())
def test_damaged_metadata_is_one_sentence_and_takes_no_memory(rewritten, metadata, monkeypatch):
    path = rewritten(metadata)
    monkeypatch.setattr(weights, "content_hash", lambda *_: pytest.fail("read the tensors"))
    started = time.process_time()
    with pytest.raises(MssctlError, match=r"model\.safetensors") as caught:
        weights.load(str(path), CPU)
    assert time.process_time() - started < 2.0
    assert caught.value.exit_code == ExitCode.BAD_INPUT
    assert len(str(caught.value)) < 500 + 2 * len(str(path))


@pytest.mark.parametrize(
    "metadata",
    [
        config_with("audio", stems=["drums", "vocals"]),
        {"card": '{"license": "none"}'},
        {"sha256": "0" * 64},
    ],
)
def test_changed_metadata_is_noticed(rewritten, metadata):
    with pytest.raises(MssctlError, match="its checksum differs"):
        weights.load(str(rewritten(metadata)), CPU)


@pytest.mark.parametrize(
    ("card", "kept"),
    [
        ({"licence": "CC0", "run": "a"}, "CC0"),
        ({"licence": "old", "license": "new", "run": "a"}, "new"),
    ],
)
def test_a_file_of_an_earlier_version_keeps_its_license(tmp_path, card, kept):
    path, config = tmp_path / "model.safetensors", parse(TREE, "tree")
    weights.save(path, build(config), config, card)
    assert weights.load(str(path), CPU).card == {"license": kept, "run": "a"}
    assert weights.describe(str(path)).license == kept


def test_one_flipped_bit_of_any_tensor_is_noticed(original, tmp_path):
    content = bytearray(original.read_bytes())
    path = tmp_path / "model.safetensors"
    header = 8 + int.from_bytes(content[:8], "little")
    for place in range(header, len(content), (len(content) - header) // 20):
        content[place] ^= 1
        path.write_bytes(content)
        with pytest.raises(MssctlError, match="its checksum differs"):
            weights.load(str(path), CPU)
        content[place] ^= 1
    path.write_bytes(content)
    weights.load(str(path), CPU)


def test_tensors_of_another_type_are_refused(rewritten):
    name = next(iter(build(parse(TREE, "tree")).state_dict()))
    shape = build(parse(TREE, "tree")).state_dict()[name].shape
    path = rewritten(tensors={name: torch.ones(shape, dtype=torch.int32)})
    with pytest.raises(MssctlError, match=f"tensor '{name}' is of type I32"):
        weights.load(str(path), CPU)
