"""HTDemucs: official numbers, sizes, files as they are published, bags."""

from __future__ import annotations

import json
import sys
import types
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from mssctl.api.models import import_model
from mssctl.audio import files
from mssctl.errors import MssctlError
from mssctl.models import official, weights
from mssctl.models.base import Separator
from mssctl.models.build import build, outline, parameter_count
from mssctl.models.run_config import RunConfig, parse
from mssctl.presets import load as load_preset
from mssctl.separation.open_model import find_model
from mssctl.separation.stems import project
from mssctl.separation.stream import SeparationSettings, separate_array

GOLDEN = Path(__file__).parent.parent / "golden" / "htdemucs_dev.safetensors"
CPU = torch.device("cpu")
STEMS = ("drums", "bass", "other", "vocals")


def relative_error(value: Tensor, truth: Tensor) -> float:
    return float((value - truth).norm() / truth.norm())


def arguments() -> dict[str, Any]:
    with safe_open(GOLDEN, framework="pt") as file:
        found: dict[str, Any] = json.loads(file.metadata()["kwargs"])
    return found


def metadata(**changes: Any) -> dict[str, str]:
    kwargs = json.dumps({**arguments(), **changes})
    return {"klass": "demucs.htdemucs.HTDemucs", "args": "[]", "kwargs": kwargs}


def loaded(**changes: Any) -> tuple[Separator, RunConfig]:
    config = {"klass": "demucs.htdemucs.HTDemucs", "args": [], "kwargs": arguments(), **changes}
    return official.load_with_config(load_file(GOLDEN), "htdemucs", config)


@pytest.fixture(scope="module")
def numbers() -> dict[str, Tensor]:
    outputs = load_file(GOLDEN.with_name("htdemucs_dev.io.safetensors"))
    draw = torch.Generator()
    song = torch.randn(2, 100_003, generator=draw.manual_seed(0)) * 0.1 + 0.02
    mix = torch.randn(1, 2, 48_510, generator=draw.manual_seed(1)) * 0.1
    return {**outputs, "song": song, "input": mix}


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "htdemucs.safetensors"
    import_model(GOLDEN, path)
    return path


def test_official_weights_give_the_official_output(imported, numbers):
    model = weights.load(str(imported), CPU)
    assert model.config.training.segment_length == 48_510
    assert model.separator.stems == STEMS
    with torch.inference_mode():
        estimate = model.separator(numbers["input"])
    assert relative_error(estimate[..., 20_000:22_000], numbers["output"]) < 1e-5


def test_a_song_is_cut_and_normalized_as_demucs_does(imported, numbers):
    model = weights.load(str(imported), CPU)
    settings = SeparationSettings.from_config(model.config, mix_consistent=False)
    assert (settings.edges, settings.normalize) == ("centered", True)
    estimate = separate_array(model.separator, numbers["song"], settings)
    assert relative_error(estimate[..., ::32], numbers["song_output"]) < 1e-4


def test_separate_writes_what_demucs_gives_made_to_add_up(imported, numbers, tmp_path):
    from mssctl.api.separate import separate

    song, out = numbers["song"], tmp_path / "song.wav"
    write_wav(out, song)
    result = separate([out], name=str(imported), out=tmp_path / "stems", bit_depth="float32")
    assert not result.failures
    given = result.songs[0].stems
    estimate = torch.stack([torch.from_numpy(files.read(Path(given[s]))) for s in STEMS])
    wanted = project(numbers["song_output"], song[:, ::32])
    assert relative_error(estimate[..., ::32], wanted) < 1e-4


def write_wav(path: Path, wave: Tensor) -> None:
    import soundfile

    soundfile.write(path, wave.T.numpy(), 44_100, subtype="FLOAT")


@pytest.mark.parametrize("level", ["none", "block", "path"])
def test_checkpointing_changes_no_gradient(level, numbers):
    model, _ = loaded()
    model.set_checkpointing(level)
    mix = numbers["input"][..., :5000]
    model(mix).square().mean().backward()
    names = ["embedding", "encoder.1.dconv.0.up", "transformer.blocks.1.wave.kv.weight"]
    found = [dict(model.nets[0].named_parameters())[name].grad.norm() for name in names]
    plain, _ = loaded()
    plain(mix).square().mean().backward()
    wanted = [dict(plain.nets[0].named_parameters())[name].grad.norm() for name in names]
    torch.testing.assert_close(found, wanted)


def test_both_ways_of_the_transform_are_inverse():
    model, _ = loaded()
    for length in (48_510, 48_640, 50_001):
        wave = torch.randn(2, 8, length)  # as many channels as stems have
        spectra = torch.cat([model._spectrum(part) for part in wave.split(2, dim=1)], dim=-1)
        back = model._waves(spectra, length).flatten(1, 2)
        error = (back - wave)[..., 4096:-4096]  # without the highest bin
        assert error.norm() / wave.norm() < 0.03
        low = torch.sin(torch.arange(length) / 20).expand(2, 8, -1)
        spectra = torch.cat([model._spectrum(part) for part in low.split(2, dim=1)], dim=-1)
        back = model._waves(spectra, length).flatten(1, 2)
        torch.testing.assert_close(back[..., 2048:-2048], low[..., 2048:-2048], atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("model", "stems", "count"),
    [({}, STEMS, 41_984_456), ({"emb_dim": None}, (*STEMS, "guitar", "piano"), 27_414_996)],
)
def test_published_sizes(model, stems, count):
    tree = load_preset("htdemucs").model_dump(mode="json")
    tree["model"] |= model
    tree["audio"]["stems"] = list(stems)
    assert parameter_count(outline(parse(tree, "test"))) == count


# --- files


@pytest.fixture
def package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Write a package as demucs did before 4.1."""
    module = types.ModuleType("demucs.htdemucs")
    kind = type("HTDemucs", (), {"__module__": "demucs.htdemucs"})
    module.HTDemucs = kind  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "demucs", types.ModuleType("demucs"))
    monkeypatch.setitem(sys.modules, "demucs.htdemucs", module)

    def write(name: str, **changes: Any) -> Path:
        kwargs = {**arguments(), "segment": Fraction(11, 10)}
        state = {key: value.half() for key, value in load_file(GOLDEN).items()}
        tree = {"klass": kind, "args": (), "kwargs": kwargs, "state": state, "training_args": {}}
        path = tmp_path / name
        torch.save(tree | changes, path)
        return path

    return write


def test_a_pickled_package_is_read(package, tmp_path, numbers):
    entry = import_model(package("955717e8-8726e21a.th"), tmp_path / "model.safetensors")
    assert entry.stems == list(STEMS)
    model = weights.load(entry.path, CPU)
    assert model.config.training.segment_length == 48_510
    with torch.inference_mode():
        estimate = model.separator(numbers["input"])
    assert relative_error(estimate[..., 20_000:22_000], numbers["output"]) < 1e-2  # half precision


def test_a_package_of_another_class_is_refused(tmp_path):
    path = tmp_path / "other.safetensors"
    kind = {"klass": "demucs.hdemucs.HDemucs"}
    save_file(load_file(GOLDEN), path, metadata() | kind)
    with pytest.raises(MssctlError, match="HDemucs', expected HTDemucs"):
        import_model(path, tmp_path / "model.safetensors")


@pytest.mark.parametrize(
    "change", [{"cac": False}, {"t_cross_first": True}, {"context_enc": 1}, {"stride": 2}]
)
def test_variants_that_are_not_computed_are_refused_by_name(change, tmp_path):
    path = tmp_path / "variant.safetensors"
    save_file(load_file(GOLDEN), path, metadata(**change))
    with pytest.raises(MssctlError, match=next(iter(change))):
        import_model(path, tmp_path / "model.safetensors")


def test_the_yaml_file_of_a_public_training_script(tmp_path):
    network = {k: v for k, v in arguments().items() if k not in ("sources", "segment")}
    tree = {
        "model": "htdemucs",
        "htdemucs": network,
        "training": {"instruments": ["a", "b", "c", "d"], "segment": 2, "samplerate": 44_100},
        "inference": {"num_overlap": 2, "batch_size": 8, "normalize": True},
    }
    _, run = official.load_with_config(load_file(GOLDEN), "htdemucs", tree)
    assert run.audio.stems == ("a", "b", "c", "d")
    assert run.training.segment_length == 88_200
    cut = run.separation
    assert (cut.overlap, cut.batch_size, cut.edges, cut.normalize) == (0.5, 8, "centered", True)


# --- bags


def write_net(path: Path, factor: float) -> None:
    """The golden net, its last layers times a factor, so that its outputs change."""
    state = load_file(GOLDEN)
    for name in ("decoder.3.conv_tr", "tdecoder.3.conv_tr"):
        for kind in ("weight", "bias"):
            state[f"{name}.{kind}"] *= factor
    save_file(state, path, metadata())


def bag(folder: Path, rows: list[list[float]]) -> Path:
    names = [f"{index}" * 8 for index in range(len(rows))]
    for index, name in enumerate(names):
        write_net(folder / f"{name}.safetensors", 1.0 + index)
    path = folder / "bag.yaml"
    path.write_text(f"models: {names}\nweights: {rows}\n")
    import_model(path, folder / "model.safetensors")
    return folder / "model.safetensors"


def test_a_bag_is_the_weighted_mean_of_its_nets(tmp_path, numbers):
    rows = [[1.0, 0.0, 2.0, 1.0], [0.0, 1.0, 1.0, 1.0]]
    model = weights.load(str(bag(tmp_path, rows)), CPU)
    assert model.config.model.bag == tuple(map(tuple, rows))
    mix = numbers["input"][..., :9000]
    with torch.inference_mode():
        given = model.separator(mix)
        for index, row in enumerate(rows):
            alone = tmp_path / f"{index}.safetensors"
            import_model(tmp_path / (f"{index}" * 8 + ".safetensors"), alone)
            net = weights.load(str(alone), CPU).separator(mix)
            share = torch.tensor(row) / torch.tensor(rows).sum(dim=0)
            given = given - net * share[:, None, None]
    torch.testing.assert_close(given, torch.zeros_like(given), atol=1e-5, rtol=0)


def test_only_the_nets_that_are_needed_stay(tmp_path, numbers):
    model = weights.load(str(bag(tmp_path, torch.eye(4).tolist())), CPU).separator
    mix = numbers["input"][..., :9000]
    with torch.inference_mode():
        whole = model(mix)
        assert model.keep(["vocals", "bass"])
        assert (model.stems, len(model.nets)) == (("bass", "vocals"), 2)
        torch.testing.assert_close(model(mix), whole[:, [1, 3]])


def test_a_net_for_all_stems_computes_all():
    model, _ = loaded()
    assert not model.keep(["vocals"])
    assert model.stems == STEMS


def test_a_bag_of_one_is_a_net(tmp_path):
    write_net(tmp_path / "955717e8.safetensors", 1.0)
    (tmp_path / "htdemucs.yaml").write_text("models: ['955717e8']\n")
    entry = import_model(tmp_path / "htdemucs.yaml", tmp_path / "model.safetensors")
    assert weights.load(entry.path, CPU).config.model.bag is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("models: ['../x']", "'../x' is not beside it"),
        ("models: [nosuch]", "'nosuch' is not beside it"),
        ("models: []", "not a bag"),
        ("models: [a]\nweights: [[1], [1]]", "expected 1 rows"),
        ("models: [a]\nweights: [x]", "list of numbers"),
        ("model: htdemucs", "not a bag"),
    ],
)
def test_a_bag_that_is_none_is_one_sentence(tmp_path, text, message):
    path = tmp_path / "bag.yaml"
    path.write_text(text)
    with pytest.raises(MssctlError, match=message):
        import_model(path, tmp_path / "model.safetensors")


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([[1.0, 1.0]] * 2, "rows of 2 weights, for 4 stems"),
        ([[1.0, 1.0, 1.0, 0.0]] * 2, "no net has a weight above 0 for vocals"),
    ],
)
def test_weights_of_a_bag_fit_its_stems(rows, message):
    tree = load_preset("htdemucs").model_dump(mode="json")
    tree["model"]["bag"] = rows
    with pytest.raises(MssctlError, match=message):
        parse(tree, "test")


def test_a_model_that_was_found_says_its_stems(imported):
    assert find_model(str(imported)).config.audio.stems == STEMS


def test_it_learns():
    from mssctl.models.registry import ARCHITECTURES

    torch.manual_seed(0)
    tree = {"training": {"segment_length": 2048}, **ARCHITECTURES["htdemucs"].tiny}
    model = build(parse(tree, "test"))
    mix = torch.randn(1, 2, 2048)
    target = mix[:, None] * torch.tensor([0.1, 0.2, 0.3, 0.4])[:, None, None]
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    losses = []
    for _ in range(30):
        loss = (model(mix) - target).abs().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.9 * losses[0]
