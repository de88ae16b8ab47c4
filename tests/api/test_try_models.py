"""`models try`: one song through several models, of which one may fail, and a page to compare."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import torch

from mssctl.api.models import export_model
from mssctl.api.separate import separate
from mssctl.api.try_models import try_models
from mssctl.cli.models import tried_text
from mssctl.errors import ExitCode, MssctlError
from mssctl.evaluation.likeness import likeness
from mssctl.evaluation.metrics.sdr import si_sdr
from mssctl.hardware.peak import peak_during
from mssctl.models import weights
from mssctl.models.build import build
from mssctl.models.registry import ARCHITECTURES
from mssctl.models.run_config import parse

RATE = 44_100


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """A song, and small models: two of the four usual stems, and one of vocals alone."""
    root = tmp_path_factory.mktemp("try")
    noise = np.random.default_rng(0).standard_normal((RATE, 2))
    sf.write(root / "song.wav", 0.1 * noise, RATE)
    tiny = ARCHITECTURES["tf_locoformer"].tiny
    for seed, (name, audio) in enumerate(
        {"a/best": {}, "b/best": {}, "vocals": {"target_instrument": "vocals"}}.items()
    ):
        config = parse({"training": {"segment_length": 8192}, **tiny, "audio": audio}, name)
        torch.manual_seed(seed)
        path = root / f"{name}.safetensors"
        path.parent.mkdir(exist_ok=True)
        weights.save(path, build(config), config, {"license": f"license of {name}"})
    return root


def named(root: Path, *names: str) -> list[str]:
    return [str(root / f"{name}.safetensors") for name in names]


def test_each_model_is_run_as_separate_runs_it(root, tmp_path):
    names = named(root, "a/best", "b/best", "vocals")
    result = try_models(root / "song.wav", name=names, out=tmp_path / "out", device="cpu")
    assert result.failures == []
    assert [one.name for one in result.models] == ["a-best", "b-best", "vocals"]
    assert [one.license for one in result.models] == [
        "license of a/best", "license of b/best", "license of vocals",
    ]  # fmt: skip
    assert all(one.speed > 0 and one.memory_gib > 0.01 for one in result.models)
    for one, path in zip(result.models, names, strict=True):
        alone = separate(
            root / "song.wav", name=path, out=tmp_path / one.name, bit_depth="float32", device="cpu"
        ).songs[0]
        for stem, file in one.stems.items():
            np.testing.assert_array_equal(sf.read(file)[0], sf.read(alone.stems[stem])[0])


def test_only_stems_that_both_give_are_compared(root, tmp_path):
    names = named(root, "a/best", "vocals", "b/best")
    result = try_models(root / "song.wav", name=names, out=tmp_path / "out", device="cpu")
    pairs = {(one.one, one.other): set() for one in result.likeness}
    for one in result.likeness:
        pairs[one.one, one.other].add(one.stem)
    assert pairs == {
        ("a-best", "vocals"): {"vocals"},
        ("a-best", "b-best"): {"vocals", "drums", "bass", "other"},
        ("vocals", "b-best"): {"vocals"},
    }
    text = tried_text(result)
    assert "license of a/best" in text
    assert "a-best / b-best" in text
    assert result.page in text


def test_an_excerpt_is_heard_with_its_own_part_of_the_mixture(root, tmp_path):
    result = try_models(
        root / "song.wav", name=named(root, "a/best", "b/best"), out=tmp_path / "out",
        start=0.25, duration=0.5, device="cpu",
    )  # fmt: skip
    assert result.seconds == 0.5
    song, part = sf.read(root / "song.wav")[0], sf.read(tmp_path / "out" / "mixture.wav")[0]
    np.testing.assert_array_equal(part.astype(np.float32), song.astype(np.float32)[11_025:33_075])
    page = Path(result.page).read_text(encoding="utf-8")
    data = json.loads(re.search(r'id="data">(.*?)</script>', page, re.DOTALL)[1])
    assert data["takes"] == [{"name": "a-best"}, {"name": "b-best"}]
    assert [track["stem"] for track in data["tracks"]].count("mixture") == 1
    assert len(data["tracks"]) == 9
    assert 'id="blind"' in page


def test_a_model_that_fails_does_not_stop_the_others(root, tmp_path, monkeypatch):
    load = weights.load

    def broken(name, device):
        if "b/best" in name:
            raise RuntimeError("a bug")
        return load(name, device)

    monkeypatch.setattr(weights, "load", broken)
    names = [*named(root, "a/best", "b/best"), "nothere"]
    result = try_models(root / "song.wav", name=names, out=tmp_path / "out", device="cpu")
    assert [one.name for one in result.models] == ["a-best"]
    failed = {one.path: one.exit_code for one in result.failures}
    assert failed == {"nothere": ExitCode.ENVIRONMENT, "b-best": ExitCode.FAILED}
    assert result.page is not None
    assert not (tmp_path / "out" / "b-best").exists()


def test_the_exit_code_tells(mssctl, root, tmp_path):
    (good,) = named(root, "vocals")
    outcome = mssctl(
        "models", "try", root / "song.wav", "-n", good, "-n", "nothere",
        "-o", tmp_path / "out", "--json",
    )  # fmt: skip
    assert outcome.exit_code == 1
    assert outcome.document["data"]["models"][0]["name"] == "vocals"
    assert outcome.document["data"]["failures"][0]["path"] == "nothere"


@pytest.mark.parametrize("names", [[], ["vocals"], ["vocals", "vocals"]])
def test_fewer_than_two_models_are_refused(root, tmp_path, names):
    with pytest.raises(MssctlError) as caught:
        try_models(root / "song.wav", name=named(root, *names), out=tmp_path / "out")
    assert caught.value.exit_code == ExitCode.USAGE
    assert not (tmp_path / "out").exists()


def test_what_is_there_is_replaced_only_if_asked(root, tmp_path):
    names, out = named(root, "a/best", "vocals"), tmp_path / "out"
    first = try_models(root / "song.wav", name=names, out=out, device="cpu")
    with pytest.raises(MssctlError, match="exists already"):
        try_models(root / "song.wav", name=names, out=out, device="cpu")
    again = try_models(root / "song.wav", name=names, out=out, device="cpu", overwrite=True)
    assert again.failures == []
    assert [replace(one, speed=0.0, memory_gib=0.0) for one in again.models] == [
        replace(one, speed=0.0, memory_gib=0.0) for one in first.models
    ]


@pytest.mark.parametrize("gain", [1.0, -0.3])
def test_likeness_is_si_sdr_both_ways_whatever_the_gain(tmp_path, gain):
    rng = np.random.default_rng(1)
    one = rng.standard_normal((300_000, 2)).astype(np.float32)
    other = (gain * (one + 0.5 * rng.standard_normal(one.shape))).astype(np.float32)
    sf.write(tmp_path / "1.wav", one, RATE, subtype="FLOAT")
    sf.write(tmp_path / "2.wav", other, RATE, subtype="FLOAT")
    found = likeness(tmp_path / "1.wav", tmp_path / "2.wav")
    assert found == pytest.approx(si_sdr(one.T, other.T), abs=1e-6)
    assert found == pytest.approx(likeness(tmp_path / "2.wav", tmp_path / "1.wav"), abs=1e-9)
    assert likeness(tmp_path / "1.wav", tmp_path / "1.wav") == 100.0
    sf.write(tmp_path / "0.wav", np.zeros_like(one), RATE)
    assert likeness(tmp_path / "1.wav", tmp_path / "0.wav") is None


def test_the_peak_is_of_the_work_alone():
    with peak_during(torch.device("cpu")) as large:
        assert torch.ones(100_000_000).sum() > 0
    with peak_during(torch.device("cpu")) as small:
        pass
    assert large.main - small.main > 300_000_000
    assert large.gpu is None


def test_a_copy_of_a_model_is_the_same_to_half_precision(root, tmp_path):
    copy = tmp_path / "copy.safetensors"
    export_model(*named(root, "vocals"), copy, half=True)
    result = try_models(
        root / "song.wav", name=[*named(root, "vocals"), str(copy)], out=tmp_path / "out",
        device="cpu",
    )  # fmt: skip
    (found,) = [one.si_sdr for one in result.likeness if one.stem == "vocals"]
    assert 30 < found < 100
