"""The schema: every key does something, and every bad value is refused."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from pydantic import ValidationError

import mssctl
from mssctl.config.section import Key, Section, key_of
from mssctl.errors import MssctlError
from mssctl.models.run_config import RunConfig, forms_of, parse

SOURCE = Path(mssctl.__file__).parent
FORMS = [
    (section, name, form)
    for section in RunConfig.model_fields
    for name, form in forms_of(section).items()
]
KEYS = list(
    dict.fromkeys(f"{section}.{key}" for section, _, form in FORMS for key in form.model_fields)
)


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
BY_PROPERTY = {"target_instrument": "outputs"}  # read as a property of its section


@pytest.mark.parametrize("key", [*KEYS, "description"])
def test_a_key_is_read_outside_the_schema(key):
    name = key.rpartition(".")[2]
    assert BY_PROPERTY.get(name, name) in READ


@pytest.mark.parametrize(("section", "name", "form"), FORMS)
def test_a_key_says_what_it_means_and_a_number_its_unit(section, name, form):
    for key, field in form.model_fields.items():
        facts = key_of(form, key)
        assert facts.doc.endswith("."), f"{section}.{key} of {name}: make it with field(doc=...)"
        if re.search(r"\b(int|float)\b", str(field.annotation)):
            assert facts.unit, f"{section}.{key} of {name}: a number has a unit, or 1"


def test_a_key_of_a_bare_field_has_no_meaning_and_never_changes():
    class Bare(Section):
        width: int = 1

    assert key_of(Bare, "width") == Key(doc="", unit="", resumable=False)


@pytest.mark.parametrize(("section", "name", "form"), FORMS)
def test_a_section_is_immutable_and_refuses_unknown_keys(section, name, form):
    model = form()
    with pytest.raises(ValidationError, match="frozen"):
        setattr(model, next(iter(form.model_fields)), None)
    named = {"name": name} if "name" in form.model_fields else {}
    with pytest.raises(MssctlError, match=f"test: {section}: unknown key 'colour'"):
        parse({section: {**named, "colour": 1}}, "test")


@pytest.mark.parametrize(
    ("section", "name", "key", "hint"),
    [
        ("model", "bsmamba2", "n_layer", "did you mean 'n_layers'?"),
        ("model", "bsmamba2", "dstate", "did you mean 'd_state'?"),
        ("model", "tf_locoformer", "n_head", "did you mean 'n_heads'?"),
        ("loss", "bsmamba2", "l1_time", "did you mean 'l1_time_weight'?"),
    ],
)
def test_a_misspelling_is_compared_with_the_keys_of_its_own_form(section, name, key, hint):
    with pytest.raises(MssctlError, match=f"{section}: unknown key '{key}'") as refused:
        parse({section: {"name": name, key: 1}}, "mine.yaml")
    assert refused.value.hint == hint


def test_a_misspelt_form_names_the_nearest():
    with pytest.raises(MssctlError, match=r"model\.name: unknown 'bsmamba'") as refused:
        parse({"model": {"name": "bsmamba"}}, "mine.yaml")
    assert refused.value.hint == "did you mean 'bsmamba2'?"


@pytest.mark.parametrize("section", ["model", "loss"])
@pytest.mark.parametrize("name", [None, 5, True, ["l1"], {"a": 1}, ""])
def test_a_form_that_is_not_a_word_is_unknown(section, name):
    with pytest.raises(MssctlError, match=rf"test: {section}\.name: unknown ") as refused:
        parse({section: {"name": name}}, "test")
    assert refused.value.hint


def test_a_target_instrument_is_the_only_output():
    audio = parse({"audio": {"target_instrument": "bass"}}, "mine.yaml").audio
    assert (audio.outputs, audio.complete) == (("bass",), False)
    audio = parse({}, "mine.yaml").audio
    assert (audio.outputs, audio.complete) == (audio.stems, True)


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
        ({"audio": {"target_instrument": "kazoo"}}, "target_instrument must be one of stems"),
        ({"model": {"name": "bsmamba2", "headdim": 63}}, "must be a multiple of headdim"),
        ({"model": {"name": "bsmamba2", "dt_min": 1.0}}, "are (lowest, highest)"),
        (
            {"loss": {"name": "bsmamba2"}, "training": {"segment_length": 2048}},
            "segment_length is too short for the loss's windows",
        ),
        ({"loss": {"si_sdr": 0, "l1": 0, "spectral": 0}}, "at least one term"),
        ({"data": {"gain_db": [3, -3]}}, "gain_db is (lowest, highest)"),
        ({"data": {"codec_hz": [9_000, 8_000]}}, "codec_hz is (lowest, highest)"),
        ({"data": {"tempo_ratio": [0.0, 1.0]}}, "data.tempo_ratio.0"),
        ({"data": {"weights": [1, 0]}}, "data.weights.1"),
        ({"separation": {"overlap": 1.0}}, "separation.overlap"),
        ({"training": {"amp_dtype": "float16"}}, "training.amp_dtype"),
        ({"training": {"seed": 2**64}}, "training.seed"),
        ({"optimizer": {"lr": float("inf")}}, "optimizer.lr"),
        ({"optimizer": {"betas": [0.9, 1.0]}}, "optimizer.betas.1"),
        ({"data": {"active_db": float("nan")}}, "data.active_db"),
        ({"data": {"gain_db": [float("-inf"), 0]}}, "data.gain_db.0"),
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


def numbers():
    """Section, form and key of every number, and whether it is whole."""
    for section, name, form in FORMS:
        for key, field in form.model_fields.items():
            if field.annotation in (int, float):
                yield pytest.param(section, name, key, field.annotation, id=f"{name}.{key}")


@pytest.mark.parametrize(("section", "name", "key", "kind"), list(numbers()))
def test_no_number_is_without_bounds(section, name, key, kind):
    named = {"name": name} if name != section else {}
    for value in (10**18, -(10**18)):
        with pytest.raises(MssctlError, match=f"{section}.{key}: Input should be"):
            parse({section: {**named, key: kind(value)}}, "mine.yaml")
