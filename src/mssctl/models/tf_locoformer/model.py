"""TF-Locoformer: attention and convolution along frequency and time in turn.

Source: Saijo et al. (IWAENC 2024, arXiv:2408.03440). ``front_end: bands`` is the band-split form
for music; ``bins`` is the original, whose cost grows with the square of the number of bins.
"""

import torch
from torch import Tensor, nn

from mssctl.hardware.device import full_precision
from mssctl.models.bands import BandMask, BandSplit, band_widths
from mssctl.models.base import SpectralSeparator
from mssctl.models.pairs import product
from mssctl.models.rotary import Angles, RotaryEmbedding
from mssctl.models.run_config import RunConfig
from mssctl.models.tf_locoformer.blocks import LocoformerPath
from mssctl.models.tf_locoformer.config import TFLocoformerConfig


class BinEncoder(nn.Module):
    """Embed each bin with a 3 x 3 convolution and a norm over the whole spectrogram.

    Shape:
        ``(B, C, F, T, 2) -> (B, T, F, D)``.
    """

    def __init__(self, channels: int, dim: int, eps: float) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2 * channels, dim, 3, padding=1)
        self.norm = nn.GroupNorm(1, dim, eps=eps)

    def forward(self, spec: Tensor) -> Tensor:
        """Embed ``spec``, in float32."""
        with full_precision(spec.device):
            x = torch.cat(spec.unbind(-1), dim=1).transpose(2, 3)  # (B, 2C, T, F)
            return self.norm(self.conv(x)).permute(0, 2, 3, 1)  # type: ignore[no-any-return]


class BinDecoder(nn.Module):
    """Predict a complex value for each bin with a 3 x 3 transposed convolution.

    Shape:
        ``(B, T, F, D)`` -> ``(B, S, C, F, T, 2)`` float32.
    """

    def __init__(self, channels: int, stems: int, dim: int) -> None:
        super().__init__()
        self.channels, self.stems = channels, stems
        self.deconv = nn.ConvTranspose2d(dim, 2 * stems * channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Predict from bin features, in float32."""
        with full_precision(x.device):
            y = self.deconv(x.float().permute(0, 3, 1, 2))  # (B, S·2·C, T, F)
            y = y.unflatten(1, (self.stems, 2, self.channels))
            return y.permute(0, 1, 3, 5, 4, 2).contiguous()  # type: ignore[no-any-return]


class TFBlock(nn.Module):
    """One path along frequency and one along time, in the order ``tf_order`` gives.

    Shape:
        ``(B, T, Q, D) -> (B, T, Q, D)``.
    """

    def __init__(self, model: TFLocoformerConfig) -> None:
        super().__init__()
        self.freq_path = LocoformerPath(model)
        self.time_path = LocoformerPath(model)

    def along_freq(self, x: Tensor, angles: Angles | None) -> Tensor:
        """Treat each frame as a sequence over frequency."""
        y: Tensor = self.freq_path(x.flatten(0, 1), angles).view_as(x)
        return y

    def along_time(self, x: Tensor, angles: Angles | None) -> Tensor:
        """Treat each band or bin as a sequence over time."""
        bands_first = x.transpose(1, 2)  # (B, Q, T, D)
        y: Tensor = self.time_path(bands_first.flatten(0, 1), angles).view_as(bands_first)
        return y.transpose(1, 2)


class TFLocoformer(SpectralSeparator):
    """The whole separator: front end, ``n_layers`` blocks, decoder.

    Shape:
        ``spectrum_real``: ``(B, C, F, T, 2) -> (B, S, C, F, T, 2)``.
    """

    def __init__(self, config: RunConfig) -> None:
        model, audio, stft = TFLocoformerConfig.of(config), config.audio, config.stft
        super().__init__(audio, stft, model.normalize)
        self.masking = model.masking
        self.tf_order = model.tf_order
        channels, stems, dim = audio.channels, len(audio.outputs), model.emb_dim
        self.encoder: nn.Module
        self.decoder: nn.Module
        if model.front_end == "bands":
            widths = band_widths(model.freqs_per_bands, audio.sample_rate, stft.n_fft)
            self.encoder = BandSplit(widths, channels, dim)
            self.decoder = BandMask(
                widths,
                channels,
                stems,
                dim,
                expansion=model.mask_expansion,
                mlp=model.mask_mlp,
            )
        else:
            self.encoder = BinEncoder(channels, dim, model.eps)
            self.decoder = BinDecoder(channels, stems, dim)
        self.blocks = nn.ModuleList([TFBlock(model) for _ in range(model.n_layers)])
        head = model.attention_dim // model.n_heads
        rotary = model.pos_enc == "rope"
        self.rope_freq = RotaryEmbedding(head) if rotary else None
        self.rope_time = RotaryEmbedding(head) if rotary else None

    def regions(self) -> list[nn.Module]:
        """Each path of each block."""
        return [part for part in self.modules() if isinstance(part, LocoformerPath)]

    def spectrum_real(self, spec: Tensor) -> Tensor:
        """Separate a spectrogram."""
        x = self.encoder(spec)  # (B, T, Q, D)
        frames, rows = x.shape[1:3]
        along_freq = None if self.rope_freq is None else self.rope_freq.angles(rows)
        along_time = None if self.rope_time is None else self.rope_time.angles(frames)
        for block in self.blocks:
            x = self.run("block", self._block, block, x, along_freq, along_time)
        values: Tensor = self.decoder(x)  # (B, S, C, F, T, 2)
        return product(values, spec[:, None]) if self.masking == "complex" else values

    def _block(
        self, block: TFBlock, x: Tensor, freq_angles: Angles | None, time_angles: Angles | None
    ) -> Tensor:
        along_freq = (block.along_freq, freq_angles)
        along_time = (block.along_time, time_angles)
        order = (along_freq, along_time) if self.tf_order == "ft" else (along_time, along_freq)
        for path, angles in order:
            x = self.run("path", path, x, angles)
        return x
