"""mssctl: train, run and measure music source separation models.

The public functions are what the commands call. Each is loaded on first use, so that importing
the package is quick; each prints nothing, takes ``report=`` for events where it runs long, and
returns one of the dataclasses of `mssctl.results`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mssctl.models.weights import load as load_model
    from mssctl.tasks.bench import bench
    from mssctl.tasks.doctor import doctor
    from mssctl.tasks.evaluate import evaluate
    from mssctl.tasks.plan import plan
    from mssctl.tasks.separate import separate
    from mssctl.tasks.train import resume, train

__version__ = "0.1.0"

__all__ = [
    "__version__",
    "bench",
    "doctor",
    "evaluate",
    "load_model",
    "plan",
    "resume",
    "separate",
    "train",
]

_HOME = {
    "bench": "mssctl.tasks.bench:bench",
    "doctor": "mssctl.tasks.doctor:doctor",
    "evaluate": "mssctl.tasks.evaluate:evaluate",
    "load_model": "mssctl.models.weights:load",
    "plan": "mssctl.tasks.plan:plan",
    "resume": "mssctl.tasks.train:resume",
    "separate": "mssctl.tasks.separate:separate",
    "train": "mssctl.tasks.train:train",
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
