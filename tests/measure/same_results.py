"""Compare what two source trees give on this machine: stems, documents, help texts.

Run as ``python tests/measure/same_results.py OLD_SRC NEW_SRC`` (folders that hold ``mssctl``), with
the environment of this project. A refactor is done when nothing differs, or each difference is
named in the CHANGELOG. Stems are compared to the bit: same weights file, fp32, one thread. Numbers
that a clock or the path of a folder decides are masked in the documents.
"""

from __future__ import annotations

import argparse
import difflib
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

WEIGHTS = Path(__file__).parents[2] / "presets" / "weights" / "starter.safetensors"
SHA256 = (
    "8beed4201904dfd7888079be7d25324db4e7c9ae1f5c96198f51bfdfaf814b98"  # of the starter of 748904d
)
MASKED = {
    "speed",
    "seconds",
    "rate",
    "elapsed",
    "duration",
    "date",
    "mssctl",
    "version",
    "versions",
}
RENAMED = {"passport": "provenance", "licence": "license"}
HELP = [
    [], ["doctor"], ["plan"], ["train"], ["resume"], ["separate"], ["bench"], ["eval"],
    ["eval", "score"], ["eval", "compare"], ["data"], ["data", "synth"], ["data", "check"],
    ["models"], ["models", "list"], ["models", "info"], ["models", "export"], ["models", "import"],
]  # fmt: skip


class Tree:
    """One source tree, run in a folder of its own."""

    def __init__(self, source: Path, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self._environment = {
            **os.environ,
            "PYTHONPATH": str(source),
            "OMP_NUM_THREADS": "1",
            "COLUMNS": "100",
            "XDG_CACHE_HOME": str(folder / "cache"),
        }

    def run(self, *arguments: str) -> tuple[int, str, str]:
        """Exit code, stdout and stderr of one command."""
        command = [sys.executable, "-m", "mssctl", *arguments]
        done = subprocess.run(
            command,
            check=False,
            cwd=self.folder,
            env=self._environment,
            capture_output=True,
            text=True,
        )
        return done.returncode, done.stdout, done.stderr


def document(code: int, text: str) -> str:
    """A ``--json`` document without what a clock decides, with today's names of keys."""
    tree = masked(json.loads(text)) if text.strip() else None
    return f"exit {code}\n{json.dumps(tree, indent=1, sort_keys=True)}"


def masked(value: object) -> object:
    """``value`` with the values of `MASKED` keys left out."""
    if isinstance(value, dict):
        return {
            RENAMED.get(key, key): "…" if key in MASKED else masked(item)
            for key, item in value.items()
        }
    return [masked(item) for item in value] if isinstance(value, list) else value


def stems(folder: Path) -> str:
    """Name and SHA-256 of each file below ``folder``."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return "\n".join(
        f"{path.relative_to(folder)} {hashlib.sha256(path.read_bytes()).hexdigest()}"
        for path in files
    )


def results(tree: Tree) -> dict[str, str]:
    """What a tree gives, as text by title."""
    synth = "data synth songs --hours 0.006 --song-seconds 20 --valid-fraction 0 --seed 7 -q"
    tree.run(*synth.split())
    found = {"songs of data synth": stems(tree.folder / "songs")}
    song = "songs/train/song-00000/mixture.wav"
    weights = ["-n", str(WEIGHTS), "--device", "cpu", "--dtype", "fp32"]
    code, out, _ = tree.run("separate", song, "-o", "stems", *weights, "--json")
    found["separate --json"] = document(code, out)
    found["stems"] = stems(tree.folder / "stems")
    tree.run("separate", song, "-o", "two", *weights, "--two-stems", "vocals", "--format", "flac")
    found["two stems, flac"] = stems(tree.folder / "two")
    for title, command in {
        "plan": "plan --vram 24 --json",
        "plan small": "plan small --vram 24 --json",
        "models list": "models list --json",
        "data check": "data check songs --json",
        "eval of an oracle": "eval score -r songs/train --oracle irm --json",
        "missing song": "separate nothing.wav --json",
        "unknown key": "train small --set training.bach_size=1 --data songs --json",
    }.items():
        code, out, _ = tree.run(*command.split())
        found[title] = document(code, out)
    for command in HELP:
        code, out, _ = tree.run(*command, "--help")
        found[f"help of {' '.join(command) or 'mssctl'}"] = f"exit {code}\n{out}"
    return found


def main() -> int:
    """Print the differences; the exit code is 1 where there are some."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path)
    given = parser.parse_args()
    assert hashlib.sha256(WEIGHTS.read_bytes()).hexdigest() == SHA256, "another weights file"
    with tempfile.TemporaryDirectory() as scratch:
        both = [
            results(Tree(source.resolve(), Path(scratch) / name))
            for name, source in (("old", given.old), ("new", given.new))
        ]
    old, new = (
        {title: text.replace("/old/", "/x/").replace("/new/", "/x/") for title, text in one.items()}
        for one in both
    )
    different = [title for title in old if old[title] != new[title]]
    for title in different:
        lines = difflib.unified_diff(
            old[title].splitlines(), new[title].splitlines(), "old", "new", lineterm="", n=0
        )
        sys.stdout.write("\n".join([f"--- {title}", *lines, ""]))
    sys.stdout.write(f"{len(old) - len(different)} of {len(old)} the same\n")
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
