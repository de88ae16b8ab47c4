"""Presets: those that come with the program, overrides, and what is refused."""

from __future__ import annotations

import pytest

from mssctl import presets
from mssctl.errors import ExitCode, MssctlError
from mssctl.models.run_config import parse

# The published hyper-parameters, one column per preset.
NAMES = ["small", "base", "xlarge", "memory_optimized", "ultra_safe"]
OTHERS = [
    "bs_roformer", "bsmamba2", "bsmamba2_4stem", "htdemucs", "mel_band_roformer", "scnet",
    "scnet_large", "starter",
]  # fmt: skip
TABLE = {
    "stft.n_fft": [2048, 4096, 4096, 2048, 2048],
    "stft.hop_length": [512, 1024, 1024, 512, 512],
    "model.n_layers": [6, 8, 12, 6, 4],
    "model.emb_dim": [96, 192, 256, 128, 96],
    "model.attention_dim": [96, 192, 256, 128, 96],
    "model.n_heads": [6, 8, 16, 8, 4],
    "model.ffn_hidden_dim": [(384,) * 2, (768,) * 2, (1024,) * 2, (512,) * 2, (384,) * 2],
    "model.num_groups": [4, 4, 8, 8, 4],
    "model.dropout": [0.1, 0.1, 0.15, 0.15, 0.1],
    "loss.spectral": [0.1, 0.1, 0.15, 0.15, 0.1],
    "optimizer.lr": [1e-3, 5e-4, 3e-4, 3e-4, 5e-4],
    "scheduler.warmup_steps": [0, 0, 1000, 0, 0],
    "scheduler.patience": [5, 8, 10, 10, 8],
    "scheduler.min_lr": [1e-7, 1e-7, 1e-8, 1e-8, 1e-7],
    "training.num_epochs": [150, 300, 400, 400, 400],
    "training.segment_length": [220_500, 441_000, 661_500, 220_500, 132_300],
    "training.batch_size": [24, 12, 8, 1, 1],
    "training.gradient_accumulation_steps": [1, 1, 2, 1, 4],
    "training.num_workers": [8, 8, 12, 8, 4],
}
SAME = {
    "audio.sample_rate": 44_100,
    "audio.channels": 2,
    "audio.stems": ("vocals", "drums", "bass", "other"),
    "model.name": "tf_locoformer",
    "model.front_end": "bands",
    "model.freqs_per_bands": "bands62",
    "model.conv1d_kernel": 4,
    "loss.name": "combined",
    "loss.si_sdr": 1.0,
    "loss.l1": 0.1,
    "loss.spectral_n_fft": (2048, 1024, 512),
    "optimizer.name": "adamw",
    "optimizer.fused": True,
    "optimizer.weight_decay": 0.01,
    "optimizer.betas": (0.9, 0.999),
    "scheduler.name": "plateau",
    "scheduler.factor": 0.5,
    "training.gradient_clip": 5.0,
    "training.amp_dtype": "bfloat16",
    "training.tf32": True,
    "training.cudnn_benchmark": True,
    "training.flash_attention": True,
}


def value(config, key):
    section, _, name = key.partition(".")
    return getattr(getattr(config, section), name)


@pytest.mark.parametrize("column", range(len(NAMES)), ids=NAMES)
def test_a_preset_has_exactly_its_published_hyper_parameters(column):
    config = presets.load(NAMES[column])
    wanted = {key: row[column] for key, row in TABLE.items()} | SAME
    assert {key: value(config, key) for key in wanted} == wanted


def test_these_presets_come_with_the_program():
    assert presets.names() == sorted([*NAMES, *OTHERS])


@pytest.mark.parametrize("name", ["bsmamba2", "bsmamba2_4stem"])
def test_bsmamba2_has_its_published_hyper_parameters(name):
    config = presets.load(name)
    published = {
        "audio.target_instrument": "vocals" if name == "bsmamba2" else None,
        "stft.n_fft": 2048,
        "stft.hop_length": 441,
        "model.n_layers": 6,
        "model.emb_dim": 256,
        "model.expand": 4,
        "model.d_state": 128,
        "model.d_conv": 4,
        "model.headdim": 64,
        "loss.l1_time_weight": 10.0,
        "loss.multi_stft_window_sizes": (4096, 2048, 1024, 512, 256),
        "loss.multi_stft_hop_size": 147,
        "optimizer.lr": 5e-4,
        "scheduler.name": "constant",
        "training.segment_length": 8 * 44_100,
        "training.batch_size": 5,
        "training.gradient_accumulation_steps": 6 * 2,
        "training.gradient_clip": 3.0,
        "training.ema_momentum": 0.999,
        "training.gradient_checkpointing": "path",
    }
    assert {key: value(config, key) for key in published} == published


@pytest.mark.parametrize("name", presets.names())
def test_a_preset_survives_being_written_and_read(name, tmp_path):
    config = presets.load(name)
    path = tmp_path / "resolved.yaml"
    path.write_text(presets.dump(config), encoding="utf-8")
    assert presets.load(str(path)) == config


@pytest.mark.parametrize("name", presets.names())
def test_a_preset_says_what_it_is_for(name):
    assert presets.load(name).description


def test_an_override_changes_one_key_and_nothing_else():
    plain = presets.load("base")
    changed = presets.load("base", ["model.n_layers=2"])
    assert changed.model.n_layers == 2
    assert changed.model_copy(update={"model": plain.model}) == plain


@pytest.mark.parametrize(
    ("override", "key", "wanted"),
    [
        ("optimizer.lr=1e-4", "optimizer.lr", 1e-4),
        ("optimizer.lr=1E-4", "optimizer.lr", 1e-4),
        ("optimizer.betas=[0.9, 0.95]", "optimizer.betas", (0.9, 0.95)),
        ("training.tf32=false", "training.tf32", False),
        ("separation.segment_seconds=null", "separation.segment_seconds", None),
    ],
)
def test_the_value_of_an_override_is_yaml(override, key, wanted):
    assert value(presets.load("base", [override]), key) == wanted


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("model:\n  n_layer: 2\n", "mine.yaml: model: unknown key 'n_layer'"),
        ("modle: {}\n", "mine.yaml: unknown key 'modle'"),
        ("model:\n  n_layers: two\n", "mine.yaml: model.n_layers"),
        ("model:\n  n_layers: 2\n  n_layers: 3\n", "line 3: key 'n_layers' is given twice"),
        ("model: {n_layers: 2\n", "mine.yaml: not valid YAML"),
        ("- a\n- b\n", "mine.yaml: expected sections"),
        ("model: !!python/object/apply:os.getcwd []\n", "mine.yaml: not valid YAML"),
        ("training: {segment_length: 100}\n", "segment_length is shorter than"),
    ],
)
def test_a_wrong_preset_is_refused_with_its_file_and_place(tmp_path, text, sentence):
    path = tmp_path / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(MssctlError) as refused:
        presets.load(str(path))
    assert sentence in refused.value.message
    assert refused.value.exit_code == ExitCode.ENVIRONMENT


@pytest.mark.parametrize(
    ("name", "overrides", "hint"),
    [
        ("bsae", [], "did you mean 'base'?"),
        ("base", ["model.n_layer=2"], "did you mean 'n_layers'?"),
        ("base", ["trainign.seed=2"], "did you mean 'training'?"),
    ],
)
def test_a_misspelling_names_the_nearest_word(name, overrides, hint):
    with pytest.raises(MssctlError) as refused:
        presets.load(name, overrides)
    assert refused.value.hint == hint


def test_a_number_written_with_an_exponent_is_a_number(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("optimizer: {lr: 1e-4, eps: 1e-9}\n", encoding="utf-8")
    config = presets.load(str(path))
    assert (config.optimizer.lr, config.optimizer.eps) == (1e-4, 1e-9)


def test_an_installation_without_presets_is_an_error(monkeypatch, tmp_path):
    monkeypatch.setattr(presets, "bundled_folder", lambda: tmp_path)
    with pytest.raises(MssctlError, match="no presets: this installation is incomplete") as caught:
        presets.names()
    assert caught.value.exit_code == 3


@pytest.mark.parametrize("section", ["training", "model", "loss", "data"])
@pytest.mark.parametrize("value", ["{}", "null", "{name: x}", "3"])
def test_a_section_is_never_set_as_a_whole(section, value):
    with pytest.raises(MssctlError, match=f"'{section}' is a section") as refused:
        presets.load("base", [f"{section}={value}"])
    assert refused.value.exit_code == ExitCode.USAGE


@pytest.mark.parametrize("override", ["", "=", "=1", "a.b", ".a=1", "a..b=1", "a.b.c=1", "a b=1"])
def test_what_sets_nothing_is_refused(override):
    with pytest.raises(MssctlError, match=r"--set|unknown key"):
        presets.load("base", [override])


@pytest.mark.parametrize(
    ("key", "values"),
    [
        ("training.batch_size", ["1:30", "010", "8.0", "true", "yes", "'8'", "1e1", "0x8", "1e30"]),
        ("training.tf32", ["1", "0", "yes", "off", "'true'", "null"]),
        ("audio.channels", ["true", "1.0", "3", "0"]),
        ("optimizer.lr", ["'1e-4'", "true", ".nan", "1e30", "0", "1:30"]),
        ("optimizer.betas", ["0.9", "[0.9]", "[true, 0.9]", "{a: 1}", "[0.9, 0.9, 0.9]"]),
        ("loss.spectral_n_fft", ["[512.0]", "[true]", "['512']", "512", "[]"]),
        ("description", ["3", "true", "2.5", "[a]"]),
    ],
)
def test_a_value_of_another_type_is_refused(key, values):
    for text in values:
        with pytest.raises(MssctlError, match=key.replace(".", r"\.")):
            presets.load("base", [f"{key}={text}"])


def test_many_problems_are_one_short_message():
    with pytest.raises(MssctlError, match="; and 19996 more") as refused:
        parse({f"key{number}": 1 for number in range(20_000)}, "mine.yaml")
    assert len(str(refused.value)) < 600
    with pytest.raises(MssctlError) as refused:
        parse({"training": {"x" * 10_000: ["y" * 10_000] * 10_000}, "a\nb": 1}, "mine.yaml")
    assert len(str(refused.value)) < 600
    assert "\n" not in str(refused.value)
