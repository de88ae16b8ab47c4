"""A run trains and validates on each layout, and goes on from where the data can be read again."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from encoded import encode
from mssctl.api.train import resume, train
from mssctl.errors import ExitCode, MssctlError

TOY = """
stft: {n_fft: 512, hop_length: 256}
model: {name: tf_locoformer, freqs_per_bands: [32, 32, 64, 129], n_layers: 1, emb_dim: 8,
        attention_dim: 8, n_heads: 2, ffn_hidden_dim: [8, 8], num_groups: 2, mask_expansion: 1}
loss: {spectral_n_fft: [256]}
training: {num_epochs: 1, steps_per_epoch: 2, segment_length: 8192, batch_size: 2,
           amp_dtype: float32, num_workers: 0}
"""
HELD = "ANiMAL - Rockshow"


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def preset(tmp_path) -> str:
    (tmp_path / "toy.yaml").write_text(TOY)
    return str(tmp_path / "toy.yaml")


@pytest.fixture
def music(tmp_path, make_song):
    """Three songs at 44.1 kHz, one of them a validation track of musdb."""

    def make(root: Path, name: str) -> Path:
        stems = ("mixture", "vocals", "drums", "bass", "other")
        return make_song(root / name, stems=stems, sample_rate=44_100, frames=20_000)

    return [make(tmp_path / "music", name) for name in ("A - B", "C - D", HELD)]


def check(preset: str, out: Path, **sources: object) -> None:
    result = train(preset, out=out, device="cpu", **sources)
    assert result.finished
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert [line["kind"] for line in lines] == ["step", "step", "validation"]
    assert {f"sdr/{stem}" for stem in ("vocals", "drums", "bass", "other")} <= set(
        lines[-1]["scores"]
    )
    assert resume(out, device="cpu").finished


def test_musdb18hq_trains_and_validates(tmp_path, preset, music):
    shutil.move(tmp_path / "music", tmp_path / "musdb18hq" / "train")
    (tmp_path / "musdb18hq" / "test").mkdir()
    check(preset, tmp_path / "run", data=tmp_path / "musdb18hq")


def test_stem_mp4_trains_and_validates(tmp_path, preset, music, make_stem_mp4, monkeypatch):
    for song in music:
        make_stem_mp4(tmp_path / "musdb18" / "train" / f"{song.name}.stem.mp4", song)
    monkeypatch.setenv("MUSDB_PATH", str(tmp_path / "musdb18"))
    check(preset, tmp_path / "run", data=[])  # where musdb looks, too


def test_stems_of_any_format_train_and_validate(tmp_path, preset):
    audio = np.random.default_rng(0).uniform(-0.1, 0.1, (2, 20_000))
    suffixes = {"vocals": ".m4a", "drums": ".flac", "bass": ".mp3", "other": ".ogg"}
    for song in ("train/one", "train/two", "valid/three"):
        for stem, suffix in suffixes.items():
            encode(tmp_path / "songs" / song / f"{stem}{suffix}", audio, 44_100)
    check(preset, tmp_path / "run", data=tmp_path / "songs")


def test_samples_and_songs_and_tables_train_together(tmp_path, preset, music):
    for stem in ("vocals", "drums", "bass", "other"):
        (tmp_path / "samples" / stem).mkdir(parents=True)
        shutil.copy(music[0] / f"{stem}.wav", tmp_path / "samples" / stem / "a.wav")
    table = tmp_path / "songs.csv"
    table.write_text(
        "split,song,vocals,drums,bass,other\n"
        + "".join(
            f"{split},{song.name},"
            + ",".join(
                f"music/{song.name}/{stem}.wav" for stem in ("vocals", "drums", "bass", "other")
            )
            + "\n"
            for split, song in zip(("train", "train", "valid"), music, strict=True)
        )
    )
    weights = ["data.weights=[1, 3]"]
    check(preset, tmp_path / "run", data=[tmp_path / "samples", table], overrides=weights)
    with pytest.raises(MssctlError, match=r"data\.weights has 2 numbers, there are 1") as caught:
        train(preset, data=table, out=tmp_path / "other", overrides=weights)
    assert caught.value.exit_code == ExitCode.USAGE
    assert not (tmp_path / "other").exists()


def test_with_every_effect_on_workers_change_nothing(tmp_path, preset, music):
    pytest.importorskip("python_stretch", reason="needs python-stretch")
    effects = ("pitch", "tempo", "eq", "compress", "clip", "reverb", "mono", "codec")
    settings = [f"data.{effect}=0.7" for effect in effects]
    models = [
        load_file(
            train(
                preset,
                data=tmp_path / "music",
                out=tmp_path / f"run-{workers}",
                overrides=[*settings, f"training.num_workers={workers}"],
                device="cpu",
            ).model
        )
        for workers in (0, 2)
    ]
    assert models[0].keys() == models[1].keys()
    assert all(torch.equal(tensor, models[1][name]) for name, tensor in models[0].items())
