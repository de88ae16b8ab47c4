"""What `mssctl models` gives."""

from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class ModelEntry:
    """A model that ``separate`` can use, or fetch first.

    Attributes:
        name: for ``separate -n``.
        path: of the model file; None before it is fetched.
        architecture: its name in presets; None where it is not known.
        stems: that it gives; empty where they are not known.
        sample_rate: Hz.
        channels: of its audio.
        parameters: how many.
        license: as stated, or ``not stated``.
        sha256: of the model file.
        state: ``bundled``, ``here`` (pulled or imported), or ``available``.
        verified: whether address, revision and all hashes are known in full.
        source: where it comes from, for one that can be fetched.
        size: bytes to fetch.
        quality: as published, with the protocol.
        card: what the file says about itself.
    """

    name: str
    path: str | None
    architecture: str | None
    stems: list[str]
    sample_rate: int | None
    channels: int | None
    parameters: int | None
    license: str
    sha256: str | None
    state: Literal["bundled", "here", "available"] = "here"
    verified: bool = True
    source: str | None = None
    size: int | None = None
    quality: str | None = None
    card: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class OnnxModel:
    """A graph of a spectral model for other programs.

    Attributes:
        path: of the file.
        architecture: its name in presets.
        stems: that it gives.
        sample_rate: Hz.
        channels: of its audio.
        n_fft: of the transform around it, samples.
        hop_length: of the transform, samples.
        window: of the transform.
        frames: that it takes, no more and no fewer.
        seconds: of audio from the first frame to the last.
        opset: of ONNX.
        license: as stated, or ``not stated``.
        sha256: of the file.
        error: relative L2 distance of onnxruntime's output from PyTorch's, of noise.
    """

    path: str
    architecture: str
    stems: list[str]
    sample_rate: int
    channels: int
    n_fft: int
    hop_length: int
    window: str
    frames: int
    seconds: float
    opset: int
    license: str
    sha256: str
    error: float


@dataclass(frozen=True)
class ModelList:
    """The models at hand, and those that can be fetched; ``default`` is what ``separate`` takes."""

    models: list[ModelEntry]
    default: str = "starter"


@dataclass(frozen=True)
class DefaultModel:
    """The model that ``separate`` takes from now on."""

    name: str
    license: str
