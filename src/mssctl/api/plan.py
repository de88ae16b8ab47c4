"""``mssctl plan``: what a run needs, what fits a card, and how the presets compare."""

from typing import Any

from mssctl.options.base import refuse
from mssctl.options.plan import PlanOptions
from mssctl.planning import table
from mssctl.planning.one import plan_one
from mssctl.planning.request import request
from mssctl.planning.traffic import traffic_of
from mssctl.results.plan import PlanComparison, PlanResult, PlanTable, TrafficResult

_ONE = "name a preset: mssctl plan base …"


def plan(preset: str, options: PlanOptions | None = None, **changes: Any) -> PlanResult:
    """Predict what one preset needs, and the largest batch that fits.

    Args:
        preset: bundled name or path of a YAML file.
        options: for which card, mode and settings; the defaults if None.
        changes: fields of `PlanOptions`, instead of those in ``options``.

    Raises:
        MssctlError: unknown preset, key or card; a dtype that the card lacks; nothing to write
            that fits.
    """
    return plan_one(preset, request(PlanOptions.given(options, changes)))


def traffic(preset: str, options: PlanOptions | None = None, **changes: Any) -> TrafficResult:
    """Count what one micro-batch of training moves, computes and launches, by part of the model.

    Args:
        preset: bundled name or path of a YAML file.
        options: for which card and settings; the defaults if None.
        changes: fields of `PlanOptions`, instead of those in ``options``.

    Raises:
        MssctlError: unknown preset, key or card; a dtype that the card lacks.
    """
    given = PlanOptions.given(options, changes)
    refuse(given, "the count of traffic", ["mode", "write", "vram"])
    return traffic_of(preset, request(given))


def plan_table(options: PlanOptions | None = None, **changes: Any) -> PlanTable:
    """How to train each bundled preset on a card, and which one to use.

    Args:
        options: for which card and settings.
        changes: fields of `PlanOptions`, instead of those in ``options``.

    Raises:
        MssctlError: no card known; nothing to write that fits.
    """
    given = PlanOptions.given(options, changes)
    refuse(given, "all presets", ["mode", "attention"], hint=_ONE)
    return table.plan_table(request(given))


def compare(options: PlanOptions | None = None, **changes: Any) -> PlanComparison:
    """All bundled presets side by side, as they are; ``options`` as for `plan_table`."""
    given = PlanOptions.given(options, changes)
    refuse(given, "a comparison", ["mode", "attention", "write"], hint=_ONE)
    return table.compare(request(given))
