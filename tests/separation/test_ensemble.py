"""Several models for one song: shares, methods, sums, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import torch
from torch import Tensor

from mssctl.api.separate import separate
from mssctl.audio import files
from mssctl.config.schema import AudioConfig, TrainingConfig
from mssctl.errors import ExitCode, MssctlError
from mssctl.models import weights
from mssctl.models.base import Separator
from mssctl.models.run_config import RunConfig
from mssctl.separation.ensemble import _mixed

STEMS = ("vocals", "drums", "bass")
SHARES = {"a": (0.5, 0.3, 0.2), "b": (0.2, 0.3, 0.5), "c": (0.0, 0.9, 0.1), "voice": (0.8,)}


def config(name: str) -> RunConfig:
    audio = AudioConfig(stems=STEMS if name != "b" else STEMS[::-1])
    if name == "voice":
        audio = AudioConfig(stems=("vocals", "other"), target_instrument="vocals")
    return RunConfig(audio=audio, training=TrainingConfig(segment_length=11_025))


class Shares(Separator):
    """Gives each stem a share of the mixture."""

    def __init__(self, name: str) -> None:
        super().__init__(config(name).audio)
        self.shares = SHARES[name]

    def forward(self, mix: Tensor) -> Tensor:
        return torch.stack([mix * share for share in self.shares], dim=1)


@pytest.fixture(autouse=True)
def loaded(monkeypatch, tmp_path) -> list[str]:
    """The models by name; which ones were loaded, in order."""
    seen: list[str] = []

    def load(path: str, device: object) -> weights.LoadedModel:
        name = Path(path).stem
        seen.append(name)
        return weights.LoadedModel(Shares(name), config(name), {}, name, Path(path), "")

    monkeypatch.setattr(weights, "find", lambda name: Path(f"{name}.safetensors"))
    monkeypatch.setattr(
        weights, "read_metadata", lambda path: (config(path.stem), {"license": f"of {path.stem}"})
    )
    monkeypatch.setattr(weights, "load", load)
    monkeypatch.chdir(tmp_path)
    samples = np.random.default_rng(0).uniform(-0.9, 0.9, (30_000, 2))
    sf.write("song.wav", samples, 44_100, subtype="PCM_16")
    return seen


def stems_of(**settings) -> tuple[dict[str, np.ndarray], np.ndarray, list[str]]:
    result = separate("song.wav", out="out", bit_depth="float32", **settings)
    assert result.failures == []
    (done,) = result.songs
    stems = {name: files.read(Path(path)) for name, path in done.stems.items()}
    return stems, files.read(Path("song.wav")), done.notes


def shares(stems: dict[str, np.ndarray], mix: np.ndarray) -> dict[str, float]:
    return {name: float((stem * mix).sum() / (mix * mix).sum()) for name, stem in stems.items()}


@pytest.mark.parametrize(
    ("settings", "wanted"),
    [
        ({"name": ["a", "b"]}, (0.5, 0.3, 0.2)),  # b has the other order
        ({"name": ["a", "c"]}, (0.25, 0.6, 0.15)),
        ({"name": ["a", "c"], "weights": [3, 1]}, (0.375, 0.45, 0.175)),
        ({"name": ["a", "b", "c"], "ensemble": "median_wave"}, (0.5, 0.3, 0.2)),
        # What the stems have too much, with one from elsewhere, is taken from all equally.
        ({"name": "a", "stem_model": ["vocals=voice"]}, (0.8 - 0.1, 0.3 - 0.1, 0.2 - 0.1)),
    ],
)
def test_wave_ensembles_mix_stems_by_name_and_add_up(settings, wanted):
    stems, mix, _ = stems_of(**settings)
    found = shares(stems, mix)
    assert [found[name] for name in STEMS] == pytest.approx(wanted, abs=1e-4)
    np.testing.assert_allclose(sum(stems.values()), mix, atol=1e-5)


@pytest.mark.parametrize(
    ("method", "wanted"),
    [("avg_spec", (0.25, 0.6, 0.15)), ("min_spec", (0.0, 0.3, 0.1)), ("max_spec", (0.5, 0.9, 0.2))],
)
def test_spectral_ensembles_choose_bins_and_say_that_stems_do_not_add_up(method, wanted):
    stems, mix, notes = stems_of(name=["a", "c"], ensemble=method)
    found = shares(stems, mix)
    assert [found[name] for name in STEMS] == pytest.approx(wanted, abs=1e-3)
    assert any("do not add up" in note for note in notes)


def test_one_model_at_a_time_in_order_and_both_licenses_are_in_the_result(loaded):
    result = separate("song.wav", name=["a", "c"], out="out")
    assert loaded == ["a", "c"]
    assert result.model == "a+c"
    assert result.license == "a: of a; c: of c"


def test_integer_stems_of_a_wave_ensemble_add_up_to_the_last_step():
    (done,) = separate("song.wav", name=["a", "c"], out="out").songs
    total = sum(files.read(Path(path)) for path in done.stems.values())
    np.testing.assert_array_equal(total, files.read(Path("song.wav")))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"name": ["a", "voice"]}, "needs the same stems"),
        ({"name": "a", "stem_model": ["drums=voice"]}, "voice has no stem 'drums'"),
        ({"name": "a", "stem_model": ["drums"]}, "expected STEM=MODEL"),
        ({"name": ["a", "b"], "weights": [1]}, "expected 2 positive numbers"),
        ({"name": ["a", "b"], "weights": ["x", "1"]}, "expected 2 positive numbers"),
        ({"name": ["a", "b"], "weights": [1, 2], "ensemble": "max_spec"}, "does nothing with"),
        ({"name": "a", "ensemble": "avg_wave"}, "does nothing with one model"),
    ],
)
def test_what_makes_no_ensemble_is_refused_before_any_work(settings, words, loaded):
    with pytest.raises(MssctlError, match=words) as caught:
        separate("song.wav", out="out", **settings)
    assert caught.value.exit_code == ExitCode.USAGE
    assert not loaded
    assert not Path("out").exists()


def test_an_even_median_is_between_the_two_in_the_middle():
    block = torch.tensor([1.0, 2.0, 4.0, 9.0]).view(4, 1, 1, 1)
    assert _mixed(block, torch.ones(4, 1), "median_wave").item() == 3.0
