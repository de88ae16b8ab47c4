"""BS-RoFormer and Mel-Band RoFormer: bands, sizes, official numbers."""

from __future__ import annotations

import json
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors import safe_open
from torch import Tensor

from mssctl.api.models import import_model
from mssctl.errors import MssctlError
from mssctl.models import official, weights
from mssctl.models.build import build, outline, parameter_count
from mssctl.models.roformer.mel_bands import mel_bands
from mssctl.models.run_config import RunConfig, parse
from roformer_reference import random_state, separate

GOLDEN = Path(__file__).parent.parent / "golden"
VOCALS = {"stems": ["vocals", "other"], "target_instrument": "vocals"}
Golden = tuple[dict[str, Tensor], dict[str, Any], Tensor, Tensor]


def config(model: dict[str, Any], audio: dict[str, Any] | None = None) -> RunConfig:
    stft = {"n_fft": 2048, "hop_length": 512}
    return parse({"audio": audio or {}, "stft": stft, "model": model}, "test")


def relative_error(value: Tensor, truth: Tensor) -> float:
    return float((value - truth).norm() / truth.norm())


def read_golden(name: str) -> Golden:
    with safe_open(GOLDEN / f"{name}.safetensors", framework="pt") as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        settings = json.loads(file.metadata()["config"])
    state = {k.removeprefix("weight."): v for k, v in tensors.items() if k.startswith("weight.")}
    return state, settings, tensors["input"], tensors["output"]


@pytest.fixture
def golden() -> Golden:
    return read_golden("bs_roformer_mono_dev")


def imported(
    tmp_path: Path, state: dict[str, Tensor], tree: dict[str, Any] | None
) -> weights.LoadedModel:
    """What `mssctl models import` makes of a checkpoint and a YAML file, read back."""
    torch.save({"epoch": 3, "state_dict": state}, tmp_path / "x.ckpt")
    (tmp_path / "x.yaml").write_text(yaml.safe_dump(tree or {}))
    out = tmp_path / "x.safetensors"
    import_model(tmp_path / "x.ckpt", out, config=tmp_path / "x.yaml" if tree else None)
    return weights.load(str(out), torch.device("cpu"))


def test_official_weights_give_the_official_output(tmp_path):
    """Of a normalized STFT: the norm of each band takes its scale out again."""
    state, settings, mix, wanted = read_golden("bs_roformer_mono_dev")
    model = imported(tmp_path, state, settings).separator
    with torch.inference_mode():
        assert relative_error(model(mix), wanted) < 1e-5


@pytest.mark.parametrize("normalized", [False, True])
@pytest.mark.parametrize("depth", [1, 2])
@pytest.mark.parametrize("skip", [False, True])
@pytest.mark.parametrize("mel", [False, True])
def test_imported_weights_compute_what_the_definition_says(mel, skip, depth, normalized, tmp_path):
    torch.manual_seed(0)
    settings = {
        "stereo": True, "sample_rate": 44_100, "stft_n_fft": 1024, "stft_hop_length": 200,
        "stft_win_length": 1024, "stft_normalized": normalized, "skip_connection": skip,
        "mask_estimator_depth": depth, "zero_dc": not skip,
    }  # fmt: skip
    widths = [8, 8, 9, 488]
    edges = list(accumulate(widths, initial=0))
    bands = mel_bands(44_100, 1024, 20) if mel else [range(*ends) for ends in pairwise(edges)]
    sizes, maps = [len(band) for band in bands], depth + mel
    state = random_state(sizes, mel, stems=2, maps=maps)
    loaded = imported(tmp_path, state, settings)
    assert loaded.config.model.name == ("mel_band_roformer" if mel else "bs_roformer")
    mix = torch.randn(2, 2, 3001)
    with torch.inference_mode():
        estimate = loaded.separator(mix).double()
    assert relative_error(estimate, separate(state, settings, bands, mix)) < 1e-5


@pytest.mark.parametrize("mel", [False, True])
def test_sizes_come_from_the_tensors_and_the_rest_is_reported(mel, tmp_path):
    widths = [len(band) for band in mel_bands(44_100, 2048, 60)] if mel else [2] * 512 + [1]
    torch.save(random_state(widths, mel), tmp_path / "x.ckpt")
    events: list[Any] = []
    import_model(tmp_path / "x.ckpt", tmp_path / "x.safetensors", report=events.append)
    run = weights.load(str(tmp_path / "x.safetensors"), torch.device("cpu")).config
    assert (run.audio.channels, run.audio.outputs, run.stft.hop_length) == (2, ("vocals",), 441)
    assert "assumed without --config: hop length 441" in events[-1].message


@pytest.mark.parametrize(
    ("model", "audio", "count"),
    [
        ({"name": "bs_roformer"}, None, 230_223_172),
        ({"name": "bs_roformer", "n_layers": 12, "emb_dim": 512}, VOCALS, 159_758_060),
        ({"name": "bs_roformer", "n_layers": 12}, VOCALS, 98_194_796),
        ({"name": "mel_band_roformer", "n_layers": 6}, VOCALS, 228_202_820),
        ({"name": "mel_band_roformer", "n_layers": 12}, VOCALS, 251_869_604),
    ],
)
def test_published_sizes(model, audio, count):
    assert parameter_count(outline(config(model, audio))) == count


def test_mel_bands_are_those_of_public_weights():
    bands = mel_bands(44_100, 2048, 60)
    widths = [len(band) for band in bands]
    assert widths == [
        7, *[6] * 14, 7, 7, 7, 9, 9, 9, 10, 10, 11, 13, 13, 13, 15, 16, 17, 19, 20, 20, 22, 24, 26,
        28, 29, 31, 33, 36, 39, 41, 44, 47, 50, 54, 57, 61, 66, 71, 76, 80, 86, 93, 99, 105, 113,
        122, 130,
    ]  # fmt: skip
    assert [int(band[0]) for band in bands[:5]] == [0, 4, 7, 10, 13]
    assert bands[-1][-1] == 1024
    counts = torch.bincount(torch.tensor([bin_ for band in bands for bin_ in band]))
    assert (counts.min(), counts.max(), len(counts)) == (1, 2, 1025)


def test_too_many_mel_bands_are_refused():
    with pytest.raises(MssctlError, match=r"model\.num_bands: 400 are too many for n_fft 2048"):
        config({"name": "mel_band_roformer", "num_bands": 400})


def test_a_bin_of_two_bands_gets_the_mean_of_their_masks():
    model = build(config({"name": "mel_band_roformer", "n_layers": 1, "emb_dim": 8}, VOCALS))
    mask = torch.randn(1, 2, 1979, 3, dtype=torch.complex64)
    bands = mel_bands(44_100, 2048, 60)
    total, count = torch.zeros(1, 2, 1025, 3, dtype=torch.complex64), torch.zeros(1025)
    at = 0
    for band in bands:
        total[:, :, band] += mask[:, :, at : at + len(band)]
        count[band] += 1
        at += len(band)
    pairs = torch.view_as_real(total / count[:, None])
    torch.testing.assert_close(model.scattered(torch.view_as_real(mask)), pairs)
    spec = torch.randn(1, 2, 1025, 3, 2)
    torch.testing.assert_close(model.scattered(model.gathered(spec)), spec)


def test_skip_connections_add_the_sum_of_earlier_blocks():
    torch.manual_seed(0)
    tree = {"name": "bs_roformer", "n_layers": 3, "emb_dim": 8, "n_heads": 2, "dim_head": 4}
    model = build(config({**tree, "skip_connection": True}, VOCALS)).eval()
    spec = torch.randn(1, 2, 1025, 3, dtype=torch.complex64)
    with torch.inference_mode():
        x = model.encoder(torch.view_as_real(spec))
        outputs: list[Tensor] = []
        for block in model.blocks:
            outputs.append(model._block(block, x + sum(outputs) if outputs else x))
            x = outputs[-1]
        wanted = torch.view_as_complex(model.masks[0](model.norm(x))) * spec
        wanted[:, :, 0] = 0  # zero_dc
        torch.testing.assert_close(model.spectrum(spec)[:, 0], wanted)


@pytest.mark.parametrize(
    "change",
    [{"linear_transformer_depth": 1}, {"use_pope": True}, {"stft_win_length": 1024}],
)
def test_variants_that_are_not_computed_are_refused_by_name(golden, change):
    state, settings, _, _ = golden
    with pytest.raises(MssctlError, match=next(iter(change))):
        official.load(state, "bs_roformer", {**settings, **change})


def test_layers_with_positions_of_their_own_are_refused(golden):
    state, settings, _, _ = golden
    key = "layers.1.0.layers.0.0.rotary_embed.freqs"
    with pytest.raises(MssctlError, match="differs from that of the first layer"):
        official.load({**state, key: state[key] * 2}, "bs_roformer", settings)


def test_msst_files_say_stems_and_how_to_cut(golden):
    state, settings, _, _ = golden
    tree = {
        "audio": {"chunk_size": 132_300, "sample_rate": 44_100, "num_channels": 1},
        "model": settings,
        "training": {"instruments": ["vocals", "other"], "target_instrument": "other"},
        "inference": {"num_overlap": 4, "batch_size": 2, "chunk_size": 264_600},
    }
    _, run = official.load_with_config(state, "bs_roformer", tree)
    assert (run.audio.stems, run.audio.target_instrument) == (("vocals", "other"), "other")
    assert run.training.segment_length == 132_300
    cut = run.separation
    assert (cut.segment_seconds, cut.overlap, cut.batch_size) == (6.0, 0.75, 2)
