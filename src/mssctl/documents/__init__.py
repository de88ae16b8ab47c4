"""YAML and JSON: the one place that reads them, with bounds on everything a text can do.

The result is plain: dictionaries with text keys, lists, text, numbers, booleans, None. Size,
depth, digits and, for YAML, what aliases expand to are bounded, so a reader of documents only
checks the form that it expects. Any other text is an `MssctlError` of one sentence.

YAML follows the core rules of YAML 1.2, without its octal and hexadecimal numbers: only ``true``
and ``false`` are booleans, ``1:30``, ``010``, ``yes`` and ``2001-01-01`` are text.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mssctl.documents.bounds import DEPTH, RefusedError, check_characters, decimal, whole
from mssctl.errors import ExitCode, MssctlError, shown

JSON_BYTES = 64 << 20
YAML_BYTES = 256 << 10  # ten times the longest configuration; PyYAML takes a second for it
CHECKSUM = "checksum"


def read_yaml(
    path: Path, *, foreign: bool = False, exit_code: int = ExitCode.ENVIRONMENT
) -> dict[str, Any]:
    """Read one YAML mapping.

    Args:
        path: of the file.
        foreign: a configuration of another program: ``!!python/tuple`` is read as a list.
        exit_code: of the error.

    Raises:
        MssctlError: unreadable, not such YAML, or not a mapping.
    """
    text = _text(path, YAML_BYTES, exit_code)
    tree = parse_yaml(text, str(path), foreign=foreign, exit_code=exit_code)
    if not isinstance(tree, dict):
        raise MssctlError(f"{path}: expected sections like 'model:'", exit_code=exit_code)
    return tree


def parse_yaml(
    text: str, where: str, *, foreign: bool = False, exit_code: int = ExitCode.ENVIRONMENT
) -> Any:
    """Plain values from YAML text.

    Args:
        text: one document.
        where: what an error message begins with.
        foreign: read ``!!python/tuple`` as a list.
        exit_code: of the error.

    Raises:
        MssctlError: not YAML, or beyond the bounds of this file.
    """
    try:
        if len(text) > YAML_BYTES:
            raise RefusedError(f"longer than {YAML_BYTES} characters")
        from mssctl.documents import plain_yaml  # noqa: PLC0415 (PyYAML: most commands read none)

        return plain_yaml.load(text, foreign=foreign)
    except RefusedError as error:
        reason = str(error)
    raise MssctlError(f"{where}: not valid YAML: {reason}", exit_code=exit_code)


def read_json(path: Path, *, exit_code: int = ExitCode.BAD_INPUT) -> dict[str, Any]:
    """Read one JSON object.

    Raises:
        MssctlError: unreadable, not such JSON, or not an object.
    """
    tree = parse_json(_text(path, JSON_BYTES, exit_code), str(path), exit_code=exit_code)
    if not isinstance(tree, dict):
        raise MssctlError(f"{path}: expected a JSON object", exit_code=exit_code)
    return tree


def parse_json(text: str | bytes, where: str, *, exit_code: int = ExitCode.BAD_INPUT) -> Any:
    """Plain values from JSON text.

    Args:
        text: one document; bytes are UTF-8.
        where: what an error message begins with.
        exit_code: of the error.

    Raises:
        MssctlError: not JSON, a key given twice, or beyond the bounds of this file.
    """
    try:
        if len(text) > JSON_BYTES:
            raise RefusedError(f"longer than {JSON_BYTES} bytes")
        plain = _decoded(text) if isinstance(text, bytes) else text.removeprefix("\ufeff")
        tree = json.loads(
            plain,
            object_pairs_hook=_object,
            parse_int=whole,
            parse_float=decimal,
            parse_constant=_constant,
        )
        _check_json(tree)
    except json.JSONDecodeError as error:
        reason = f"line {error.lineno}, column {error.colno}: {error.msg}"
    except RefusedError as error:
        reason = str(error)
    except RecursionError:
        reason = "nested too deeply"
    else:
        return tree
    raise MssctlError(f"{where}: not valid JSON: {reason}", exit_code=exit_code)


def _text(path: Path, limit: int, exit_code: int) -> str:
    """The text of a file of at most ``limit`` bytes."""
    try:
        with path.open("rb") as file:
            content = file.read(limit + 1)
        if len(content) > limit:
            raise RefusedError(f"larger than {limit >> 10} KiB")
        return _decoded(content)
    except OSError as error:
        reason = f"cannot be read: {error.strerror or error}"
    except ValueError as error:  # a NUL in the name
        reason = f"cannot be read: {error}"
    except RefusedError as error:
        reason = str(error)
    raise MssctlError(f"{path}: {reason}", exit_code=exit_code)


def _decoded(content: bytes) -> str:
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise RefusedError("UTF-16 text, expected UTF-8")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise RefusedError(f"line {line}: not UTF-8 text") from None


def _constant(name: str) -> float:
    raise RefusedError(f"{name} is not a number in JSON")


# --- JSON


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    tree = dict(pairs)
    if len(tree) < len(pairs):
        counts = Counter(key for key, _ in pairs)
        raise RefusedError(f"key {shown(counts.most_common(1)[0][0])} is given twice")
    return tree


def _check_json(tree: Any) -> None:
    """Check depth and characters; surrogates that stand for a file name's odd bytes are allowed."""
    level: list[Any] = [tree]
    for _ in range(DEPTH + 1):
        below: list[Any] = []
        for value in level:
            if isinstance(value, dict):
                below += value.values()
                below += value
            elif isinstance(value, list):
                below += value
            elif isinstance(value, str) and not value.isascii():
                check_characters(value, "surrogateescape")
        if not below:
            return
        level = below
    raise RefusedError(f"nested more than {DEPTH} levels deep")


def dump_yaml(values: Mapping[str, Any]) -> str:
    """YAML text that `parse_yaml` reads back to equal values."""
    from mssctl.documents import plain_yaml  # noqa: PLC0415

    return plain_yaml.dump(values)


# --- documents that carry a checksum


def sealed(values: Mapping[str, Any]) -> dict[str, Any]:
    """``values`` with a checksum over all of them, for `unsealed` after writing and reading."""
    return {**values, CHECKSUM: _digest(values)}


def unsealed(values: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The values of `sealed`, which are what was written.

    Raises:
        MssctlError: there is no checksum, or another one (exit 4).
    """
    rest = {key: value for key, value in values.items() if key != CHECKSUM}
    if CHECKSUM not in values:
        raise MssctlError(f"{where}: damaged: it has no checksum")
    if values[CHECKSUM] != _digest(rest):
        raise MssctlError(f"{where}: damaged: its checksum differs")
    return rest


def _digest(values: Mapping[str, Any]) -> str:
    text = json.dumps(values, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode("ascii")).hexdigest()
