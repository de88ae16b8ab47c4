"""Writing the stems of a song: depth, clipping, all files or none."""

from __future__ import annotations

import errno
import os
import shutil
from collections import namedtuple
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import torch
from torch import Tensor

from mssctl.audio.encoding import Encoding
from mssctl.audio.files import AudioInfo
from mssctl.errors import ExitCode, MssctlError
from mssctl.separation.encode import Target, write_stems
from mssctl.separation.formats import StemFormat

RATE = 8_000


def info(
    frames: int = 1_000, channels: int = 2, rate: int = RATE, kind: str = "PCM_16"
) -> AudioInfo:
    return AudioInfo(Path("song.wav"), frames, rate, channels, kind)


def target(folder: Path, mix: Tensor, encoding: Encoding, clip_mode: str = "rescale") -> Target:
    return Target(
        paths=[folder / "a" / "x.wav", folder / "b" / "y.wav"],
        info=info(mix.shape[-1], mix.shape[0]),
        encoding=encoding,
        clip_mode=clip_mode,
        complete=True,
    )


def together(stems: Tensor, mix: Tensor, block: int = 1_000) -> Iterator[tuple[Tensor, Tensor]]:
    """Outputs and the mixture they come from, in blocks."""
    return zip(stems.split(block, dim=-1), mix.split(block, dim=-1), strict=True)


def pcm(bits: int) -> Encoding:
    return Encoding("WAV", f"PCM_{bits}", bits)


FLOAT = Encoding("WAV", "FLOAT", None)


def written(wanted: Target) -> np.ndarray:
    return np.stack([sf.read(path, always_2d=True)[0].T for path in wanted.paths])


def signals(level: float, bits: int = 16) -> tuple[Tensor, Tensor]:
    """A mixture of whole steps, and two stems that add up to it."""
    scale = 1 << (bits - 1)
    mix = (torch.rand(2, 1_000, dtype=torch.float64) * 2 - 1) * level
    mix = ((mix * scale).round() / scale).float()
    share = torch.rand(2, 1_000)
    return mix, torch.stack([mix * share, mix - mix * share])


@pytest.mark.parametrize("clip_mode", ["rescale", "clamp", "none"])
@pytest.mark.parametrize("bits", [16, 24])
def test_integer_stems_add_up_to_the_mixture_exactly(tmp_path, bits, clip_mode):
    mix, stems = signals(0.9, bits)
    wanted = target(tmp_path, mix, pcm(bits), clip_mode)
    assert write_stems(together(stems, mix, 77), wanted, tmp_path) == (1.0, [])
    out = written(wanted)
    np.testing.assert_array_equal(out.sum(axis=0), mix.numpy())
    assert np.abs(out - stems.numpy()).max() <= 2.0 ** (1 - bits)


def test_floats_are_written_as_they_are(tmp_path):
    mix, stems = signals(3.0)
    wanted = target(tmp_path, mix, FLOAT, "none")
    assert write_stems(together(stems, mix), wanted, tmp_path) == (1.0, [])
    np.testing.assert_array_equal(written(wanted), stems.numpy())


@pytest.mark.parametrize("encoding", [pcm(16), pcm(24), FLOAT])
def test_rescaling_keeps_the_balance_of_the_stems(tmp_path, encoding):
    mix, stems = signals(1.7)
    wanted = target(tmp_path, mix, encoding)
    gain, (note,) = write_stems(together(stems, mix, 100), wanted, tmp_path)
    out = written(wanted)
    assert gain == pytest.approx(1 / stems.abs().max().item(), rel=1e-4)
    np.testing.assert_allclose(out, stems.numpy() * gain, atol=2.0**-14)
    assert 1 - 2.0**-14 <= np.abs(out).max() <= 1
    step = 2.0 ** (1 - encoding.bits) if encoding.bits else 1e-6
    np.testing.assert_allclose(out.sum(axis=0), mix.numpy() * gain, atol=2 * step + 4e-5)
    assert "all stems scaled by" in note


def test_rescaled_stems_add_up_to_the_scaled_mixture_within_a_step(tmp_path):
    mix, stems = signals(1.7)
    stems[0, 0, 0], mix[0, 0] = 1.8, 1.8 + stems[1, 0, 0]
    wanted = target(tmp_path, mix, pcm(16))
    gain, (note,) = write_stems(together(stems, mix), wanted, tmp_path)
    out = written(wanted).sum(axis=0)
    assert gain == pytest.approx(32_767 / 32_768 / stems.abs().max().item())
    assert f"scaled by {gain:.4f}"[:-1] in note
    assert np.abs(out - gain * mix.numpy()).max() <= 2.0**-15


@pytest.mark.parametrize("clip_mode", ["clamp", "none"])
def test_clipped_integers_are_counted(tmp_path, clip_mode):
    mix, stems = signals(0.5)
    stems[0, 0, 10] = 1.5
    stems[1, 1, 20] = -1.5
    wanted = target(tmp_path, mix, pcm(16), clip_mode)
    _, (note,) = write_stems(together(stems, mix), wanted, tmp_path)
    assert note.startswith("2 samples clipped")
    assert written(wanted)[0, 0, 10] == 32_767 / 32_768


def test_clamped_floats_stay_in_full_scale(tmp_path):
    mix, stems = signals(1.7)
    wanted = target(tmp_path, mix, FLOAT, "clamp")
    _, (note,) = write_stems(together(stems, mix), wanted, tmp_path)
    assert "clipped" in note
    np.testing.assert_array_equal(written(wanted), np.clip(stems.numpy(), -1, 1))


@pytest.mark.parametrize("encoding", [pcm(16), FLOAT])
@pytest.mark.parametrize("level", [0.1, 1.7])
def test_a_peak_is_brought_where_it_is_wanted_by_one_gain(tmp_path, encoding, level):
    mix, stems = signals(level)
    wanted = replace(target(tmp_path, mix, encoding), peak=-6.0)
    gain, (note,) = write_stems(together(stems, mix, 100), wanted, tmp_path)
    out = written(wanted)
    assert np.abs(out).max() == pytest.approx(10 ** (-6 / 20), abs=2.0**-15)
    step = 2.0**-15 if encoding.bits else 1e-6
    assert np.abs(out.sum(axis=0) - gain * mix.numpy()).max() <= step
    assert "brought to -6.00" in note


def test_silence_has_no_peak_to_bring_anywhere(tmp_path):
    mix = torch.zeros(2, 100)
    wanted = replace(target(tmp_path, mix, pcm(16)), peak=-6.0)
    assert write_stems(together(torch.stack([mix, mix]), mix), wanted, tmp_path) == (1.0, [])


def test_full_scale_itself_is_not_rescaled(tmp_path):
    mix = torch.tensor([[-1.0, 32_767 / 32_768]])
    wanted = target(tmp_path, mix, pcm(16))
    assert write_stems(together(torch.stack([mix, 0 * mix]), mix), wanted, tmp_path) == (1.0, [])
    np.testing.assert_array_equal(written(wanted).sum(axis=0), mix.numpy())


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
@pytest.mark.parametrize("clip_mode", ["rescale", "clamp"])
def test_after_an_error_nothing_is_left(tmp_path, error, clip_mode):
    mix, stems = signals(0.5)

    def breaks():
        yield stems[..., :500], mix[..., :500]
        raise error

    with pytest.raises(error):
        write_stems(breaks(), target(tmp_path, mix, pcm(16), clip_mode), tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("failing", ["x.wav", "y.wav"])
@pytest.mark.parametrize("existing", ["error", "overwrite"])
def test_if_one_file_cannot_get_its_name_all_is_as_before(tmp_path, monkeypatch, failing, existing):
    mix, stems = signals(0.5)
    wanted = replace(target(tmp_path, mix, pcm(16)), existing=existing)
    if existing == "overwrite":
        for path in wanted.paths:
            path.parent.mkdir(exist_ok=True)
            path.write_text("old")
    before = {path: path.is_file() and path.read_bytes() for path in tmp_path.rglob("*")}

    monkeypatch.setattr(os, "open", _full_disk(os.open, 0, failing))
    monkeypatch.setattr(os, "link", _full_disk(os.link, 1, failing))
    if existing == "overwrite":
        monkeypatch.setattr(Path, "replace", _full_disk(Path.replace, 1, failing, times=1))
    with pytest.raises(MssctlError, match=rf"{failing}: cannot be written: the disk is full"):
        write_stems(together(stems, mix), wanted, tmp_path)
    after = {path: path.is_file() and path.read_bytes() for path in tmp_path.rglob("*")}
    assert after == before


def _full_disk(function, position, failing, times=99):
    """``function``, failing ``times`` times where its argument at ``position`` is that file."""
    left = iter(range(times))

    def call(*given, **named):
        if Path(given[position]).name == failing and next(left, None) is not None:
            raise OSError(errno.ENOSPC, "No space left on device")
        return function(*given, **named)

    return call


def test_a_disk_too_small_is_seen_before_the_work(tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(1, 1, 10_000))
    mix, _ = signals(0.5)

    def never():
        pytest.fail("work began")
        yield mix[None], mix

    with pytest.raises(MssctlError, match=r"too full: 0\.00 GiB needed") as caught:
        write_stems(never(), target(tmp_path, mix, pcm(16)), tmp_path)
    assert caught.value.exit_code == ExitCode.ENVIRONMENT
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_fills_up_on_the_way_leaves_nothing(tmp_path, monkeypatch):
    class Full:
        def write(self, _: object) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        def close(self) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("tempfile.TemporaryFile", lambda **_: Full())
    mix, stems = signals(0.5)
    with pytest.raises(MssctlError, match="cannot be written: the disk is full"):
        write_stems(together(stems, mix), target(tmp_path, mix, pcm(16)), tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("kind", "format_", "depth", "subtype"),
    [
        ("PCM_16", "wav", "auto", "PCM_16"),
        ("PCM_U8", "wav", "auto", "PCM_16"),
        ("VORBIS", "wav", "auto", "PCM_16"),
        ("PCM_24", "wav", "auto", "PCM_24"),
        ("FLOAT", "wav", "auto", "FLOAT"),
        ("FLOAT", "flac", "auto", "PCM_24"),
        ("PCM_16", "wav", "24", "PCM_24"),
        ("PCM_24", "flac", "16", "PCM_16"),
        ("PCM_24", "wav", "float32", "FLOAT"),
        ("PCM_24", "mp3", "auto", "MPEG_LAYER_III"),
        ("PCM_24", "aiff", "auto", "PCM_24"),
        ("FLOAT", "aiff", "auto", "FLOAT"),
        ("FLOAT", "m4a", "auto", "AAC"),
    ],
)
def test_the_depth_is_that_of_the_input_or_as_asked(kind, format_, depth, subtype):
    assert StemFormat(format_, depth).encoding(info(kind=kind)).subtype == subtype


def test_large_and_many_channelled_files_get_the_container_they_need():
    assert StemFormat().encoding(info(channels=6)).container == "WAVEX"
    assert StemFormat().encoding(info(frames=1 << 30)).container == "RF64"


@pytest.mark.parametrize(
    ("format_", "song"),
    [
        ("mp3", info(channels=6)),
        ("mp3", info(rate=96_000)),
        ("flac", info(channels=9)),
        ("m4a", info(channels=3)),
        ("aiff", info(frames=1 << 30)),
    ],
)
def test_formats_that_cannot_hold_a_song_are_refused(format_, song):
    with pytest.raises(MssctlError, match=rf"song\.wav: {format_} cannot hold"):
        StemFormat(format_).encoding(song)


@pytest.mark.parametrize(("format_", "depth"), [("flac", "float32"), ("mp3", "16")])
def test_formats_and_depths_that_do_not_go_together_are_refused(format_, depth):
    with pytest.raises(MssctlError) as caught:
        StemFormat(format_, depth)
    assert caught.value.exit_code == ExitCode.USAGE


def test_floats_are_not_rescaled_unless_asked():
    assert StemFormat().clipping(FLOAT) == "none"
    assert StemFormat(clip_mode="rescale").clipping(FLOAT) == "rescale"
    assert StemFormat().clipping(pcm(16)) == "rescale"
