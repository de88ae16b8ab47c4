"""``mssctl plan``: how much memory a run needs."""

from __future__ import annotations

from mssctl.cli.options import Json, Preset
from mssctl.cli.session import session


def command(preset: Preset = "base", json: Json = False) -> None:
    """Predict the memory a run needs (not available yet)."""
    with session(json=json) as ui:
        from mssctl.tasks.plan import plan

        ui.show(plan(preset))
