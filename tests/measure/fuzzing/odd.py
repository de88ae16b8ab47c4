"""Damages of documents that still parse, or nearly: keys, types, numbers, nesting, columns."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from random import Random
from typing import Any

from fuzzing.damage import Damage, damaged

_DEEP = 100_000
_ODD: list[str] = [
    "null", "true", "[]", "{}", '""', '"x"', "-1", "0", "0.5", "1e308", "-1e308", "1e999", "NaN",
    "Infinity", "1" + "0" * 30, "9" * 5_000, "[" * _DEEP + "]" * _DEEP, '{"a":' * _DEEP, "[[1]]",
    '{"x": {"y": [1]}}', r'"\ud800"', r'"a\u0000b"', '"../../x"', '"' + "long " * 20_000 + '"',
    '"=cmd()"', "[1, \"2\", null]", "100000", "4294967296", "18446744073709551616",
]  # fmt: skip
_ODD_YAML = [
    "2001-13-45", "0x_", "!!int abc", "9" * 5_000, "[" * 2_000, "yes", "010", "1:30", "1e999",
    ".nan", "-.inf", "~", "{}", "[]", "''", "*nobody", "&a [*a]", "!!python/object:os.system x",
    "!!binary ====", "1_000", "1e30", "-1", "0", "2147483648", "'2'", "|", "? x", "@x",
    "\x00", "\ufeff", "\u2028", "{a: 1, a: 2}", "<<: 1", "!!set {x}", "1.5", "[1, 2]",
    "x" * 9_000,
]  # fmt: skip
_HOLE = "\x01hole\x01"


def damaged_json(data: bytes, rng: Random) -> Damage:
    """A JSON document with one value, key or type changed; half of the time, damaged bytes."""
    if rng.random() < 0.35:
        return damaged(data, rng)
    text, what = _odd_json(data.decode(), rng)
    return Damage(what, text.encode("utf-8", "surrogatepass"), 0, len(data))


def damaged_jsonl(data: bytes, rng: Random) -> Damage:
    """The same for one line of many; lines may also be lost or come twice."""
    lines = data.decode().splitlines()
    at = rng.randrange(len(lines))
    kind = rng.random()
    if kind < 0.35:
        return damaged(data, rng)
    if kind < 0.5:
        del lines[at]
        what = f"line {at} is lost"
    elif kind < 0.6:
        lines.insert(at, lines[rng.randrange(len(lines))])
        what = f"a line more at {at}"
    else:
        lines[at], what = _odd_json(lines[at], rng)
        what = f"line {at}: {what}"
    return Damage(what, ("\n".join(lines) + "\n").encode("utf-8", "surrogatepass"), 0, len(data))


def damaged_safetensors(data: bytes, rng: Random) -> Damage:
    """Tensors or their header; the length of a changed header is right."""
    if rng.random() < 0.5:
        return damaged(data, rng)
    (length,) = struct.unpack("<Q", data[:8])
    header, rest = data[8 : 8 + length].decode(), data[8 + length :]
    if "__metadata__" in header and rng.random() < 0.7:  # documents within the document
        tree = json.loads(header)
        key = rng.choice(sorted(tree["__metadata__"]))
        text = tree["__metadata__"][key]
        if text[:1] in ("{", "[") and rng.random() < 0.8:
            text, what = _odd_json(text, rng)
        else:
            text, what = rng.choice(["", "x", "2", "{", "[]", "null", "{}"]), "other text"
        tree["__metadata__"][key] = text
        header, what = json.dumps(tree), f"metadata {key}: {what}"
    else:
        header, what = _odd_json(header, rng)
    coded = header.encode("utf-8", "surrogatepass")
    if rng.random() < 0.9:
        coded += b" " * (-len(coded) % 8)
    return Damage(what, struct.pack("<Q", len(coded)) + coded + rest, 0, 8 + length)


def _odd_json(text: str, rng: Random) -> tuple[str, str]:
    """One change of a document, and what it was in words."""
    tree = json.loads(text)
    places = list(_places(tree))
    if not places:
        return rng.choice(_ODD), "another document"
    holder, key = rng.choice(places)
    change = rng.choice(["odd", "odd", "near", "near", "drop", "rename", "twice", "whole"])
    was = holder[key]
    what = f"{change}: {str(key)[:40]} = {str(was)[:40]}"
    if change == "whole":
        odd = rng.choice(_ODD)
        return odd, f"another document: {odd[:20]}"
    if change == "drop":
        del holder[key]
        return json.dumps(tree), what
    if change == "rename" and isinstance(holder, dict):
        holder[rng.choice(["", "x", f"{key}_", str(key).upper()])] = holder.pop(key)
        return json.dumps(tree), what
    if change == "near":
        holder[key] = _near(was, rng)
        return json.dumps(tree), f"{what} -> {str(holder[key])[:40]}"
    odd = rng.choice(_ODD)
    holder[key] = _HOLE
    dumped = json.dumps(tree)
    if change == "twice" and isinstance(holder, dict):
        odd = f"{odd}, {json.dumps(str(key))}: {json.dumps(was)}"
    return dumped.replace(json.dumps(_HOLE), odd), f"{what} -> {odd[:30]}"


def _places(tree: Any) -> Any:
    """Each (container, key) of a document; of long lists a few."""
    if isinstance(tree, dict):
        for key in tree:
            yield tree, key
            yield from _places(tree[key])
    elif isinstance(tree, list):
        for key in range(min(4, len(tree))):
            yield tree, key
            yield from _places(tree[key])


def _near(value: Any, rng: Random) -> Any:
    """A value of the same type that could be meant."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return rng.choice([value + 1, value - 1, -value - 1, value * 10, 10**30])
    if isinstance(value, float):
        return rng.choice([value + 1e-3, -value, value * 1e6, value + 1.0])
    if isinstance(value, str):
        at = rng.randrange(len(value) + 1)
        return value[:at] + rng.choice("xX0 \n") + value[at + rng.randrange(2) :]
    if isinstance(value, list):
        return rng.choice([value[1:], value * 2, value[::-1], [*value, None]])
    if isinstance(value, dict):
        return dict(list(value.items())[1:])
    return rng.choice([0, "", []])


def damaged_yaml(data: bytes, rng: Random) -> Damage:
    """A YAML file with one odd value, line or more."""
    lines = data.decode().splitlines()
    at = rng.choice([n for n, line in enumerate(lines) if ":" in line])
    kind = rng.random()
    if kind < 0.25:
        return damaged(data, rng)
    if kind < 0.7:
        odd = rng.choice(_ODD_YAML)
        lines[at] = f"{lines[at].partition(':')[0]}: {odd}"
        what = f"line {at} = {odd[:30]}"
    elif kind < 0.8:
        lines.insert(at, lines[at])
        what = f"line {at} twice"
    elif kind < 0.9:
        what = f"line {at} is lost: {lines.pop(at)[:30]}"
    elif kind < 0.95:
        indent = lines[at][: len(lines[at]) - len(lines[at].lstrip())]
        lines[at:at] = [f"{indent}unknown{n}: 1" for n in range(rng.choice([1, 20_000]))]
        what = f"unknown keys at line {at}"
    else:
        bomb = ["a0: &a0 [x, x]"] + [
            f"a{n}: &a{n} [" + ", ".join([f"*a{n - 1}"] * 9) + "]" for n in range(1, 9)
        ]
        lines += bomb
        what = "an anchor bomb"
    text = "\n".join(lines) + "\n"
    return Damage(what, text.encode("utf-8", "surrogatepass"), 0, len(data))


def damaged_csv(data: bytes, rng: Random) -> Damage:
    """A table with cells, columns or separators that are wrong."""
    if rng.random() < 0.35:
        return damaged(data, rng)
    rows = [line.split(",") for line in data.decode().splitlines()]
    row = rng.choice(rows)
    at = rng.randrange(len(row))
    odd = rng.choice(
        ["", " ", '"', '"a', "=cmd()", "..", "/", "\0", "x" * 300, "x" * 200_000, "a;b", "drumms",
         "~nobody/x.wav", "ü" * 9, "a/vocals.wav", "VOCALS", "train", "test", "valid"]
    )  # fmt: skip
    change = rng.choice(["cell", "cell", "more", "fewer", "twice", "semicolons", "head", "bom"])
    separator = ";" if change == "semicolons" else ","
    if change in ("cell", "more"):
        row[at : at + (change == "cell")] = [odd]
    elif change == "fewer":
        del row[at]
    elif change == "twice":
        rows.insert(rng.randrange(len(rows)), list(row))
    elif change == "head":
        del rows[0]
    text = "\n".join(separator.join(cells) for cells in rows) + "\n"
    start = b"\xff\xfe" if change == "bom" else b""
    return Damage(f"{change}: {odd[:20]!r}", start + text.encode(), 0, len(data))


BY_KIND: dict[str, Callable[[bytes, Random], Damage]] = {
    "json": damaged_json,
    "jsonl": damaged_jsonl,
    "yaml": damaged_yaml,
    "csv": damaged_csv,
    "safetensors": damaged_safetensors,
}
