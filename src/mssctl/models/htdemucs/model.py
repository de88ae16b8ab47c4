"""HTDemucs: a U-Net on the spectrogram and one on the waveform, joined by a transformer.

Source: Rouard et al., "Hybrid Transformers for Music Source Separation" (arXiv:2211.08553), sizes
and details as released.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from mssctl.hardware.device import full_precision
from mssctl.models.base import Separator
from mssctl.models.htdemucs.config import HTDemucsConfig
from mssctl.models.htdemucs.layers import DecoderLevel, EncoderLevel, Run, added
from mssctl.models.htdemucs.transformer import CrossTransformer
from mssctl.models.run_config import RunConfig

_EMBEDDING_SCALE = 2.0  # of the frequency embedding: its weight 0.2, times 10
_STD_FLOOR = 1e-5


class Net(nn.Module):
    """The network alone: normalized spectrogram and waveform in, those of all stems out.

    Shape:
        ``(B, T, F, 2C)`` (real and imaginary part of each channel) and ``(B, 1, N, C)``
        ``-> (B, T, F, 2C·S)`` and ``(B, 1, N, C·S)``.
    """

    def __init__(self, config: RunConfig) -> None:
        super().__init__()
        model = HTDemucsConfig.of(config)
        channels, stems = config.audio.channels, len(config.audio.outputs)
        levels = range(model.depth)

        def encoder(wave: bool, inputs: int) -> nn.ModuleList:
            return nn.ModuleList([EncoderLevel(model, level, wave, inputs) for level in levels])

        def decoder(wave: bool, outputs: int) -> nn.ModuleList:
            return nn.ModuleList([DecoderLevel(model, level, wave, outputs) for level in levels])

        self.encoder, self.wave_encoder = encoder(False, 2 * channels), encoder(True, channels)
        self.embedding = nn.Parameter(
            _smooth(torch.empty(config.stft.n_fft // 8, model.base_channels).normal_())
        )
        self.transformer = CrossTransformer(model)
        self.decoder = decoder(False, 2 * channels * stems)
        self.wave_decoder = decoder(True, channels * stems)

    def forward(self, x: Tensor, wave: Tensor, run: Run) -> tuple[Tensor, Tensor]:
        """Run both U-Nets; ``run`` is that of the separator."""
        skips: list[tuple[Tensor, Tensor]] = []
        lengths: list[tuple[int, int]] = []
        for level, wave_level in zip(self.encoder, self.wave_encoder, strict=True):
            lengths.append((x.shape[2], wave.shape[2]))
            x, wave = run("block", level, x, run), run("block", wave_level, wave, run)
            if len(lengths) == 1:
                x = added(x, _EMBEDDING_SCALE * self.embedding)
            skips.append((x, wave))
        x, wave = self.transformer(x, wave, run)
        for index in reversed(range(len(skips))):
            (skip, wave_skip), (length, wave_length) = skips.pop(), lengths[index]
            x = run("block", self.decoder[index], x, skip, length, run)
            wave = run("block", self.wave_decoder[index], wave, wave_skip, wave_length, run)
        return x, wave


class HTDemucs(Separator):
    """One net, or a bag of several whose outputs are averaged for each stem.

    A mixture shorter than a training segment is padded to it with silence. STFT, normalization
    and the sum of both branches are computed in float32.
    """

    window: Tensor

    def __init__(self, config: RunConfig) -> None:
        super().__init__(config.audio)
        model = HTDemucsConfig.of(config)
        self.n_fft, self.hop = config.stft.n_fft, config.stft.hop_length
        self.segment = config.training.segment_length
        self.register_buffer("window", torch.hann_window(self.n_fft), persistent=False)
        self.bag = model.bag
        self.outputs = self.stems  # of each net
        self.nets = nn.ModuleList([Net(config) for _ in model.bag or (1,)])

    def keep(self, stems: Sequence[str]) -> bool:
        """Of a bag, run only the nets that count for these stems from now on."""
        if self.bag is None:
            return False
        columns = [index for index, stem in enumerate(self.outputs) if stem in stems]
        needed = [i for i, row in enumerate(self.bag) if any(row[column] for column in columns)]
        if len(needed) == len(self.bag):
            return False
        self.nets = nn.ModuleList([self.nets[index] for index in needed])
        self.bag = tuple(self.bag[index] for index in needed)
        self.stems = tuple(self.outputs[column] for column in columns)
        return True

    def forward(self, mix: Tensor) -> Tensor:
        """Split ``(B, C, N)`` into ``(B, S, C, N)``."""
        if mix.dim() != 3 or mix.shape[1] != self.channels:
            raise ValueError(f"expected (B, {self.channels}, N), got {tuple(mix.shape)}")
        length = mix.shape[-1]
        with full_precision(mix.device):
            wave = F.pad(mix.float(), (0, max(0, self.segment - length)))
            x, mean, std = _normalized(self._spectrum(wave))
            wave, wave_mean, wave_std = _normalized(wave.transpose(1, 2)[:, None])
        total: Tensor | None = None
        for index, net in enumerate(self.nets):
            spectra, waves = net(x, wave, self.run)
            with full_precision(mix.device):
                spectra = torch.addcmul(mean, spectra.float(), std)
                waves = torch.addcmul(wave_mean, waves.float(), wave_std)[:, 0, :length]
                stems = self._waves(spectra, length)
                stems = stems + waves.mT.unflatten(1, stems.shape[1:3])
                stems = self._weighted(stems, index)
            total = stems if total is None else total + stems
        assert total is not None
        return total

    def _weighted(self, stems: Tensor, net: int) -> Tensor:
        """A net's share of the outputs: ``(B, S, C, N)``."""
        if self.bag is None:
            return stems
        columns = [self.outputs.index(stem) for stem in self.stems]
        shares = [self.bag[net][c] / sum(row[c] for row in self.bag) for c in columns]
        weights = torch.tensor(shares, device=stems.device)[:, None, None]
        return stems[:, columns] * weights

    def _spectrum(self, wave: Tensor) -> Tensor:
        """``(B, C, N) -> (B, T, F, 2C)``, ``T = ceil(N / hop)``, without the highest bin.

        The waveform is reflected by 3/2 hops at its start, and at its end by as much after whole
        hops: frame ``t`` is centered on the middle of hop ``t``.
        """
        length = wave.shape[-1]
        edge = self.n_fft // 2 - self.hop // 2
        padded = F.pad(wave, (edge, edge + -length % self.hop), mode="reflect")
        frames = padded.unfold(-1, self.n_fft, self.hop) * self.window  # (B, C, T, n_fft)
        spec = torch.fft.rfft(frames, norm="ortho")[..., :-1]  # (B, C, T, F)
        return torch.view_as_real(spec).permute(0, 2, 3, 1, 4).flatten(3)

    def _waves(self, spectra: Tensor, length: int) -> Tensor:
        """``(B, T, F, S·C·2) -> (B, S, C, N)``: the inverse of `_spectrum`."""
        parts = spectra.unflatten(-1, (len(self.outputs), self.channels, 2))
        parts = parts.permute(0, 3, 4, 1, 2, 5)  # (B, S, C, T, F, 2)
        complete = parts.new_zeros(*parts.shape[:4], self.n_fft // 2 + 1, 2)
        complete[..., :-1, :] = parts
        frames = torch.fft.irfft(torch.view_as_complex(complete), norm="ortho")
        frames *= self.window / 1.5  # the squares of overlapping windows add up to 1.5
        hops = frames.unflatten(-1, (-1, self.hop))  # (B, S, C, T, 4, hop)
        count, overlap = hops.shape[3:5]
        total = F.pad(hops[..., 0, :], (0, 0, 0, overlap - 1))  # (B, S, C, T + 3, hop)
        for part in range(1, overlap):
            total[..., part : part + count, :] += hops[..., part, :]
        edge = self.n_fft // 2 - self.hop // 2
        return total.flatten(-2)[..., edge : edge + length]


def _normalized(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """``(B, ., ., .)`` with mean 0 and deviation 1 in each item, and both ``(B, 1, 1, 1)``."""
    std, mean = torch.std_mean(x, dim=(1, 2, 3), keepdim=True)
    return (x - mean) / (_STD_FLOOR + std), mean, std


def _smooth(rows: Tensor) -> Tensor:
    """Random walks over the rows with the same deviation everywhere, a tenth."""
    if rows.is_meta:  # an outline has no values
        return rows
    count = torch.arange(1, len(rows) + 1, dtype=rows.dtype)
    return rows.cumsum(dim=0) / count.sqrt()[:, None] / 10
