"""``mssctl resume``: go on with a training run."""

from __future__ import annotations

from mssctl.cli.options import Device, Json, Overrides, Run
from mssctl.cli.session import session
from mssctl.cli.train import Force


def command(
    run: Run,
    overrides: Overrides = None,
    device: Device = "auto",
    force: Force = False,
    json: Json = False,
) -> None:
    """Go on with a training run exactly where it stopped.

    --set changes what leaves the model and its examples as they are.
    """
    with session(json=json, trains=True) as ui:
        from mssctl.tasks.train import resume

        ui.show(
            resume(run, overrides=overrides or [], device=device, force=force, report=ui.report)
        )
