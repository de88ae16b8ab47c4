"""The configuration of frequency bands, for the sections of models that split them."""

from typing import Annotated, Any, Literal

from pydantic import Field

from mssctl.config.schema import STFTConfig
from mssctl.config.section import Size, field

Bands = Literal["bands62", "rule"] | Annotated[tuple[Size, ...], Field(max_length=4096)]


def bands_field() -> Any:
    """The key ``freqs_per_bands``, which all models that split bands share."""
    return field(
        "bands62",
        unit="bins",
        doc="Widths of the bands: `bands62` (62 bands, the same in Hz at n_fft 2048 and 4096), "
        "`rule` (from frequency ranges, for any rate and n_fft), or a list.",
    )


def check_bands(bands: Bands, stft: STFTConfig) -> None:
    """Compare ``model.freqs_per_bands`` with the transform.

    Raises:
        ValueError: the bands are not those of its bins.
    """
    bins = stft.n_fft // 2 + 1
    if isinstance(bands, tuple) and sum(bands) != bins:
        raise ValueError(f"model.freqs_per_bands sums to {sum(bands)}, n_fft has {bins} bins")
    if bands == "bands62" and stft.n_fft not in (2048, 4096):
        raise ValueError("model.freqs_per_bands: bands62 is for n_fft 2048 and 4096; use rule")
