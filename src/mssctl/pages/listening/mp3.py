"""Sound as mp3 that is cut into chunks without a seam.

Each frame of the stream stands alone (no bit reservoir), so a chunk is a range of its frames: what
a decoder makes of it equals, after the dropped samples, what it makes of the whole stream. There
is no Xing header, which some decoders obey and others do not.
"""

from collections.abc import Iterable, Iterator

import av
import numpy as np
from numpy.typing import NDArray

FRAME = 1152  # samples
RATES = (32_000, 44_100, 48_000)  # those of MPEG-1, whose frames have that many samples
KBITS = (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192)  # bit rates of MPEG-1
PREROLL = 2  # frames before a chunk: a frame overlaps the one before it
_DELAY = 1_105  # samples that LAME and any decoder add before the sound
SKIP = PREROLL * FRAME + _DELAY  # decoded samples before those of a chunk


def page_rate(rate: int) -> int:
    """The sample rate of the mp3 for sound of ``rate``: its own, or a near one of the format."""
    if rate in RATES:
        return rate
    return 44_100 if rate % 11_025 == 0 else 48_000


def kbits_within(limit: float, channels: int) -> int:
    """The highest bit rate, kbit/s, of at most ``limit``; 48 a channel at least, 96 at most."""
    usable = [kbits for kbits in KBITS if 48 * channels <= kbits <= 96 * channels]
    return max((kbits for kbits in usable if kbits <= limit), default=usable[0])


def encode(blocks: Iterable[NDArray[np.float32]], rate: int, kbits: int) -> Iterator[bytes]:
    """The frames of a stream that begins with `PREROLL` frames of silence.

    Args:
        blocks: ``(C, n)``, one or two channels.
        rate: one of `RATES`.
        kbits: one of `KBITS`.
    """
    encoder: av.AudioCodecContext | None = None
    for block in _frames(blocks):
        layout = "stereo" if len(block) == 2 else "mono"
        if encoder is None:
            encoder = av.AudioCodecContext.create("libmp3lame", "w")
            encoder.sample_rate, encoder.layout = rate, layout
            encoder.format, encoder.bit_rate = "fltp", 1_000 * kbits
            encoder.options = {"reservoir": "0", "compression_level": "7" if kbits >= 160 else "5"}
        frame = av.AudioFrame.from_ndarray(block, format="fltp", layout=layout)
        frame.sample_rate = rate
        yield from map(bytes, encoder.encode(frame))
    if encoder is not None:
        yield from map(bytes, encoder.encode(None))


def chunks(frames: Iterable[bytes], length: int, count: int) -> Iterator[bytes]:
    """``count`` overlapping chunks of a stream, each for ``length`` frames of sound.

    Chunk ``k`` has ``PREROLL`` frames before and one behind its own. The last one has all the rest.
    """
    held: list[bytes] = []
    source = iter(frames)
    for index in range(count):
        last = index + 1 == count
        while last or len(held) < PREROLL + length + 1:
            if (frame := next(source, None)) is None:
                break
            held.append(frame)
        yield b"".join(held)
        del held[:length]


def _frames(blocks: Iterable[NDArray[np.float32]]) -> Iterator[NDArray[np.float32]]:
    """Silence and then blocks, regrouped into frames of `FRAME`, the last filled with silence."""
    held: NDArray[np.float32] | None = None
    for block in blocks:
        before = np.zeros((len(block), PREROLL * FRAME), np.float32) if held is None else held
        held = np.concatenate([before, block], axis=1)
        whole = held.shape[1] // FRAME * FRAME
        for start in range(0, whole, FRAME):
            yield np.ascontiguousarray(held[:, start : start + FRAME])
        held = held[:, whole:]
    if held is not None and held.shape[1]:
        yield np.pad(held, ((0, 0), (0, FRAME - held.shape[1])))
