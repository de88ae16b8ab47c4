"""Open a model: find it, read what it is, choose device and dtype, and load it.

Two steps, so that a command can check its inputs between them, before the weights are read.
"""

from dataclasses import dataclass
from pathlib import Path

from mssctl.errors import MssctlError
from mssctl.events import Notice, Reporter, silent
from mssctl.hardware.device import DeviceChoice, DtypeChoice, choose_device, choose_dtype, configure
from mssctl.hub import registry, state
from mssctl.hub.pull import Confirm, nobody, pull
from mssctl.models import weights
from mssctl.models.run_config import RunConfig
from mssctl.models.weights import LoadedModel
from mssctl.options.separate import Dtype


@dataclass(frozen=True)
class FoundModel:
    """A model that is not loaded yet, and where and how it will run.

    Attributes:
        path: the weights file; its stem is the model's name.
        config: of the run that made it.
        card: what the file says about itself.
        device: where it will run.
        dtype: inside the model.
    """

    path: Path
    config: RunConfig
    card: dict[str, str]
    device: DeviceChoice
    dtype: DtypeChoice

    @property
    def name(self) -> str:
        """Bundled name, or the file's name without its suffix."""
        return self.path.stem

    def load(self, report: Reporter) -> LoadedModel:
        """Put the process-wide settings into force and read the weights.

        Raises:
            MssctlError: the file is damaged (exit 4).
        """
        report(Notice(f"device {self.device.device}: {self.device.reason}"))
        if self.dtype.reason:
            report(Notice(f"dtype {self.dtype.name}: {self.dtype.reason}"))
        training = self.config.training
        configure(
            self.device.device,
            tf32=training.tf32,
            cudnn_benchmark=training.cudnn_benchmark,
            flash_attention=training.flash_attention,
        )
        return weights.load(str(self.path), self.device.device)


def find_model(
    name: str | None,
    device: str = "auto",
    dtype: Dtype = "auto",
    *,
    accept_license: bool = False,
    confirm: Confirm = nobody,
    report: Reporter = silent,
) -> FoundModel:
    """Find a model by name, path or address, and choose where and how it will run.

    A public model that is not here yet is pulled.

    Args:
        name: bundled, pulled or public model, or path of a file; None for the user's default.
        device: as `choose_device` takes it.
        dtype: inside the model.
        accept_license: see `mssctl.hub.pull.pull`.
        confirm: asks the user about a license that is not stated.
        report: receives events.

    Raises:
        MssctlError: no such model or device (exit 3), or a foreign file (exit 4).
    """
    chosen = choose_device(device)
    inside = choose_dtype(dtype, chosen.device)
    path = _path(name or state.default_model(), accept_license, confirm, report)
    config, card = weights.read_metadata(path)
    return FoundModel(path, config, card, chosen, inside)


def _path(name: str, accept_license: bool, confirm: Confirm, report: Reporter) -> Path:
    try:
        return weights.find(name)
    except MssctlError:
        entry = registry.find(name)
        if entry is None:
            raise
    if entry.name in state.installed():
        return weights.find(entry.name)
    report(Notice(f"{name} is not here yet: fetching it"))
    return pull(name, accept_license=accept_license, confirm=confirm, report=report)
