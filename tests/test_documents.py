"""Every reader of text: whatever that holds, an answer or one bounded sentence, soon."""

from __future__ import annotations

import ast
import json
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import mssctl
from mssctl import presets
from mssctl.benchmark.compare import compare
from mssctl.documents import (
    dump_yaml,
    parse_json,
    parse_yaml,
    read_json,
    read_yaml,
    sealed,
    unsealed,
)
from mssctl.errors import ExitCode, MssctlError, shown
from mssctl.evaluation.summary import read_summary, read_track
from mssctl.models.weights import parse_metadata

SOURCE = Path(mssctl.__file__).parent
BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{b}: &{b} [{','.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)
BYTES = {
    "empty": b"",
    "a NUL": b"a: \0",
    "UTF-16": "a: 1".encode("utf-16"),
    "UTF-16 without a mark": "a: 1".encode("utf-16-le"),
    "not UTF-8": b"a: \xff",
    "latin-1": "a: é".encode("latin-1"),
    "half a character, escaped": b'{"a": "\\ud800"}',
    "half a character": b'{"a": "\xed\xa0\x80"}',
    "a code beyond all": b'{"a": "\\U99999999"}',
    "brackets": b"[" * 2_000,
    "braces": b'{"a":' * 100_000,
    "dashes": b"- " * 100_000,
    "question marks": b"? " * 100_000,
    "5,000 digits": b"9" * 5_000,
    "a fraction of 5,000 digits": b"0." + b"9" * 5_000,
    "an exponent": b"1e999",
    "31 digits": b'{"a": 1000000000000000000000000000000}',
    "NaN": b'{"a": NaN}',
    "infinity": b'{"a": -Infinity}',
    "a key given twice": b'{"a": 1, "a": 2}',
    "text": b"hello",
    "a list": b"[1, 2]",
    "an alias bomb": BOMB.encode(),
    "long aliases": b"a: &a " + b"x" * 100_000 + b"\nb: [" + b"*a," * 5_000 + b"]",
    "an alias in itself": b"a: &a [*a]",
    "no such alias": b"a: *b",
    "an integer that is none": b"a: !!int abc",
    "a float that is none": b"a: !!float .inf",
    "a boolean that is none": b"a: !!bool yes",
    "a date by its tag": b"a: !!timestamp 2001-13-45",
    "binary": b"a: !!binary abc",
    "a set": b"a: !!set {b, c}",
    "an object": b"a: !!python/object/apply:os.getcwd []",
    "a tag of its own": b"a: !mine b",
    "a version": b"%YAML " + b"9" * 5_000 + b"\n---\na: 1",
    "two documents": b"--- {a: 1}\n--- {b: 2}",
    "a key that is a list": b"? [a]\n: b",
    "a merge of text": b"<<: a",
    "open quotes": b'a: "b',
    "a tab": b"a:\n\tb: 1",
    "html": b"<!doctype html><html>",
    "large": b'{"a": "' + b"x" * (1 << 20) + b'",}',
}


def read_model(path):
    text = path.read_bytes().decode("utf-8", "replace")
    parse_metadata({"format": "1", "config": text, "card": "{}"}, path)


def read_card(path):
    text = path.read_bytes().decode("utf-8", "replace")
    parse_metadata({"format": "1", "config": "{}", "card": text}, path)


READERS = {
    "yaml": read_yaml,
    "foreign yaml": lambda path: read_yaml(path, foreign=True),
    "json": read_json,
    "preset": lambda path: presets.load(str(path)),
    "--set": lambda path: presets.load("base", [f"training.seed={path.read_text('utf-8')}"]),
    "eval": read_summary,
    "track": read_track,
    "bench": lambda path: compare(path, path),
    "model": read_model,
    "card": read_card,
}


@pytest.mark.parametrize("reader", READERS.values(), ids=READERS.keys())
@pytest.mark.parametrize("content", BYTES.values(), ids=BYTES.keys())
def test_any_text_is_read_or_refused_in_one_bounded_sentence(tmp_path, reader, content):
    path = tmp_path / "mine.yaml"
    path.write_bytes(content)
    if reader is READERS["--set"]:
        try:
            content.decode()
        except UnicodeDecodeError:
            pytest.skip("no argument can hold this")
    started = time.process_time()
    said = refusal(reader, path)
    assert time.process_time() - started < 4.0
    if said is not None:
        assert len(said.message) < 500 + 2 * len(str(path))
        assert "\n" not in said.message
        assert said.exit_code in {ExitCode.USAGE, ExitCode.ENVIRONMENT, ExitCode.BAD_INPUT}


def refusal(reader, path):
    try:
        reader(path)
    except MssctlError as error:
        return error
    return None


# NaN and -Infinity are text in YAML.
@pytest.mark.parametrize(
    "name", [n for n in BYTES if n not in {"text", "a list", "html", "NaN", "infinity"}]
)
def test_no_hostile_text_is_a_mapping(tmp_path, name):
    path = tmp_path / "mine.yaml"
    path.write_bytes(BYTES[name])
    for read in (read_yaml, read_json):
        with pytest.raises(MssctlError, match=r"mine\.yaml: "):
            read(path)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1:30", "1:30"),
        ("010", "010"),
        ("0x10", "0x10"),
        ("0o17", "0o17"),
        ("0b11", "0b11"),
        ("0x_", "0x_"),
        ("1_000", 1000),
        ("1__0", "1__0"),
        ("_1", "_1"),
        ("-0", 0),
        ("+7", 7),
        ("18446744073709551615", 2**64 - 1),
        ("1e-4", 1e-4),
        ("1E4", 1e4),
        ("5.", 5.0),
        (".5", 0.5),
        (".", "."),
        (".inf", ".inf"),
        (".nan", ".nan"),
        ("yes", "yes"),
        ("off", "off"),
        ("y", "y"),
        ("TRUE", True),
        ("false", False),
        ("~", None),
        ("", None),
        ("2001-13-45", "2001-13-45"),
        ("2001-01-01", "2001-01-01"),
        ("!!str 1", "1"),
        ("!!int 1", 1),
        ("'1'", "1"),
        ("<<", "<<"),
        ("=", "="),
        ("\ufeffa", "a"),
    ],
)
def test_scalars_are_what_they_look_like(text, value):
    read = parse_yaml(text, "text")
    assert read == value
    assert type(read) is type(value)


def test_aliases_and_merges_of_bounded_size_are_read():
    text = "a: &a {x: 1, y: [2]}\nb: {<<: *a, x: 3}\nc: [*a, *a]\nd: {<<: [*a, {z: 4}], y: 5}"
    own = {"x": 1, "y": [2]}
    assert parse_yaml(text, "text") == {
        "a": own,
        "b": {"x": 3, "y": [2]},
        "c": [own, own],
        "d": {"x": 1, "y": 5, "z": 4},
    }


def test_tuples_of_other_programs_are_lists():
    text = "a: !!python/tuple [1, 2]"
    assert parse_yaml(text, "text", foreign=True) == {"a": [1, 2]}
    with pytest.raises(MssctlError, match="line 1: the tag"):
        parse_yaml(text, "text")


plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8", exclude_characters="\r"), max_size=8)
    | st.sampled_from(
        ["1e4", "010", "1:30", "yes", "~", ".inf", "<<", "1_0", "\x85", "\u2028", "-"]
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab", max_size=2), inner),
    max_leaves=5,
)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(st.text("abc", min_size=1, max_size=3), plain, max_size=3))
def test_what_is_written_is_read_back_equal(values):
    assert parse_json(json.dumps(values), "text") == values
    assert unsealed(parse_json(json.dumps(sealed(values)), "text"), "text") == {
        key: value for key, value in values.items() if key != "checksum"
    }
    try:
        text = dump_yaml(values)
        text.encode("utf-8")
    except UnicodeEncodeError:
        return
    assert parse_yaml(text, "text") == values


def test_a_changed_value_is_not_what_was_sealed():
    document = json.loads(json.dumps(sealed({"scores": [1.5, {"a": None}], "b": "c"})))
    assert unsealed(document, "x.json") == {"scores": [1.5, {"a": None}], "b": "c"}
    for changed in (
        {**document, "scores": [1.5, {"a": 0}]},
        {**document, "more": 1},
        {key: value for key, value in document.items() if key != "b"},
        {key: value for key, value in document.items() if key != "checksum"},
        {**document, "checksum": [1]},
    ):
        with pytest.raises(MssctlError, match=r"x\.json: damaged"):
            unsealed(changed, "x.json")


def test_file_names_of_any_bytes_survive():
    name = b"caf\xe9.wav".decode("utf-8", "surrogateescape")
    assert parse_json(json.dumps([name]), "text") == [name]


@pytest.mark.parametrize("path", ["missing.yaml", ".", "a\0b", "x" * 300])
@pytest.mark.parametrize("read", [read_yaml, read_json])
def test_what_cannot_be_opened_is_one_sentence(tmp_path, path, read):
    with pytest.raises(MssctlError, match="cannot be read"):
        read(tmp_path / path)


def test_what_is_shown_of_a_value_is_bounded():
    huge = {"a" * 10_000: [["b" * 10_000] * 10_000] * 10_000}
    assert all(len(shown(value)) < 70 for value in (huge, [huge] * 9, "c" * 10**6, {}, 1.5, None))


def test_nothing_else_reads_yaml_or_json():
    for path in SOURCE.rglob("*.py"):
        if path.parent.name == "documents":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                assert all(alias.name.partition(".")[0] != "yaml" for alias in node.names), path
            if isinstance(node, ast.ImportFrom):
                assert (node.module or "").partition(".")[0] not in {"yaml", "json"}, path
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                assert (node.value.id, node.attr) not in {("json", "load"), ("json", "loads")}, path
