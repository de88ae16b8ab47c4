"""Keeps models away from tracks that they were trained on."""

from __future__ import annotations

import re
from collections.abc import Mapping

from mssctl.errors import MssctlError

# Of torchaudio: trained on both splits of MUSDB18-HQ, and 150 more songs. HDEMUCS_HIGH_MUSDB was
# trained on the training split alone.
_KNOWN = {"hdemucs_high_musdb_plus": "MUSDB18-HQ train and test, and 150 more songs"}
_MUSDB = re.compile(r"musdb", re.IGNORECASE)
_TEST = re.compile(r"\btest\b", re.IGNORECASE)


def trained_on(name: str, card: Mapping[str, str]) -> str | None:
    """What a model's name, or else its card, says about its training data."""
    plain = re.sub(r"[^a-z0-9]+", "_", name.lower())
    by_name = next((data for known, data in _KNOWN.items() if known in plain), None)
    return by_name or card.get("trained_on")


def guard(name: str, card: Mapping[str, str], *, split: str, force: bool) -> list[str]:
    """Refuse a model on MUSDB18's test tracks if it was trained on them.

    Args:
        name: of the model, or of the folder of its estimates.
        card: of the model; its ``trained_on`` is looked at where the name is not known.
        split: of MUSDB18: ``train``, ``valid`` or ``test``.
        force: go on all the same.

    Returns:
        With ``force``, the mark that the result must carry; else nothing.

    Raises:
        MssctlError: it was trained on these tracks.
    """
    data = trained_on(name, card)
    if data is None or split != "test" or not (_MUSDB.search(data) and _TEST.search(data)):
        return []
    mark = f"'{name}' was trained on these tracks ({data}): its scores say nothing about others"
    if not force:
        raise MssctlError(mark, hint="`force` scores it anyway, and marks the result")
    return [mark]
