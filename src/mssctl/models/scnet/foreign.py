"""Rules for SCNet's section ``model`` in public training scripts (MSST)."""

from mssctl.models.foreign import ForeignPreset, always, to
from mssctl.models.msst_rules import SHARED

MSST = ForeignPreset(
    marks=("model.band_SR", "model.band_stride", "training.instruments"),
    base={"model.name": "scnet", "stft.window": "rectangular", "stft.n_fft": 4096,
          "stft.hop_length": 1024, "loss.name": "l1"},
    rules=SHARED | {
        "model.sources": "follows from audio.stems",
        "model.audio_channels": to("audio.channels"),
        "model.dims": to("model.dims", convert=lambda dims: dims[1:]),
        "model.nfft": to("stft.n_fft"),
        "model.hop_size": to("stft.hop_length"),
        "model.win_size": always(4096, "the window is as long as the transform"),
        "model.normalized": always(True, "the transform is normalized"),
        "model.band_SR": to("model.band_shares"),
        "model.band_stride": to("model.band_strides"),
        "model.band_kernel": to("model.band_kernels"),
        "model.conv_depths": to("model.conv_depths"),
        "model.compress": to("model.compress"),
        "model.conv_kernel": to("model.conv_kernel"),
        "model.num_dplayer": to("model.n_layers"),
        "model.expand": to("model.expand"),
    },
)  # fmt: skip
