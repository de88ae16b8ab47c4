"""Validation scores what the model really does to whole songs."""

from __future__ import annotations

import pytest
import torch

from mssctl.config.schema import AudioConfig
from mssctl.data.training_set import find_songs
from mssctl.events import Progress, silent
from mssctl.models.base import Separator
from mssctl.training.validate import spread, validate


class Split(Separator):
    """Gives half of the mixture to each stem."""

    def __init__(self, audio: AudioConfig) -> None:
        super().__init__(audio)
        self.share = torch.nn.Parameter(torch.tensor(0.5))

    def forward(self, mix):
        assert not self.training
        return (self.share * mix)[:, None].expand(-1, len(self.stems), -1, -1)


@pytest.fixture
def songs(tmp_path, make_song):
    make_song(tmp_path / "train/t")
    make_song(tmp_path / "valid/a", frames=5_000)
    make_song(tmp_path / "valid/b", stems=("vocals",), frames=3_000)
    return find_songs([tmp_path], AudioConfig(sample_rate=8_000, stems=("vocals", "drums"))).valid


def test_scores_are_means_over_songs_then_stems_and_skip_silence(songs, make_config):
    config, events = make_config(), []
    model = Split(config.audio).train()
    scores = validate(model, songs, config, report=events.append)
    # Song b is nothing but vocals: half of it is 6 dB away, and its drums are not scored.
    alone = validate(model, songs[1:], config, report=silent)
    assert alone["sdr/vocals"] == pytest.approx(6.02, abs=0.01)
    assert "sdr/drums" not in alone
    assert scores["sdr"] == pytest.approx((scores["sdr/vocals"] + scores["sdr/drums"]) / 2)
    first = validate(model, songs[:1], config, report=silent)
    assert scores["sdr/vocals"] == pytest.approx((first["sdr/vocals"] + alone["sdr/vocals"]) / 2)
    assert scores["sdr/drums"] == first["sdr/drums"]
    assert "si_sdr" in scores
    assert events == [Progress("validate", n, 2, "songs") for n in (1, 2)]
    assert model.training


def test_a_model_for_one_instrument_hears_the_whole_mixture(songs, make_config):
    config = make_config(audio={"target_instrument": "vocals"})
    scores = validate(Split(config.audio), songs[:1], config, report=silent)
    both = make_config()
    wanted = validate(Split(both.audio), songs[:1], both, report=silent)
    assert set(scores) == {
        f"{name}{of}" for name in ("sdr", "csdr", "si_sdr") for of in ("", "/vocals")
    }
    assert scores["sdr/vocals"] == pytest.approx(wanted["sdr/vocals"])


def test_as_many_songs_as_asked_for(songs, make_config):
    config = make_config(training={"validate_songs": 1})
    only = validate(Split(config.audio), songs, config, report=silent)
    assert only == validate(Split(config.audio), songs[:1], config, report=silent)
    assert spread(list("abcdef"), 3) == ["a", "c", "e"]
    assert spread(list("abc"), 0) == spread(list("abc"), 9) == ["a", "b", "c"]


def test_a_wish_to_stop_ends_it_without_scores(songs, make_config):
    config = make_config()
    assert validate(Split(config.audio), songs, config, report=silent, stop=lambda: True) is None
