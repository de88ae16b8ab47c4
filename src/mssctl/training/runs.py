"""Look at training runs from outside: how far they are, and their curves. Imports no torch."""

import statistics
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mssctl.config.metrics import METRICS
from mssctl.documents import parse_json, read_yaml
from mssctl.errors import MssctlError
from mssctl.results.runs import Curve, RunCurves, RunState
from mssctl.training.lock import is_locked

_CONFIG, _METRICS = "config.yaml", "metrics.jsonl"
_POINTS = 2_000  # of a curve
_NEWEST = 50  # steps that the speed is the median of
_STEP, _VALIDATION = b'{"kind": "step"', b'{"kind": "validation"'

# Key of a step, in parts -> name and unit of its curve.
_CURVES = {
    ("loss",): ("loss", "1"),
    ("lr",): ("lr", "1"),
    ("grad_norm",): ("grad_norm", "L2 norm"),
    ("seconds",): ("seconds", "s a step"),
    ("resources", "data_seconds"): ("data_seconds", "s a step"),
    ("resources", "allocated_gib"): ("allocated_gib", "GiB"),
    ("resources", "gpu_percent"): ("gpu_percent", "%"),
}

Lines = tuple[list[bytes], list[bytes]]  # of steps, of validations


def is_run(folder: Path) -> bool:
    """Whether this is the folder of a run."""
    return (folder / _CONFIG).is_file() and (folder / "data.json").is_file()


def run_state(run: Path) -> RunState:
    """How far a run is; one whose configuration cannot be read is ``damaged``."""
    return _state(run, _lines(run / _METRICS))


def run_curves(run: Path) -> RunCurves:
    """How far a run is, and what it has logged so far.

    Raises:
        MssctlError: ``metrics.jsonl`` cannot be read.
    """
    lines = _lines(run / _METRICS)
    state = _state(run, lines)
    stride = max(1, -(-len(lines[0]) // _POINTS))
    chosen = lines[0][::-stride][::-1]  # the newest is among them
    steps, damaged = _parsed(chosen)
    validations, more = _parsed(lines[1])
    curves = [_curve(name, unit, steps, keys) for keys, (name, unit) in _CURVES.items()]
    if state.metric:
        unit = METRICS[state.metric].unit if state.metric in METRICS else "1"
        curves.insert(1, _curve(state.metric, unit, validations, ("scores", state.metric)))
    return RunCurves(state, [curve for curve in curves if curve.steps], damaged + more)


def _state(run: Path, lines: Lines) -> RunState:
    try:
        config = read_yaml(run / _CONFIG)
        training: Mapping[str, Any] = config["training"]
        total = int(training["num_epochs"]) * int(training["steps_per_epoch"])
        metric, patience = str(training["validate_metric"]), int(training["early_stopping"])
        model = str(config["model"]["name"])
        per_epoch = int(training["steps_per_epoch"])
    except MssctlError as error:
        return RunState(str(run), "damaged", problem=error.message)
    except (KeyError, TypeError, ValueError) as error:
        return RunState(str(run), "damaged", problem=f"{run / _CONFIG}: no usable {error}")
    newest, _ = _parsed(lines[0][-_NEWEST:])
    validations, _ = _parsed(lines[1])
    step = max((line["step"] for line in newest), default=0)
    best = next((line for line in reversed(validations) if line.get("best") is True), None)
    waited = len(validations) - (validations.index(best) + 1 if best else 0)
    done = step >= total or bool(patience and validations and waited >= patience)
    seconds = [s for line in newest if (s := _number(line, ("seconds",))) is not None]
    pace = statistics.median(seconds) if seconds else None
    locked = is_locked(run)
    return RunState(
        run=str(run),
        status="running" if locked else "finished" if done else "stopped",
        model=model,
        step=step,
        total_steps=total,
        epoch=(step - 1) // per_epoch + 1 if step else 0,
        metric=metric,
        best_score=_number(best, ("scores", metric)) if best else None,
        best_step=best["step"] if best else None,
        last_score=_number(validations[-1], ("scores", metric)) if validations else None,
        loss=_number(newest[-1], ("loss",)) if newest else None,
        seconds_per_step=pace,
        seconds_left=None if pace is None or done else (total - step) * pace,
        updated=_updated(run / _METRICS),
    )


def _lines(path: Path) -> Lines:
    """The complete lines so far; the last one may be half written."""
    try:
        whole = path.read_bytes().split(b"\n")[:-1]
    except FileNotFoundError:
        whole = []
    except OSError as error:
        raise MssctlError(f"{path}: cannot be read: {error.strerror}") from None
    steps = [line for line in whole if not line.startswith(_VALIDATION)]
    return steps, [line for line in whole if line.startswith(_VALIDATION)]


def _parsed(lines: Sequence[bytes]) -> tuple[list[dict[str, Any]], int]:
    """The values of lines, and how many cannot be read."""
    found = []
    for line in lines:
        try:
            values = parse_json(line, _METRICS)
            if type(values["step"]) is int:
                found.append(values)
        except (MssctlError, KeyError, TypeError):
            continue
    return found, len(lines) - len(found)


def _number(line: Mapping[str, Any], keys: Sequence[str]) -> float | None:
    value: Any = line
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    return float(value) if isinstance(value, int | float) else None


def _curve(name: str, unit: str, lines: Sequence[Mapping[str, Any]], keys: Sequence[str]) -> Curve:
    points = [(line["step"], value) for line in lines if (value := _number(line, keys)) is not None]
    return Curve(name, unit, [step for step, _ in points], [value for _, value in points])


def _updated(path: Path) -> str | None:
    try:
        changed = path.stat().st_mtime
    except OSError:
        return None
    return datetime.fromtimestamp(changed, UTC).isoformat(timespec="seconds")
