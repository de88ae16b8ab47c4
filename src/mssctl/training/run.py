"""One training run as its parts see it."""

from dataclasses import dataclass, field
from pathlib import Path

import torch

from mssctl.data.songs import SongSets
from mssctl.events import Reporter, silent
from mssctl.training.distributed import ALONE, World
from mssctl.training.init import Init


@dataclass(frozen=True)
class Run:
    """Where a run works, on what, and with whom.

    Attributes:
        folder: with ``config.yaml``; checkpoints, metrics and ``best.safetensors`` go here.
        songs: to train on and to validate on.
        device: to compute on.
        report: receives `Step`, `Validated`, `Saved`, `Progress` and `Notice`.
        world: the processes that train together, and this one's place among them.
        init: where the first weights come from; None for fresh ones.
    """

    folder: Path
    songs: SongSets
    device: torch.device
    report: Reporter = silent
    world: World = ALONE
    init: Init | None = None

    @property
    def initial_weights(self) -> str | None:
        """Where the first weights came from, in words."""
        return self.init.described() if self.init else None


@dataclass(frozen=True)
class Start:
    """How a session of a run begins.

    Attributes:
        resuming: continue from the newest checkpoint in the run's folder.
        predicted_gib: peak of GPU memory that the planner expects, for the receipt.
        changes: settings that ``resume --set`` changed, for ``environment.json``.
        config_sha256: of ``config.yaml`` before ``resume --set`` changed it.
        held_out: hash of the held-out songs; scores on others are not compared.
    """

    resuming: bool = False
    predicted_gib: float | None = None
    changes: dict[str, str] = field(default_factory=dict)
    config_sha256: str | None = None
    held_out: str = ""
