"""Separation of signals of any length and number of channels by any model."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from mssctl.config.schema import AudioConfig, TrainingConfig
from mssctl.config.separation import SeparationConfig
from mssctl.errors import ExitCode, MssctlError
from mssctl.models.base import Separator
from mssctl.models.run_config import RunConfig
from mssctl.separation.stream import (
    SeparationSettings,
    channel_groups,
    measured,
    separate_array,
    separate_stream,
)

SETTINGS = SeparationSettings(segment=100, overlap=0.25, mix_consistent=False)


class Shares(Separator):
    """Stem ``s`` is the mixture times its share; the second channel gets an offset."""

    def __init__(self, *shares: float, channels: int = 2, offset: float = 0.0) -> None:
        super().__init__(
            AudioConfig(
                sample_rate=8_000,
                channels=channels,
                stems=tuple(f"s{i}" for i in range(len(shares))),
            )
        )
        self.shares = nn.Parameter(torch.tensor(shares))
        self.offset = offset
        self.calls: list[tuple[int, ...]] = []

    def forward(self, mix: Tensor) -> Tensor:
        self.calls.append(tuple(mix.shape))
        out = mix[:, None] * self.shares[:, None, None]
        if self.channels == 2:
            out = out + torch.tensor([0.0, self.offset])[:, None]
        return out


@pytest.mark.parametrize("length", [1, 99, 100, 1_234])
def test_stems_have_the_length_and_the_shares(length):
    mix = torch.randn(2, length)
    stems = separate_array(Shares(0.7, 0.2), mix, SETTINGS)
    torch.testing.assert_close(stems, torch.stack([0.7 * mix, 0.2 * mix]))


def test_a_stream_gives_the_same_as_the_array():
    mix = torch.randn(2, 1_000)
    model = Shares(0.7, 0.2)
    parts = list(separate_stream(model, iter(mix.split(33, dim=-1)), SETTINGS))
    torch.testing.assert_close(torch.cat(parts, dim=-1), separate_array(model, mix, SETTINGS))


def test_mix_consistent_stems_add_up():
    mix = torch.randn(2, 500)
    settings = SeparationSettings(segment=100)
    stems = separate_array(Shares(0.7, 0.2), mix, settings)
    torch.testing.assert_close(stems.sum(dim=0), mix)


def test_no_gradients_are_kept():
    stems = separate_array(Shares(1.0), torch.randn(2, 50), SETTINGS)
    assert not stems.requires_grad


@pytest.mark.parametrize(
    ("channels", "model", "groups"),
    [
        (1, 2, [[0, 0]]),
        (2, 2, [[0, 1]]),
        (3, 2, [[0, 1], [2, 2]]),
        (6, 2, [[0, 1], [2, 3], [4, 5]]),
        (2, 1, [[0], [1]]),
    ],
)
def test_channels_go_through_the_model_in_groups(channels, model, groups):
    assert channel_groups(channels, model) == groups
    mix = torch.randn(channels, 150)
    stems = separate_array(Shares(0.5, channels=model), mix, SETTINGS)
    torch.testing.assert_close(stems, 0.5 * mix[None])


def test_mono_is_the_mean_of_both_channels_of_a_stereo_model():
    mix = torch.randn(1, 150)
    stems = separate_array(Shares(1.0, offset=0.5), mix, SETTINGS)
    torch.testing.assert_close(stems, mix[None] + 0.25)


def test_batches_have_the_size_asked_for():
    model = Shares(1.0)
    settings = SeparationSettings(segment=100, overlap=0.0, batch_size=4)
    separate_array(model, torch.randn(2, 1_000), settings)
    assert model.calls == [(4, 2, 100), (4, 2, 100), (2, 2, 100)]


def test_shifted_passes_are_averaged_and_repeatable():
    class Ramp(Shares):
        def forward(self, mix: Tensor) -> Tensor:  # depends on the place in the segment
            return mix[:, None] * torch.linspace(0, 1, mix.shape[-1])

    mix = torch.ones(2, 700)
    plain = separate_array(Ramp(1.0), mix, SeparationSettings(100, mix_consistent=False))

    def shifted(seed: int) -> Tensor:
        settings = SeparationSettings(100, mix_consistent=False, shifts=4, seed=seed)
        return separate_array(Ramp(1.0), mix, settings)

    assert shifted(1).shape == plain.shape
    assert torch.equal(shifted(1), shifted(1))
    assert not torch.allclose(shifted(1), shifted(2))
    assert shifted(1).std() < plain.std()


def test_shifts_of_a_model_that_copies_give_the_input_back():
    mix = torch.randn(2, 300)
    settings = SeparationSettings(100, shifts=3)
    torch.testing.assert_close(separate_array(Shares(1.0), mix, settings)[0], mix)


def test_output_that_is_not_finite_is_an_error():
    with pytest.raises(MssctlError, match="NaN or infinite") as caught:
        separate_array(Shares(float("nan")), torch.randn(2, 50), SETTINGS)
    assert caught.value.exit_code == ExitCode.FAILED


def test_float16_that_overflows_is_an_error_that_names_what_does_not():
    class Loud(Shares):
        def forward(self, mix: Tensor) -> Tensor:
            level = torch.nn.functional.linear(mix, 1e4 * torch.eye(50)).amax()
            return super().forward(mix) * level

    mix = 10 * torch.ones(2, 50)
    half, full = (SeparationSettings(50, amp_dtype=name) for name in ("float16", "float32"))
    with pytest.raises(MssctlError, match=r"NaN or infinite samples \(float16\)") as caught:
        separate_array(Loud(1.0), mix, half)
    assert "`dtype=fp32`" in str(caught.value.hint)
    assert separate_array(Loud(1.0), mix, full).isfinite().all()


def test_bfloat16_is_in_force_inside_the_model():
    seen = []

    class Looks(Shares):
        def forward(self, mix: Tensor) -> Tensor:
            seen.append(torch.mm(mix[0], mix[0].T).dtype)
            return super().forward(mix)

    settings = SeparationSettings(100, amp_dtype="bfloat16")
    stems = separate_array(Looks(1.0), torch.randn(2, 50), settings)
    assert seen == [torch.bfloat16]
    assert stems.dtype == torch.float32


def test_settings_come_from_the_configuration_unless_given():
    config = RunConfig(
        training=TrainingConfig(segment_length=88_200),
        separation=SeparationConfig(overlap=0.5, fade="linear", batch_size=3),
    )
    settings = SeparationSettings.from_config(config)
    assert settings == SeparationSettings(88_200, overlap=0.5, fade="linear", batch_size=3)
    other = SeparationSettings.from_config(config, segment_seconds=0.5, overlap=0.0, batch_size=1)
    assert (other.segment, other.overlap, other.batch_size) == (22_050, 0.0, 1)


@pytest.mark.parametrize("block", [1, 7, 1_000])
def test_the_level_of_a_stream_is_that_of_the_whole(block):
    song = torch.randn(2, 1_000) * 0.3 + torch.tensor([[5.0], [3.0]])
    level = measured(iter(song.split(block, dim=-1)))
    mono = song.mean(dim=0).double()
    assert level.mean == pytest.approx(float(mono.mean()), rel=1e-6)
    assert level.std == pytest.approx(float(mono.std()), rel=1e-5)


@pytest.mark.parametrize("length", [0, 1])
def test_the_level_of_next_to_nothing_is_a_number(length):
    assert measured(iter([torch.ones(2, length)])).std == 0.0


class Heard(Shares):
    """Keeps what it is given."""

    def forward(self, mix: Tensor) -> Tensor:
        self.heard = mix
        return super().forward(mix)


def test_a_normalized_song_reaches_the_model_at_a_standard_level_and_comes_back():
    mix = torch.randn(2, 80) * 0.01 + 0.5
    model = Heard(1.0)
    settings = SeparationSettings(
        segment=80, overlap=0.0, edges="centered", normalize=True, mix_consistent=False
    )
    stems = separate_array(model, mix, settings)
    mono = model.heard.mean(dim=(0, 1))
    assert float(mono.mean()) == pytest.approx(0.0, abs=1e-4)
    assert float(mono.std()) == pytest.approx(1.0, abs=1e-4)
    torch.testing.assert_close(stems[0], mix)


def test_a_stream_without_its_level_is_refused():
    settings = SeparationSettings(segment=80, normalize=True)
    with pytest.raises(ValueError, match="level"):
        next(separate_stream(Shares(1.0), iter([torch.ones(2, 10)]), settings))
