"""The program as a whole: its commands, its help, and what starting it costs."""

from __future__ import annotations

import subprocess
import sys

import pytest
from typer.main import get_command

import mssctl as package
from mssctl.cli.app import app
from mssctl.cli.docs import helps

COMMANDS = [words for words, _ in helps(get_command(app), "mssctl")]
GROUPS = ["mssctl", *(f"mssctl {name}" for name in "data models eval preset job runs".split())]
HEAVY = {"torch", "torchaudio", "numpy", "scipy", "yaml", "soundfile", "huggingface_hub"}


def test_all_seven_commands_and_the_groups_exist(mssctl):
    text = mssctl("--help").stdout
    for name in "separate train resume eval plan bench doctor data models".split():
        assert f"\n  {name} " in text


@pytest.mark.parametrize("words", COMMANDS)
def test_help_goes_to_stdout_and_exits_0(mssctl, words):
    outcome = mssctl(*words.split()[1:], "--help")
    assert outcome.exit_code == 0
    assert outcome.stdout.startswith("Usage: ")
    assert outcome.stderr == ""


@pytest.mark.parametrize("words", [words for words in COMMANDS if words not in GROUPS])
def test_every_command_takes_the_options_that_all_commands_take(mssctl, words):
    text = mssctl(*words.split()[1:], "--help").stdout
    for option in ["--json", "-q, --quiet", "-v, --verbose", "--no-progress"]:
        assert option in text


def test_help_loads_no_heavy_package():
    program = (
        "import sys\n"
        "from mssctl.cli.app import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: print(*{m.partition('.')[0] for m in sys.modules}, file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert "Usage: mssctl" in done.stdout
    assert not HEAVY & set(done.stderr.split())


def test_importing_the_package_loads_no_heavy_package():
    program = "import sys, mssctl; print(*{m.partition('.')[0] for m in sys.modules})"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert not HEAVY & set(done.stdout.split())


@pytest.mark.parametrize("name", sorted(set(package.__all__) - {"__version__"}))
def test_every_public_name_is_a_function(name):
    assert callable(getattr(package, name))
    assert name in dir(package)


def test_an_unknown_public_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'separat'"):
        _ = package.separat


def test_version(mssctl):
    outcome = mssctl("--version")
    assert (outcome.exit_code, outcome.stdout) == (0, f"{package.__version__}\n")


def test_the_package_runs_as_a_module():
    done = subprocess.run(
        [sys.executable, "-m", "mssctl", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout == f"{package.__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["trian", "base"], "Did you mean 'train'?"),
        (["train"], "Missing argument 'PRESET'"),
        (["train", "base", "--batchsize", "3"], "No such option: --batchsize"),
        (["train", "base", "--layout", "zip"], "--layout"),
        (["data", "synth", "out"], "Missing option '--hours'"),
        (["separate", "song.wav", "--no-such-flag"], "No such option: --no-such-flag"),
    ],
)
def test_wrong_usage_exits_2_with_a_sentence_and_one_document(mssctl, arguments, sentence):
    plain = mssctl(*arguments)
    assert (plain.exit_code, plain.stdout) == (2, "")
    assert plain.stderr.startswith("error: ")
    assert sentence in plain.stderr
    assert "hint: see mssctl" in plain.stderr

    document = mssctl(*arguments, "--json").document
    assert document["exit_code"] == 2
    assert document["data"] is None
    assert sentence in document["error"]["message"]


def test_no_command_at_all_exits_2(mssctl):
    outcome = mssctl()
    assert (outcome.exit_code, outcome.stdout) == (2, "")
    assert outcome.stderr == "error: Missing command.\nhint: see mssctl --help\n"


def test_json_after_a_double_dash_is_a_name_and_not_the_option(mssctl):
    outcome = mssctl("trian", "--", "--json")
    assert (outcome.exit_code, outcome.stdout) == (2, "")
