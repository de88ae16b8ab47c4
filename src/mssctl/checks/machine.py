"""Checks of memory, cores, shared memory, locale and the allocator's configuration."""

import locale
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from mssctl import presets
from mssctl.checks.findings import failed, first_line, gib, note, ok, warning
from mssctl.data.ahead import batch_bytes, batches_ahead
from mssctl.hardware import machine
from mssctl.hardware.machine import GIB
from mssctl.models.run_config import RunConfig
from mssctl.options.doctor import DoctorOptions
from mssctl.results.doctor import Finding

LEAST_MEMORY = 4 * GIB  # PyTorch with CUDA takes half of it before the first song
UNICODE = "Ā ß 歌 🎵.wav"


def memory(_: DoctorOptions) -> Iterator[Finding]:
    """Main memory, within a container's limit."""
    found = machine.memory()
    where = ", the container's limit" if found.limited else ""
    summary = f"{gib(found.available)} free of {gib(found.total)}{where}"
    if found.available < LEAST_MEMORY:
        remedy = "end other programs, or raise the limit; --set training.num_workers=1 takes less"
        yield warning("memory", summary, remedy)
    else:
        yield ok("memory", summary)


def cores(_: DoctorOptions) -> Iterator[Finding]:
    """Cores against the data workers of the presets."""
    found = machine.cores()
    wanted = {name: presets.load(name).training.num_workers for name in presets.names()}
    most = max(wanted.values())
    summary = f"{found:g} cores, presets use up to {most} data workers"
    details = [f"{name}: {count}" for name, count in wanted.items()]
    if found < most + 1:
        fit = max(int(found) - 1, 1)
        remedy = f"--set training.num_workers={fit}: more than that take turns on the cores"
        yield note("cores", summary, remedy, details)
    else:
        yield ok("cores", summary, details)


def shared_memory(_: DoctorOptions) -> Iterator[Finding]:
    """Room for the batches that data workers hand over."""
    name, found = "shared memory", machine.shared_memory()
    if found is None:
        if sys.platform == "linux":
            remedy = "mount it, or --set training.num_workers=0"
            yield warning(name, f"no {machine.SHM}: data workers need it", remedy)
        else:
            yield ok(name, f"not used on {sys.platform}")
        return
    total, free = found
    needs = {preset: queued_bytes(presets.load(preset)) for preset in presets.names()}
    short = [preset for preset, need in needs.items() if need > free]
    details = [f"{preset}: up to {gib(need)}" for preset, need in needs.items()]
    summary = f"{gib(free)} free of {gib(total)} in {machine.SHM}"
    if short:
        most = max(needs[preset] for preset in short) / GIB
        remedy = (
            f"docker run --shm-size={most + 1:.0f}g; or --set training.num_workers=0, "
            "or fewer with training.prefetch_factor=1"
        )
        summary += f", too little for the batches of {', '.join(short)}"
        yield warning(name, summary, remedy, details)
    else:
        yield ok(name, summary, details)


def queued_bytes(config: RunConfig) -> int:
    """Bytes of all batches that a preset's workers may have ready at once."""
    training, audio = config.training, config.audio
    ahead = training.num_workers * batches_ahead(training, audio)
    return batch_bytes(training, audio) * ahead


def language(settings: DoctorOptions) -> Iterator[Finding]:
    """Whether file names in any script come back as they were."""
    encoding = locale.getpreferredencoding(do_setlocale=False)
    details = [f"file names: {sys.getfilesystemencoding()}", f"text: {encoding}"]
    details += [f"{key}={os.environ[key]}" for key in ("LANG", "LC_ALL") if key in os.environ]
    remedy = "export LC_ALL=C.UTF-8, or PYTHONUTF8=1"
    if "utf" not in sys.getfilesystemencoding().lower():
        summary = f"file names are {sys.getfilesystemencoding()}, not UTF-8"
        yield warning("locale", summary, remedy, details, fix="export LC_ALL=C.UTF-8")
    else:
        yield ok("locale", "UTF-8", details)
    name, folder = "Unicode file names", _writable(str(settings.out))
    try:
        with tempfile.TemporaryDirectory(dir=folder, prefix=".mssctl-") as scratch:
            path = Path(scratch) / UNICODE
            path.write_bytes(b"\0")
            found = [item.name for item in Path(scratch).iterdir()]
    except UnicodeError as error:
        yield failed(name, f"cannot be written: {first_line(error)}", remedy, [str(folder)])
        return
    except OSError as error:
        elsewhere = "write elsewhere with --out"
        yield failed(name, f"cannot be written: {first_line(error)}", elsewhere, [str(folder)])
        return
    if found != [UNICODE]:
        summary = f"{UNICODE!a} comes back as {found!a}"
        yield warning(name, summary, "this file system changes names: rename files first")
    else:
        yield ok(name, "come back as they were", [str(folder)])


def _writable(out: str) -> Path | None:
    """The output folder or the nearest one above; the system's place if it takes no files."""
    folder = nearest(Path(out))
    return folder if os.access(folder, os.W_OK) else None


def nearest(path: Path) -> Path:
    """The path itself, or the first folder above that exists."""
    path = path.expanduser().absolute()
    while not path.is_dir() and path != path.parent:
        path = path.parent
    return path
