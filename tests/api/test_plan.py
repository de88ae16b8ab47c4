"""Planning as a function: what fits, what is to blame, and what a run is told."""

from __future__ import annotations

import pytest
import torch

from mssctl import presets
from mssctl.api import plan
from mssctl.errors import MssctlError
from mssctl.events import Notice
from mssctl.hardware import nvml
from mssctl.hardware.device import DeviceChoice
from mssctl.options.plan import PlanOptions
from mssctl.planning import memory, one, target, verify
from mssctl.planning.fit import GIB
from mssctl.planning.predict.fake_step import Peak
from mssctl.planning.predict.workspaces import CONTEXT
from mssctl.planning.target import CARDS

TINY = """
audio: {sample_rate: 8000, stems: [vocals, other]}
stft: {n_fft: 64, hop_length: 16}
model:
  freqs_per_bands: [8, 8, 8, 9]
  n_layers: 1
  emb_dim: 16
  attention_dim: 16
  n_heads: 2
  ffn_hidden_dim: [16, 16]
  num_groups: 2
  mask_expansion: 1
loss: {spectral_n_fft: [64]}
training: {segment_length: 4096, batch_size: 4, num_epochs: 1, steps_per_epoch: 1}
"""
CUDA = torch.device("cuda")
PEAK = Peak(
    5 * GIB, 0, 64 * 2**20, CONTEXT, 6 * GIB, "mm", "", {}, (), ("flash",), 9, (), 10
)  # fmt: skip


@pytest.fixture(autouse=True)
def no_gpu_and_a_cache_of_their_own(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "plans"))
    monkeypatch.setattr(target, "this_gpu", lambda: None)


@pytest.fixture
def tiny(tmp_path):
    path = tmp_path / "tiny.yaml"
    path.write_text(TINY)
    return str(path)


def test_a_plan_adds_up_and_finds_the_largest_batch(tiny):
    card = CONTEXT / GIB + 0.2
    result = plan.plan(tiny, vram=card)
    assert result.run.fits
    assert sum(share.gib for share in result.components) == pytest.approx(result.run.peak_gib)
    assert result.run.headroom_gib == pytest.approx(card - result.run.peak_gib)
    assert result.largest_batch is not None
    assert result.largest_batch > 4
    assert result.next_gib > card * 0.97
    beyond = plan.plan(
        tiny, vram=card, overrides=[f"training.batch_size={result.largest_batch + 1}"]
    )
    assert beyond.run.fits is False
    assert f"training.batch_size={result.largest_batch}" in beyond.command


def test_without_a_card_a_preset_is_predicted_and_nothing_is_judged(tiny):
    result = plan.plan(tiny)
    assert (result.run.fits, result.largest_batch, result.run.headroom_gib) == (None, None, None)


def test_without_a_card_a_table_has_nothing_to_say():
    with pytest.raises(MssctlError, match="how much GPU memory") as error:
        plan.plan_table()
    assert error.value.exit_code == 3
    assert "--vram" in (error.value.hint or "")


def test_separation_needs_no_gradients_and_less_memory(tiny):
    train = plan.plan(tiny, overrides=["separation.batch_size=4"])
    separate = plan.plan(tiny, overrides=["separation.batch_size=4"], mode="separate")
    assert separate.run.batch_size == 4
    assert separate.allocated_gib < train.allocated_gib
    assert {"gradients", "optimizer"}.isdisjoint(share.name for share in separate.components)
    assert separate.run.dtype == "bfloat16"  # as `separate` computes on a GPU
    asked = ["training.amp_dtype=float32"]
    assert plan.plan(tiny, overrides=asked, mode="separate").run.dtype == "float32"


@pytest.fixture
def t4(monkeypatch):
    gpu = nvml.Gpu(0, name="Tesla T4", capability=(7, 5), free=14 * GIB)
    monkeypatch.setattr(target, "this_gpu", lambda: gpu)


@pytest.mark.parametrize("ask", [plan.plan, plan.plan_table, plan.compare])
def test_bfloat16_is_not_planned_for_a_gpu_without(t4, tiny, ask):
    with pytest.raises(MssctlError, match=r"bfloat16 needs compute capability 8\.0") as caught:
        ask(*([tiny] if ask is plan.plan else []))
    assert (caught.value.exit_code, caught.value.hint) == (3, "--set training.amp_dtype=float32")


def test_a_gpu_without_bfloat16_is_planned_in_what_works_there(t4, tiny):
    trained = plan.plan(tiny, overrides=["training.amp_dtype=float32"])
    assert trained.run.fits
    assert not [remedy for remedy in trained.remedies if "bfloat16" in remedy.change]
    by_itself = plan.plan(tiny, mode="separate")
    assert (by_itself.run.dtype, "--dtype" in by_itself.command) == ("float16", False)
    asked = plan.plan(tiny, mode="separate", dtype="fp32")
    assert asked.command.endswith(" --dtype fp32")
    with pytest.raises(MssctlError, match="--dtype bf16") as caught:
        plan.plan(tiny, mode="separate", dtype="bf16")
    assert caught.value.exit_code == 3


def test_what_is_not_predicted_is_said(tiny):
    assert plan.plan(tiny).notes == []
    [note] = plan.plan(tiny, overrides=["training.compile=true"]).notes
    assert "training.compile is not predicted" in note


def test_a_plan_to_separate_says_what_to_type_with_its_settings(tiny, tmp_path):
    def command(preset: str, *overrides: str, **options) -> str:
        return plan.plan(preset, overrides=overrides, mode="separate", **options).command

    assert command("starter") == "mssctl separate SONG -n starter"
    assert command(tiny) == "mssctl separate SONG -n RUN/best.safetensors"
    assert command(tiny, segment=0.75).endswith(" --segment 0.75")
    assert command(tiny, "separation.batch_size=3").endswith(" --batch 3")
    assert command("starter", "model.n_layers=1").endswith(" -n RUN/best.safetensors")
    assert command(tiny, "training.segment_length=6000").endswith(" --segment 0.75")
    assert command(tiny, "training.amp_dtype=float32").endswith(" --dtype fp32")
    card = CONTEXT / GIB + 0.07
    out = tmp_path / "mine.yaml"
    much = plan.plan(
        tiny, vram=card, overrides=["separation.batch_size=5000"], mode="separate", write=out
    )
    assert much.run.fits is False
    assert much.command.endswith(f" --batch {much.largest_batch}")
    written, asked = presets.load(str(out)), presets.load(tiny)
    assert written.separation.batch_size == much.largest_batch
    assert written.training == asked.training
    nothing = plan.plan(tiny, vram=CONTEXT / GIB, mode="separate")
    assert nothing.command.startswith("no configuration fits")


def test_what_is_written_is_a_preset_that_fits(tiny, tmp_path):
    out = tmp_path / "mine.yaml"
    card = CONTEXT / GIB + 0.1
    asked = ["training.batch_size=5000"]
    result = plan.plan(tiny, vram=card, overrides=asked, write=out)
    assert result.run.fits is False
    assert result.written == str(out)
    again = plan.plan(str(out), vram=card)
    assert again.run.fits
    training = presets.load(str(out)).training
    assert training.batch_size * training.gradient_accumulation_steps >= 5000
    with pytest.raises(MssctlError, match="exists already"):
        plan.plan(tiny, vram=card, write=out)


def test_nothing_is_written_where_nothing_fits(tiny, tmp_path):
    with pytest.raises(MssctlError, match="nothing fits"):
        plan.plan(tiny, vram=CONTEXT / GIB, write=tmp_path / "mine.yaml")
    assert not (tmp_path / "mine.yaml").exists()


def test_a_table_picks_the_largest_model_that_fits(tiny, tmp_path, monkeypatch):
    larger = tmp_path / "larger.yaml"
    larger.write_text(TINY.replace("n_layers: 1", "n_layers: 2"))
    monkeypatch.setattr(presets, "names", lambda: [tiny, str(larger)])
    table = plan.plan_table(vram=2.0)
    assert table.pick == str(larger)
    assert [(run.preset, run.confirmed) for run in table.runs] == [
        (str(larger), True),
        (tiny, False),
    ]
    assert all(run.fits for run in table.runs)
    nothing = plan.plan_table(vram=CONTEXT / GIB)
    assert (nothing.pick, nothing.command) == (None, None)
    assert not any(run.fits for run in nothing.runs)


@pytest.mark.parametrize(
    ("ask", "option"),
    [
        (plan.plan_table, {"mode": "separate"}),
        (plan.plan_table, {"attention": "math"}),
        (plan.compare, {"write": "mine.yaml"}),
        (verify.verify, {"options": PlanOptions(vram=8.0)}),
    ],
)
def test_an_option_that_would_do_nothing_is_refused_in_python_too(ask, option):
    with pytest.raises(MssctlError, match="does nothing with"):
        ask(**option)


def test_a_table_names_the_presets_it_leaves_out(tiny, monkeypatch):
    monkeypatch.setattr(presets, "names", lambda: ["bsmamba2", tiny])
    table = plan.plan_table(vram=2.0, overrides=["model.n_heads=4"])
    assert ([run.preset for run in table.runs], table.left_out) == ([tiny], ["bsmamba2"])
    assert plan.compare().left_out == ["bsmamba2"]
    monkeypatch.setattr(presets, "names", lambda: [tiny, "scnet"])
    compared = plan.compare(overrides=["model.n_heads=4"])
    assert compared.left_out == ["scnet"], "it has no heads"
    with pytest.raises(MssctlError, match="n_hats"):
        plan.compare(overrides=["model.n_hats=4"])


MAMBA = [
    "model.emb_dim=16", "model.n_layers=1", "model.d_state=8", "model.headdim=8",
    "training.segment_length=22050", "training.batch_size=2",
]  # fmt: skip


def test_a_model_without_a_closed_form_is_planned_and_told_what_helps_in_proportion():
    result = plan.plan("bsmamba2", vram=CONTEXT / GIB + 1.0, overrides=MAMBA)
    assert [remedy.change for remedy in result.remedies] == [
        "batch 1 with gradient accumulation 24",
        "segments of 0.25 s",
    ]
    assert all(remedy.gib < result.run.peak_gib for remedy in result.remedies)
    assert result.next_gib > result.vram_gib * 0.97


def test_where_a_step_takes_long_the_largest_batch_is_worked_out_and_not_run(monkeypatch):
    exact = plan.plan("bsmamba2", vram=CONTEXT / GIB + 1.0, overrides=MAMBA).largest_batch
    monkeypatch.setattr(one, "_LONG", 1)
    result = plan.plan("bsmamba2", vram=CONTEXT / GIB + 1.0, overrides=MAMBA)
    assert result.next_gib is None
    assert result.largest_batch == pytest.approx(exact, rel=0.2)


def test_a_comparison_names_estimates_only_with_a_card(tiny, monkeypatch):
    monkeypatch.setattr(presets, "names", lambda: [tiny])
    (row,) = plan.compare().presets
    assert (row.step_seconds, row.speed) == (None, None)
    assert row.tokens == 4 * 257
    (row,) = plan.compare(gpu=CARDS[0].name).presets
    assert row.speed == pytest.approx(4 * 4096 / 8000 / row.step_seconds)
    assert row.tflop > 0


def test_the_80_gib_failure_is_explained():
    per_bin = [
        "model.front_end=bins", "model.n_heads=12", "model.n_layers=1", "stft.n_fft=4096",
        "stft.hop_length=1024", "training.amp_dtype=float32", "training.batch_size=1",
        "training.gradient_checkpointing=none",
    ]  # fmt: skip
    result = plan.plan("base", overrides=per_bin, segment=10.0, attention="math")
    text = "\n".join(result.notes)
    assert "431 × 12 × 2049² × 4 B = 80.89 GiB" in text
    assert "frames are folded into the batch" in text
    assert "it takes bfloat16 and float16, and this is float32" in text
    scores = [item for item in result.tensors if round(item.gib, 2) == 80.89]
    assert scores
    assert all(item.shape[-2:] == [2049, 2049] for item in scores)
    assert result.run.peak_gib > 2 * 80.89
    needs = {remedy.change: remedy.gib for remedy in result.remedies}
    for change in (
        "bfloat16 with flash attention",
        "front_end bands (62 rows per frame)",
        "n_fft 2048, hop 1024",
        "segments of 5 s",
    ):
        assert needs[change] < 0.6 * result.run.peak_gib


# --- training


@pytest.fixture
def card(monkeypatch):
    """A CUDA device with as much free memory as asked for, and a known prediction."""

    def with_free(gib: float) -> None:
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (int(gib * GIB), 80 * GIB))
        monkeypatch.setattr(memory, "training_peak_of", lambda *_: PEAK)

    return with_free


def test_a_run_that_fits_is_told_what_to_expect(card):
    card(8.0)
    said = []
    assert memory.check_memory(presets.load("small"), CUDA, force=False, report=said.append) == PEAK
    (notice,) = said
    assert notice.message.startswith("segment 5 s, batch 24 needs 5.6 GiB, the card has 8.6 free")


def test_a_run_that_cannot_fit_is_refused_unless_forced(card):
    card(5.0)
    config = presets.load("small")
    with pytest.raises(MssctlError, match=r"needs 5\.6 GiB") as error:
        memory.check_memory(config, CUDA, force=False, report=lambda _: None)
    assert error.value.exit_code == 4
    assert "batch 12 with gradient accumulation 2" in (error.value.hint or "")
    said: list[Notice] = []
    assert memory.check_memory(config, CUDA, force=True, report=said.append) == PEAK
    assert said[0].level == "warning"


def test_on_a_cpu_nothing_is_predicted():
    config = presets.load("small")
    cpu = torch.device("cpu")
    assert memory.check_memory(config, cpu, force=False, report=lambda _: None) is None


def test_running_out_of_memory_is_explained(card, monkeypatch):
    card(8.0)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 7 * GIB)
    config = presets.load("small")
    with (
        pytest.raises(MssctlError, match=r"predicted 5\.06 GiB allocated, measured 7\.00") as error,
        memory.explained(PEAK, config, CUDA),
    ):
        raise torch.OutOfMemoryError
    assert error.value.exit_code == 4
    assert "batch 12" in (error.value.hint or "")


def test_running_out_of_memory_without_a_prediction_says_what_to_change():
    config = presets.load("small")
    with (
        pytest.raises(MssctlError, match="memory ran out") as error,
        memory.explained(None, config, CUDA),
    ):
        raise torch.OutOfMemoryError
    assert error.value.exit_code == 4
    assert "segment_length" in str(error.value.hint)


# --- verification


def test_verification_runs_real_steps_beside_the_prediction(tiny, monkeypatch):
    monkeypatch.setattr(
        verify, "choose_device", lambda name: DeviceChoice(torch.device("cpu"), "a stub")
    )
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "a stub")
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda device: None)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: GIB // 10)
    result = verify.verify(tiny)
    (check,) = result.checks
    assert check.measured_gib == pytest.approx(0.1, rel=1e-6)
    assert check.error == pytest.approx(check.predicted_gib / 0.1 - 1, rel=1e-4)


def test_the_grid_of_verification_holds_ten_configurations_that_exist():
    assert len(verify.GRID) >= 10
    for first, *rest in verify.GRID.values():
        presets.load(first, rest)


def test_a_step_that_does_not_fit_the_gpu_says_so(tiny, monkeypatch):
    def fail(*_: object) -> None:
        raise torch.OutOfMemoryError

    monkeypatch.setattr(verify, "train_step", fail)
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda device: None)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    with pytest.raises(MssctlError, match="does not fit this GPU: batch 4") as error:
        verify.measured(presets.load(tiny), torch.device("cpu"))
    assert error.value.exit_code == 4
