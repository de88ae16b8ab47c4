"""The mixing desk: an effect chain per stem, levels like those of real songs, one master gain."""

import io

import numpy as np
import soundfile
from scipy.ndimage import minimum_filter1d, uniform_filter1d

from mssctl.audio.effects import (
    active_rms,
    chorus,
    compress,
    echo,
    gain_curve,
    noise_tail,
    pan_gains,
    saturate,
    soft_clip,
    space,
    widen,
)
from mssctl.audio.filters import Audio, Band, convolve, equalizer
from mssctl.synth.material import STEMS
from mssctl.synth.studio import Studio

# Level of each stem in dB, before all are scaled to the mixture: mean, deviation, lowest, highest.
_LEVELS = {
    "vocals": (-6.0, 3.5, -17.0, 0.0),
    "drums": (-5.5, 3.5, -14.0, 0.0),
    "bass": (-7.0, 3.5, -15.0, 0.0),
    "other": (-5.5, 3.5, -15.0, 0.0),
}
# Chance of a reverb, its greatest wet level, and its greatest length in seconds.
_REVERB = {
    "vocals": (0.75, 0.5, 2.2),
    "drums": (0.45, 0.3, 0.9),
    "bass": (0.1, 0.15, 0.6),
    "other": (0.6, 0.6, 2.2),
}
# Chance of a high-pass filter, which leaves the lowest octave to the bass; for the bass a low-pass.
_PASS = {"drums": 0.25, "bass": 0.5, "other": 0.5}
_LOWEST = {"vocals": (70, 180), "drums": (50, 120), "other": (60, 250)}  # Hz, of that filter
_WIDTH = {"drums": (0.3, 1.5), "bass": (0.0, 0.7), "other": (0.3, 1.5)}
_SATURATION = {"vocals": 0.25, "drums": 0.4, "bass": 0.5, "other": 0.25}
_LIMITER_HOP = 64  # frames per value of its gain


def _bands(kind: str, rng: np.random.Generator) -> list[Band]:
    """A random but plausible equalizer setting."""
    bands = [
        Band("peak", float(2 ** rng.uniform(7, 13)), float(rng.normal(0, 3.5)), rng.uniform(0.5, 2))
        for _ in range(int(rng.integers(1, 4)))
    ]
    bands.append(Band("low", float(rng.uniform(80, 250)), float(rng.normal(0, 3))))
    air = {"vocals": 7.0, "drums": 0.5, "bass": 0.0, "other": 4.0}[kind]
    bands.append(Band("high", float(rng.uniform(1800, 8000)), float(rng.normal(air, 4))))
    if kind == "vocals" or rng.random() < _PASS[kind]:
        if kind == "bass":
            bands.append(Band("lowpass", float(2 ** rng.uniform(9, 13))))
        else:
            bands.append(Band("highpass", float(rng.uniform(*_LOWEST[kind]))))
    if kind in ("vocals", "other") and rng.random() < 0.05:
        # Telephone or muffled sounds.
        bands.append(Band("lowpass", float(rng.uniform(2500, 6000))))
    return bands


def _tail(studio: Studio, rng: np.random.Generator, longest: float) -> Audio:
    """A reverb ``(2, K)`` of unit energy: a recorded plate or synthetic noise."""
    rate = studio.rate
    seconds = float(rng.uniform(0.25, 1) * longest)
    plates = studio.samples("ir")
    if not plates or rng.random() < 0.4:
        return noise_tail(rng, seconds, float(rng.uniform(1500, 6000)), rate)
    plate = studio.read(plates[int(rng.integers(len(plates)))])
    plate = np.broadcast_to(plate, (2, plate.shape[1]))[:, : int(seconds * rate)]
    plate = plate * np.exp(-np.arange(plate.shape[1]) / rate / seconds * 4)
    return np.asarray(plate / np.sqrt(np.sum(plate**2) / 2 + 1e-9), np.float32)


def treat(
    track: Audio,
    kind: str,
    studio: Studio,
    rng: np.random.Generator,
    *,
    beat: float,
    common: list[Band],
) -> Audio:
    """Run one stem through its effects.

    Args:
        track: the dry stem ``(2, N)``.
        kind: which stem it is.
        studio: gives the reverbs.
        rng: draws the settings.
        beat: seconds per beat, for the echo.
        common: equalizer bands that all stems of the song share.

    Returns:
        The stem ``(2, N)``, its level still free.
    """
    rate = studio.rate
    if studio.varied and kind == "vocals":
        track = _colored(track, rng, rate)
    if rng.random() < _SATURATION[kind]:
        track = saturate(track, float(2 ** rng.uniform(-0.5, 2.2)), float(rng.uniform(0, 0.3)))
    if kind in ("vocals", "other") and rng.random() < (0.2 if kind == "vocals" else 0.15):
        delay = beat * float(rng.choice([0.25, 0.5, 0.75, 1]))
        track = echo(track, delay, float(rng.uniform(0.15, 0.5)), 4, rate)
    if kind in ("bass", "other") and rng.random() < 0.15:
        depth = rng.uniform(0.0005, 0.003)
        track = chorus(track, float(depth), float(rng.uniform(0.2, 1.5)), 0.6, rate)
    dry = equalizer([*_bands(kind, rng), *common], rate)
    chance, wettest, longest = _REVERB[kind]
    if rng.random() < chance:
        wet = wettest * float(rng.uniform(0.05, 1) ** 1.5)
        tail = _tail(studio, rng, longest)
        kernel = space(dry, tail, wet, float(rng.uniform(0, 0.05)), rate)
    else:
        kernel = dry[None]
    track = convolve(track, kernel)
    if rng.random() < 0.75:
        ratio, release = float(rng.uniform(1.5, 6)), float(rng.uniform(0.05, 0.3))
        track = compress(track, float(rng.uniform(-4, 8)), ratio, release, rate)
    if rng.random() < (0.7 if kind == "drums" else 0.4):
        level = active_rms(track, rate)
        if level > 1e-6:
            track = soft_clip(track, level * float(10 ** (rng.uniform(9, 20) / 20)))
    if kind in _WIDTH:
        track = widen(track, float(rng.uniform(*_WIDTH[kind])))
    place = {"vocals": 0.12, "drums": 0.1, "bass": 0.06, "other": 0.3}[kind]
    return track * pan_gains(float(np.clip(rng.normal(0, place), -0.8, 0.8)))


def _colored(track: Audio, rng: np.random.Generator, rate: int) -> Audio:
    """A voice in a room, through a telephone or a distortion, or as it is."""
    if rng.random() < 0.4:
        room = noise_tail(rng, float(rng.uniform(0.12, 0.6)), float(rng.uniform(2000, 8000)), rate)
        wet, delay = float(rng.uniform(0.1, 0.7)), float(rng.uniform(0, 0.02))
        track = convolve(track, space(np.ones(1, np.float32), room, wet, delay, rate))
    if rng.random() < 0.12:
        narrow = Band("highpass", rng.uniform(250, 500)), Band("lowpass", rng.uniform(2500, 4500))
        track = convolve(track, equalizer(narrow, rate)[None])
    if rng.random() < 0.15:
        track = saturate(track, float(2 ** rng.uniform(1, 3.5)), float(rng.uniform(0, 0.3)))
    return track


def codec_bands(rng: np.random.Generator) -> list[Band]:
    """In a third of the songs, the treble that lossy coding takes away: a steep low-pass."""
    if rng.random() >= 0.33:
        return []
    hz = float(rng.uniform(13500, 17500))
    # A Butterworth filter of order 10: second-order sections with these quality factors.
    return [Band("lowpass", hz, q=q) for q in (0.506, 0.561, 0.707, 1.101, 3.196)]


def balance(
    stems: dict[str, Audio], rng: np.random.Generator, rate: int, *, varied: bool = False
) -> dict[str, Audio]:
    """Set the levels, let the drums duck the others sometimes, and glue the mix together.

    The bus compressor's gain comes from the mixture and is applied to every stem alike, so the
    stems still add up to the mixture; so is that of a limiter, in some of the varied songs.
    """
    levels = {kind: float(np.clip(rng.normal(m, s), lo, hi)) for kind, (m, s, lo, hi) in
              _LEVELS.items()}  # fmt: skip
    if varied and rng.random() < 0.3:
        levels |= {"other": float(rng.uniform(-22, -10)), "drums": float(rng.uniform(-4, 0))}
    out = {}
    for kind in STEMS:
        level = active_rms(stems[kind], rate)
        gain = 10 ** (levels[kind] / 20) / level if level > 1e-6 else 0.0
        out[kind] = stems[kind] * np.float32(gain)
    if rng.random() < 0.2:
        duck = gain_curve(out["drums"], 3.0, float(rng.uniform(1.5, 5)), 0.12, rate)
        for kind in ("bass", "other"):
            out[kind] = out[kind] * duck
    if rng.random() < 0.6:
        threshold, ratio = float(rng.uniform(2, 9)), float(rng.uniform(2, 12))
        glue = gain_curve(_sum(out), threshold, ratio, float(rng.uniform(0.03, 0.2)), rate)
        out = {kind: stem * glue for kind, stem in out.items()}
    if varied and rng.random() < 0.6:
        out = limit(out, float(rng.uniform(2, 10)), float(rng.uniform(0.005, 0.06)), rate)
    return out


def limit(stems: dict[str, Audio], drive_db: float, window: float, rate: int) -> dict[str, Audio]:
    """Lower the peaks of the mixture by up to ``drive_db``, all stems alike; looks ahead."""
    total = np.abs(_sum(stems)).max(axis=0)
    count = -(-total.size // _LIMITER_HOP)
    peaks = np.pad(total, (0, count * _LIMITER_HOP - total.size)).reshape(count, -1).max(axis=1)
    gain = np.minimum(peaks.max() * 10 ** (-drive_db / 20) / np.maximum(peaks, 1e-9), 1)
    # The mean of minima over the same window is nowhere above the gain that the peak needs.
    reach = 2 * int(window * rate / _LIMITER_HOP) + 3
    smooth = uniform_filter1d(minimum_filter1d(gain, reach), reach - 2)
    where = (np.arange(total.size) - _LIMITER_HOP / 2) / _LIMITER_HOP
    curve = np.interp(where, np.arange(count), smooth).astype(np.float32)
    return {kind: stem * curve for kind, stem in stems.items()}


def coded(stems: dict[str, Audio], quality: float, rate: int) -> dict[str, Audio]:
    """Each stem through MP3, so that the mixture holds its artifacts and is still the sum.

    Args:
        stems: ``(2, N)`` float32 each.
        quality: from 0, the lowest bit rate, to 1.
        rate: sample rate in Hz, one that MP3 has.
    """
    peak = max(float(np.abs(stem).max()) for stem in stems.values()) + 1e-9
    out = {}
    for kind, stem in stems.items():
        file = io.BytesIO()
        soundfile.write(
            file, stem.T * np.float32(0.9 / peak), rate, format="MP3", subtype="MPEG_LAYER_III",
            bitrate_mode="CONSTANT", compression_level=1 - quality,
        )  # fmt: skip
        file.seek(0)
        read, _ = soundfile.read(file, dtype="float32", frames=stem.shape[1], fill_value=0)
        out[kind] = np.ascontiguousarray(read.T) * np.float32(stem.any())
    return out


def _sum(stems: dict[str, Audio]) -> Audio:
    return np.asarray(sum(stems[kind] for kind in STEMS), np.float32)


def master(
    stems: dict[str, Audio], headroom_db: float
) -> dict[str, np.ndarray[tuple[int, int], np.dtype[np.int16]]]:
    """Scale all stems by one gain and round them; add the exact integer ``mixture``.

    Args:
        stems: ``(2, N)`` float32 each.
        headroom_db: how far the highest peak of any file stays below full scale.

    Returns:
        mixture and stems as int16 ``(N, 2)``.
    """
    peak = max(float(np.abs(a).max()) for a in (*stems.values(), _sum(stems)))
    assert np.isfinite(peak), "a stem holds values that are not numbers"
    # Rounding moves a sum of four by at most 2 steps.
    gain = np.float32(32765 * 10 ** (-headroom_db / 20) / max(peak, 1e-6))
    whole = {kind: np.rint(stem.T * gain).astype(np.int16) for kind, stem in stems.items()}
    mixture = sum(whole[kind].astype(np.int32) for kind in STEMS)
    return {"mixture": np.asarray(mixture, np.int16), **whole}
