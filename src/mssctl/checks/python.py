"""Checks of Python, mssctl and the packages it stands on."""

import os
import platform
import re
import sys
from collections.abc import Iterator
from importlib import import_module, metadata
from importlib.util import find_spec
from pathlib import Path

from mssctl._version import __version__
from mssctl.checks.findings import failed, first_line, note, ok, warning
from mssctl.config.bundled import bundled_folder
from mssctl.config.checksums import WEIGHTS
from mssctl.errors import MssctlError
from mssctl.files import sha256
from mssctl.hardware.builds import INSTALL
from mssctl.hub import state
from mssctl.options.doctor import DoctorOptions
from mssctl.results.doctor import Finding

OLDEST_PYTHON = (3, 11)
TORCH = "2.11"
ALLOCATOR_VARIABLES = ("PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF")
PACKAGES = "numpy av soundfile safetensors pydantic yaml huggingface_hub musdb museval rich typer"


def python(_: DoctorOptions) -> Iterator[Finding]:
    """Version, and where it is."""
    version, where = platform.python_version(), [sys.executable, platform.platform()]
    if sys.version_info[:2] < OLDEST_PYTHON:
        yield failed("Python", version, "install Python 3.11 or newer", where)
    elif sys.maxsize < 2**32:
        yield failed("Python", f"{version}, 32 bit", "install a 64-bit Python", where)
    else:
        yield ok("Python", f"{version} on {platform.system()} {platform.machine()}", where)


def program(_: DoctorOptions) -> Iterator[Finding]:
    """The program itself, and whether what it needs can be imported."""
    folder = str(Path(__file__).parents[1])
    broken = []
    for name in PACKAGES.split():
        try:
            if name in ("musdb", "museval"):  # slow to import, and needed by `eval` alone
                if find_spec(name) is None:
                    broken.append(f"{name}: not installed")
            else:
                import_module(name)
        except Exception as error:  # noqa: BLE001 (whatever an import raises is the finding)
            broken.append(f"{name}: {first_line(error)}")
    if broken:
        names = ", ".join(line.partition(":")[0] for line in broken)
        remedy = "install mssctl again, into an environment of its own"
        yield failed("mssctl", f"{__version__}, broken: {names}", remedy, [folder, *broken])
    else:
        yield ok("mssctl", __version__, [folder])


def weights(_: DoctorOptions) -> Iterator[Finding]:
    """Whether the bundled models are the files they should be."""
    wrong = []
    for name, digest in WEIGHTS.items():
        path = bundled_folder() / "weights" / f"{name}.safetensors"
        try:
            if sha256(path) != digest:
                wrong.append(f"{path}: damaged")
        except OSError as error:
            wrong.append(f"{path}: {error.strerror}")
    if wrong:
        yield failed("bundled weights", "; ".join(wrong), "install mssctl again")
    else:
        yield ok("bundled weights", f"{', '.join(WEIGHTS)}: checksum right")


def default_model(_: DoctorOptions) -> Iterator[Finding]:
    """The model that ``separate`` takes, if the user has chosen one."""
    try:
        chosen = state.default_model()
    except MssctlError as error:
        yield warning("default model", error.message, error.hint or "")
        return
    if chosen != "starter":
        yield ok("default model", chosen)


def tensorboard(_: DoctorOptions) -> Iterator[Finding]:
    """Whether curves can be looked at."""
    if find_spec("tensorboard") is None:
        yield note("TensorBoard", "not installed", "to see curves: pip install tensorboard")
        return
    yield ok("TensorBoard", metadata.version("tensorboard"))


def allocator_form(_: DoctorOptions) -> Iterator[Finding]:
    """A finding only if a variable of the allocator is so malformed that PyTorch may abort."""
    for name in ALLOCATOR_VARIABLES:
        value = os.environ.get(name, "")
        flat = re.sub(r"\[[^\]]*\]", "", value)
        if not all(":" in item for item in flat.split(",") if item.strip()):
            summary = f"{name}={value}: not of the form key:value,key:value"
            remedy = f"unset {name}: PyTorch does not start with it"
            yield failed("allocator", summary, remedy, fix=f"unset {name}")


def torch(_: DoctorOptions) -> Iterator[Finding]:
    """Whether PyTorch can be imported, and which build it is."""
    try:
        package = import_module("torch")
        found = str(package.__version__)
        cuda = package.version.cuda
    except Exception as error:  # noqa: BLE001 (whatever an import raises is the finding)
        variables = [name for name in ALLOCATOR_VARIABLES if os.environ.get(name)]
        remedy = f"unset {variables[0]}; if that is not it, {INSTALL}" if variables else INSTALL
        fix = f"unset {variables[0]}" if variables else INSTALL
        yield failed("PyTorch", f"cannot be imported: {first_line(error)}", remedy, fix=fix)
        return
    where = [str(package.__file__), f"CUDA of the build: {cuda or 'none'}"]
    if not found.startswith(f"{TORCH}."):
        summary = f"{found}: mssctl is made for {TORCH}"
        yield warning("PyTorch", summary, INSTALL, where, fix=INSTALL)
    else:
        yield ok("PyTorch", f"{found}, {f'CUDA {cuda}' if cuda else 'without CUDA'}", where)


def torchaudio(_: DoctorOptions) -> Iterator[Finding]:
    """Whether torchaudio can be imported and comes from the same build."""
    name = "torchaudio"
    try:
        audio = str(import_module("torchaudio").__version__)
    except Exception as error:  # noqa: BLE001 (whatever an import raises is the finding)
        yield failed(name, f"cannot be imported: {first_line(error)}", INSTALL, fix=INSTALL)
        return
    try:
        own = str(import_module("torch").__version__)
    except Exception as error:  # noqa: BLE001
        yield failed(name, f"{audio}, without a PyTorch: {first_line(error)}", INSTALL, fix=INSTALL)
        return
    if audio.split(".")[:2] != own.split(".")[:2]:
        yield failed(name, f"{audio} is not for PyTorch {own}", INSTALL, fix=INSTALL)
    elif "+" in audio and "+" in own and audio.partition("+")[2] != own.partition("+")[2]:
        yield failed(name, f"{audio} and PyTorch {own} are different builds", INSTALL, fix=INSTALL)
    else:
        yield ok(name, f"{audio}, the same build as PyTorch's")
