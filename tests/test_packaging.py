"""The wheel holds exactly the code, the presets, the weights and the pages."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import mssctl
from mssctl.config import bundled

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


def test_the_wheel_holds_exactly_the_code_the_presets_the_weights_and_the_pages(wheel):
    info = f"mssctl-{mssctl.__version__}.dist-info"
    about = {"METADATA", "WHEEL", "RECORD", "entry_points.txt", "licenses/LICENSE"}
    wanted = files(ROOT / "src/mssctl", "mssctl") | files(ROOT / "presets", "mssctl/bundled")
    wanted |= files(ROOT / "docs", "mssctl/bundled/docs")
    assert set(wheel.namelist()) == wanted | {f"{info}/{name}" for name in about}
    assert "mssctl/bundled/base.yaml" in wanted
    assert "mssctl/bundled/weights/starter.safetensors" in wanted


def test_pages_that_messages_name_are_in_the_wheel(wheel, tmp_path, monkeypatch):
    named = {
        page
        for path in (ROOT / "src").rglob("*.py")
        for page in re.findall(r"\bdocs/[\w-]+\.md", path.read_text(encoding="utf-8"))
    }
    assert len(named) > 2
    inside = set(wheel.namelist())
    assert {page for page in named if f"mssctl/bundled/{page}" not in inside} == set()
    wheel.extractall(tmp_path)
    monkeypatch.setattr(bundled, "__file__", str(tmp_path / "mssctl/config/bundled.py"))
    for page in named:
        shown = bundled.with_pages(f"see {page}, please")
        assert Path(shown.removeprefix("see ").removesuffix(", please")).is_file()
    assert bundled.with_pages("docs/none.md") == "docs/none.md"


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
