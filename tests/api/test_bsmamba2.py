"""BSMamba2 from an official checkpoint to stems, and from a preset to a run that goes on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from safetensors import safe_open
from torch import Tensor

from mssctl.api.models import import_model
from mssctl.api.separate import separate
from mssctl.api.train import resume, train
from mssctl.benchmark.scan import bench_scan
from mssctl.errors import MssctlError
from mssctl.models import weights

GOLDEN = Path(__file__).parent.parent / "golden" / "bsmamba2_dev.safetensors"
CPU = torch.device("cpu")

# As public training scripts write it: tuples, and much that is of no concern here.
YAML = """
audio: {chunk_size: 22050, num_channels: 2, sample_rate: 44100}
model:
  dim: 16
  depth: 2
  stereo: true
  num_stems: 1
  d_state: 16
  headdim: 16
  expand: 4
  stft_n_fft: 2048
  stft_hop_length: 441
  multi_stft_resolutions_window_sizes: !!python/tuple [4096, 2048, 1024, 512, 256]
training:
  instruments: [vocals, other]
  target_instrument: vocals
"""
TINY = """
audio: {sample_rate: 8000, target_instrument: vocals}
stft: {n_fft: 256, hop_length: 128}
model: {name: bsmamba2, freqs_per_bands: [16, 16, 32, 65], n_layers: 1, emb_dim: 8, expand: 2,
        headdim: 8, d_state: 8, chunk_size: 16}
loss: {name: bsmamba2_light}
training: {num_epochs: 1, steps_per_epoch: 4, segment_length: 2048, batch_size: 1,
           gradient_checkpointing: path, amp_dtype: float32, num_workers: 0, validate_songs: 1}
"""


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def golden() -> tuple[dict[str, Tensor], Tensor, Tensor]:
    """Official state dict, input and output."""
    with safe_open(GOLDEN, framework="pt") as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    state = {k.removeprefix("weight."): v for k, v in tensors.items() if k.startswith("weight.")}
    return state, tensors["input"], tensors["output"]


def lightning(state: dict[str, Tensor]) -> Any:
    return {"state_dict": {f"model.{key}": value for key, value in state.items()}, "epoch": 3}


WRAPPED = {
    "bare": lambda state: state,
    "lightning": lightning,
    "state": lambda state: {"state": state},
    "model_state_dict": lambda state: {"model_state_dict": state, "optimizer": {}},
}


@pytest.mark.parametrize("wrapping", WRAPPED)
def test_an_imported_checkpoint_gives_the_official_output(wrapping, tmp_path, mssctl):
    state, mix, wanted = golden()
    torch.save(WRAPPED[wrapping](state), tmp_path / "official.ckpt")
    (tmp_path / "official.yaml").write_text(YAML)
    out = tmp_path / "mine.safetensors"
    outcome = mssctl(
        "models", "import", tmp_path / "official.ckpt", "--config", tmp_path / "official.yaml",
        "-o", out, "--json",
    )  # fmt: skip
    entry = outcome.document["data"]
    assert (entry["architecture"], entry["stems"]) == ("bsmamba2", ["vocals"])
    assert entry["license"] == "not stated"
    model = weights.load(str(out), CPU)
    assert model.card.pop("weights", None) in (
        None,
        "state_dict.model",
        "state",
        "model_state_dict",
    )
    assert model.card == {"imported_from": "official.ckpt", "layout": "bsmamba2"}
    with torch.inference_mode():
        estimate = model.separator(mix)
    assert ((estimate - wanted).norm() / wanted.norm()).item() < 1e-4


def test_missing_and_surplus_keys_are_named(tmp_path):
    state, _, _ = golden()
    lost = "layers.1.0.backward_blocks.0.mixer.dt_bias"
    for changed, sentence in (
        ({k: v for k, v in state.items() if k != lost}, f"key '{lost}' is missing"),
        ({**state, "layers.0.0.extra": torch.zeros(1)}, r"surplus key\(s\): layers\.0\.0\.extra"),
        ({**state, "final_norm.gamma": torch.zeros(3)}, r"should be"),
    ):
        torch.save(changed, tmp_path / "official.ckpt")
        (tmp_path / "official.yaml").write_text(YAML)
        with pytest.raises(MssctlError, match=sentence):
            import_model(
                tmp_path / "official.ckpt",
                tmp_path / "mine.safetensors",
                config=tmp_path / "official.yaml",
            )
    assert not (tmp_path / "mine.safetensors").exists()


def test_a_pickle_is_never_run(tmp_path):
    class Trap:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "sprung",))

    torch.save({"state_dict": {"a": torch.zeros(1)}, "trap": Trap()}, tmp_path / "evil.ckpt")
    with pytest.raises(MssctlError, match=r"evil\.ckpt: not a checkpoint of plain tensors"):
        import_model(tmp_path / "evil.ckpt", tmp_path / "mine.safetensors")
    (tmp_path / "evil.yaml").write_text("model: !!python/object/apply:os.getcwd []\n")
    torch.save(golden()[0], tmp_path / "good.ckpt")
    with pytest.raises(MssctlError, match="not valid YAML"):
        import_model(
            tmp_path / "good.ckpt", tmp_path / "mine.safetensors", config=tmp_path / "evil.yaml"
        )
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize(
    ("content", "sentence"),
    [(b"", "an empty file"), (b"no checkpoint", "a text file"), (None, "no such file")],
)
def test_a_file_of_no_use_is_named(tmp_path, content, sentence):
    if content is not None:
        (tmp_path / "a.ckpt").write_bytes(content)
    with pytest.raises(MssctlError, match=rf"a\.ckpt: .*{sentence}"):
        import_model(tmp_path / "a.ckpt", tmp_path / "mine.safetensors")


def test_a_vocals_model_leaves_the_rest_as_mixture_minus_vocals(tmp_path):
    state, _, _ = golden()
    torch.save(state, tmp_path / "official.ckpt")
    import_model(tmp_path / "official.ckpt", tmp_path / "mine.safetensors")
    rng = np.random.default_rng(0)
    soundfile.write(
        tmp_path / "song.wav", rng.uniform(-0.3, 0.3, (9_000, 2)), 44_100, subtype="FLOAT"
    )
    done = separate(
        [tmp_path / "song.wav"],
        name=str(tmp_path / "mine.safetensors"),
        out=tmp_path / "out",
        two_stems="vocals",
        segment=0.2,
    ).songs[0]
    vocals, rest = (soundfile.read(done.stems[name])[0] for name in ("vocals", "no_vocals"))
    mix, _ = soundfile.read(tmp_path / "song.wav")
    np.testing.assert_allclose(vocals + rest, mix, atol=1e-6)
    assert np.abs(vocals - mix).max() > 0.01  # not the mixture itself
    only = separate(
        [tmp_path / "song.wav"],
        name=str(tmp_path / "mine.safetensors"),
        out=tmp_path / "only",
        segment=0.2,
    ).songs[0]
    assert list(only.stems) == ["vocals"]
    np.testing.assert_array_equal(soundfile.read(only.stems["vocals"])[0], vocals)


def test_a_run_goes_on_to_the_same_weights(tmp_path, make_song):
    for name in ("train/a", "train/b", "valid/c"):
        make_song(tmp_path / "data" / name, frames=8_000)
    (tmp_path / "tiny.yaml").write_text(TINY)

    def start(run: str, *overrides: str) -> Any:
        return train(
            str(tmp_path / "tiny.yaml"),
            data=tmp_path / "data",
            out=tmp_path / run,
            overrides=["training.save_every_steps=2", *overrides],
            device="cpu",
        )

    whole = start("whole")
    start("part", "training.steps_per_epoch=2")
    config = tmp_path / "part" / "config.yaml"
    config.write_text(config.read_text().replace("steps_per_epoch: 2", "steps_per_epoch: 4"))
    again = resume(tmp_path / "part", device="cpu")
    assert (whole.step, again.step) == (4, 4)
    first, second = (
        [
            json.loads(line)["loss"]
            for line in (tmp_path / run / "metrics.jsonl").read_text().splitlines()
            if json.loads(line)["kind"] == "step"
        ]
        for run in ("whole", "part")
    )
    assert first == second
    sessions = json.loads((tmp_path / "whole" / "environment.json").read_text())["sessions"]
    assert sessions[0]["backends"] == {"scan": "torch: the default on cpu"}


def test_the_benchmark_compares_chunks_with_the_loop(tmp_path):
    (tmp_path / "tiny.yaml").write_text(TINY)
    result = bench_scan(str(tmp_path / "tiny.yaml"), device="cpu")
    assert [timing.backend for timing in result.timings] == ["loop"] + ["torch"] * 5
    assert max(timing.error for timing in result.timings) < 1e-5
    assert result.timings[0].speedup == 1.0
    assert result.shape["steps"] == 17
    assert any("mamba_ssm" in reason for reason in result.left_out)


def test_a_preset_without_a_scan_is_refused():
    with pytest.raises(MssctlError, match="a tf_locoformer has no scan"):
        bench_scan("base")
