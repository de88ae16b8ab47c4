"""Checks of what reads and writes audio: libsndfile's formats, ffmpeg."""

from __future__ import annotations

import io
import shutil
import subprocess
from collections.abc import Iterator

from mssctl.results.doctor import Finding
from mssctl.tasks.checks.findings import Settings, failed, first_line, note, ok, warning

FFMPEG_SECONDS = 10.0

# format, subtype, and the error that its rounding may make on a tone
FORMATS = (
    ("WAV", "PCM_24", 1e-5),
    ("WAV", "FLOAT", 1e-6),
    ("FLAC", "PCM_24", 1e-5),
    ("OGG", "VORBIS", 0.2),
    ("MP3", "MPEG_LAYER_III", None),  # starts with the encoder's delay: only read back
)


def sndfile(_: Settings) -> Iterator[Finding]:
    """Write and read a tone in each format that `separate` writes."""
    try:
        import numpy as np  # noqa: PLC0415
        import soundfile as sf  # noqa: PLC0415
    except (ImportError, OSError) as error:
        yield failed("libsndfile", first_line(error), "pip install --force-reinstall soundfile")
        return
    tone = 0.5 * np.sin(np.arange(8_820) * 2 * np.pi * 440 / 44_100)
    broken = []
    for kind, subtype, limit in FORMATS:
        try:
            file = io.BytesIO()
            sf.write(file, tone, 44_100, format=kind, subtype=subtype)
            file.seek(0)
            back, _rate = sf.read(file)
            if limit is not None and (len(back) != len(tone) or abs(back - tone).max() > limit):
                broken.append(f"{kind} {subtype}: comes back changed")
        except (sf.LibsndfileError, ValueError, RuntimeError) as error:
            broken.append(f"{kind} {subtype}: {first_line(error)}")
    version = sf.__libsndfile_version__
    details = [f"formats: {', '.join(sf.available_formats())}"]
    if broken:
        remedy = "pip install --force-reinstall soundfile: it brings a libsndfile of its own"
        bad = failed if any(line.startswith(("WAV", "FLAC")) for line in broken) else warning
        yield bad("libsndfile", f"{version}; {'; '.join(broken)}", remedy, details)
    else:
        names = ", ".join(dict.fromkeys(kind for kind, *_ in FORMATS))
        yield ok("libsndfile", f"{version}: {names} written and read", details)


def ffmpeg(_: Settings) -> Iterator[Finding]:
    """Whether formats that libsndfile lacks can be read."""
    path = shutil.which("ffmpeg")
    if path is None:
        remedy = "install ffmpeg to read m4a, wma and the like; wav, flac, mp3 and ogg work without"
        yield note("ffmpeg", "not found", remedy)
        return
    try:
        done = subprocess.run(  # noqa: S603 (found on the PATH)
            [path, "-version"], capture_output=True, timeout=FFMPEG_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        yield warning("ffmpeg", f"{path} does not run: {first_line(error)}", "install it again")
        return
    if done.returncode:
        said = (done.stderr.decode(errors="replace").strip().splitlines() or ["nothing said"])[-1]
        summary = f"{path} does not run: code {done.returncode}, {said}"
        yield warning("ffmpeg", summary, "install it again")
        return
    version = done.stdout.decode(errors="replace").split("\n", 1)[0]
    yield ok("ffmpeg", version.removeprefix("ffmpeg version ").split(" Copyright")[0], [path])
