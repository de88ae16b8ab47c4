"""Open a model: find it, read what it is, choose device and dtype, and load it.

Two steps, so that a command can check its inputs between them, before the weights are read.
"""

from dataclasses import dataclass
from pathlib import Path

from mssctl.events import Notice, Reporter
from mssctl.hardware.device import DeviceChoice, DtypeChoice, choose_device, choose_dtype, configure
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
        device: where it will run.
        dtype: inside the model.
    """

    path: Path
    config: RunConfig
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


def find_model(name: str, device: str = "auto", dtype: Dtype = "auto") -> FoundModel:
    """Find a model by bundled name or path, and choose where and how it will run.

    Raises:
        MssctlError: no such model or device (exit 3), or a foreign file (exit 4).
    """
    chosen = choose_device(device)
    inside = choose_dtype(dtype, chosen.device)
    path = weights.find(name)
    config, _ = weights.read_metadata(path)
    return FoundModel(path, config, chosen, inside)
