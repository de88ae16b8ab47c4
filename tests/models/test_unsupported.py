"""Networks that are not computed here are refused by name."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from mssctl.api.models import import_model
from mssctl.errors import ExitCode, MssctlError
from mssctl.models.unsupported import UNSUPPORTED, refuse

GOLDEN = Path(__file__).parent.parent / "golden"
LAYER = "layers.0.0.layers.0.0"
PLAIN = f"{LAYER}.to_qkv.weight"
# Keys as their programs write them, next to keys that files of ours have, too.
FILES = {
    "a RoFormer with PoPE": [f"{LAYER}.static_alpha", f"{LAYER}.branch.pope_embed.inv_freqs"],
    "a RoFormer with hyper-connections": [
        f"{LAYER}.dynamic_alpha_fn", f"{LAYER}.branch.to_value_residual_mix.weight",
    ],
    "a RoFormer with value residuals": [PLAIN, f"{LAYER}.to_value_residual_mix.bias"],
    "a RoFormer with linear attention": [
        f"{LAYER}.to_qkv.0.weight", f"{LAYER}.temperature", "layers.0.1.layers.0.0.to_qkv.weight",
    ],
    "a RoFormer with shared biases": [PLAIN, "linear_62_bias_0", f"{LAYER}.to_qkv.bias"],
    "SCNet Masked": ["encoder.0.SDlayer.convs.0.weight", "pos_embed_f", "mask_layer.0.weight"],
    "SCNet Tran": [
        "encoder.0.SDlayer.convs.0.weight",
        "separation_net.dp_modules.0.time_layer.layers.0.0.to_qkv.weight",
    ],
    "MDX23C (TFC-TDF)": ["first_conv.weight", "bottleneck_block.blocks.0.tfc1.0.weight"],
    "BandIt": ["band_split.norm_fc_modules.0.norm.weight"],
    "Apollo": ["BN.0.0.weight", "net.0.band_net.MLP.0.weight"],
    "a VR model": ["stg1_low_band_net.enc1.conv1.conv.0.weight"],
    "a network quantized by DiffQ": ["__quantized", "meta"],
}  # fmt: skip


def test_each_has_a_file():
    assert list(FILES) == [network.name for network in UNSUPPORTED]


@pytest.mark.parametrize("prefix", ["", "model.", "module._orig_mod."])
@pytest.mark.parametrize("name", FILES)
def test_a_file_is_refused_by_name(name, prefix, tmp_path):
    path = tmp_path / "x.ckpt"
    state = {key if key[0] == "_" else prefix + key: torch.zeros(1) for key in FILES[name]}
    torch.save({"state": state}, path)
    with pytest.raises(MssctlError) as caught:
        import_model(path, tmp_path / "x.safetensors")
    assert caught.value.message == f"{path}: {name}: not supported"
    assert str(caught.value.hint).startswith("take ")
    assert caught.value.exit_code == ExitCode.BAD_INPUT


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.safetensors")), ids=lambda path: path.stem)
def test_files_of_supported_networks_are_not(path):
    with safe_open(path, framework="pt") as file:
        refuse(key.removeprefix("weight.") for key in file.keys())  # noqa: SIM118


def test_onnx_is_named(tmp_path):
    path = tmp_path / "UVR-MDX-NET-Voc_FT.onnx"
    path.write_bytes(b"\x08\x07\x12\x07pytorch" + bytes(600))
    with pytest.raises(MssctlError, match="an ONNX file, such as MDX-Net's, not a checkpoint") as e:
        import_model(path, tmp_path / "x.safetensors")
    assert "take a checkpoint of PyTorch" in str(e.value.hint)
