"""``mssctl plan``: what it prints, and what it refuses."""

from __future__ import annotations

import pytest

from mssctl import presets
from mssctl.planning import target

TINY = """
audio: {sample_rate: 8000, stems: [vocals, other]}
stft: {n_fft: 64, hop_length: 16}
model: {freqs_per_bands: [8, 8, 8, 9], n_layers: 1, emb_dim: 16, attention_dim: 16, n_heads: 2,
        ffn_hidden_dim: [16, 16], num_groups: 2, mask_expansion: 1}
loss: {spectral_n_fft: [64]}
training: {segment_length: 4096, batch_size: 4}
"""


@pytest.fixture(autouse=True)
def no_gpu_and_a_cache_of_their_own(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "plans"))
    monkeypatch.setattr(target, "this_gpu", lambda: None)


@pytest.fixture
def tiny(tmp_path):
    path = tmp_path / "tiny.yaml"
    path.write_text(TINY)
    return path


def test_a_preset_is_broken_down(mssctl, tiny):
    outcome = mssctl("plan", tiny, "--vram", 2, "--batch", 2, "--checkpointing", "path")
    assert outcome.exit_code == 0
    for words in (
        "batch 2 × 0.512 s", "checkpointing path", "fits on the card (2.0 GiB)", "CUDA context",
        "largest batch that fits", "mssctl train",
    ):  # fmt: skip
        assert words in outcome.stdout


def test_json_holds_the_same(mssctl, tiny):
    data = mssctl("plan", tiny, "--gpu", "RTX 3060", "--segment", 1, "--json").document["data"]
    assert (data["gpu"], data["vram_gib"]) == ("RTX 3060", 12.0)
    assert data["run"]["segment_seconds"] == 1.0
    assert data["attention"] == ["flash"]
    assert data["largest_batch"] > 4


def test_traffic_is_counted_by_part(mssctl, tiny):
    outcome = mssctl("plan", tiny, "--explain", "traffic", "--checkpointing", "none")
    assert outcome.exit_code == 0
    for words in ("batch of 4 × 0.512 s", "norm", "RoPE", "convolutions", "weight update", "100.0"):
        assert words in outcome.stdout
    data = mssctl("plan", tiny, "--explain", "traffic", "--json").document["data"]
    parts, total = data["parts"], data["total"]
    assert sum(part["gigabytes"] for part in parts) == pytest.approx(total["gigabytes"])
    assert all(part["operations"] >= part["kernels"] > 0 for part in parts)
    assert parts == sorted(parts, key=lambda part: -part["gigabytes"])


def test_a_preset_that_does_not_fit_is_told_what_to_change(mssctl, tiny):
    outcome = mssctl("plan", tiny, "--vram", 0.75, "--batch", 4000)
    assert outcome.exit_code == 0
    assert "does NOT fit" in outcome.stdout
    assert "batch 2000 with gradient accumulation 2" in outcome.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        ([], 3, "--vram 32"),
        (["bsae"], 3, "did you mean 'base'?"),
        (["small", "--gpu", "RTX 509"], 3, "did you mean 'RTX 5090'?"),
        (["small", "--hop", "4096"], 3, "hop_length must be at most n_fft / 2"),
        (["--vram", "8", "--mode", "separate"], 2, "name a preset"),
        (["--compare", "--attention", "math"], 2, "name a preset"),
        (["small", "--verify"], 3, "a prediction needs no GPU"),
        (["small", "--dtype", "fp16"], 2, "training has bf16 and fp32 only"),
    ],
)
def test_plan_refuses(mssctl, monkeypatch, arguments, code, sentence):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    outcome = mssctl("plan", *arguments)
    assert (outcome.exit_code, outcome.stdout) == (code, "")
    assert sentence in outcome.stderr


def test_the_table_and_the_comparison_are_printed(mssctl, tiny, monkeypatch):
    monkeypatch.setattr(presets, "names", lambda: [str(tiny)])
    table = mssctl("plan", "--vram", 4)
    assert table.exit_code == 0
    assert "pick:" in table.stdout
    assert "headroom" in table.stdout
    compared = mssctl("plan", "--compare", "--gpu", "RTX 5090")
    assert compared.exit_code == 0
    assert "Nothing was measured." in compared.stdout
    assert "× real time (estimate)" in compared.stdout
