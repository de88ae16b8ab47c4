"""The base of all sections of a preset, and the kinds of numbers in them."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Discriminator, Field, model_validator

from mssctl.config.bounds import BATCH, HEADS, HOP_LENGTH, LAYERS, N_FFT, WIDTH


def within(bounds: tuple[float, float]) -> Any:
    """The field constraint for a pair of `mssctl.config.bounds`."""
    return Field(ge=bounds[0], le=bounds[1])


Probability = Annotated[float, Field(ge=0.0, le=1.0)]
Momentum = Annotated[float, Field(ge=0.0, lt=1.0)]
Positive = Annotated[float, Field(gt=0.0, le=1e9)]
NonNegative = Annotated[float, Field(ge=0.0, le=1e9)]
Decibels = Annotated[float, Field(ge=-200.0, le=200.0)]
Range = tuple[Decibels, Decibels]
Semitones = Annotated[float, Field(ge=-24.0, le=24.0)]
Tempo = Annotated[float, Field(ge=0.5, le=2.0)]
Ratio = Annotated[float, Field(ge=1.0, le=1000.0)]
Tail = Annotated[float, Field(gt=0.0, le=10.0)]  # seconds
Batch = Annotated[int, within(BATCH)]
Count = Annotated[int, Field(ge=1, le=1_000_000)]
CountOrNone = Annotated[int, Field(ge=0, le=1_000_000_000)]  # 0 has a meaning of its own
Layers = Annotated[int, within(LAYERS)]
Few = Annotated[int, within(HEADS)]  # heads, taps, factors
Width = Annotated[int, within(WIDTH)]  # features
Size = Annotated[int, within(HOP_LENGTH)]  # of a tensor
WindowLength = Annotated[int, within(N_FFT), Field(multiple_of=4)]


@dataclass(frozen=True)
class Key:
    """What a key of a preset means; its type and bounds are those of the field.

    Attributes:
        doc: its meaning, in one sentence.
        unit: of its value; ``1`` for a number without one, empty for what is no number.
        resumable: whether `resume --set` may change it: the model, its examples and its loss
            stay what they are.
    """

    doc: str
    unit: str
    resumable: bool


def field(default: Any, *, doc: str, unit: str = "", resumable: bool = False) -> Any:
    """A field of a section, with what `Key` says of it."""
    return Field(default, json_schema_extra={"key": Key(doc, unit, resumable)})  # type: ignore[dict-item]


def key_of(section: type[BaseModel], name: str) -> Key:
    """What a key means; without `field` it has no meaning and no resume may change it."""
    extra = section.model_fields[name].json_schema_extra
    found: Any = extra.get("key") if isinstance(extra, dict) else None
    return found if isinstance(found, Key) else Key(doc="", unit="", resumable=False)


class Section(BaseModel):
    """Base of all sections: immutable, an unknown key is an error, and no type is converted.

    ``8.0``, ``"8"`` and ``true`` are not integers, and 1 is not a boolean.
    """

    model_config = ConfigDict(
        frozen=True, strict=True, extra="forbid", protected_namespaces=(), allow_inf_nan=False
    )

    @model_validator(mode="before")
    @classmethod
    def _lists_are_tuples(cls, tree: Any) -> Any:
        """YAML and JSON have lists only."""
        if not isinstance(tree, dict):
            return tree
        return {key: tuple(v) if isinstance(v, list) else v for key, v in tree.items()}


def leaves(section: BaseModel, prefix: str = "") -> Iterator[tuple[str, Any, Key]]:
    """Each key below a section, as ``training.lr``, with its value and meaning."""
    for name in type(section).model_fields:
        value = getattr(section, name)
        if isinstance(value, BaseModel):
            yield from leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value, key_of(type(section), name)


def named(default: str) -> Discriminator:
    """Tell the forms of a section apart by ``name``, which may be left out for ``default``."""

    def name_of(section: Any) -> Any:
        if isinstance(section, dict):
            name = section.get("name", default)
            return "null" if name is None else name  # pydantic takes None for "no form given"
        return getattr(section, "name", default)

    return Discriminator(name_of)
