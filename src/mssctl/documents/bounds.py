"""Limits for any YAML or JSON text: numbers, characters, depth."""

import math

from mssctl.errors import shown

DEPTH = 64  # levels of lists and mappings


class RefusedError(Exception):
    """Text beyond the limits of this file; the message is the reason."""


def whole(text: str) -> int:
    """The whole number of decimal digits, of 64 bits at most."""
    if len(text) > 21 or not -(2**63) <= (number := int(text)) < 2**64:
        raise RefusedError(f"a number of {len(text.lstrip('+-'))} digits is too large")
    return number


def decimal(text: str) -> float:
    """The finite number of decimal digits."""
    number = float(text) if len(text) <= 400 else math.inf
    if not math.isfinite(number):
        raise RefusedError(f"the number {shown(text, 24)} is too large or too long")
    return number


def check_characters(text: str, errors: str = "strict") -> None:
    """Refuse lone surrogates; ``surrogateescape`` allows those that stand for odd bytes."""
    try:
        text.encode("utf-8", errors)
    except UnicodeEncodeError as error:
        code = ord(text[error.start])
        raise RefusedError(f"U+{code:04X} is a lone surrogate") from None
