"""``mssctl models``."""

from __future__ import annotations


def test_the_bundled_models_are_listed_with_stems_and_license(mssctl):
    models = mssctl("models", "list", "--json").document["data"]["models"]
    assert [model["name"] for model in models if model["state"] == "bundled"] == ["starter"]
    assert models[0]["stems"] == ["vocals", "drums", "bass", "other"]
    assert models[0]["license"]
    assert "starter" in mssctl("models", "list").stdout


def test_info_names_the_file_and_its_hash(mssctl):
    outcome = mssctl("models", "info", "starter")
    entry = mssctl("models", "info", "starter", "--json").document["data"]
    assert outcome.exit_code == 0
    assert len(entry["sha256"]) == 64
    for key in ["path", "sha256", "license", "architecture"]:
        assert entry[key] in outcome.stdout


def test_an_unknown_model_exits_3_and_the_nearest_is_named(mssctl):
    outcome = mssctl("models", "info", "startr")
    assert (outcome.exit_code, outcome.stdout) == (3, "")
    assert "starter" in outcome.stderr


def test_an_export_is_the_same_model_with_a_license_of_its_own(mssctl, tmp_path):
    out = tmp_path / "mine.safetensors"
    outcome = mssctl(
        "models", "export", "starter", "-o", out, "--card", "license=CC0 1.0", "--json"
    )
    entry = outcome.document["data"]
    original = mssctl("models", "info", "starter", "--json").document["data"]
    assert outcome.exit_code == 0
    assert (entry["name"], entry["license"]) == ("mine", "CC0 1.0")
    assert entry["parameters"] == original["parameters"]


def test_half_precision_halves_the_file(mssctl, tmp_path):
    sizes = []
    for name, flags in (("full.safetensors", []), ("half.safetensors", ["--half"])):
        assert mssctl("models", "export", "starter", "-o", tmp_path / name, *flags).exit_code == 0
        sizes.append((tmp_path / name).stat().st_size)
    assert sizes[1] < 0.51 * sizes[0]


def test_an_export_replaces_nothing_and_takes_only_whole_entries(mssctl, tmp_path):
    out = tmp_path / "there.safetensors"
    out.write_bytes(b"mine")
    refused = mssctl("models", "export", "starter", "-o", out)
    assert (refused.exit_code, out.read_bytes()) == (2, b"mine")
    other = tmp_path / "other.safetensors"
    assert mssctl("models", "export", "starter", "-o", other, "--card", "license").exit_code == 2
    assert mssctl("models", "export", "starter", "-o", tmp_path / "x.bin").exit_code == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["there.safetensors"]
