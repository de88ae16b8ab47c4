"""The listening page: a mixer for the stems of a song, and for several separations of it.

It is a folder: ``index.html``, and beside it scripts that carry the sound (``chunk-012.js``) and
the spectrograms (``picture-003.js``). A browser loads them from ``file://``, where it allows
neither fetch nor media elements. Each script calls ``arrived(name, [base64, one per track])``.
"""

import base64
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from mssctl.events import Progress, Reporter, silent
from mssctl.files import FileSet
from mssctl.pages import render
from mssctl.pages.listening import mp3, pictures
from mssctl.pages.listening.tracks import Take, TrackSet
from mssctl.results.listen import ListeningPage

SIZE = 60_000_000  # bytes of all files, if the lowest bit rate allows
DECODED = 150_000_000  # bytes of samples that the page holds
_HELD = 60.0  # seconds of each track that it holds
_TEN_SECONDS = 384  # frames of mp3
_OWN = 60_000  # bytes: the page's own text and code, at most
_SHORTCUTS = [
    (["Space"], "play, pause"),
    (["←", "→"], "5 s back, ahead; 1 s with Shift"),
    (["Home"], "to the start"),
    (["1–9"], "solo of a stem; mute with Shift"),
    (["M"], "mixture or stems"),
    (["L"], "loop on, off"),
    (["[", "]"], "loop starts, ends here"),
    (["+", "−", "0"], "zoom in, out, whole song"),
    (["V"], "waveform or spectrogram"),
    (["T"], "next model, all stems"),
    (["B"], "hide and shuffle the names"),
]


def write(
    folder: Path,
    title: str,
    takes: Sequence[Take],
    mixture: Path | None = None,
    *,
    overwrite: bool = False,
    report: Reporter = silent,
) -> ListeningPage:
    """Write the page of a song into a new folder, which appears complete or not at all.

    Args:
        folder: of the page; its parent exists.
        title: of the song.
        takes: separations of it, one or more.
        mixture: the song itself.
        overwrite: replace the folder, if it is such a page.
        report: receives the progress.

    Raises:
        MssctlError: there are no stems, or one cannot be read (exit 4); the folder is there already
            (exit 2).
    """
    hint = "`overwrite` replaces a page of this program, and nothing else"
    with FileSet(folder.parent, overwrite=_is_page if overwrite else False, hint=hint) as output:
        made = output.add_folder(folder)
        return write_into(made, folder, title, takes, mixture, report=report)


def write_into(
    made: Path,
    folder: Path,
    title: str,
    takes: Sequence[Take],
    mixture: Path | None = None,
    *,
    limit: int = SIZE,
    report: Reporter = silent,
) -> ListeningPage:
    """Write the files of a page into ``made``, an empty folder that becomes ``folder``.

    Args and errors as for `write`; ``limit`` is for the size of all files, in bytes, and kept if
    the lowest bit rate allows.
    """
    song = TrackSet.of(takes, mixture)
    images, waves = _write_pictures(made, song)
    length, held = chunk_length(len(song.tracks), song.channels, song.rate)
    left = limit - images - sum(map(len, waves)) - _OWN
    kbits = mp3.kbits_within(_kbits(left, song, length), song.channels)
    size = images + _write_chunks(made, song, length, kbits, report)
    data = _sound_data(song, length, held, kbits) | {
        "title": title,
        "takes": [{"name": take.name} for take in takes],
        "tracks": [
            {"stem": t.stem, "take": t.take, "wave": wave, "file": _link(t.info.path, folder)}
            for t, wave in zip(song.tracks, waves, strict=True)
        ],
    }
    page = render(
        __name__,
        "listening.html.j2",
        title=title,
        data=json.dumps(data, ensure_ascii=True).replace("<", "\\u003c"),
        song=song,
        has_mixture=mixture is not None,
        takes=takes,
        length=f"{int(song.seconds) // 60}:{int(song.seconds) % 60:02d}",
        about=_about(takes, song, kbits, size + sum(map(len, waves)) + _OWN),
        shortcuts=_SHORTCUTS if len(takes) > 1 else _SHORTCUTS[:-2],
    )
    (made / "index.html").write_text(page, encoding="utf-8", errors="backslashreplace")
    return ListeningPage(
        title=title,
        path=str(folder / "index.html"),
        takes=[take.name for take in takes],
        stems=song.stems,
        mixture=mixture is not None,
        seconds=song.seconds,
        kbits=kbits,
        size=size + (made / "index.html").stat().st_size,
        notes=song.notes,
    )


def _sound_data(song: TrackSet, length: int, held: int, kbits: int) -> dict[str, Any]:
    """What the code of the page must know of its sound and pictures."""
    return {
        "rate": song.rate,
        "channels": song.channels,
        "frames": song.frames,
        "chunk": {
            "count": -(-song.frames // (mp3.FRAME * length)),
            "frames": mp3.FRAME * length,
            "skip": mp3.SKIP,
            "held": held,
        },
        "mp3": {"frame": mp3.FRAME, "preroll": mp3.PREROLL, "kbits": kbits, **_probe(song.rate)},
        "picture": {
            "columns": pictures.TILE,
            "column": pictures.COLUMN,
            "ticks": pictures.ticks(song.rate),
        },
        "point": pictures.POINT,
    }


def _is_page(folder: Path) -> bool:
    return all((folder / name).is_file() for name in ("index.html", "chunk-000.js"))


def chunk_length(tracks: int, channels: int, rate: int) -> tuple[int, int]:
    """Frames of mp3 per chunk, about 10 s or less, and how many chunks the page holds decoded."""
    length = held = 0
    for length in (_TEN_SECONDS, _TEN_SECONDS // 2, _TEN_SECONDS // 4):
        samples = length * mp3.FRAME
        held = min(int(_HELD * rate / samples), DECODED // (samples * channels * 4 * tracks))
        if held >= 3:  # the one that plays, the next one, and one at the start of a loop
            break
    return length, max(2, held)


def _kbits(size: int, song: TrackSet, length: int) -> float:
    """The bit rate of chunks that take ``size`` bytes as base64."""
    overlap = 1.0 + (mp3.PREROLL + 1) / length
    return 0.75 * size * 8e-3 / (song.seconds * len(song.tracks) * overlap)


def _write_pictures(made: Path, song: TrackSet) -> tuple[int, list[str]]:
    """Write the spectrograms; their size, and the waveforms, which the page itself holds."""
    block = mp3.FRAME * _TEN_SECONDS
    looks = [pictures.look(song.blocks(track, block), song.rate) for track in song.tracks]
    size = 0
    for index, images in enumerate(pictures.tiles(looks)):
        size += _script(made, f"picture-{index:03d}", images)
    return size, [_text(wave) for wave in pictures.wave_bytes(looks)]


def _write_chunks(made: Path, song: TrackSet, length: int, kbits: int, report: Reporter) -> int:
    """Write the sound; the size of its files."""
    samples = mp3.FRAME * length
    count = -(-song.frames // samples)
    streams = [
        mp3.chunks(mp3.encode(song.blocks(track, samples), song.rate, kbits), length, count)
        for track in song.tracks
    ]
    size = 0
    for index, parts in enumerate(zip(*streams, strict=True)):
        size += _script(made, f"chunk-{index:03d}", parts)
        done = min(song.frames, (index + 1) * samples) / song.rate
        report(Progress("listening page", done, song.seconds, "s"))
    return size


def _about(takes: Sequence[Take], song: TrackSet, kbits: int, size: int) -> str:
    """The line below the title."""
    words = []
    if len(takes) == 1:
        take = takes[0]
        words = [take.name, take.license, f"{take.speed:.1f} × real time" if take.speed else ""]
    words += [f"mp3 at {kbits} kbit/s, {song.rate / 1000:g} kHz", f"{size / 1e6:.1f} MB"]
    return " · ".join([word for word in words if word] + song.notes)


def _probe(rate: int) -> dict[str, Any]:
    """A click, and where a decoder finds it that neither drops nor adds samples.

    So the page measures what its browser does, instead of trusting that all do the same.
    """
    click = np.zeros((1, 4 * mp3.FRAME), np.float32)
    click[0, mp3.FRAME] = 1.0
    return {"probe": _text(b"".join(mp3.encode([click], rate, 96))), "click": mp3.SKIP + mp3.FRAME}


def _link(path: Path, folder: Path) -> str | None:
    """Relative address of a file beside the page's folder, or below: they move together."""
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
