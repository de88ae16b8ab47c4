"""Start a run from the weights of another model: all that fit, or those of some modules."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from mssctl.config.section import leaves
from mssctl.documents import read_json
from mssctl.errors import ExitCode, MssctlError
from mssctl.events import Notice, Reporter
from mssctl.files import sha256
from mssctl.models import weights
from mssctl.models.base import Separator
from mssctl.models.run_config import RunConfig
from mssctl.models.weights import LoadedModel
from mssctl.training.step import TrainState

INIT = "init.json"


@dataclass(frozen=True)
class Init:
    """Where the first weights of a run come from; kept in ``init.json`` of its folder.

    Attributes:
        weights: path of the model file.
        sha256: of that file.
        prefixes: of the names of the tensors to take; none: all that fit.
    """

    weights: str
    sha256: str
    prefixes: list[str]

    @classmethod
    def of(cls, name: str, prefixes: Sequence[str]) -> Self:
        """The weights of a model, given its name or path.

        Raises:
            MssctlError: no such model (exit 3).
        """
        path = weights.find(name)
        return cls(str(path.resolve()), sha256(path), list(prefixes))

    @classmethod
    def stored(cls, run: Path) -> Self | None:
        """What the folder of a run says; None if the run began with fresh weights.

        Raises:
            MssctlError: ``init.json`` is damaged.
        """
        path = run / INIT
        if not path.exists():
            return None
        found = read_json(path)
        texts = [found.get("weights"), found.get("sha256"), *(found.get("prefixes") or [])]
        if set(found) != {"weights", "sha256", "prefixes"} or not _are_texts(texts):
            raise MssctlError(f"{path}: damaged: it does not name the first weights of the run")
        return cls(**found)

    def text(self) -> str:
        """As JSON."""
        return json.dumps(asdict(self), indent=2)

    def described(self) -> str:
        """In words, for the receipt and the model's card."""
        only = f", only {', '.join(self.prefixes)}" if self.prefixes else ""
        return f"{Path(self.weights).name} (sha256 {self.sha256[:12]}...){only}"

    def apply(self, state: TrainState, config: RunConfig, report: Reporter) -> None:
        """Put the weights into the model and its moving average, and report what happened.

        Raises:
            MssctlError: the file is gone or has changed, or none of its tensors fits.
        """
        source = weights.load(self.weights, torch.device("cpu"))
        if source.sha256 != self.sha256:
            raise MssctlError(
                f"{self.weights}: has changed since the run was created",
                hint="start a new run with `mssctl train`",
            )
        given, wanted = _by_our_names(source.separator, state.model), state.model.state_dict()
        loaded = {
            name: value
            for name, value in given.items()
            if self._takes(name) and name in wanted and wanted[name].shape == value.shape
        }
        for prefix in self.prefixes:
            if not any(name.startswith(prefix) for name in loaded):
                raise MssctlError(
                    f"`init_prefix` {prefix}: {self.weights} has no tensor of that name that fits",
                    hint=f"its parts: {_parts(given)}",
                    exit_code=ExitCode.USAGE,
                )
        if not loaded:
            raise MssctlError(
                f"{self.weights}: none of its tensors fits this model ({config.model.name})",
                hint="--init takes weights of the same architecture and similar sizes",
            )
        state.model.load_state_dict(loaded, strict=False)
        if state.average:
            state.average.model.load_state_dict(loaded, strict=False)
        report(Notice(f"initial weights from {self.weights}: loaded {_parts(loaded)}"))
        if skipped := given.keys() - loaded.keys():
            report(Notice(f"  skipped: {_parts(skipped)}"))
        if fresh := wanted.keys() - loaded.keys():
            report(Notice(f"  fresh: {_parts(fresh)}"))
        if differing := _differences(source, config):
            report(Notice(f"  trained with other settings: {differing}", level="warning"))

    def _takes(self, name: str) -> bool:
        return not self.prefixes or name.startswith(tuple(self.prefixes))


def _are_texts(values: Iterable[Any]) -> bool:
    return all(isinstance(value, str) and "\0" not in value for value in values)


def _by_our_names(source: Separator, model: Separator) -> dict[str, Tensor]:
    """The source's tensors; those of one stem under the place of that stem in ``model``."""
    tensors = source.state_dict()
    heads = source.heads
    if not heads or heads != model.heads:
        return tensors
    given = {name: value for name, value in tensors.items() if not name.startswith(f"{heads}.")}
    for old, stem in enumerate(source.stems):
        new = model.stems.index(stem) if stem in model.stems else f"({stem})"
        for name, value in tensors.items():
            if name.startswith(f"{heads}.{old}."):
                given[name.replace(f"{heads}.{old}.", f"{heads}.{new}.", 1)] = value
    return given


def _parts(names: Iterable[str]) -> str:
    """Tensors by module: ``encoder (12), blocks (96)``."""
    counts = Counter(name.partition(".")[0] for name in names)
    return ", ".join(f"{part} ({count})" for part, count in sorted(counts.items()))


def _differences(source: LoadedModel, config: RunConfig) -> str:
    """What of signal and transform differs from those that the weights were trained with."""
    before, after = ({key: v for key, v, _ in leaves(one)} for one in (source.config, config))
    return ", ".join(
        f"{key} {before[key]} -> {after[key]}"
        for key in before.keys() & after.keys()
        if key.startswith(("stft.", "audio.sample_rate")) and before[key] != after[key]
    )
