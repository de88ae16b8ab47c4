"""The base of all sections of a preset, and the kinds of numbers in them."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Discriminator, Field

Probability = Annotated[float, Field(ge=0.0, le=1.0)]
Momentum = Annotated[float, Field(ge=0.0, lt=1.0)]
Positive = Annotated[float, Field(gt=0.0)]
NonNegative = Annotated[float, Field(ge=0.0)]
Count = Annotated[int, Field(ge=1)]
WindowLength = Annotated[int, Field(ge=16, multiple_of=4)]


class Section(BaseModel):
    """Base of all sections: immutable, and an unknown key is an error."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", protected_namespaces=(), allow_inf_nan=False
    )


def named(default: str) -> Discriminator:
    """Tell the forms of a section apart by ``name``, which may be left out for ``default``."""

    def name_of(section: Any) -> Any:
        if isinstance(section, dict):
            return section.get("name", default)
        return getattr(section, "name", default)

    return Discriminator(name_of)
