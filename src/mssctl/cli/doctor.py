"""``mssctl doctor``: is this machine fit."""

from __future__ import annotations

from mssctl.cli.options import Json
from mssctl.cli.session import session


def command(json: Json = False) -> None:
    """Check that this machine is fit (not available yet)."""
    with session(json=json) as ui:
        from mssctl.tasks.doctor import doctor

        ui.show(doctor())
