"""`mssctl.load_model`: a model in memory, for waveforms in memory."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mssctl.errors import ExitCode, MssctlError
from mssctl.events import Reporter, silent
from mssctl.hub.pull import Confirm, nobody
from mssctl.models.base import Separator
from mssctl.models.run_config import RunConfig
from mssctl.options.separate import Dtype
from mssctl.separation.at_rate import level_of, separate_at
from mssctl.separation.open_model import FoundModel, find_model
from mssctl.separation.stream import SeparationSettings

Waveform = TypeVar("Waveform", Tensor, NDArray[np.floating])

_REST = "rest"


class LoadedModel:
    """A model that is ready to separate waveforms.

    Attributes:
        model: the network, in eval mode on its device.
        config: of the run that made it.
        stems: names of what `separate` gives, the rest of the mixture included.
        sample_rate: of the network, Hz.
        settings: how `separate` cuts and computes; those of the model at first.
    """

    def __init__(self, found: FoundModel, report: Reporter) -> None:
        self.model: Separator = found.load(report).separator
        self.config: RunConfig = found.config
        audio = found.config.audio
        rest = next((name for name in audio.stems if name not in audio.outputs), _REST)
        self.stems = audio.outputs if audio.complete else (*audio.outputs, rest)
        self.sample_rate = audio.sample_rate
        self.settings = SeparationSettings.from_config(
            found.config, amp_dtype=found.dtype.amp_dtype, mix_consistent=False
        )

    def separate(
        self,
        waveform: Waveform,
        sample_rate: int,
        *,
        progress: Callable[[float], None] | None = None,
    ) -> dict[str, Waveform]:
        """Split a waveform; the stems have its shape and rate, and add up to it.

        Args:
            waveform: ``(C, N)``, or ``(N,)`` for mono; numpy or torch, on any device.
            sample_rate: Hz.
            progress: receives the fraction that is done, 0 to 1.

        Returns:
            Stem -> waveform of the same kind, float32 on the CPU.

        Raises:
            MssctlError: empty, of another form, or with NaN or infinite samples.
        """
        mix = torch.as_tensor(waveform).detach().float().cpu()
        if mix.dim() not in (1, 2) or not mix.numel() or not torch.isfinite(mix).all():
            raise MssctlError(
                f"a waveform of shape {tuple(mix.shape)}: expected finite samples (C, N) or (N,)",
                hint="channels come first: `waveform.T` of what soundfile reads",
                exit_code=ExitCode.BAD_INPUT,
            )
        whole = mix.reshape(-1, mix.shape[-1])
        parts, done = [], 0
        for stems in self._run(iter([whole]), sample_rate, whole):
            parts.append(stems)
            done += stems.shape[-1]
            if progress:
                progress(min(1.0, done / whole.shape[-1]))
        joined = torch.cat(parts, dim=-1).reshape(len(self.stems), *mix.shape)
        if isinstance(waveform, Tensor):
            return dict(zip(self.stems, joined, strict=True))
        return {name: stem.numpy() for name, stem in zip(self.stems, joined, strict=True)}

    def stream(self, blocks: Iterator[Tensor], sample_rate: int) -> Iterator[dict[str, Tensor]]:
        """Split a stream of any length in constant memory.

        Args:
            blocks: ``(C, n)`` of any lengths, float32 on the CPU.
            sample_rate: Hz.

        Yields:
            Stem -> ``(C, n)``, in order; their lengths add up to the stream's, later than it.

        Raises:
            MssctlError: the model needs the level of the whole song first (exit 4).
        """
        if self.settings.normalize:
            raise MssctlError(
                "this model needs the level of the whole song: it cannot separate a stream",
                hint="use `separate`, or `change(normalize=False)` at a loss of quality",
                exit_code=ExitCode.BAD_INPUT,
            )
        for stems in self._run(blocks, sample_rate, None):
            # A copy made here is an ordinary tensor, which may be changed in place.
            yield dict(zip(self.stems, stems.clone(), strict=True))

    def change(self, **settings: object) -> None:
        """Change fields of `settings`, such as ``overlap`` or ``batch_size``."""
        self.settings = replace(self.settings, **settings)  # type: ignore[arg-type]

    @torch.inference_mode()
    def _run(self, blocks: Iterator[Tensor], rate: int, whole: Tensor | None) -> Iterator[Tensor]:
        first = iter([] if whole is None else [whole])
        level = level_of(self.model, first, self.settings, rate)
        for stems, _ in separate_at(self.model, blocks, self.settings, (rate, rate), level):
            yield stems


def load_model(
    name: str | None = None,
    *,
    device: str = "auto",
    dtype: Dtype = "auto",
    accept_license: bool = False,
    confirm: Confirm = nobody,
    report: Reporter = silent,
) -> LoadedModel:
    """Load a model for waveforms in memory.

    Args:
        name: a name of ``mssctl models list``, a file, or ``hf:org/repo``; None: the default.
        device: ``auto``, ``cuda``, ``cuda:N``, ``mps`` or ``cpu``.
        dtype: of the computation.
        accept_license: use a model although no license is stated for it.
        confirm: asks about a license that is not stated.
        report: receives events.

    Raises:
        MssctlError: no such model or device, or the file is damaged.
    """
    found = find_model(
        name, device, dtype, accept_license=accept_license, confirm=confirm, report=report
    )
    return LoadedModel(found, report)
