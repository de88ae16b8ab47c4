"""Checks of what reads and writes audio: libsndfile's formats, FFmpeg's libraries in PyAV."""

import io
from collections.abc import Iterator

from mssctl.checks.findings import failed, first_line, ok, warning
from mssctl.options.doctor import DoctorOptions
from mssctl.results.doctor import Finding

DECODERS = ("aac", "ac3", "alac", "flac", "mp3", "opus", "vorbis", "wmav2")
ENOUGH = ("aac", "flac", "mp3", "opus", "vorbis")  # of them, what most music is in

# format, subtype, and the error that its rounding may make on a tone
FORMATS = (
    ("WAV", "PCM_24", 1e-5),
    ("WAV", "FLOAT", 1e-6),
    ("FLAC", "PCM_24", 1e-5),
    ("OGG", "VORBIS", 0.2),
    ("MP3", "MPEG_LAYER_III", None),  # starts with the encoder's delay: only read back
)


def sndfile(_: DoctorOptions) -> Iterator[Finding]:
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
        yield bad(
            "libsndfile",
            f"{version}; {'; '.join(broken)}",
            remedy,
            details,
            fix=remedy.partition(":")[0],
        )
    else:
        names = ", ".join(dict.fromkeys(kind for kind, *_ in FORMATS))
        yield ok("libsndfile", f"{version}: {names} written and read", details)


def pyav(_: DoctorOptions) -> Iterator[Finding]:
    """Whether FFmpeg's libraries, which PyAV brings, are there and decode what they should."""
    name, again = "PyAV", "pip install --force-reinstall av: it brings FFmpeg's libraries"
    try:
        import av  # noqa: PLC0415
        from av.codec import codecs_available  # noqa: PLC0415
    except (ImportError, OSError) as error:
        yield failed(name, first_line(error), again)
        return
    libraries = [
        f"{library} {'.'.join(map(str, version))}"
        for library, version in sorted(av.library_versions.items())
    ]
    missing = [decoder for decoder in DECODERS if decoder not in codecs_available]
    if missing:
        bad = failed if any(decoder in ENOUGH for decoder in missing) else warning
        yield bad(name, f"{av.__version__}: no decoder for {', '.join(missing)}", again, libraries)
        return
    yield ok(name, f"{av.__version__}: decodes {', '.join(DECODERS)}", libraries)
