"""BS-RoFormer and Mel-Band RoFormer: bands, sizes, official numbers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from torch import Tensor

from mssctl.errors import MssctlError
from mssctl.models import official
from mssctl.models.build import build, outline, parameter_count
from mssctl.models.roformer.mel_bands import mel_bands
from mssctl.models.run_config import RunConfig, parse
from mssctl.models.wrappers import find_weights

GOLDEN = Path(__file__).parent.parent / "golden" / "bs_roformer_mono_dev.safetensors"
VOCALS = {"stems": ["vocals", "other"], "target_instrument": "vocals"}


def config(model: dict[str, Any], audio: dict[str, Any] | None = None) -> RunConfig:
    stft = {"n_fft": 2048, "hop_length": 512}
    return parse({"audio": audio or {}, "stft": stft, "model": model}, "test")


def relative_error(value: Tensor, truth: Tensor) -> float:
    return float((value - truth).norm() / truth.norm())


@pytest.fixture
def golden() -> tuple[dict[str, Tensor], dict[str, Any], Tensor, Tensor]:
    with safe_open(GOLDEN, framework="pt") as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        settings = json.loads(file.metadata()["config"])
    state = {k.removeprefix("weight."): v for k, v in tensors.items() if k.startswith("weight.")}
    return state, settings, tensors["input"], tensors["output"]


def test_official_weights_give_the_official_output(golden):
    """Also of a normalized STFT: the norm of each band takes its scale out again."""
    state, settings, mix, wanted = golden
    wrapped = {"state_dict": {f"model.{name}": value for name, value in state.items()}}
    found, _ = find_weights(wrapped, official.chosen(), None)
    assert found.layout == "bs_roformer"
    model, run = official.load_with_config(found.state, found.layout, settings)
    assert run.audio.target_instrument == "vocals"
    with torch.inference_mode():
        estimate = model(mix if mix.dim() == 3 else mix[:, None])
    assert relative_error(estimate.flatten(), wanted.flatten()) < 1e-5


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
    counts = torch.bincount(torch.cat([torch.from_numpy(band) for band in bands]))
    assert (counts.min(), counts.max(), len(counts)) == (1, 2, 1025)


def test_too_many_mel_bands_are_refused():
    with pytest.raises(ValueError, match="too many"):
        mel_bands(44_100, 256, 60)


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
    torch.testing.assert_close(model.scattered(mask), total / count[:, None])
    spec = torch.randn(1, 2, 1025, 3, dtype=torch.complex64)
    torch.testing.assert_close(model.scattered(model.gathered(spec)), spec)


def test_skip_connections_add_the_sum_of_earlier_blocks():
    torch.manual_seed(0)
    tree = {"name": "bs_roformer", "n_layers": 3, "emb_dim": 8, "n_heads": 2, "dim_head": 4}
    model = build(config({**tree, "skip_connection": True}, VOCALS)).eval()
    spec = torch.randn(1, 2, 1025, 3, dtype=torch.complex64)
    with torch.inference_mode():
        x = model.encoder(spec)
        outputs: list[Tensor] = []
        for block in model.blocks:
            outputs.append(model._block(block, x + sum(outputs) if outputs else x))
            x = outputs[-1]
        wanted = model.masks[0](model.norm(x)) * spec
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
