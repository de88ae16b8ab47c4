"""The receipt tells what runs: each setting changes what is seen, not only what is written."""

from __future__ import annotations

import json

import pytest
import torch

from mssctl import presets
from mssctl.models.run_config import RunConfig
from mssctl.training.prepare import prepare
from mssctl.training.receipt import make_receipt, receipt_text

CPU = torch.device("cpu")


@pytest.fixture
def receipt():
    def make(*overrides: str) -> dict:
        tree = {
            "audio": {"sample_rate": 8000},
            "stft": {"n_fft": 256, "hop_length": 128},
            "model": {"freqs_per_bands": [64, 65], "n_layers": 2, "emb_dim": 16, "n_heads": 2,
                      "attention_dim": 16, "ffn_hidden_dim": [8, 8], "mask_expansion": 1},
            "training": {"segment_length": 2048, "amp_dtype": "float32"},
        }  # fmt: skip
        config = presets.override(RunConfig.model_validate(tree), overrides)
        found = make_receipt(prepare(config, CPU), config, CPU, None)
        json.dumps(found, allow_nan=False)
        return found

    return make


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_dtype_is_seen_inside_the_model(receipt, dtype):
    found = receipt(f"training.amp_dtype={dtype}")
    assert set(found["dtypes_inside"]["Linear"]) == {dtype}
    assert f"layers {dtype}" in receipt_text(found)


def test_the_attention_kernel_is_seen_per_axis(receipt):
    assert set(receipt()["attention"]) == {"freq", "time"}
    assert set(receipt()["attention"].values()) == {"flash (CPU), float32"}


def test_dropout_brings_another_attention_kernel_on_a_cpu(receipt):
    found = receipt("model.dropout=0.1")
    assert set(found["attention"].values()) == {
        "in pieces with dropout (CPU, float32 inside), float32"
    }


def test_looking_changes_neither_mode_nor_random_numbers(receipt):
    config = presets.override(presets.load("starter"), ["model.dropout=0.1"])
    state = prepare(config, CPU)
    before = torch.get_rng_state()
    make_receipt(state, config, CPU, None)
    assert torch.equal(torch.get_rng_state(), before)
    assert state.model.training


@pytest.mark.parametrize("fused", [True, False])
def test_the_optimizer_that_runs_is_the_one_told(receipt, fused):
    assert receipt(f"optimizer.fused={fused}")["fused_optimizer"] is fused


@pytest.mark.parametrize("level", ["none", "block", "path"])
def test_checkpointing_is_that_of_the_model(receipt, level):
    assert receipt(f"training.gradient_checkpointing={level}")["gradient_checkpointing"] == level


def test_the_moving_average_is_there_or_not(receipt):
    assert receipt("training.ema_momentum=0.5")["moving_average"] == 0.5
    assert receipt("training.ema_momentum=0")["moving_average"] is None


def test_the_effective_batch_counts_accumulation(receipt):
    found = receipt("training.batch_size=3", "training.gradient_accumulation_steps=5")
    assert found["effective_batch"] == 15
    assert "15 (3 x 5 accumulated)" in receipt_text(found)


def test_a_compiled_part_is_counted(make_config, make_state):
    config = make_config()
    state = make_state(config)
    assert make_receipt(state, config, CPU, 1.5)["compiled_modules"] == 0
    conv = state.model.conv  # as Module.compile does it, without loading a compiler
    conv._compiled_call_impl = conv._call_impl
    assert make_receipt(state, config, CPU, 1.5)["compiled_modules"] == 1


def test_nothing_is_left_of_looking(make_config, make_state):
    config = make_config()
    state = make_state(config)
    before = torch.get_rng_state()
    text = receipt_text(make_receipt(state, config, CPU, 12.34))
    assert "12.3 GiB" in text
    assert state.model.training
    assert not state.model.conv._forward_hooks
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.gpu
@pytest.mark.parametrize("on", [True, False])
def test_the_switches_of_a_gpu_are_in_force(make_config, on):
    settings = {"tf32": on, "cudnn_benchmark": on, "flash_attention": on}
    config = presets.override(RunConfig(), [f"training.{key}={on}" for key in settings])
    device = torch.device("cuda")
    found = make_receipt(prepare(config, device), config, device, None)
    assert (found["tf32"], found["cudnn_benchmark"], found["math_attention"]) == (on, on, not on)


def test_workers_are_shown_beside_the_cores_there_are(receipt, monkeypatch):
    monkeypatch.setattr("mssctl.training.receipt.cores", lambda: 1.5)
    assert "7, for 1.5 CPU cores" in receipt_text(receipt("training.num_workers=7"))
