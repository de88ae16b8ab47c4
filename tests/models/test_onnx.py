"""Graphs of spectral models: the real-valued core, what is refused, and what onnxruntime gives."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from mssctl.api.models import export_model
from mssctl.errors import ExitCode, MssctlError
from mssctl.models import onnx, weights
from mssctl.models.base import Separator, SpectralSeparator
from mssctl.models.build import build
from mssctl.models.registry import ARCHITECTURES
from mssctl.models.run_config import parse

CONFIGURATIONS = {
    name: parse({"training": {"segment_length": 4096}, **one.tiny}, name)
    for name, one in ARCHITECTURES.items()
}


def separator(name: str) -> Separator:
    """A tiny one whose masks are not the fresh ones, which are real."""
    torch.manual_seed(0)
    model = build(CONFIGURATIONS[name]).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter), alpha=0.05)
    return model


SPECTRAL = [name for name in ARCHITECTURES if isinstance(separator(name), SpectralSeparator)]
OTHERS = sorted(set(ARCHITECTURES) - set(SPECTRAL))


def saved(name: str, folder: Path) -> str:
    path = folder / f"{name}.safetensors"
    weights.save(path, separator(name), CONFIGURATIONS[name], {"license": "CC0 1.0"})
    return str(path)


@pytest.mark.parametrize("name", SPECTRAL)
def test_real_arithmetic_gives_the_complex_numbers(name, monkeypatch):
    model = separator(name)
    assert isinstance(model, SpectralSeparator)
    x = torch.randn(2, model.channels, model.stft.n_fft // 2 + 1, model.frames_of(4096), 2)
    with torch.inference_mode():
        wanted = torch.view_as_real(model.spectrum(torch.view_as_complex(x)))
        for state in ("is_exporting", "is_compiling"):
            monkeypatch.setattr(torch.compiler, state, lambda: True)
        monkeypatch.setattr(torch, "view_as_complex", None)
        found = model.spectrum_real(x)
    assert float((found - wanted).norm() / wanted.norm()) < 1e-5


@pytest.mark.parametrize("name", OTHERS)
def test_a_model_of_waveforms_is_refused_by_name(name, tmp_path, monkeypatch):
    monkeypatch.setattr(onnx, "check_packages", lambda: None)
    with pytest.raises(MssctlError, match=f"{name} cannot be exported to ONNX") as refused:
        export_model(saved(name, tmp_path), tmp_path / "x.onnx", onnx=True)
    assert refused.value.exit_code == ExitCode.BAD_INPUT
    assert not (tmp_path / "x.onnx").exists()


def test_missing_packages_exit_3_and_the_extra_is_named(mssctl, tmp_path, monkeypatch):
    monkeypatch.setattr(onnx, "find_spec", lambda name: None)
    outcome = mssctl("models", "export", "starter", "--onnx", "-o", tmp_path / "x.onnx")
    assert outcome.exit_code == 3
    assert "--onnx needs onnx, onnxruntime, onnxscript" in outcome.stderr
    assert "pip install 'mssctl[onnx]'" in outcome.stderr


@pytest.mark.parametrize("error", [2e-4, float("nan")])
def test_a_graph_that_gives_other_numbers_is_not_written(error, tmp_path, monkeypatch):
    graph = SimpleNamespace(metadata_props={}, opset_imports={"": 20})
    program = SimpleNamespace(model=graph, save=lambda path: path.write_bytes(b"graph"))
    monkeypatch.setattr(onnx, "check_packages", lambda: None)
    monkeypatch.setattr(onnx, "_traced", lambda *_: program)
    monkeypatch.setattr(onnx, "_error", lambda *_: error)
    with pytest.raises(MssctlError, match="not written: onnxruntime's output differs") as refused:
        export_model("starter", tmp_path / "x.onnx", onnx=True)
    assert refused.value.exit_code == ExitCode.FAILED
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(onnx, "_error", lambda *_: 9e-5)
    assert export_model("starter", tmp_path / "x.onnx", onnx=True).error == 9e-5
    assert (tmp_path / "x.onnx").read_bytes() == b"graph"


@pytest.mark.parametrize(
    ("out", "flags"),
    [
        ("x.safetensors", ["--onnx"]),
        ("x.onnx", ["--onnx", "--half"]),
        ("x.onnx", []),
        ("x.safetensors", ["--segment", "3"]),
        ("there.onnx", ["--onnx"]),
    ],
)
def test_what_makes_no_sense_exits_2_and_replaces_nothing(
    mssctl, tmp_path, monkeypatch, out, flags
):
    monkeypatch.setattr(onnx, "check_packages", lambda: None)
    (tmp_path / "there.onnx").write_bytes(b"mine")
    assert mssctl("models", "export", "starter", "-o", tmp_path / out, *flags).exit_code == 2
    assert [path.name for path in tmp_path.iterdir()] == ["there.onnx"]
    assert (tmp_path / "there.onnx").read_bytes() == b"mine"


@pytest.mark.slow
@pytest.mark.parametrize("name", SPECTRAL)
def test_onnxruntime_gives_the_models_stems_by_what_the_file_says(name, tmp_path):
    for package in ("onnx", "onnxscript"):
        pytest.importorskip(package, reason=f"{package} is not installed (extra onnx)")
    runtime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed (extra onnx)")
    path = tmp_path / "x.onnx"
    result = export_model(saved(name, tmp_path), path, onnx=True, segment=0.15)
    assert result.error <= onnx.TOLERANCE
    session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    facts = session.get_modelmeta().custom_metadata_map
    assert (facts["license"], facts["architecture"]) == ("CC0 1.0", name)
    assert str(Path(onnx.__file__).parent).encode() not in path.read_bytes()

    # What a program does that knows the file alone.
    n_fft, hop, samples = (int(facts[key]) for key in ("n_fft", "hop_length", "samples"))
    kind, padding = facts["window"].split(",")[0], facts["padding"].split(",")[0]
    window = {"hann": torch.hann_window, "rectangular": torch.ones}[kind](n_fft)
    mix = torch.randn(int(facts["channels"]), samples)
    scale = mix.square().mean().sqrt() if json.loads(facts["scaled_to_rms_1"]) else 1.0
    spec = torch.stft(mix / scale, n_fft, hop, window=window, pad_mode=padding, return_complex=True)
    assert spec.shape[-1] == int(facts["frames"])
    (stems,) = session.run(None, {"mixture": torch.view_as_real(spec)[None].numpy()})
    spectra = torch.view_as_complex(torch.from_numpy(stems[0])).flatten(0, 1)
    waves = torch.istft(spectra, n_fft, hop, window=window, length=samples) * scale
    model = separator(name)
    if model.frames_of(samples) != spec.shape[-1]:  # it would look at more frames
        return
    with torch.inference_mode():
        wanted = model(mix[None])[0].flatten(0, 1)
    assert float((waves - wanted).norm() / wanted.norm()) < onnx.TOLERANCE
