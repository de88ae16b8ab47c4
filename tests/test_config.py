"""The schema: every key does something, and every bad value is refused."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from pydantic import BaseModel, ValidationError

import mssctl
from mssctl.config.parse import parse
from mssctl.config.schema import RunConfig
from mssctl.errors import MssctlError

SOURCE = Path(mssctl.__file__).parent
SECTIONS = {
    name: field.annotation
    for name, field in RunConfig.model_fields.items()
    if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)
}
KEYS = [f"{section}.{key}" for section, model in SECTIONS.items() for key in model.model_fields]


def attributes_read() -> set[str]:
    """Names read as ``something.name`` outside the schema; the renderer knows no configuration."""
    names = set()
    for path in SOURCE.rglob("*.py"):
        if path.parent.name != "config" and path.name != "render.py":
            tree = ast.parse(path.read_text(encoding="utf-8"))
            names |= {
                node.attr
                for node in ast.walk(tree)
                if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load)
            }
    return names


READ = attributes_read()


@pytest.mark.parametrize("key", [*KEYS, "description"])
def test_a_key_is_read_outside_the_schema(key):
    assert key.rpartition(".")[2] in READ


@pytest.mark.parametrize("section", SECTIONS)
def test_a_section_is_immutable_and_refuses_unknown_keys(section):
    model = getattr(RunConfig(), section)
    with pytest.raises(ValidationError, match="frozen"):
        setattr(model, next(iter(type(model).model_fields)), None)
    with pytest.raises(MssctlError, match="unknown key 'colour'"):
        parse({section: {"colour": 1}}, "test")


@pytest.mark.parametrize(
    ("tree", "sentence"),
    [
        ({"stft": {"n_fft": 2047}}, "stft.n_fft"),
        ({"stft": {"n_fft": 1024, "hop_length": 1000}}, "hop_length must be at most n_fft / 2"),
        ({"stft": {"n_fft": 1024}}, "bands62 is for n_fft 2048 and 4096"),
        ({"model": {"freqs_per_bands": [1000, 24]}}, "sums to 1024, n_fft has 1025 bins"),
        ({"model": {"emb_dim": 90}}, "emb_dim must be a multiple of num_groups"),
        ({"model": {"n_heads": 5}}, "attention_dim must be an even multiple of n_heads"),
        ({"model": {"name": "unet"}}, "model.name"),
        ({"audio": {"stems": ["vocals", "vocals"]}}, "stems must differ"),
        ({"audio": {"stems": ["../x"]}}, "letters, digits"),
        ({"audio": {"channels": 6}}, "audio.channels"),
        ({"loss": {"si_sdr": 0, "l1": 0, "spectral": 0}}, "at least one term"),
        ({"data": {"gain_db": [3, -3]}}, "gain_db is (lowest, highest)"),
        ({"separation": {"overlap": 1.0}}, "separation.overlap"),
        ({"training": {"amp_dtype": "float16"}}, "training.amp_dtype"),
    ],
)
def test_a_bad_value_is_refused_with_its_place(tree, sentence):
    with pytest.raises(MssctlError) as refused:
        parse(tree, "mine.yaml")
    assert refused.value.message.startswith("mine.yaml: ")
    assert sentence in refused.value.message
    assert refused.value.exit_code == 3


def test_all_problems_are_named_at_once():
    with pytest.raises(MssctlError) as refused:
        parse({"stft": {"hop": 1}, "optimizer": {"lr": -1}}, "mine.yaml")
    assert "unknown key 'hop'" in refused.value.message
    assert "optimizer.lr" in refused.value.message
