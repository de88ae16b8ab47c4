"""Effects on ``(C, N)`` float32 audio: dynamics, space and time, all vectorized.

Augmentation of training data and the generator of songs share them. Linear effects are collected
in one impulse response (equalizer times reverb) and applied with one FFT convolution, because that
costs the same for one filter as for ten.
"""

import numpy as np
from numpy.typing import NDArray

from mssctl.audio.filters import Audio, Band, convolve, equalizer, fft_length, filtered

Curve = NDArray[np.float64]

_ENVELOPE_HOP = 64
_TAIL = 8_192  # least silence after what is convolved with a room
_LEVEL_HOP = 256  # frames per value of a level
_ATTACK, _RELEASE = 0.010, 0.100  # seconds


def noise_tail(rng: np.random.Generator, seconds: float, damping_hz: float, rate: int) -> Audio:
    """A synthetic room ``(2, K)``: noise that decays by 60 dB in ``seconds``, dull at the end."""
    count = max(int(seconds * rate), 64)
    t = np.arange(count, dtype=np.float32) / rate
    noise = rng.standard_normal((2, count), dtype=np.float32)
    bright = noise * np.exp(-6.9 * t / seconds * 1.8)
    dull = convolve(noise, equalizer([Band("lowpass", damping_hz)], rate)[None, :1024])
    tail = bright * 0.4 + dull * np.exp(-6.9 * t / seconds)
    tail *= np.minimum(1, t / 0.004)
    return np.asarray(tail / np.sqrt(np.sum(tail**2, axis=1, keepdims=True)), np.float32)


def space(dry: Audio, tail: Audio, wet: float, delay: float, rate: int) -> Audio:
    """Join a dry kernel ``(K,)`` and a reverb ``(2, R)`` into one kernel ``(2, L)``.

    Args:
        dry: impulse response of the equalizer.
        tail: reverb impulse response of about unit energy.
        wet: level of the reverb, 0 is none.
        delay: pre-delay in seconds.
        rate: sample rate in Hz.
    """
    start = int(delay * rate)
    colored = convolve(np.pad(tail, ((0, 0), (0, 256))), dry[None])
    kernel = np.zeros((2, max(dry.size, start + colored.shape[1])), np.float32)
    kernel[:, : dry.size] = dry
    kernel[:, start : start + colored.shape[1]] += wet * colored
    return kernel


def reverberate(
    audio: Audio, sample_rate: int, seconds: float, wet_db: float, rng: np.random.Generator
) -> Audio:
    """Add a room: noise that decays by 60 dB in ``seconds``, other noise in each channel.

    ``wet_db`` is the energy of the room's response relative to that of the direct sound.
    """
    frames = max(1, int(seconds * sample_rate))
    decay = np.exp(-np.log(1e3) * np.arange(frames) / frames).astype(np.float32)
    room = rng.standard_normal((audio.shape[0], frames), dtype=np.float32) * decay
    room *= np.float32(10.0 ** (wet_db / 20.0)) / np.linalg.norm(room, axis=1, keepdims=True)
    room[:, 0] += 1.0
    length = fft_length(audio.shape[1] + max(frames, _TAIL))
    return filtered(audio, np.fft.rfft(room, length), length)


def rms(audio: Audio) -> float:
    """Root mean square over everything."""
    return float(np.sqrt(np.mean(np.square(audio, dtype=np.float32)) + 1e-20))


def active_rms(audio: Audio, rate: int) -> float:
    """Root mean square over the parts that sound (100 ms blocks within 30 dB of the loudest)."""
    block = rate // 10
    count = audio.shape[1] // block
    if count == 0:
        return rms(audio)
    power = np.square(audio[:, : count * block]).reshape(audio.shape[0], count, block)
    level = power.mean(axis=(0, 2))
    return float(np.sqrt(level[level >= level.max() * 1e-3].mean() + 1e-20))


def saturate(audio: Audio, drive: float, asymmetry: float = 0.0) -> Audio:
    """Bend the waveform: ``drive`` multiplies the RMS level (1 = gentle, 8 = distortion)."""
    level = rms(audio)
    if level < 1e-6:
        return audio
    gain = np.float32(drive * 0.35 / level)
    bent = np.tanh(audio * gain + np.float32(asymmetry)) - np.float32(np.tanh(asymmetry))
    return np.asarray(bent / gain, np.float32)


def soft_clip(audio: Audio, ceiling: float) -> Audio:
    """Round off the peaks above about ``ceiling``, as tape and converters do."""
    return np.asarray(ceiling * np.tanh(audio / np.float32(ceiling)), np.float32)


def drive(audio: Audio, drive_db: float) -> Audio:
    """Bend the peaks: tanh, of slope 1 for quiet samples, driven ``drive_db`` above the peak's."""
    peak = float(np.abs(audio).max())
    if peak == 0.0:
        return audio
    gain = np.float32(10.0 ** (drive_db / 20.0) / peak)
    return np.asarray(np.tanh(audio * gain) / gain)


def gain_curve(audio: Audio, threshold_db: float, ratio: float, release: float, rate: int) -> Audio:
    """The gain ``(N,)`` of a compressor that listens to ``audio (C, N)``.

    What is louder than ``threshold_db`` (relative to the RMS level) is lowered by ``ratio``. The
    envelope is kept once per 64 samples; attack is one such block, release in seconds.
    """
    level = rms(audio)
    count = -(-audio.shape[1] // _ENVELOPE_HOP)
    if level < 1e-6 or count < 2:
        return np.ones(audio.shape[1], np.float32)
    padded = np.zeros(count * _ENVELOPE_HOP, np.float32)
    padded[: audio.shape[1]] = np.abs(audio).max(axis=0)
    peaks = padded.reshape(count, _ENVELOPE_HOP).max(axis=1)
    decay = np.exp(-np.arange(min(count, 512)) * _ENVELOPE_HOP / (rate * release))
    kernel = np.asarray(decay / decay.sum(), np.float32)[None]
    # Half the smoothed level, half the peaks themselves: fast to rise, slow to fall.
    # FFT rounding can leave the smoothed level of silence just below zero.
    envelope = 0.5 * peaks + np.maximum(convolve(peaks[None], kernel)[0], 0)
    over = np.maximum(20 * np.log10(envelope / level + 1e-6) - threshold_db, 0)
    gain = 10 ** (-over * (1 - 1 / ratio) / 20)
    smooth = np.convolve(np.pad(gain, (1, 2), mode="edge"), np.full(3, 1 / 3), "valid")
    corners = smooth.astype(np.float32)[:, None]
    ramp = np.linspace(0, 1, _ENVELOPE_HOP, endpoint=False, dtype=np.float32)
    curve = corners[:-1] + (corners[1:] - corners[:-1]) * ramp
    return np.asarray(curve.ravel()[: audio.shape[1]], np.float32)


def compress(audio: Audio, threshold_db: float, ratio: float, release: float, rate: int) -> Audio:
    """Lower the loud parts of ``audio (C, N)``; see `gain_curve`."""
    return audio * gain_curve(audio, threshold_db, ratio, release, rate)


def compress_level(audio: Audio, sample_rate: int, ratio: float) -> Audio:
    """Reduce what is louder than the stem's own level by ``ratio``; the level itself is restored.

    The level is that of 256 frames over all channels, smoothed by 10 ms when it rises and 100 ms
    when it falls.
    """
    channels, frames = audio.shape
    power = np.zeros(-(-frames // _LEVEL_HOP) * _LEVEL_HOP)
    power[:frames] = np.square(audio, dtype=np.float64).mean(0)
    mean = power.sum() / frames
    if mean == 0.0:
        return audio
    levels = power.reshape(-1, _LEVEL_HOP).mean(1).tolist()
    rise, fall = (1 - np.exp(-_LEVEL_HOP / (sample_rate * time)) for time in (_ATTACK, _RELEASE))
    level, smooth = levels[0], []
    for value in levels:
        level += (rise if value > level else fall) * (value - level)
        smooth.append(level)
    over = np.maximum(np.array(smooth) / mean, 1.0)
    gain = over ** ((1.0 / ratio - 1.0) / 2.0)
    middles = np.arange(len(gain)) * _LEVEL_HOP + _LEVEL_HOP / 2
    out = audio * np.interp(np.arange(frames), middles, gain).astype(np.float32)
    restored = (mean * frames * channels / np.vdot(out, out).astype(np.float64)) ** 0.5
    return np.asarray(out * np.float32(restored))


def echo(audio: Audio, delay: float, feedback: float, taps: int, rate: int) -> Audio:
    """Add ``taps`` repeats every ``delay`` seconds, swapping left and right each time."""
    out = audio.copy()
    for tap in range(1, taps + 1):
        shift = int(tap * delay * rate)
        if shift >= audio.shape[1]:
            break
        source = audio[::-1] if tap % 2 else audio
        out[:, shift:] += np.float32(feedback**tap) * source[:, : audio.shape[1] - shift]
    return out


def read_at(audio: Audio, where: Curve) -> Audio:
    """Read ``audio (C, N)`` at fractional sample positions ``where (M,)`` by cubic interpolation.

    Positions outside the audio read silence.
    """
    padded = np.pad(audio, ((0, 0), (2, 4)))
    index = np.floor(where).astype(np.int64)
    f = (where - index).astype(np.float32)
    index = np.clip(index + 2, 1, padded.shape[1] - 3)
    a, b, c, d = (padded[:, index + k] for k in (-1, 0, 1, 2))
    # Catmull-Rom cubic through the four neighbors.
    out = b + 0.5 * f * (c - a + f * (2 * a - 5 * b + 4 * c - d + f * (3 * (b - c) + d - a)))
    return np.asarray(out, np.float32)


def repitch(audio: Audio, rate: float) -> Audio:
    """Play ``audio (C, N)`` ``rate`` times faster: higher and shorter."""
    if abs(rate - 1) < 1e-4:
        return audio
    return read_at(audio, np.arange(max(int(audio.shape[1] / rate), 1), dtype=np.float64) * rate)


def stretch(audio: Audio, factor: float, rate: int) -> Audio:
    """Make ``audio (C, N)`` ``factor`` times longer without changing its pitch (WSOLA).

    Each 40 ms frame is taken where it best continues the last one (search of +-8 ms).
    Source: Verhelst & Roelands, "An overlap-add technique based on waveform similarity", 1993.
    """
    size = int(0.04 * rate) // 2 * 2
    half, reach = size // 2, int(0.008 * rate)
    if abs(factor - 1) < 0.01 or audio.shape[1] < 3 * size:
        return audio
    frames = int(audio.shape[1] * factor) // half
    padded = np.pad(audio, ((0, 0), (reach, size * 2 + reach)))
    mono = padded.mean(axis=0)
    window = np.hanning(size + 1)[:size].astype(np.float32)
    out = np.zeros((audio.shape[0], (frames + 1) * half), np.float32)
    length = 1 << (size + half + 2 * reach).bit_length()
    target, last = 0, mono.size - size - half
    for frame in range(frames):
        low = int(frame * half / factor)
        best = low + reach
        if frame:
            area = np.fft.rfft(mono[low : low + 2 * reach + half], length)
            likeness = np.fft.irfft(
                area * np.conj(np.fft.rfft(mono[target : target + half], length))
            )
            best = low + int(np.argmax(likeness[: 2 * reach + 1]))
        best = min(best, last)
        out[:, frame * half : frame * half + size] += window * padded[:, best : best + size]
        target = min(best + half, last)
    return out[:, : int(audio.shape[1] * factor)]


def chorus(audio: Audio, depth: float, speed: float, mix: float, rate: int) -> Audio:
    """Add a copy whose delay swings around 12 ms by ``depth`` seconds at ``speed`` Hz."""
    t = np.arange(audio.shape[1])
    swing = 0.012 + depth * np.sin(2 * np.pi * speed * t / rate)
    copy = np.stack(
        [
            np.interp(t - side * swing * rate, t, channel)
            for channel, side in zip(audio, (1.0, 0.8), strict=True)
        ]
    )
    return np.asarray(audio + mix * copy, np.float32)


def pan_gains(position: float) -> NDArray[np.float32]:
    """Equal-power gains ``(2, 1)`` for a position from -1 (left) to 1 (right)."""
    angle = (position + 1) * np.pi / 4
    return np.asarray([[np.cos(angle)], [np.sin(angle)]], np.float32) * np.float32(np.sqrt(2))


def widen(audio: Audio, width: float) -> Audio:
    """Scale the side signal of ``(2, N)`` audio: 0 is mono, 1 unchanged."""
    mid, side = (audio[0] + audio[1]) / 2, (audio[0] - audio[1]) * np.float32(width / 2)
    return np.stack([mid + side, mid - side])


def fade(audio: Audio, start: float, end: float, rate: int) -> Audio:
    """A copy with a linear fade-in and fade-out of the given seconds."""
    out = audio.copy()
    a, b = min(int(start * rate), out.shape[1]), min(int(end * rate), out.shape[1])
    if a:
        out[:, :a] *= np.linspace(0, 1, a, dtype=np.float32)
    if b:
        out[:, -b:] *= np.linspace(1, 0, b, dtype=np.float32)
    return out


def place(track: Audio, sound: Audio, start: float, gain: float | Audio, rate: int) -> None:
    """Add ``sound (1 or 2, n)`` to ``track (2, N)`` at ``start`` seconds, cut at both ends."""
    first = round(start * rate)
    skip = max(-first, 0)
    first = max(first, 0)
    count = min(sound.shape[1] - skip, track.shape[1] - first)
    if count > 0:
        track[:, first : first + count] += np.float32(gain) * sound[:, skip : skip + count]
