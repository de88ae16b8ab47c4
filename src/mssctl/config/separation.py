"""The section ``separation``."""

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from mssctl.config import bounds
from mssctl.config.section import Batch, Section, field, within


class SeparationConfig(Section):
    """How whole songs are split into segments, in validation, ``eval`` and ``separate`` alike.

    A change starts the best score of a run over.
    """

    segment_seconds: Annotated[float, within(bounds.SEGMENT_SECONDS)] | None = field(
        None, unit="s", doc="Length of a segment; null: as in training.", resumable=True
    )
    overlap: Annotated[float, within(bounds.OVERLAP)] = field(
        0.25, unit="of a segment", doc="Overlap of neighboring segments.", resumable=True
    )
    fade: Literal["hann", "linear"] = field(
        "hann", doc="Shape of the cross-fade between segments.", resumable=True
    )
    edges: Literal["reflect", "zeros", "centered"] = field(
        "reflect",
        doc="What surrounds a song: its reflection, or silence (`centered`: with the last segment "
        "around what is left).",
        resumable=True,
    )
    residual: str | None = field(
        None,
        doc="Stem that takes what the stems lack of the mixture; null: all, equally.",
        resumable=True,
    )
    normalize: bool = field(
        False,
        doc="Give the model each song with mean 0 and standard deviation 1, by its mono mix; reads "
        "it twice.",
        resumable=True,
    )
    batch_size: Batch = field(1, unit="segments", doc="Segments per forward pass.", resumable=True)

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        """Later keys only where they differ: best scores of earlier runs stay comparable."""
        later = {"edges": "reflect", "normalize": False, "residual": None}
        for name, value in super().__repr_args__():
            if name not in later or value != later[name]:
                yield name, value
