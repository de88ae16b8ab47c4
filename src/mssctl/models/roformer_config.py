"""What the sections ``model`` of the RoFormers share."""

from typing import Annotated

from pydantic import Field

from mssctl.config.model import ModelSection
from mssctl.config.section import Few, Layers, Width, field


class RoformerConfig(ModelSection):
    """A RoFormer: transformers with rotary embedding, along time and along bands in turn."""

    n_layers: Layers = field(8, unit="layers", doc="Blocks, each along time and along bands.")
    time_depth: Few = field(1, unit="layers", doc="Layers of a block along time.")
    band_depth: Few = field(1, unit="layers", doc="Layers of a block along bands.")
    emb_dim: Width = field(384, unit="features", doc="Features of a band.")
    n_heads: Few = field(8, unit="heads", doc="Heads of attention.")
    dim_head: Annotated[int, Field(ge=2, le=1024, multiple_of=2)] = field(
        64, unit="features", doc="Features of a head."
    )
    ffn_expansion: Few = field(
        4, unit="1", doc="Hidden features of a feed-forward, as a multiple of `emb_dim`."
    )
    mask_depth: Few = field(2, unit="layers", doc="Depth of the mask decoder.")
    mask_expansion: Few = field(
        4, unit="1", doc="Hidden features of the mask decoder, as a multiple of `emb_dim`."
    )
    dropout: Annotated[float, Field(ge=0.0, lt=1.0)] = field(
        0.0, unit="probability", doc="Dropout of attention and feed-forwards."
    )
    skip_connection: bool = field(
        False, doc="Add what all earlier blocks gave to the input of each block."
    )
    zero_dc: bool = field(True, doc="Silence the lowest bin of the output.")

    @property
    def norm_paths(self) -> bool:
        """Whether each transformer ends with a norm, and not the last block alone."""
        return False

    @property
    def mask_layers(self) -> int:
        """Linear maps of the mask decoder."""
        return self.mask_depth
