"""References that are the sum of others are no sources beside them."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile as sf

from mssctl.api.evaluate import evaluate
from mssctl.config.schema import AudioConfig
from mssctl.data.tracks import find_tracks
from mssctl.evaluation.references import read, sums

STEMS = ("vocals", "drums", "bass", "other")
RATE, FRAMES = 8_000, 4_000


def noise(seed: int) -> np.ndarray:
    return (0.1 * np.random.default_rng(seed).standard_normal((2, FRAMES))).astype(np.float32)


@pytest.fixture
def stems() -> dict[str, np.ndarray]:
    return {stem: noise(seed) for seed, stem in enumerate(STEMS)}


def test_stems_alone_are_no_sums(stems):
    assert sums(stems) == {}
    assert sums({**stems, "silent": 0.0 * noise(0), "copy": stems["bass"]}) == {}
    assert sums({**stems, "shorter": noise(7)[:, 1:]}) == {}


@pytest.mark.parametrize("parts", [("drums", "bass", "other"), ("vocals", "drums"), STEMS])
@pytest.mark.parametrize("bits", [None, 16])
def test_a_sum_is_found_with_its_parts_also_when_it_was_rounded(stems, parts, bits):
    whole = sum(stems[part] for part in parts)
    if bits:
        whole = np.round(whole * 2.0 ** (bits - 1)) / 2.0 ** (bits - 1)
    assert sums({"whole": whole, **stems}) == {"whole": parts}
    assert sums({"whole": 0.9 * whole, **stems}) == {}


def test_a_sum_of_sums_has_the_most_parts(stems):
    music = stems["drums"] + stems["bass"] + stems["other"]
    found = sums({**stems, "music": music, "mix": music + stems["vocals"]})
    assert found == {"music": STEMS[1:], "mix": STEMS}


def test_a_difference_at_the_end_alone_is_no_sum(stems):
    stems = {stem: np.tile(audio, 40) for stem, audio in stems.items()}
    whole = stems["drums"] + stems["bass"]
    assert sums({**stems, "whole": whole}) == {"whole": ("drums", "bass")}
    whole[:, -900:] = 0.0
    assert sums({**stems, "whole": whole}) == {}


@pytest.fixture
def song(tmp_path, stems):
    """A track and estimates of it, both with an accompaniment besides."""
    rng = np.random.default_rng(9)
    for folder, spoil in (("songs", 0.0), ("est", 0.02)):
        (tmp_path / folder / "a").mkdir(parents=True)
        found = {
            stem: audio + spoil * rng.standard_normal(audio.shape) for stem, audio in stems.items()
        }
        found["accompaniment"] = found["drums"] + found["bass"] + found["other"]
        for stem, audio in found.items():
            sf.write(tmp_path / folder / "a" / f"{stem}.wav", audio.T, RATE, subtype="FLOAT")
    return tmp_path


def test_a_sum_is_scored_but_is_no_source_beside_its_parts(song):
    def run(out):
        return evaluate(
            estimates=song / "est", reference=song / "songs", metrics="bsseval", out=song / out
        )

    five = run("five")
    (note,) = [note for note in five.notes if "accompaniment" in note]
    assert note.startswith("a: accompaniment is the sum of drums, bass, other: it is not")
    assert five.counts["accompaniment"] == 1
    assert set(five.bsseval) == set(STEMS)
    assert five.provenance["scored_together"] == {"a": list(STEMS)}
    resumed = run("five")
    assert resumed.notes == five.notes
    for folder in ("songs", "est"):
        (song / folder / "a" / "accompaniment.wav").unlink()
    four = run("four")
    assert four.bsseval == five.bsseval
    assert four.means["mean"] == five.means["mean"]


def test_a_sum_without_its_parts_is_a_source_as_any_other(song):
    for stem in ("drums", "bass", "other"):
        (song / "est" / "a" / f"{stem}.wav").unlink()
    result = evaluate(estimates=song / "est", reference=song / "songs", metrics="bsseval")
    assert set(result.bsseval) == {"vocals", "accompaniment"}
    assert not [note for note in result.notes if "sum" in note]


def test_a_mixture_that_is_added_up_has_each_part_once(song, stems):
    (track,), _ = find_tracks(song / "songs")
    audio = read(track, AudioConfig(sample_rate=RATE, stems=STEMS).stems)
    np.testing.assert_allclose(audio.mixture, sum(stems.values()), atol=1e-6)
    (note,) = audio.notes
    assert note.startswith("accompaniment is the sum of bass, drums, other: not added")


def test_masks_of_an_oracle_share_the_mixture_among_sources(song, stems):
    folder = song / "songs" / "a"
    sf.write(folder / "mixture.wav", sum(stems.values()).T, RATE, subtype="FLOAT")
    five = evaluate(oracle="irm", reference=song / "songs")
    (folder / "accompaniment.wav").unlink()
    four = evaluate(oracle="irm", reference=song / "songs")
    assert four.means["vocals"] == five.means["vocals"]
    assert five.means["accompaniment"]["sdr"].estimate > 4.0
