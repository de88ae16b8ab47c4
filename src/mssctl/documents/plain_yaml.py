"""YAML without surprises: plain values from text, and text from plain values."""

import re
from collections.abc import Mapping
from typing import Any

import yaml

from mssctl.documents.bounds import DEPTH, RefusedError, check_characters, decimal, whole
from mssctl.errors import shown

NODES = 100_000  # with every alias expanded
CHARACTERS = 4 << 20  # with every alias expanded

_WHOLE = re.compile(r"[-+]?(0|[1-9]\d*(_\d+)*)")
_DECIMAL = re.compile(r"[-+]?(\d+(_\d+)*\.?(\d+(_\d+)*)?|\.\d+(_\d+)*)([eE][-+]?\d+)?")
_NULL = ("", "~", "null", "Null", "NULL")
_BOOLEANS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False}
_BOOLEANS["FALSE"] = False
_TAG = "tag:yaml.org,2002:"


def load(text: str, *, foreign: bool) -> Any:
    """The values of one document.

    Raises:
        RefusedError: not such YAML.
    """
    try:
        node = yaml.compose(text, Loader=_Composer)
        return None if node is None else _value(node, foreign=foreign)
    except yaml.MarkedYAMLError as error:
        reason = _marked(error)
    except yaml.reader.ReaderError as error:
        reason = f"the character U+{int(error.character):04X} is not allowed in it"
    except RecursionError:
        reason = "nested too deeply"
    except (yaml.YAMLError, ArithmeticError, LookupError, TypeError, ValueError):
        # PyYAML's own bugs: int() of a version with 5,000 digits, chr() beyond Unicode.
        reason = "a number or a character in it is out of range"
    raise RefusedError(reason)


class _Composer(yaml.SafeLoader):
    """Builds the tree of nodes, counting depth and what aliases expand to on the way."""

    def __init__(self, stream: Any) -> None:
        super().__init__(stream)
        self._depth = 0
        self._nodes = self._characters = 0
        self._sizes: dict[int, tuple[int, int]] = {}  # of finished nodes with an anchor, by id

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        line = event.start_mark.line + 1
        before = self._nodes, self._characters
        if self._depth > DEPTH:
            raise RefusedError(f"line {line}: nested more than {DEPTH} levels deep")
        self._depth += 1
        node = super().compose_node(parent, index)
        self._depth -= 1
        if isinstance(event, yaml.AliasEvent):
            if id(node) not in self._sizes:
                raise RefusedError(f"line {line}: an alias inside of what it stands for")
            nodes, characters = self._sizes[id(node)]
        else:
            nodes = 1
            characters = len(node.value) if isinstance(node, yaml.ScalarNode) else 0
        self._nodes += nodes
        self._characters += characters
        if self._nodes > NODES or self._characters > CHARACTERS:
            raise RefusedError(f"line {line}: more than {NODES} values or {CHARACTERS} characters")
        if getattr(event, "anchor", None) and not isinstance(event, yaml.AliasEvent):
            self._sizes[id(node)] = self._nodes - before[0], self._characters - before[1]
        return node

    def resolve(self, kind: type[yaml.Node], value: Any, implicit: Any) -> str:
        """The tag of a node that states none."""
        if kind is not yaml.ScalarNode:
            return _TAG + ("seq" if kind is yaml.SequenceNode else "map")
        return _TAG + (_scalar_kind(value) if implicit[0] else "str")


def _scalar_kind(text: str) -> str:
    """What a plain scalar is."""
    if text in _NULL:
        return "null"
    if text in _BOOLEANS:
        return "bool"
    if _WHOLE.fullmatch(text):
        return "int"
    # 010 would be eight in YAML 1.1 and ten in 1.2.
    if _DECIMAL.fullmatch(text) and not text.lstrip("+-").isdigit():
        return "float"
    return "merge" if text == "<<" else "str"


def _value(node: yaml.Node, *, foreign: bool) -> Any:
    """Plain values from a tree of nodes."""
    kind = node.tag.removeprefix(_TAG)
    if isinstance(node, yaml.MappingNode) and kind == "map":
        return _mapping(node, foreign=foreign)
    lists = ("seq", "python/tuple") if foreign else ("seq",)
    if isinstance(node, yaml.SequenceNode) and kind in lists:
        return [_value(item, foreign=foreign) for item in node.value]
    line = node.start_mark.line + 1
    if not isinstance(node, yaml.ScalarNode) or kind not in _SCALARS:
        raise RefusedError(f"line {line}: the tag {shown(node.tag)} is not read here")
    try:
        return _SCALARS[kind](node.value)
    except RefusedError as error:
        raise RefusedError(f"line {line}: {error}") from None


def _mapping(node: yaml.MappingNode, *, foreign: bool) -> dict[str, Any]:
    own: dict[str, Any] = {}
    merged: dict[str, Any] = {}
    for key_node, value_node in node.value:
        line = key_node.start_mark.line + 1
        if not isinstance(key_node, yaml.ScalarNode):
            raise RefusedError(f"line {line}: a key must be a word")
        value = _value(value_node, foreign=foreign)
        if key_node.tag == f"{_TAG}merge":
            for part in value if isinstance(value, list) else [value]:
                if not isinstance(part, dict):
                    raise RefusedError(f"line {line}: << takes mappings")
                merged = part | merged
            continue
        key = _characters(key_node.value)
        if key in own:
            raise RefusedError(f"line {line}: key {shown(key)} is given twice")
        own[key] = value
    return merged | own


def _characters(text: str) -> str:
    check_characters(text)
    return text


def _number(pattern: re.Pattern[str], make: Any, name: str) -> Any:
    def read(text: str) -> Any:
        if not pattern.fullmatch(text):
            raise RefusedError(f"{shown(text)} is not {name}")
        return make(text.replace("_", ""))

    return read


def _boolean(text: str) -> bool:
    if text not in _BOOLEANS:
        raise RefusedError(f"{shown(text)} is not true or false")
    return _BOOLEANS[text]


_SCALARS: dict[str, Any] = {
    "str": _characters,
    "merge": _characters,  # << as a value
    "null": lambda _: None,
    "bool": _boolean,
    "int": _number(_WHOLE, whole, "a whole number"),
    "float": _number(_DECIMAL, decimal, "a number"),
}


def _marked(error: yaml.MarkedYAMLError) -> str:
    mark = error.problem_mark or error.context_mark
    place = f"line {mark.line + 1}: " if mark else ""
    return place + str(error.problem or error.context)[:120]


class _Dumper(yaml.SafeDumper):
    """Writes text that other readers take for a number or a boolean in quotes, and no aliases."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 (PyYAML passes it)
        return True

    def represent_text(self, data: str) -> yaml.ScalarNode:
        # In other quotes PyYAML folds these line ends away.
        style = '"' if any(end in data for end in "\x85\u2028\u2029") else None
        return self.represent_scalar(f"{_TAG}str", data, style)


_Dumper.add_representer(str, _Dumper.represent_text)

# Text such as 1e4, which is text to YAML 1.1 alone, must come back as text here.
_Dumper.add_implicit_resolver(
    f"{_TAG}float", re.compile(f"^(?:{_DECIMAL.pattern})$"), list("-+0123456789.")
)


def dump(values: Mapping[str, Any]) -> str:
    """YAML text that `load` reads back to equal values."""
    text: str = yaml.dump(dict(values), Dumper=_Dumper, sort_keys=False, allow_unicode=True)
    return text
