"""Recognize the kind of a file given as a model by its first bytes, and say what to do with it."""

import struct
import zipfile
from pathlib import Path

SAFETENSORS = "safetensors"
TORCH = "a file of PyTorch"
ONNX = "an ONNX file, such as MDX-Net's"
NO_FILE = "a pipe or a device"  # opening one may wait forever

_IMPORT = "turn it into a model file with `mssctl models import {} -o MODEL.safetensors`"
_MAGIC = [  # at the beginning of the file
    (b"RIFF", "a RIFF file, such as WAV"),
    (b"fLaC", "a FLAC file"),
    (b"OggS", "an Ogg file"),
    (b"ID3", "an MP3 file"),
    (b"FORM", "an AIFF file"),
    (b"\x93NUMPY", "a NumPy array"),
    (b"\x89HDF", "an HDF5 file"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"7z\xbc\xaf", "a 7z archive"),
    (b"GGUF", "a GGUF file"),
    (b"%PDF", "a PDF file"),
    (b"\x89PNG", "a picture"),
    (b"version https://git-lfs", "a pointer of Git LFS, not the file itself"),
]
_HINTS = {
    ONNX: "graphs in ONNX are not run here: take a checkpoint of PyTorch, such as a RoFormer's",
    "a pointer of Git LFS, not the file itself": "fetch the file itself, e.g. with `git lfs pull`",
    "an HTML page": "the download gave a web page: fetch the file itself",
}


def kind_of(path: Path) -> str:
    """What ``path`` is: `SAFETENSORS`, `TORCH`, or in words.

    Raises:
        OSError: it cannot be read.
    """
    if not path.is_file() and not path.is_dir() and path.exists():
        return NO_FILE
    with path.open("rb") as file:
        start = file.read(512)
    size = path.stat().st_size
    if not start:
        return "an empty file"
    if start[:2] == b"PK":
        return _kind_of_zip(path)
    # Eight bytes of length, then JSON.
    if len(start) > 8 and start[8:9] == b"{" and struct.unpack("<Q", start[:8])[0] <= size - 8:
        return SAFETENSORS
    return _kind_by_start(start, path.suffix)


def hint_for(kind: str, path: Path) -> str | None:
    """What to do with a file of this kind that was given as a model."""
    if kind == TORCH:
        return _IMPORT.format(path)
    return _HINTS.get(kind)


def _kind_by_start(start: bytes, suffix: str) -> str:
    for magic, kind in _MAGIC:
        if start.startswith(magic):
            return kind
    if start[4:8] == b"ftyp":
        return "an MP4 file"
    if start[:1] == b"\x80" and start[1] in range(6):
        return TORCH  # a pickle: how PyTorch wrote before it wrote zip archives
    if start[:1] == b"\x08" and suffix == ".onnx":
        return ONNX
    if len(start) >= 262 and start[257:262] == b"ustar":
        return "a tar archive"
    return _kind_of_text(start)


def _kind_of_zip(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return "a damaged zip archive, or a file of PyTorch that is cut off"
    if any(name.endswith("data.pkl") for name in names):
        return TORCH
    return "NumPy arrays (.npz)" if any(n.endswith(".npy") for n in names) else "a zip archive"


def _kind_of_text(start: bytes) -> str:
    try:
        text = start[:500].decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if error.start < 490:  # else the cut falls inside of a character
            return "a file of unknown kind"
        text = ""
    if "\0" in text:
        return "a file of unknown kind"
    word = text.lstrip().lower()
    if word.startswith(("<!doctype", "<html")):
        return "an HTML page"
    return "a text file"
