"""Band tables cover every bin once; a batched band is the band computed alone."""

from __future__ import annotations

import pytest
import torch

from mssctl.models.bands import BandLinear, BandMask, BandSplit, band_widths, equal_runs

TABLES = {
    (44_100, 1024): [2] * 12 + [4] * 6 + [12] * 4 + [24] * 4 + [48] * 4 + [64, 65],
    (44_100, 2048): [2] * 24 + [4] * 12 + [12] * 8 + [24] * 8 + [48] * 8 + [128, 129],
    (44_100, 4096): [2] * 47 + [4] * 24 + [12] * 16 + [24] * 16 + [48] * 16 + [257, 258],
    (48_000, 1024): [2] * 11 + [4] * 6 + [12] * 4 + [24] * 4 + [48] * 4 + [32] * 3 + [35],
    (48_000, 2048): [2] * 22 + [4] * 11 + [12] * 8 + [24] * 8 + [48] * 8 + [66] * 3 + [67],
    (48_000, 4096): [2] * 43 + [4] * 22 + [12] * 15 + [24] * 15 + [48] * 15 + [153] * 3 + [156],
}


@pytest.mark.parametrize(("rate", "n_fft"), TABLES)
def test_the_rule_gives_the_published_tables(rate: int, n_fft: int) -> None:
    assert band_widths("rule", rate, n_fft) == TABLES[rate, n_fft]


@pytest.mark.parametrize("n_fft", [2048, 4096])
def test_bands62_keeps_its_layout_in_hertz(n_fft: int) -> None:
    widths = band_widths("bands62", 44_100, n_fft)
    assert len(widths) == 62
    assert sum(widths) == n_fft // 2 + 1
    scale = n_fft // 2048
    assert widths[:60] == [scale * w for w in TABLES[44_100, 2048][:60]]


def test_widths_that_do_not_cover_the_bins_are_refused() -> None:
    with pytest.raises(ValueError, match="sum to 7, n_fft 16 has 9 bins"):
        band_widths([3, 4], 44_100, 16)


def test_each_band_has_weights_of_its_own() -> None:
    torch.manual_seed(0)
    linear = BandLinear(3, 4, 5)
    x = torch.randn(3, 7, 4)
    for band in range(3):
        alone = x[band] @ linear.weight[band] + linear.bias[band]
        torch.testing.assert_close(linear(x)[band], alone)


def test_the_band_split_sees_a_band_only_through_its_own_bins() -> None:
    torch.manual_seed(0)
    widths = [2, 2, 5]
    split = BandSplit(widths, channels=2, dim=6)
    spec = torch.randn(1, 2, 9, 4, 2)
    before = split(spec)
    assert before.shape == (1, 4, 3, 6)
    spec[:, :, 2:4] = 3 * spec[:, :, 2:4].flip(-1)
    changed = (split(spec) - before).abs().amax((0, 1, 3)) > 1e-4
    assert changed.tolist() == [False, True, False]


def test_the_mask_of_a_band_comes_from_its_own_features() -> None:
    torch.manual_seed(0)
    widths = [2, 2, 5]
    mask = BandMask(widths, channels=2, stems=3, dim=6)
    x = torch.randn(1, 4, 3, 6)
    before = mask(x)
    assert before.shape == (1, 3, 2, 9, 4, 2)
    x[:, :, 2] += torch.randn(6)
    changed = (mask(x) - before).abs().amax((0, 1, 2, 4, 5)) > 1e-6
    assert changed.tolist() == [False] * 4 + [True] * 5


@pytest.mark.parametrize("mlp", ["standalone", "mixit", "tuss"])
def test_the_place_of_the_tanh_is_a_setting(mlp: str) -> None:
    torch.manual_seed(0)
    mask = BandMask([2], channels=1, stems=1, dim=4, mlp=mlp)
    x = torch.randn(1, 3, 1, 4)
    normed = torch.nn.functional.layer_norm(x.flatten(1), (12,)).view(3, 4)
    y = normed @ mask.first.weight[0] + mask.first.bias[0]
    y = y.tanh() if mlp != "mixit" else y
    y = y @ mask.second.weight[0] + mask.second.bias[0]
    y = y.tanh() if mlp != "standalone" else y
    last = mask.last[0]
    assert isinstance(last, BandLinear)
    y = torch.nn.functional.glu(y @ last.weight[0] + last.bias[0])  # (3, 4): re, re, im, im
    wanted = y.unflatten(1, (2, 2)).permute(2, 0, 1)  # (F, T, 2)
    torch.testing.assert_close(mask(x)[0, 0, 0], wanted)


def test_runs_keep_the_order() -> None:
    assert equal_runs([2, 2, 4, 2]) == [(2, 2), (1, 4), (1, 2)]
