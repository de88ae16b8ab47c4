"""Several models for one song: run one after the other, and combined stem by stem."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, fields, replace
from typing import Self

import torch
from torch import Tensor

from mssctl.audio.files import AudioInfo
from mssctl.audio.overlap import in_step, overlap_add
from mssctl.audio.resample import resample_stream
from mssctl.audio.stft import STFT
from mssctl.errors import ExitCode, MssctlError
from mssctl.events import silent
from mssctl.options.separate import EnsembleMethod
from mssctl.separation.encode import Spool
from mssctl.separation.inputs import Song
from mssctl.separation.open_model import FoundModel
from mssctl.separation.song import Described, SongSeparation
from mssctl.separation.stems import project, with_rest
from mssctl.separation.stream import SeparationSettings

_N_FFT, _HOP = 4_096, 1_024  # of the spectral methods
_SEGMENT = 1 << 17


@dataclass(frozen=True)
class Member:
    """A model of an ensemble.

    Attributes:
        model: found, loaded when it is its turn.
        settings: how it runs.
        weights: of each stem of the ensemble; 0 where the stem is another model's.
    """

    model: FoundModel
    settings: SeparationSettings
    weights: tuple[float, ...]


@dataclass(frozen=True)
class EnsembleSeparation(SongSeparation):
    """`SongSeparation` by several models.

    Attributes:
        members: the first has the ensemble's stems, in order.
        method: how the stems of several members become one.
    """

    members: tuple[Member, ...] = field(default=())
    method: EnsembleMethod = "avg_wave"

    def opened(self, model: FoundModel) -> tuple[Described, Self]:
        """Nothing is loaded yet: one model is in memory at a time."""
        return _Shape(model), self

    @torch.inference_mode()
    def outputs(
        self, song: Song, info: AudioInfo, model: Described, note: Callable[[str], None]
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """As in `SongSeparation`: outputs and mixture, from all members."""
        names = self.members[0].model.config.audio.outputs
        weights = torch.tensor([one.weights for one in self.members])
        with ExitStack() as stack:
            spools = []
            for number, member in enumerate(self.members):
                spools.append(stack.enter_context(Spool(self.namer.out, with_mixture=False)))
                separator = member.model.load(self.report if number == 0 else silent).separator
                run = SongSeparation(
                    self.namer, self.selection, member.settings, self.files, self.excerpt,
                    report=self.report,
                )  # fmt: skip
                theirs = member.model.config.audio.outputs
                places = [index for index, name in enumerate(names) if name in theirs]
                given = [theirs.index(names[index]) for index in places]
                heard = note if number == 0 else _ignored
                for whole, mix in run.stems(song, info, separator, heard):
                    placed = whole.new_zeros(len(names), *mix.shape)
                    placed[places] = whole[given]
                    spools[-1].write(placed, mix)
                del separator
            mixture = resample_stream(
                self.excerpt.of(info), info.sample_rate, self.files.rate(info)
            )
            together = (
                torch.stack([block for block, _ in parts])
                for parts in zip(*(spool.blocks() for spool in spools), strict=True)
            )
            stems = _combined(together, weights, self.method)
            for mix, part in in_step(mixture, stems):
                if not model.complete:
                    part = with_rest(part, mix)  # noqa: PLW2901
                elif self.method.endswith("_wave"):
                    part = project(part, mix)  # noqa: PLW2901
                yield self.selection.apply(part), mix


class _Shape:
    """What is to be known of a model before it is loaded."""

    def __init__(self, model: FoundModel) -> None:
        audio = model.config.audio
        self.sample_rate, self.channels = audio.sample_rate, audio.channels
        self.complete, self.stems = audio.complete, audio.outputs


def members(
    models: Sequence[FoundModel],
    settings: Sequence[SeparationSettings],
    weights: Sequence[float],
    own: dict[str, int],
) -> tuple[Member, ...]:
    """The members of an ensemble, each with its share of each stem.

    Args:
        models: the first gives the names of the stems.
        settings: of each.
        weights: of each; those of models that give some stems only do not count.
        own: stem -> the number of the model that gives it alone.

    Raises:
        MssctlError: models without the stems that are asked of them (exit 2).
    """
    first = models[0]
    names = first.config.audio.outputs
    for model in [models[number] for number in range(len(models)) if number not in own.values()]:
        if set(model.config.audio.outputs) != set(names):
            raise MssctlError(
                f"{model.name} gives {', '.join(model.config.audio.outputs)}, {first.name} "
                f"{', '.join(names)}: an ensemble needs the same stems",
                hint="`stem_model` STEM=MODEL takes one stem from a model",
                exit_code=ExitCode.USAGE,
            )
    for stem, number in own.items():
        for model in (first, models[number]):
            if stem not in model.config.audio.outputs:
                raise MssctlError(
                    f"{model.name} has no stem '{stem}'; it has "
                    f"{', '.join(model.config.audio.outputs)}",
                    exit_code=ExitCode.USAGE,
                )
    shared = [n for n in range(len(models)) if n not in own.values()]
    return tuple(
        Member(
            model,
            one,
            tuple(
                float(own[name] == number) if name in own else weights[number] * (number in shared)
                for name in names
            ),
        )
        for number, (model, one) in enumerate(zip(models, settings, strict=True))
    )


def ensemble(
    run: SongSeparation, who: tuple[Member, ...], method: EnsembleMethod
) -> EnsembleSeparation:
    """The same run by several models; stems of spectral methods do not add up to the song."""
    shared = {one.name: getattr(run, one.name) for one in fields(run)}
    if not method.endswith("_wave"):
        shared["selection"] = replace(run.selection, complete=False)
        shared["remarks"] = (f"{method}: the stems do not add up to the song",)
    return EnsembleSeparation(**shared, members=who, method=method)


def _combined(
    blocks: Iterator[Tensor], weights: Tensor, method: EnsembleMethod
) -> Iterator[Tensor]:
    """Blocks ``(M, S, C, n)`` of all members -> ``(S, C, n)``."""
    if method.endswith("_wave"):
        return (_mixed(block, weights, method) for block in blocks)
    shape: list[int] = []

    def flat() -> Iterator[Tensor]:
        for block in blocks:
            shape[:] = block.shape[:3]
            yield block.flatten(0, 2)

    transform = STFT(_N_FFT, _HOP)

    def spectral(segments: Tensor) -> Tensor:
        spec = transform(segments).unflatten(1, shape)  # (B, M, S, C, F, T)
        mixed = torch.stack([_mixed(one, weights, method) for one in spec])
        return transform.inverse(mixed, segments.shape[-1])

    return overlap_add(flat(), spectral, segment=_SEGMENT, overlap=0.25)


def _mixed(block: Tensor, weights: Tensor, method: EnsembleMethod) -> Tensor:
    """``(M, S, ...)`` real or complex -> ``(S, ...)``."""
    stems = []
    for stem, weight in enumerate(weights.T):
        used = weight > 0
        parts, share = block[used, stem], weight[used] / weight.sum()
        share = share.view(-1, *(1 for _ in parts.shape[1:]))
        mean = (parts * share).sum(dim=0)
        if method == "median_wave":
            mean = parts.quantile(0.5, dim=0)
        elif method == "avg_spec":
            mean = torch.polar((parts.abs() * share).sum(dim=0), mean.angle())
        elif method in ("min_spec", "max_spec"):
            loud = parts.abs()
            chosen = loud.argmin(dim=0) if method == "min_spec" else loud.argmax(dim=0)
            mean = parts.gather(0, chosen[None])[0]
        stems.append(mean)
    return torch.stack(stems)


def _ignored(_note: str) -> None:
    """The first model's run has said it."""
