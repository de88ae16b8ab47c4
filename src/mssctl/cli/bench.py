"""``mssctl bench``: how fast a preset runs here."""

from __future__ import annotations

from mssctl.cli.options import Json, Preset
from mssctl.cli.session import session


def command(preset: Preset = "base", json: Json = False) -> None:
    """Measure the speed of a preset (not available yet)."""
    with session(json=json) as ui:
        from mssctl.tasks.bench import bench

        ui.show(bench(preset))
