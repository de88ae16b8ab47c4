"""Evaluating a model on reference tracks, with fake models whose scores are known."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
import soundfile as sf
import torch

from mssctl import files
from mssctl.api.evaluate import evaluate
from mssctl.api.separate import separate
from mssctl.cli.render import exit_code_of
from mssctl.config.schema import AudioConfig, STFTConfig, TrainingConfig
from mssctl.config.separation import SeparationConfig
from mssctl.errors import ExitCode, MssctlError
from mssctl.evaluation.metrics.sdr import sdr, si_sdr
from mssctl.events import Progress
from mssctl.models import weights
from mssctl.models.base import Separator
from mssctl.models.build import build
from mssctl.models.run_config import RunConfig
from mssctl.models.tf_locoformer.config import TFLocoformerConfig

RATE = 8_000
FRAMES = 2_000


class Copy(Separator):
    """Every stem is the mixture."""

    def forward(self, mix):
        return torch.stack([mix] * len(self.stems), dim=1)


class OneChannelEach(Separator):
    """Stem ``i`` is channel ``i`` of the mixture."""

    def forward(self, mix):
        only = torch.eye(self.channels)[:, :, None]  # (S, C, 1)
        return mix[:, None] * only


class Broken(Separator):
    """Must not be asked."""

    def forward(self, mix):
        raise AssertionError("the model has run")


class Diverged(Separator):
    """Gives NaN."""

    def forward(self, mix):
        return torch.stack([mix * torch.nan] * len(self.stems), dim=1)


def config(*stems: str) -> RunConfig:
    return RunConfig(
        audio=AudioConfig(sample_rate=RATE, channels=2, stems=stems),
        stft=STFTConfig(n_fft=64, hop_length=32),
        model=TFLocoformerConfig(
            front_end="bins",
            n_layers=1,
            emb_dim=8,
            attention_dim=8,
            n_heads=2,
            ffn_hidden_dim=(8, 8),
            num_groups=2,
        ),
        training=TrainingConfig(segment_length=800),
        separation=SeparationConfig(overlap=0.5),
    )


@pytest.fixture
def model(tmp_path, monkeypatch):
    """Write weights of a fake model and return their path."""

    def make(kind, *stems):
        monkeypatch.setattr(weights, "outline", lambda given: kind(given.audio))
        path = tmp_path / "fake.safetensors"
        weights.save(path, kind(config(*stems).audio), config(*stems), {}, overwrite=True)
        return str(path)

    return make


def noise(seed: int, *, only_channel: int | None = None) -> np.ndarray:
    samples = 0.1 * np.random.default_rng(seed).standard_normal((FRAMES, 2)).astype(np.float32)
    if only_channel is not None:
        samples[:, 1 - only_channel] = 0
    return samples


def write_track(folder, *, mixture=True, **stems):
    folder.mkdir(parents=True)
    if mixture:
        stems["mixture"] = sum(stems.values())
    for stem, samples in stems.items():
        sf.write(folder / f"{stem}.wav", samples, RATE, subtype="FLOAT")
    return folder


def songs(tmp_path, **options):
    write_track(tmp_path / "songs" / "a", vocals=noise(1), drums=noise(2), **options)
    write_track(tmp_path / "songs" / "b", vocals=noise(3), drums=noise(4), **options)
    return tmp_path / "songs"


def run(name, reference, **options):
    return evaluate(name=name, reference=reference, device="cpu", **options)


def test_a_model_that_copies_the_mixture_improves_nothing(model, tmp_path):
    result = run(model(Copy, "vocals"), songs(tmp_path))
    for row in result.means.values():
        for score in row.values():
            assert score.improvement == pytest.approx(0.0, abs=1e-4)
            assert score.estimate == pytest.approx(score.mixture, abs=1e-4)


def test_copies_that_must_add_up_to_the_mixture_have_its_si_sdr(model, tmp_path):
    result = run(model(Copy, "vocals", "drums"), songs(tmp_path))
    assert list(result.means) == ["vocals", "drums", "mean"]
    for row in result.means.values():
        assert row["si_sdr"].improvement == pytest.approx(0.0, abs=1e-4)
        assert row["sdr"].improvement > 1.0  # half the mixture is nearer to a stem than all of it


def test_a_model_that_separates_perfectly_scores_high_on_every_stem(model, tmp_path):
    vocals, drums = noise(1, only_channel=0), noise(2, only_channel=1)
    folder = write_track(tmp_path / "song", vocals=vocals, drums=drums)
    result = run(model(OneChannelEach, "vocals", "drums"), folder)
    assert [(item.track, item.stem) for item in result.scores] == [
        ("song", "vocals"),
        ("song", "drums"),
    ]
    for item in result.scores:
        assert item.metrics["si_sdr"].estimate > 90.0
        assert item.metrics["sdr"].estimate > 70.0
        assert abs(item.metrics["si_sdr"].mixture) < 1.0


def test_the_result_says_what_was_run_and_how(model, tmp_path):
    name = model(Copy, "vocals", "drums")
    result = run(name, songs(tmp_path), segment=0.05)
    assert (result.model, result.device, result.dtype) == ("fake", "cpu", "fp32")
    assert result.sha256 == files.sha256(tmp_path / "fake.safetensors")
    assert (result.tracks, result.counts) == (2, {"vocals": 2, "drums": 2})
    assert (result.skipped, result.notes) == ([], [])
    assert list(result.definitions) == ["sdr", "si_sdr", "csdr"]
    assert "1e-7" in result.definitions["sdr"]
    assert result.settings == {
        "sample_rate": RATE,
        "segment_seconds": 0.05,
        "overlap": 0.5,
        "fade": "hann",
        "batch_size": 1,
        "mix_consistent": True,
    }


def test_scores_are_those_of_the_files_that_separate_writes(tmp_path):
    torch.manual_seed(0)
    path = tmp_path / "tiny.safetensors"
    weights.save(path, build(config("vocals", "drums")), config("vocals", "drums"), {})
    vocals, drums = noise(1), noise(2)
    folder = write_track(tmp_path / "song", vocals=vocals, drums=drums)
    result = run(str(path), folder)
    written = separate(
        [folder / "mixture.wav"],
        name=str(path),
        out=tmp_path / "out",
        device="cpu",
        bit_depth="float32",
    )
    files = written.songs[0].stems
    references = {"vocals": vocals, "drums": drums}
    assert len(result.scores) == 2
    for item in result.scores:
        estimate = sf.read(files[item.stem], dtype="float64")[0]
        for metric, measure in {"sdr": sdr, "si_sdr": si_sdr}.items():
            expected = measure(references[item.stem], estimate)
            assert item.metrics[metric].estimate == pytest.approx(expected, abs=1e-3)


def test_a_silent_reference_is_left_out_by_name_and_not_counted(model, tmp_path):
    reference = songs(tmp_path)
    silence = np.zeros((FRAMES, 2), np.float32)
    write_track(reference / "c", vocals=silence, drums=noise(5))
    result = run(model(Copy, "vocals", "drums"), reference)
    assert result.skipped == ["c: vocals: the reference is silent"]
    assert (result.tracks, result.counts) == (3, {"vocals": 2, "drums": 3})


def test_a_missing_reference_is_left_out_by_name(model, tmp_path):
    reference = songs(tmp_path)
    (reference / "a" / "drums.wav").unlink()
    result = run(model(Copy, "vocals", "drums"), reference)
    assert result.skipped == ["a: drums: no reference file"]
    assert result.counts == {"vocals": 2, "drums": 1}


def test_without_mixture_files_the_scores_are_the_same_and_it_is_said(model, tmp_path):
    name = model(Copy, "vocals", "drums")
    with_mixture = run(name, songs(tmp_path / "1"))
    without = run(name, songs(tmp_path / "2", mixture=False))
    assert without.means == with_mixture.means
    assert without.notes == [
        f"{track}: no mixture file: the sum of drums, vocals is used" for track in "ab"
    ]


def test_nothing_but_silence_is_an_error(model, tmp_path):
    folder = write_track(tmp_path / "song", vocals=np.zeros((FRAMES, 2), np.float32))
    with pytest.raises(MssctlError, match="nothing to score: song: vocals: the reference is silen"):
        run(model(Copy, "vocals"), folder)


@pytest.mark.parametrize("fault", ["rate", "length", "channels"])
def test_a_file_that_does_not_fit_is_refused_before_the_model_runs(model, tmp_path, fault):
    reference = songs(tmp_path)
    samples, rate = noise(9), RATE
    if fault == "rate":
        rate = 44_100
    elif fault == "length":
        samples = samples[1:]
    else:
        samples = samples[:, :1]
    sf.write(reference / "b" / "drums.wav", samples, rate)
    with pytest.raises(MssctlError) as caught:
        run(model(Broken, "vocals", "drums"), reference / "b")
    assert caught.value.exit_code == ExitCode.BAD_INPUT
    assert "drums.wav" in caught.value.message
    if fault == "rate":
        assert "44100 Hz" in caught.value.message
        assert "8000 Hz" in caught.value.message
    result = run(model(Copy, "vocals", "drums"), reference)  # and of two, the other is scored
    assert {item.track for item in result.scores} == {"a"}
    assert [failed.path for failed in result.failures] == ["b"]
    assert "drums.wav" in result.failures[0].error
    assert any("drums.wav" in reason for reason in result.skipped)


@pytest.mark.parametrize("stem", ["mixture", "drums"])
def test_nan_in_a_reference_leaves_its_track_out_by_name(model, tmp_path, stem):
    reference = songs(tmp_path)
    samples = noise(9)
    samples[700, 1] = np.nan
    sf.write(reference / "b" / f"{stem}.wav", samples, RATE, subtype="FLOAT")
    result = run(model(Copy, "vocals", "drums"), reference)
    assert ({item.track for item in result.scores}, result.tracks) == ({"a"}, 1)
    assert [(failed.path, failed.exit_code) for failed in result.failures] == [("b", 4)]
    assert re.search(rf"{stem}\.wav: .*NaN", result.skipped[0])
    with pytest.raises(MssctlError, match=rf"{stem}\.wav: .*NaN") as caught:
        run(model(Copy, "vocals", "drums"), reference / "b")
    assert caught.value.exit_code == ExitCode.BAD_INPUT


def test_a_model_that_gives_nan_is_an_error(model, tmp_path):
    with pytest.raises(MssctlError, match="NaN") as caught:
        run(model(Diverged, "vocals", "drums"), songs(tmp_path))
    assert caught.value.exit_code == ExitCode.FAILED
    assert "weights may be damaged" in (caught.value.hint or "")


def test_an_estimate_that_cannot_be_read_is_left_out_by_name(tmp_path):
    reference = songs(tmp_path)
    for track in ("a", "b"):
        write_track(tmp_path / "found" / track, mixture=False, vocals=noise(1), drums=noise(2))
    spoiled = noise(3)
    spoiled[9, 0] = np.inf
    sf.write(tmp_path / "found/a/drums.wav", spoiled, RATE, subtype="FLOAT")
    (tmp_path / "found/b/drums.wav").write_bytes(b"RIFF, and no more")
    out, page = tmp_path / "out", tmp_path / "out/page.html"
    given = {"estimates": tmp_path / "found", "reference": reference, "jobs": 1}
    result = evaluate(**given, out=out, html=page)
    assert [(item.track, item.stem) for item in result.scores] == [("a", "vocals"), ("b", "vocals")]
    assert result.tracks == 2
    files = [str(tmp_path / f"found/{track}/drums.wav") for track in ("a", "b")]
    assert [failed.path for failed in result.failures] == files
    assert result.failures[0].error.startswith("NaN or infinite sample")
    assert exit_code_of(result) == ExitCode.FAILED
    summary = json.loads((out / "summary.json").read_text())
    assert [failed["path"] for failed in summary["failures"]] == files
    for text in ((out / "scores.md").read_text(), page.read_text()):
        assert "a: drums: NaN or infinite sample" in text
    assert f"{files[0]},,failed,\n" in (out / "scores.csv").read_text()
    sf.write(tmp_path / "found/a/drums.wav", noise(2), RATE, subtype="FLOAT")
    (tmp_path / "found/b/drums.wav").unlink()
    sf.write(tmp_path / "found/b/drums.wav", noise(4), RATE, subtype="FLOAT")
    again = evaluate(**given, out=out, html=page)  # what failed may be replaced
    assert (again.failures, exit_code_of(again)) == ([], ExitCode.OK)


def test_what_failed_is_tried_again_in_the_same_folder(model, tmp_path, monkeypatch):
    """Memory may suffice the next time: a track that failed is not taken for scored."""
    name, reference, out = model(Copy, "vocals", "drums"), songs(tmp_path), tmp_path / "out"

    def scarce(*arguments):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1 TiB")

    with monkeypatch.context() as patch:
        patch.setattr("mssctl.evaluation.estimates.separate_array", scarce)
        with pytest.raises(MssctlError, match="a: out of memory") as caught:
            run(name, reference, out=out)
        assert caught.value.exit_code == ExitCode.BAD_INPUT
    assert not list(out.glob("*/*.json"))
    assert run(name, reference, out=out).failures == []


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"name": "no-such-model"}, ExitCode.ENVIRONMENT),
        ({"device": "no-such-device"}, ExitCode.ENVIRONMENT),
        ({"overlap": 1.0}, ExitCode.USAGE),
        ({"segment": 0.0}, ExitCode.USAGE),
        ({"batch": 0}, ExitCode.USAGE),
        ({"reference": "no/such/folder"}, ExitCode.BAD_INPUT),
    ],
)
def test_a_wrong_setting_is_refused_with_its_code(model, tmp_path, options, code):
    given = {"name": model(Broken, "vocals"), "reference": songs(tmp_path), "device": "cpu"}
    with pytest.raises(MssctlError) as caught:
        evaluate(**(given | options))
    assert caught.value.exit_code == code


def test_progress_counts_the_tracks(model, tmp_path):
    events = []
    run(model(Copy, "vocals", "drums"), songs(tmp_path), report=events.append)
    progress = [event for event in events if isinstance(event, Progress)]
    assert [(event.done, event.total) for event in progress] == [(0, 2), (1, 2), (2, 2)]
    assert progress[0].rate is None
    assert progress[-1].rate > 0
