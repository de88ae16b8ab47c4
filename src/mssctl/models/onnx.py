"""Spectral models as ONNX graphs of a fixed length, checked against the model they come from."""

import json
import logging
import warnings
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mssctl.errors import ExitCode, MssctlError
from mssctl.files import FileSet, sha256, storage_error
from mssctl.models.base import SpectralSeparator
from mssctl.models.weights import LoadedModel
from mssctl.results.models import OnnxModel

TOLERANCE = 1e-4  # of the relative L2 error
_PACKAGES = ("onnx", "onnxruntime", "onnxscript")


class _Core(nn.Module):
    """What the graph holds; its transforms stay outside."""

    def __init__(self, model: SpectralSeparator) -> None:
        super().__init__()
        self.model = model

    def forward(self, mixture: Tensor) -> Tensor:
        return self.model.spectrum_real(mixture)


def check_packages() -> None:
    """Make sure, before the work, that ONNX files can be written and run.

    Raises:
        MssctlError: a package of the extra ``onnx`` is not installed (exit 3).
    """
    missing = [name for name in _PACKAGES if find_spec(name) is None]
    if missing:
        raise MssctlError(
            f"`onnx` needs {', '.join(missing)}: `pip install 'mssctl[onnx]'`",
            exit_code=ExitCode.ENVIRONMENT,
        )


def export(
    path: Path, loaded: LoadedModel, card: Mapping[str, str], seconds: float | None
) -> OnnxModel:
    """Write the graph of a model's `SpectralSeparator.spectrum_real` in float32.

    Input ``mixture`` ``(1, C, F, T, 2)``, output ``stems`` ``(1, S, C, F, T, 2)``. The metadata
    have what a program needs to use it; see `_facts`.

    Args:
        path: the file to write; must not exist.
        loaded: the model, on the CPU.
        card: free text by key, for the metadata.
        seconds: of the segment; None is the segment of training.

    Raises:
        MssctlError: a model that cannot be exported (exit 4), a graph that does not give its
            numbers (exit 1), or the file cannot be written (exit 3).
    """
    check_packages()
    model, audio = _spectral(loaded), loaded.config.audio
    samples = loaded.config.training.segment_length
    if seconds is not None:
        samples = max(1, round(seconds * audio.sample_rate))
    frames = model.frames_of(samples)
    shape = (1, audio.channels, model.stft.n_fft // 2 + 1, frames, 2)
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    facts = _facts(loaded, model, card, frames)
    program = _traced(loaded, model, x)
    program.model.metadata_props.update(facts)
    try:
        with FileSet(path.parent) as files:
            temporary = files.add(path)
            program.save(temporary)
            error = _error(temporary, model, x)
            if not error <= TOLERANCE:  # nan, too
                raise MssctlError(
                    f"{path}: not written: onnxruntime's output differs from PyTorch's by "
                    f"{error:.1e} (relative L2), more than {TOLERANCE:.0e}",
                    exit_code=ExitCode.FAILED,
                )
    except OSError as problem:
        raise storage_error(path, problem) from None
    return OnnxModel(
        path=str(path),
        architecture=loaded.config.model.name,
        stems=list(model.stems),
        sample_rate=audio.sample_rate,
        channels=audio.channels,
        n_fft=model.stft.n_fft,
        hop_length=model.stft.hop_length,
        window=loaded.config.stft.window,
        frames=frames,
        seconds=int(facts["samples"]) / audio.sample_rate,
        opset=program.model.opset_imports[""],
        license=facts["license"],
        sha256=sha256(path),
        error=error,
    )


def _spectral(loaded: LoadedModel) -> SpectralSeparator:
    """The model, if it has a core that a graph of real numbers can hold.

    Raises:
        MssctlError: it has none (exit 4).
    """
    model, name = loaded.separator, loaded.config.model.name
    if not isinstance(model, SpectralSeparator):
        raise MssctlError(
            f"{loaded.name}: {name} cannot be exported to ONNX: it computes on the waveform too, "
            "and only models of spectrograms alone can be exported"
        )
    if type(model).spectrum_real is SpectralSeparator.spectrum_real:
        raise MssctlError(
            f"{loaded.name}: {name} cannot be exported to ONNX: it defines no `spectrum_real`"
        )
    return model


def _facts(
    loaded: LoadedModel, model: SpectralSeparator, card: Mapping[str, str], frames: int
) -> dict[str, str]:
    """What the transforms around the graph need to know, and whose model it is."""
    config, stft = loaded.config, model.stft
    return {
        "format": "mssctl-onnx-1",
        "architecture": config.model.name,
        "stems": json.dumps(model.stems),
        "sample_rate": str(model.sample_rate),
        "channels": str(model.channels),
        "n_fft": str(stft.n_fft),
        "hop_length": str(stft.hop_length),
        "window": f"{config.stft.window}, periodic",
        "padding": f"{stft.pad_mode}, n_fft / 2 on either side",
        "frames": str(frames),
        "samples": str((frames - 1) * stft.hop_length),
        "scaled_to_rms_1": json.dumps(model.normalize),
        "license": card.get("license", "not stated"),
        "card": json.dumps(dict(card)),
        "config": json.dumps(config.model_dump(mode="json")),
        "source_sha256": loaded.sha256,
    }


def _traced(loaded: LoadedModel, model: SpectralSeparator, x: Tensor) -> Any:
    """The graph, without the paths of source files that PyTorch notes at each node.

    Raises:
        MssctlError: PyTorch cannot export the model (exit 4).
    """
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it lists operators nobody uses
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                _Core(model).eval(),
                (x,),
                dynamo=True,
                verbose=False,
                external_data=False,
                input_names=["mixture"],
                output_names=["stems"],
            )
    except (torch.onnx.errors.OnnxExporterError, RuntimeError, ValueError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        raise MssctlError(
            f"{loaded.name}: {loaded.config.model.name} cannot be exported to ONNX: {reason}"
        ) from error
    assert program is not None
    graphs = [program.model.graph, *program.model.functions.values()]
    for node in (node for graph in graphs for node in graph.all_nodes()):
        node.metadata_props.clear()
    return program


def _error(file: Path, model: SpectralSeparator, x: Tensor) -> float:
    """Relative L2 distance of onnxruntime's output from that of `SpectralSeparator.spectrum`."""
    import onnxruntime  # noqa: PLC0415 (an extra)

    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 3  # errors
    providers = ["CPUExecutionProvider"]
    session = onnxruntime.InferenceSession(str(file), settings, providers=providers)
    found = torch.from_numpy(session.run(None, {"mixture": x.numpy()})[0])
    with torch.inference_mode():
        wanted = torch.view_as_real(model.spectrum(torch.view_as_complex(x)))
        return float((found - wanted).norm() / wanted.norm())
