"""The listening page: a mixer for the stems of a song, and for several separations of it.

It is a folder: ``index.html``, and beside it scripts that carry the sound (``chunk-012.js``) and
the spectrograms (``picture-003.js``). A browser loads them from ``file://``, where it allows
neither fetch nor media elements. Each script calls ``arrived(name, [base64, one per track])``.
"""

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import torch
from numpy.typing import NDArray

from mssctl.audio import files
from mssctl.audio.resample import resample_stream, resampled_length
from mssctl.errors import ExitCode, MssctlError
from mssctl.files import FileSet
from mssctl.pages import render
from mssctl.pages.listening import mp3, pictures
from mssctl.results.listen import ListeningPage

MIXTURE = "mixture"
SIZE = 60_000_000  # bytes of all files, if the lowest bit rate allows
DECODED = 150_000_000  # bytes of samples that the page holds
_HELD = 60.0  # seconds of each track that it holds
_TEN_SECONDS = 384  # frames of mp3


_SHORTCUTS = [
    (["Space"], "play, pause"),
    (["←", "→"], "5 s back, ahead; 1 s with Shift"),
    (["Home"], "to the start"),
    (["1", "9"], "solo of a stem; mute with Shift"),
    (["M"], "mixture or stems"),
    (["L"], "loop on, off"),
    (["[", "]"], "loop starts, ends here"),
    (["+", "−", "0"], "zoom in, out, whole song"),
    (["V"], "waveform or spectrogram"),
    (["T"], "next model, all stems"),
    (["B"], "hide and shuffle the names"),
]


@dataclass(frozen=True)
class Take:
    """One separation of a song.

    Attributes:
        name: of the model, or what tells it from the others.
        stems: name -> file.
        license: of the model; empty if it is not stated.
        speed: seconds of audio per second of computing; 0 if it is not known.
    """

    name: str
    stems: Mapping[str, Path]
    license: str = ""
    speed: float = 0.0


@dataclass(frozen=True)
class _Track:
    """One sound of the page; that of take None is the mixture."""

    path: Path
    stem: str
    take: int | None
    frames: int
    rate: int
    channels: int


def write(
    folder: Path,
    title: str,
    takes: Sequence[Take],
    mixture: Path | None = None,
    *,
    overwrite: bool = False,
) -> ListeningPage:
    """Write the page of a song into a new folder, which appears complete or not at all.

    Args:
        folder: of the page; its parent exists.
        title: of the song.
        takes: separations of it, one or more.
        mixture: the song itself.
        overwrite: replace the folder.

    Raises:
        MssctlError: there are no stems (exit 4), one cannot be read, or the folder is there already
            (exit 2).
    """
    tracks = _tracks(takes, mixture)
    with FileSet(folder.parent, overwrite=overwrite) as output:
        made = output.add_folder(folder)
        return _fill(made, folder, title, takes, tracks)


def _fill(
    made: Path, folder: Path, title: str, takes: Sequence[Take], tracks: Sequence[_Track]
) -> ListeningPage:
    """Write all files into ``made``, which becomes ``folder``."""
    rate = mp3.page_rate(max(track.rate for track in tracks))
    channels = min(2, max(track.channels for track in tracks))
    total = max(resampled_length(track.frames, track.rate, rate) for track in tracks)
    seconds = total / rate
    length, held = chunk_length(len(tracks), channels, rate)

    def sound(track: _Track) -> Iterator[NDArray[np.float32]]:
        return _blocks(track, rate, channels, total, mp3.FRAME * length)

    looks = [pictures.look(sound(track), rate) for track in tracks]
    size = sum(
        _script(made, f"picture-{index:03d}", images)
        for index, images in enumerate(pictures.tiles(looks))
    )
    waves = [_text(wave) for wave in pictures.wave_bytes(looks)]
    count = -(-total // (mp3.FRAME * length))
    left = SIZE - size - sum(map(len, waves)) - 200_000  # for the page's own text and code
    overlap = 1.0 + (mp3.PREROLL + 1) / length
    kbits = mp3.kbits_within(left * 0.75 * 8e-3 / (seconds * len(tracks) * overlap), channels)
    streams = [
        mp3.chunks(mp3.encode(sound(track), rate, kbits), length, count) for track in tracks
    ]
    for index, parts in enumerate(zip(*streams, strict=True)):
        size += _script(made, f"chunk-{index:03d}", parts)
    notes = _notes(tracks, rate, total)
    data = {
        "title": title,
        "rate": rate,
        "channels": channels,
        "frames": total,
        "kbits": kbits,
        "chunk": {"count": count, "frames": mp3.FRAME * length, "skip": mp3.SKIP, "held": held},
        "mp3": {"frame": mp3.FRAME, "preroll": mp3.PREROLL, "kbits": kbits, **_probe(rate)},
        "picture": {
            "columns": pictures.TILE, "column": pictures.COLUMN, "ticks": pictures.ticks(rate)
        },
        "point": pictures.POINT,
        "takes": [
            {"name": take.name, "license": take.license, "speed": take.speed} for take in takes
        ],
        "tracks": [
            {"stem": t.stem, "take": t.take, "wave": wave, "file": _link(t.path, folder)}
            for t, wave in zip(tracks, waves, strict=True)
        ],
    }
    stems = list(dict.fromkeys(track.stem for track in tracks if track.take is not None))
    page = render(
        __name__,
        "listening.html.j2",
        title=title,
        data=json.dumps(data, ensure_ascii=True).replace("<", "\\u003c"),
        stems=stems,
        has_mixture=tracks[0].take is None,
        takes=takes,
        seconds=seconds,
        length=f"{int(seconds) // 60}:{int(seconds) % 60:02d}",
        about=_about(takes, rate, kbits, size + sum(map(len, waves))),
        shortcuts=_SHORTCUTS if len(takes) > 1 else _SHORTCUTS[:-2],
        notes=notes,
    )
    (made / "index.html").write_text(page, encoding="utf-8")
    return ListeningPage(
        title=title,
        path=str(folder / "index.html"),
        takes=[take.name for take in takes],
        stems=stems,
        mixture=tracks[0].take is None,
        seconds=seconds,
        kbits=kbits,
        size=size + len(page.encode()),
        notes=notes,
    )


def _about(takes: Sequence[Take], rate: int, kbits: int, size: int) -> str:
    """The line below the title."""
    words = []
    if len(takes) == 1:
        take = takes[0]
        words = [take.name, take.license, f"{take.speed:.1f} × real time" if take.speed else ""]
    words += [f"mp3 at {kbits} kbit/s, {rate / 1000:g} kHz", f"{size / 1e6:.1f} MB"]
    return " · ".join(word for word in words if word)


def chunk_length(tracks: int, channels: int, rate: int) -> tuple[int, int]:
    """Frames of mp3 per chunk, about 10 s or less, and how many chunks the page holds decoded."""
    for length in (_TEN_SECONDS, _TEN_SECONDS // 2, _TEN_SECONDS // 4):
        samples = length * mp3.FRAME
        held = min(int(_HELD * rate / samples), DECODED // (samples * channels * 4 * tracks))
        if held >= 3:  # the one that plays, the next one, and one at the start of a loop
            break
    return length, max(2, held)


def _tracks(takes: Sequence[Take], mixture: Path | None) -> list[_Track]:
    """The mixture and the stems, as their headers state them."""
    named = [] if mixture is None else [(mixture, MIXTURE, None)]
    for index, take in enumerate(takes):
        named += [(path, stem, index) for stem, path in take.stems.items()]
    if not any(take.stems for take in takes):
        raise MssctlError("no stems to listen to", exit_code=ExitCode.BAD_INPUT)
    tracks = []
    for path, stem, number in named:
        info = files.probe(path)
        tracks.append(_Track(path, stem, number, info.frames, info.sample_rate, info.channels))
    return tracks


def _notes(tracks: Sequence[_Track], rate: int, total: int) -> list[str]:
    found = []
    if any(track.rate != rate for track in tracks):
        found.append(f"resampled to {rate} Hz")
    if any(track.channels > 2 for track in tracks):
        found.append("more than two channels: their mean is played")
    if any(resampled_length(track.frames, track.rate, rate) != total for track in tracks):
        found.append("tracks of different lengths: the shorter ones end in silence")
    return found


def _blocks(
    track: _Track, rate: int, channels: int, total: int, length: int
) -> Iterator[NDArray[np.float32]]:
    """A track at the page's rate and channels, ``total`` samples in blocks of ``length``."""
    source = (torch.from_numpy(block) for block in files.blocks(track.path, length))
    held, done = np.zeros((channels, 0), np.float32), 0
    for block in resample_stream(source, track.rate, rate):
        sound = block.numpy()
        if len(sound) != channels:
            sound = np.broadcast_to(sound.mean(axis=0, keepdims=True), (channels, sound.shape[1]))
        held = np.concatenate([held, sound], axis=1)
        while held.shape[1] >= length:
            yield held[:, :length]
            done, held = done + length, held[:, length:]
    while done < total:
        missing = max(0, min(length, total - done) - held.shape[1])
        yield np.pad(held, ((0, 0), (0, missing)))
        done, held = done + held.shape[1] + missing, held[:, :0]


def _probe(rate: int) -> dict[str, Any]:
    """A click, and where a decoder finds it that neither drops nor adds samples.

    So the page measures what its browser does, instead of trusting that all do the same.
    """
    click = np.zeros((1, 4 * mp3.FRAME), np.float32)
    click[0, mp3.FRAME] = 1.0
    return {"probe": _text(b"".join(mp3.encode([click], rate, 96))), "click": mp3.SKIP + mp3.FRAME}


def _link(path: Path, folder: Path) -> str | None:
    """Relative address of a file that lies beside the page's folder, or below: they move together."""
    try:
        inside = path.absolute().relative_to(folder.absolute().parent)
    except ValueError:
        return None
    return quote(f"../{inside.as_posix()}")


def _script(folder: Path, name: str, parts: Sequence[bytes]) -> int:
    """Write a script that delivers ``parts``; its size."""
    content = f"arrived({json.dumps([name, [_text(part) for part in parts]])[1:-1]});\n"
    (folder / f"{name}.js").write_text(content, encoding="ascii")
    return len(content)


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")
