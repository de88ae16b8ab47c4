"""What `mssctl models` gives."""

from dataclasses import dataclass, field
from typing import Literal

from mssctl.results.common import FileFailure


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


@dataclass(frozen=True)
class TriedModel:
    """What one model made of the song.

    Attributes:
        name: of the model, as on the page and in the folder.
        path: of the model file.
        license: as stated, or ``not stated``.
        device: it ran on.
        dtype: inside the model.
        speed: seconds of audio per second of computing, without loading the model.
        memory_gib: at most: allocated on the GPU, or held by the process in main memory.
        stems: stem name -> file written.
        notes: what was done to the audio on the way.
    """

    name: str
    path: str
    license: str
    device: str
    dtype: str
    speed: float
    memory_gib: float
    stems: dict[str, str]
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class StemLikeness:
    """How alike one stem of two models is.

    Attributes:
        stem: its name.
        one: name of a model.
        other: name of the other.
        si_sdr: of one against the other, dB, the same both ways; None if one is silent.
    """

    stem: str
    one: str
    other: str
    si_sdr: float | None


@dataclass(frozen=True)
class TryResult:
    """One song through several models.

    Attributes:
        song: the input file.
        seconds: length of what was separated.
        models: that worked, in the order in which they were named.
        likeness: of each stem that two of them give.
        page: to hear them in; None if none worked.
        failures: models that failed, and the page if it could not be written.
    """

    song: str
    seconds: float
    models: list[TriedModel]
    likeness: list[StemLikeness]
    page: str | None
    failures: list[FileFailure]
