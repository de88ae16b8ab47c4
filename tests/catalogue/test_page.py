"""The job scripts of docs/catalogue.md."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from mssctl.catalogue.shard import parse_shard

PAGE = (Path(__file__).parents[2] / "docs" / "catalogue.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", PAGE, re.DOTALL)
SCRIPTS = [text for kind, text in BLOCKS if kind in ("bash", "sh")]


@pytest.mark.skipif(not shutil.which("bash"), reason="needs bash")
@pytest.mark.parametrize("script", SCRIPTS)
def test_the_shell_reads_it(script):
    subprocess.run(["bash", "-n"], input=script, text=True, check=True)


@pytest.mark.parametrize("script", [text for text in SCRIPTS if "auto" in text])
def test_its_options_are_known(script, mssctl):
    [line] = re.findall(r"mssctl job run [^'\n]*", script)
    known = mssctl("job", "run", "--help").stdout
    words = [word for word in shlex.split(line) if word.startswith("--")]
    assert words
    assert all(word in known for word in words)


def test_the_indexed_job():
    [text] = [text for kind, text in BLOCKS if kind == "yaml"]
    spec = yaml.safe_load(text)["spec"]
    [container] = spec["template"]["spec"]["containers"]
    variables = {one["name"]: one["value"] for one in container["env"]}
    assert variables["JOB_COMPLETIONS"] == str(spec["completions"])
    assert spec["completionMode"] == "Indexed"
    assert str(parse_shard("auto", {**variables, "JOB_COMPLETION_INDEX": "3"})) == "3/16"
    assert container["command"][:3] == ["mssctl", "job", "run"]
