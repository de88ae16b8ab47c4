"""``python -m mssctl`` where something befalls process 1 of several: ``FAULTS="3:nan 5:oom"``.

The number is that of the loss computed, from 1; ``late`` is when its gradients are clipped.
"""

from __future__ import annotations

import os
from itertools import count
from typing import Any

import torch

from mssctl.cli.app import main
from mssctl.training import step

FAULTS = dict(fault.split(":") for fault in os.environ.get("FAULTS", "").split())
computed = count(1)
compute_loss = step.compute_loss


def loss_with_faults(*arguments: Any) -> Any:
    fault = FAULTS.get(str(next(computed)))
    loss, terms = compute_loss(*arguments)
    if fault == "nan":
        return loss * torch.nan, terms
    if fault == "oom":
        raise torch.OutOfMemoryError("no more")
    if fault == "late":
        torch.nn.utils.clip_grad_norm_ = clip_without_memory
    return loss, terms


def clip_without_memory(*_: Any) -> Any:
    raise torch.OutOfMemoryError("no more")


if __name__ == "__main__":
    if os.environ.get("RANK") == "1":
        step.compute_loss = loss_with_faults
    main()
