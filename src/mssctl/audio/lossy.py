"""Files of lossy codecs, encoded by FFmpeg's libraries (PyAV); and tags into FLAC files."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import av
import numpy as np
from av.audio.stream import AudioStream
from av.error import FFmpegError
from numpy.typing import NDArray

from mssctl.audio.encoding import Encoding
from mssctl.audio.metadata import Tags

# Container -> FFmpeg's muxer and encoder.
FORMATS = {"MP3": ("mp3", "libmp3lame"), "M4A": ("ipod", "aac"), "OPUS": ("opus", "libopus")}
_LAYOUTS = {1: "mono", 2: "stereo"}


class LossyFile:
    """A file that is encoded as it is written; the counterpart of soundfile's ``SoundFile``.

    Encoder delay and padding are stated in the file, so that decoders give back its length.

    Args:
        path: of the file.
        sample_rate: Hz, one that the codec has.
        channels: 1 or 2.
        encoding: container and bit rate.
        tags: of the recording.

    Raises:
        OSError: it cannot be opened or written, or the codec refuses.
    """

    def __init__(
        self, path: Path, sample_rate: int, channels: int, encoding: Encoding, tags: Tags
    ) -> None:
        muxer, codec = FORMATS[encoding.container]
        if muxer == "ipod" and tags.cover:
            muxer = "mp4"  # the same container; FFmpeg gives pictures to this name only
        self._file = path.open("wb")
        self._rate, self._layout, self._at = sample_rate, _LAYOUTS[channels], 0
        try:
            with _os_errors():
                self._container = av.open(self._file, "w", format=muxer)
                self._stream = cast(
                    "AudioStream",
                    self._container.add_stream(codec, rate=sample_rate, layout=self._layout),
                )
                self._stream.bit_rate = 1_000 * (encoding.bitrate or 0)
                tags.into_container(self._container)
        except BaseException:
            self._file.close()
            raise

    def write(self, frames: NDArray[np.float32]) -> None:
        """Append ``(n, C)`` samples."""
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(frames.T), format="fltp", layout=self._layout
        )
        frame.sample_rate, frame.pts = self._rate, self._at
        self._at += frame.samples
        with _os_errors():
            self._container.mux(self._stream.encode(frame))

    def close(self) -> None:
        """Write what the encoder still holds, and the end of the file."""
        try:
            with _os_errors():
                self._container.mux(self._stream.encode(None))
                self._container.close()
        finally:
            self._file.close()


def tag_flac(path: Path, tags: Tags) -> None:
    """Copy a FLAC file's packets into one with tags, in its place; its audio stays bit for bit.

    Raises:
        OSError: it cannot be written.
    """
    tagged = path.with_name(f"{path.name}.tagged")
    try:
        with (
            _os_errors(),
            av.open(str(path)) as source,
            tagged.open("wb") as file,
            av.open(file, "w", format="flac") as target,
        ):
            stream = target.add_stream_from_template(source.streams.audio[0])
            tags.into_container(target)
            for packet in source.demux(source.streams.audio[0]):
                if packet.dts is not None:
                    packet.stream = stream
                    target.mux(packet)
        os.replace(tagged, path)  # noqa: PTH105 (as in files)
    finally:
        tagged.unlink(missing_ok=True)


@contextmanager
def _os_errors() -> Iterator[None]:
    """FFmpeg's errors as those of files."""
    try:
        yield
    except FFmpegError as error:
        raise OSError(error.errno or errno.EIO, error.strerror or str(error)) from None
