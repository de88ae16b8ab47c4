"""Tags and cover art of a song, on their way to its stems.

Text goes where the container has a place for it: ID3 (mp3), atoms (m4a), comments (flac, ogg,
opus), INFO (wav). Cover art goes to mp3, m4a and flac.
"""

import io
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import soundfile as sf

from mssctl.audio import formats
from mssctl.audio.part import Part
from mssctl.audio.pcm import native_name

if TYPE_CHECKING:
    from av.container import InputContainer, OutputContainer

# FFmpeg's names -> libsndfile's; what describes the recording, not the file.
_NAMES: dict[str, str | None] = {
    "title": "title", "artist": "artist", "album": "album", "date": "date", "genre": "genre",
    "track": "tracknumber", "comment": "comment", "copyright": "copyright",
    "album_artist": None, "composer": None, "disc": None, "performer": None, "publisher": None,
    "lyricist": None, "TBPM": None, "BPM": None, "TKEY": None, "ISRC": None, "TSRC": None,
}  # fmt: skip
_LONGEST = 4_096  # characters of a text
_LARGEST = 16 << 20  # bytes of a picture
_PICTURES = {"png": "png_pipe", "mjpeg": "jpeg_pipe"}
_HEAD = 12


@dataclass(frozen=True)
class Tags:
    """What a file says about its recording.

    Attributes:
        text: FFmpeg's name of a tag -> its text.
        cover: the picture's file, ``b""`` if there is none.
        kind: FFmpeg's name of the picture's codec.
    """

    text: Mapping[str, str] = field(default_factory=dict)
    cover: bytes = b""
    kind: str = ""

    def __bool__(self) -> bool:
        """Whether there is anything."""
        return bool(self.text or self.cover)

    def into_pcm(self, file: sf.SoundFile) -> None:
        """Set the texts that libsndfile has a place for; before the first samples."""
        for name, text in self.text.items():
            if ours := _NAMES.get(name):
                with suppress(sf.LibsndfileError):
                    setattr(file, ours, text)

    def into_container(self, container: "OutputContainer") -> None:
        """Set the texts and the picture, before the first packet."""
        import av  # noqa: PLC0415
        from av.error import FFmpegError  # noqa: PLC0415
        from av.stream import Disposition  # noqa: PLC0415

        target = container.streams[0] if container.format.name in ("opus", "ogg") else container
        target.metadata.update(self.text)
        if self.cover and container.format.name in ("mp3", "mp4", "flac"):
            with (
                suppress(FFmpegError, ValueError, IndexError, StopIteration),
                av.open(io.BytesIO(self.cover), "r", format=_PICTURES[self.kind]) as picture,
            ):
                source = picture.streams.video[0]
                if not source.width:  # no picture, or a damaged one
                    return
                packet = next(picture.demux(source))
                stream = container.add_stream_from_template(source)
                stream.disposition = Disposition.attached_pic
                packet.stream, packet.pts, packet.dts = stream, 0, 0
                container.mux(packet)


def read_tags(path: Path) -> Tags:
    """What a file says about its recording; nothing where it cannot be read."""
    with path.open("rb") as file:
        pcm = formats.is_pcm(file.read(_HEAD))
    if pcm:
        return _of_pcm(path)
    import av  # noqa: PLC0415 (slow to load, and a wav file does not need it)
    from av.error import FFmpegError  # noqa: PLC0415

    options = {"format_whitelist": formats.DEMUXERS, "codec_whitelist": formats.audio_decoders()}
    with (
        suppress(FFmpegError, ValueError, IndexError, StopIteration),
        Part(path) as part,
        av.open(part, "r", metadata_errors="replace", container_options=options) as container,
    ):
        return _of_container(container)
    return Tags()


def _of_pcm(path: Path) -> Tags:
    with suppress(sf.LibsndfileError), sf.SoundFile(native_name(path)) as file:
        found = {name: getattr(file, ours, "") for name, ours in _NAMES.items() if ours}
        return Tags(_clean(found))
    return Tags()


def _of_container(container: "InputContainer") -> Tags:
    text = _clean({**container.streams.audio[0].metadata, **container.metadata})
    for stream in container.streams.video:
        kind = stream.codec_context.name if getattr(stream, "codec_context", None) else ""
        if stream.disposition.name == "attached_pic" and kind in _PICTURES:
            packet = next(container.demux(stream))
            if packet.size <= _LARGEST:
                return Tags(text, bytes(packet), kind)
    return Tags(text)


def _clean(found: Mapping[str, str]) -> dict[str, str]:
    """Known names in FFmpeg's spelling, with texts of a sane length."""
    spelled = {name.lower(): name for name in _NAMES}
    texts = {
        spelled[name.lower()]: text.replace("\0", " ").strip()[:_LONGEST]
        for name, text in found.items()
        if name.lower() in spelled
    }
    return {name: text for name, text in texts.items() if text}
