"""What the sections ``model`` of all architectures have in common."""

from typing import Any, ClassVar, Self

from mssctl.config.schema import AudioConfig, STFTConfig
from mssctl.config.section import Section, field


class ModelSection(Section):
    """Base of the sections ``model``. Each architecture has its own, selected by ``name``.

    Attributes:
        uses_stft: whether the model works on spectrograms; where it does not, a preset has no
            section ``stft``.
    """

    uses_stft: ClassVar[bool] = True

    name: str = field("", doc="The architecture.")

    @classmethod
    def of(cls, config: Any) -> Self:
        """The section ``model`` of a run's configuration that names this architecture."""
        assert isinstance(config.model, cls)
        return config.model

    def check(self, audio: AudioConfig, stft: STFTConfig) -> None:
        """Compare the section with those it must fit.

        Raises:
            ValueError: it does not fit; the message names the keys.
        """
