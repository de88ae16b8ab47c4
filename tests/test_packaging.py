"""The wheel holds exactly the code, the presets and the weights."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import mssctl

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    out = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", out, ROOT],
        check=True,
        capture_output=True,
    )
    (path,) = out.iterdir()
    with zipfile.ZipFile(path) as archive:
        yield archive


def files(folder: Path, target: str) -> set[str]:
    return {
        f"{target}/{path.relative_to(folder).as_posix()}"
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_the_wheel_holds_exactly_the_code_the_presets_and_the_weights(wheel):
    info = f"mssctl-{mssctl.__version__}.dist-info"
    about = {"METADATA", "WHEEL", "RECORD", "entry_points.txt", "licenses/LICENSE"}
    wanted = files(ROOT / "src/mssctl", "mssctl") | files(ROOT / "presets", "mssctl/bundled")
    assert set(wheel.namelist()) == wanted | {f"{info}/{name}" for name in about}
    assert "mssctl/bundled/base.yaml" in wanted
    assert "mssctl/bundled/weights/starter.safetensors" in wanted


def test_the_bundled_weights_are_small(wheel):
    for item in wheel.infolist():
        assert item.file_size <= 8 * 1024**2


def test_presets_hold_nothing_but_presets_and_weights():
    assert {path.suffix for path in (ROOT / "presets").rglob("*") if path.is_file()} == {
        ".yaml",
        ".safetensors",
    }


def test_constraints_name_versions_and_nothing_else():
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    for line in lines:
        if not line.startswith("#"):
            name, _, version = line.partition("==")
            assert name.replace("-", "").isalnum()
            assert version.replace(".", "").isalnum()
