"""Every architecture keeps the contract of `Separator`."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from mssctl.errors import ExitCode, MssctlError
from mssctl.models import weights
from mssctl.models.base import Separator, SpectralSeparator
from mssctl.models.build import build, outline
from mssctl.models.registry import ARCHITECTURES
from mssctl.models.run_config import RunConfig, parse

AUDIO = {
    "": {},
    ", mono": {"channels": 1},
    ", one stem": {"target_instrument": "bass"},
}
FORMS = {
    "tf_locoformer": {", per bin": {"front_end": "bins"}, ", mapping": {"masking": "mapping"}},
}
CPU = torch.device("cpu")


def configurations() -> dict[str, RunConfig]:
    """The tiny configuration of each architecture, and its variants."""
    found = {}
    for name, one in ARCHITECTURES.items():
        sections = {"training": {"segment_length": 2048}, **one.tiny}
        for title, audio in AUDIO.items():
            found[name + title] = parse({**sections, "audio": audio}, name)
        for title, form in FORMS.get(name, {}).items():
            model = {**one.tiny["model"], **form}
            found[name + title] = parse({**sections, "model": model}, name)
    return found


CONFIGURATIONS = configurations()


@pytest.fixture(params=CONFIGURATIONS)
def config(request: pytest.FixtureRequest) -> RunConfig:
    return CONFIGURATIONS[request.param]


@pytest.fixture
def model(config: RunConfig) -> Separator:
    torch.manual_seed(0)
    return build(config)


@pytest.mark.parametrize("length", [1, 2, 63, 64, 65, 127, 128, 129, 1000, 4097])
def test_any_length_goes_in_and_comes_out(model: Separator, length: int) -> None:
    with torch.inference_mode():
        out = model.eval()(torch.randn(2, model.channels, length))
    assert out.shape == (2, len(model.stems), model.channels, length)
    assert out.dtype == torch.float32
    assert out.isfinite().all()


def test_silence_gives_finite_output(model: Separator) -> None:
    with torch.inference_mode():
        assert model.eval()(torch.zeros(1, model.channels, 500)).isfinite().all()


def test_every_trainable_parameter_gets_a_gradient(model: Separator) -> None:
    model.train()(torch.randn(2, model.channels, 2000)).square().sum().backward()
    without = [
        name
        for name, parameter in model.named_parameters()
        if parameter.requires_grad and (parameter.grad is None or not parameter.grad.any())
    ]
    assert without == []


def test_a_wrong_number_of_channels_is_refused(model: Separator) -> None:
    with pytest.raises(ValueError, match="expected"):
        model(torch.randn(1, 3, 100))


@pytest.mark.parametrize("dtype", [None, torch.float16])
def test_saved_weights_come_back(
    model: Separator, config: RunConfig, tmp_path: Path, dtype: torch.dtype | None
) -> None:
    path = tmp_path / "mein Modell ä.safetensors"
    weights.save(path, model, config, {"license": "CC0"}, dtype)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    loaded = weights.load(str(path), CPU)
    assert loaded.config == config
    assert loaded.card == {"license": "CC0"}
    assert not loaded.separator.training
    for key, value in model.state_dict().items():
        kept = value.to(dtype).float() if dtype else value
        torch.testing.assert_close(loaded.separator.state_dict()[key], kept, rtol=0, atol=0)
    entry = weights.describe(str(path))
    assert entry.parameters == sum(p.numel() for p in model.parameters())
    assert (entry.license, entry.sha256) == ("CC0", loaded.sha256)


def test_an_identity_mask_gives_the_input_back(
    model: Separator, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not isinstance(model, SpectralSeparator):
        return  # nothing to replace: the mask is part of the model
    stems = len(model.stems)
    monkeypatch.setattr(model, "spectrum", lambda X: X[:, None].expand(-1, stems, -1, -1, -1))
    mix = torch.randn(2, model.channels, 3001)
    wanted = mix[:, None].expand(-1, stems, -1, -1)
    torch.testing.assert_close(model(mix), wanted, atol=1e-6, rtol=0)


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"not safetensors at all")
    with pytest.raises(MssctlError, match=r"model\.safetensors: damaged") as caught:
        weights.load(str(path), CPU)
    assert caught.value.exit_code == ExitCode.BAD_INPUT


def test_a_truncated_file_is_named(model: Separator, config: RunConfig, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    weights.save(path, model, config, {})
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(MssctlError, match="damaged"):
        weights.load(str(path), CPU)


def test_weights_that_do_not_belong_to_their_configuration_are_refused(
    model: Separator, config: RunConfig, tmp_path: Path
) -> None:
    path = tmp_path / "model.safetensors"
    layers = config.model.n_layers
    longer = config.model.model_copy(update={"n_layers": layers + 1})
    other = config.model_copy(update={"model": longer})
    weights.save(path, model, other, {})
    with pytest.raises(MssctlError, match=rf"tensor '(.*\.)?blocks\.{layers}\..*' does not belong"):
        weights.load(str(path), CPU)


@pytest.mark.parametrize("metadata", [{}, {"config": "{}"}, {"config": "{", "card": "{}"}])
def test_damaged_metadata_is_named(tmp_path: Path, metadata: dict[str, str]) -> None:
    from safetensors.torch import save_file

    path = tmp_path / "model.safetensors"
    save_file({"x": torch.zeros(1)}, path, {"format": weights.FORMAT, **metadata})
    with pytest.raises(MssctlError, match=r"damaged model file: its metadata") as caught:
        weights.describe(str(path))
    assert caught.value.exit_code == ExitCode.BAD_INPUT


def test_foreign_safetensors_are_refused(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    path = tmp_path / "foreign.safetensors"
    save_file({"x": torch.zeros(1)}, path)
    with pytest.raises(MssctlError, match="without an mssctl configuration"):
        weights.load(str(path), CPU)


@pytest.mark.parametrize("name", ["nosuch", "dir/nosuch.safetensors"])
def test_an_unknown_model_is_an_environment_error(name: str) -> None:
    with pytest.raises(MssctlError) as caught:
        weights.load(name, CPU)
    assert caught.value.exit_code == ExitCode.ENVIRONMENT


def test_a_failed_write_leaves_nothing(model: Separator, config: RunConfig, tmp_path: Path) -> None:
    folder = tmp_path / "gone"
    with pytest.raises(MssctlError, match="cannot be written") as caught:
        weights.save(folder / "model.safetensors", model, config, {})
    assert caught.value.exit_code == ExitCode.ENVIRONMENT
    assert list(tmp_path.iterdir()) == []


def test_an_outline_has_the_same_shapes_and_draws_nothing(config: RunConfig) -> None:
    before = torch.get_rng_state()
    shapes = {name: value.shape for name, value in outline(config).state_dict().items()}
    assert torch.equal(torch.get_rng_state(), before)
    assert shapes == {name: value.shape for name, value in build(config).state_dict().items()}
