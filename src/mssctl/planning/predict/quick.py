"""What makes steps on fake tensors quick: less to look at, and no garbage collection."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode


class QuickFakeMode(FakeTensorMode):
    """`FakeTensorMode` with a shorter look at each tensor before the cache of results is asked.

    The original describes a tensor by seventeen properties, most of which never differ here (no
    sparse, quantized or symbolic tensors); that look took a third of a prediction's time.
    """

    def _prep_args_for_hash(
        self, result: list[object], args: Any, state: Any, id_hashed_objects: list[object]
    ) -> None:
        if not isinstance(args, (list, tuple)):
            super()._prep_args_for_hash(result, args, state, id_hashed_objects)
            return
        result.append(len(args))
        for arg in args:
            kind = type(arg)
            if kind is FakeTensor and arg.constant is None and arg.layout is torch.strided:
                result += (
                    arg.dtype,
                    tuple(arg.shape),
                    arg.stride(),
                    arg.storage_offset(),
                    arg.untyped_storage().nbytes(),
                    arg.requires_grad,
                    arg.is_conj(),
                    arg.is_neg(),
                )
            elif kind in _PLAIN:
                result += (kind, arg)
            elif kind is list or kind is tuple:
                self._prep_args_for_hash(result, arg, state, id_hashed_objects)
            else:
                super()._prep_args_for_hash(result, (arg,), state, id_hashed_objects)


_PLAIN = frozenset({int, float, bool, type(None), str, torch.dtype, torch.device, torch.layout})


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
