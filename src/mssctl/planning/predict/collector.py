"""Python's garbage collector, kept out of the way."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def no_collection() -> Iterator[None]:
    """No garbage collection in the body.

    When memory dies must not depend on chance; and while PyTorch's compiler is imported, which
    fake tensors need, looking for garbage takes a third of the time and finds none.
    """
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()
