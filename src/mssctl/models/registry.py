"""The architectures: each folder here is one, and other packages add theirs.

A folder's ``__init__.py`` has a subclass of `Architecture`; an entry point of the group
``mssctl.models`` names one of another package. Imports neither torch nor numpy.
"""

from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from pkgutil import iter_modules

import mssctl.models
from mssctl.errors import ExitCode, MssctlError
from mssctl.models.architecture import Architecture

GROUP = "mssctl.models"
DEFAULT_NAME = "tf_locoformer"


def _own() -> dict[str, Architecture]:
    """Name -> architecture of each folder here, the default one first."""
    folders = [one.name for one in iter_modules(mssctl.models.__path__) if one.ispkg]
    modules = [import_module(f"mssctl.models.{name}") for name in folders]
    kinds = [
        kind
        for module in modules
        for kind in vars(module).values()
        if isinstance(kind, type)
        and issubclass(kind, Architecture)
        and kind.__module__ == module.__name__  # not what it imports
    ]
    found = sorted((kind() for kind in kinds), key=lambda one: one.name != DEFAULT_NAME)
    return {one.name: one for one in found}


def _found() -> tuple[dict[str, Architecture], dict[str, str]]:
    """Name -> architecture, and name -> why one of another package cannot be used."""
    known = _own()
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
DEFAULT = ARCHITECTURES[DEFAULT_NAME]


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
