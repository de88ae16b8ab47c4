"""mssctl: train, run and measure music source separation models.

The public functions are what the commands call. Each is loaded on first use, so that importing
the package is quick; each prints nothing, takes ``report=`` for events where it runs long, and
returns one of the dataclasses of `mssctl.results`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from mssctl._version import __version__

if TYPE_CHECKING:
    from mssctl.api.bench import bench
    from mssctl.api.doctor import doctor
    from mssctl.api.evaluate import evaluate
    from mssctl.api.listen import listen
    from mssctl.api.load_model import load_model
    from mssctl.api.plan import plan
    from mssctl.api.separate import separate
    from mssctl.api.train import resume, train

__all__ = [
    "__version__",
    "bench",
    "doctor",
    "evaluate",
    "listen",
    "load_model",
    "plan",
    "resume",
    "separate",
    "train",
]

_HOME = {
    "bench": "mssctl.api.bench:bench",
    "doctor": "mssctl.api.doctor:doctor",
    "evaluate": "mssctl.api.evaluate:evaluate",
    "listen": "mssctl.api.listen:listen",
    "load_model": "mssctl.api.load_model:load_model",
    "plan": "mssctl.api.plan:plan",
    "resume": "mssctl.api.train:resume",
    "separate": "mssctl.api.separate:separate",
    "train": "mssctl.api.train:train",
}


def __getattr__(name: str) -> Any:
    """Load a public function on first use (PEP 562)."""
    if name not in _HOME:
        raise AttributeError(f"module 'mssctl' has no attribute {name!r}")
    module, _, attribute = _HOME[name].partition(":")
    function = getattr(import_module(module), attribute)
    globals()[name] = function
    return function


def __dir__() -> list[str]:
    return sorted(__all__)
