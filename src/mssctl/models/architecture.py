"""What the program knows of a family of models: everything that is not in the model itself."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from mssctl.config.model import ModelSection
from mssctl.models.foreign import ForeignPreset

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from mssctl.models.base import Separator
    from mssctl.models.layouts import Layout
    from mssctl.models.run_config import RunConfig

Tree = Mapping[str, Mapping[str, Any]]


class Architecture(ABC):
    """One family of models. A subclass is named by an entry point of the group ``mssctl.models``.

    ``config``, ``tiny`` and `build` are all that a model needs to be trained, resumed, planned,
    measured, evaluated and used; what else is here refines the advice of ``plan``, ``bench`` and
    ``doctor``. Methods import what they need, so that reading a preset imports no torch.

    Attributes:
        config: the section ``model``.
        tiny: settings for a model that tests train in a second, as a tree of sections.
        trainable: whether it can be trained here.
        quick: whether a step on fake tensors takes seconds: `plan --compare` predicts it.
        parts: what the memory of a submodule of this name is for, in the words of ``plan``.
        operations: which kind of operation a module is, by the name of the attribute that holds
            it, for `plan --explain traffic`; convolutions need no name.
    """

    config: ClassVar[type[ModelSection]]
    tiny: ClassVar[Tree]
    trainable: ClassVar[bool] = True
    quick: ClassVar[bool] = True
    parts: ClassVar[Mapping[str, str]] = {}
    operations: ClassVar[Mapping[str, str]] = {"stft": "loss and transforms"}

    @property
    def name(self) -> str:
        """The name in presets."""
        return str(self.config.model_fields["name"].default)

    @abstractmethod
    def build(self, config: RunConfig) -> Separator:
        """A separator with fresh weights, drawn from torch's global random generator."""

    def attention(self, config: RunConfig) -> list[AttentionShape]:
        """What a training step gives to attention, for ``doctor``."""
        return []

    def closed_form(self) -> ClosedForm | None:
        """The memory of a training step by formula: to rank candidates and to explain."""
        return None

    def notes(self, config: RunConfig, attention: str | None) -> list[str]:
        """What a reader of ``plan`` should know of this configuration."""
        return []

    def smaller(self, config: RunConfig) -> Iterator[tuple[str, Sequence[Sequence[str]]]]:
        """Changes that need less memory: words, and overrides of which the first valid ones do."""
        yield from ()

    def kernel(self, config: RunConfig | None = None) -> Kernel | None:
        """A computation for which there are several ways, at the sizes of ``config``, or small."""
        return None

    def foreign_presets(self) -> Sequence[ForeignPreset]:
        """Configurations of other training programs that can become presets."""
        return ()

    def layouts(self) -> Mapping[str, Layout]:
        """Name -> layout of official weights that can be loaded."""
        return {}


@dataclass(frozen=True)
class AttentionShape:
    """What attention is given along one axis."""

    axis: str
    heads: int
    length: int
    head: int


class ClosedForm(Protocol):
    """Memory by formula, in bytes."""

    def tokens(self, config: RunConfig) -> int:
        """Positions of one example that go through a block."""

    def moments(
        self, config: RunConfig, sizes: Mapping[str, int], attention: str
    ) -> list[dict[str, int]]:
        """What is in memory besides weights and optimizer, at each moment that may be the peak.

        Args:
            config: of the run.
            sizes: number of values of each parameter, by its name.
            attention: the kernel: flash, cudnn, efficient or math.
        """


@dataclass(frozen=True)
class Variant:
    """One way to compute a kernel."""

    name: str
    chunk_size: int | None
    run: Callable[[tuple[Tensor, ...]], Tensor]


class Kernel(Protocol):
    """A computation for which there are several ways, measured by ``bench`` and ``doctor``."""

    title: str
    claim: str
    remedy: str

    def inputs(self, sequences: int) -> tuple[Tensor, ...]:
        """Random inputs in float64."""

    def sizes(self, inputs: tuple[Tensor, ...]) -> dict[str, int]:
        """The sizes of ``inputs`` by their names."""

    def reference(self, inputs: tuple[Tensor, ...]) -> Tensor:
        """The plainest form, which is right."""

    def chosen(self, device: torch.device) -> Variant:
        """What training uses on this device."""

    def variants(self, device: torch.device) -> list[Variant]:
        """What can be compared on this device; the reference first."""

    def left_out(self, device: torch.device) -> list[str]:
        """What cannot, and why."""
