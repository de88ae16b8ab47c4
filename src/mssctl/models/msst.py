"""The YAML files of public training scripts (MSST), as far as all architectures share them.

Sections ``audio``, ``training`` and ``inference``; ``model`` belongs to each architecture.
"""

from collections.abc import Mapping
from typing import Any

from mssctl.errors import MssctlError, shown

Tree = Mapping[str, Any]


def sections(config: Tree, outputs: int, channels: int) -> dict[str, dict[str, Any]]:
    """Our sections ``audio``, ``training`` and ``separation``.

    Args:
        config: the whole file; sections may be missing.
        outputs: stems that the network gives.
        channels: of the audio.
    """
    audio, inference = config.get("audio") or {}, config.get("inference") or {}
    rate = sample_rate(config)
    length = audio.get("chunk_size")
    separation: dict[str, Any] = {}
    if chunk := inference.get("chunk_size", length):
        separation["segment_seconds"] = chunk / rate
    if overlap := inference.get("num_overlap"):
        separation["overlap"] = 1 - 1 / overlap
    if batch := inference.get("batch_size"):
        separation["batch_size"] = batch
    return {
        "audio": {"sample_rate": rate, "channels": channels, **stems(config, outputs)},
        "training": {} if length is None else {"segment_length": length},
        "separation": separation,
    }


def sample_rate(config: Tree) -> Any:
    """Of the audio, Hz; files without a section ``audio`` may have it with the network."""
    audio = config.get("audio") or {}
    return audio.get("sample_rate", given(config).get("sample_rate", 44_100))


def stems(config: Tree, outputs: int) -> dict[str, Any]:
    """Names of the sources, and the one that a network with a single output gives.

    Such a network is for vocals unless its configuration says otherwise.
    """
    training = config.get("training") or {}
    names = training.get("instruments") or config.get("stems")
    if outputs > 1:
        return {"stems": names or [f"stem{index + 1}" for index in range(outputs)]}
    names = names or ["vocals"]
    target = training.get("target_instrument") or names[0]
    rest = "rest" if target == "other" else "other"
    return {"stems": names if len(names) > 1 else [target, rest], "target_instrument": target}


def given(config: Tree) -> dict[str, Any]:
    """The constructor's arguments: the section ``model``, or a flat configuration."""
    model = config.get("model")
    return {**config, **(model if isinstance(model, Mapping) else {})}


def refuse(config: Tree, **expected: Any) -> None:
    """Refuse variants of a network that are not computed here.

    Args:
        config: the constructor's arguments.
        expected: key -> its value in the network that is.

    Raises:
        MssctlError: another value.
    """
    for key, value in expected.items():
        if (found := config.get(key, value)) != value:
            raise MssctlError(
                f"{key}: {shown(found)}: this variant is not supported",
                hint="`mssctl models list` names models that are",
            )
