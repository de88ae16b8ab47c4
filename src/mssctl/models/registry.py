"""The architectures: those of this package, and those of others.

A package adds one by an entry point of the group ``mssctl.models`` that names a subclass of
`Architecture`. Imports neither torch nor numpy.
"""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points

from mssctl.errors import ExitCode, MssctlError
from mssctl.models.architecture import Architecture
from mssctl.models.bsmamba2 import BSMamba2Architecture
from mssctl.models.tf_locoformer import TFLocoformerArchitecture

GROUP = "mssctl.models"

DEFAULT: Architecture = TFLocoformerArchitecture()


def _found() -> tuple[dict[str, Architecture], dict[str, str]]:
    """Name -> architecture, and name -> why one of another package cannot be used."""
    known: dict[str, Architecture] = {one.name: one for one in (DEFAULT, BSMamba2Architecture())}
    broken: dict[str, str] = {}
    for entry in entry_points(group=GROUP):
        try:
            one = _load(entry)
        except Exception as error:  # noqa: BLE001 (another package's code)
            broken[entry.name] = f"{type(error).__name__}: {error}"
            continue
        if one.name in known:
            broken[entry.name] = f"there is a model '{one.name}' already"
        else:
            known[one.name] = one
    return known, broken


def _load(entry: EntryPoint) -> Architecture:
    kind = entry.load()
    if not (isinstance(kind, type) and issubclass(kind, Architecture)):
        raise TypeError(f"{entry.value} is no subclass of Architecture")
    one = kind()
    if one.name != entry.name:
        raise ValueError(f"{entry.value} is named '{one.name}', not '{entry.name}'")
    return one


ARCHITECTURES, BROKEN = _found()


def architecture(section: object) -> Architecture:
    """The architecture of a section ``model``."""
    return next(one for one in ARCHITECTURES.values() if type(section) is one.config)


def check_packages(name: str) -> None:
    """Say why a model of another package cannot be used.

    Raises:
        MssctlError: an installed package names this model, and it cannot be loaded (exit 3).
    """
    if name in BROKEN:
        raise MssctlError(
            f"model '{name}': its package cannot be used: {BROKEN[name]}",
            hint="update or uninstall the package",
            exit_code=ExitCode.ENVIRONMENT,
        )
