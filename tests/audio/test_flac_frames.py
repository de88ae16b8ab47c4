"""Where a FLAC frame ends, by its CRC-16."""

from __future__ import annotations

import numpy as np
import pytest

from mssctl.audio.flac import _CRC16, ends_with_frame


def crc16(data: bytes) -> int:
    crc = 0
    for byte in data:
        crc = (crc << 8 & 0xFFFF) ^ _CRC16[crc >> 8 ^ byte]
    return crc


def frame(low: int | None = None) -> bytes:
    """Random bytes and their CRC; its low byte is ``low``."""
    rng = np.random.default_rng(0)
    while True:
        data = rng.bytes(40)
        crc = crc16(data)
        if low is None or crc & 0xFF == low:
            return data + crc.to_bytes(2, "big")


def test_the_crc_is_that_of_the_format():
    assert crc16(b"123456789") == 0xFEE8  # CRC-16/UMTS: polynomial 0x8005, from 0, not reflected


@pytest.mark.parametrize("low", [None, 0, 1, 255])
def test_a_frame_ends_where_it_ends_whatever_its_crc_is(low):
    assert ends_with_frame(frame(low))
    for junk in (b"\1", b"TAG", bytes(5), b"\xff" * 100):
        assert not ends_with_frame(frame(low) + junk)
