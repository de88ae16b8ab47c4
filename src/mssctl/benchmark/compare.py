"""``mssctl bench --compare``: two measurements compared."""

from pathlib import Path
from typing import Any

from mssctl.documents import read_json
from mssctl.errors import ExitCode, MssctlError
from mssctl.results.bench import BenchComparison, ComparedNumber

_NUMBERS = (
    "seconds",
    "seconds_p10",
    "seconds_p90",
    "speed",
    "allocated_gib",
    "reserved_gib",
    "resident_gib",
    "tflop_rate",
    "utilisation",
    "power",
)


def compare(first: Path | str, second: Path | str) -> BenchComparison:
    """What ``mssctl bench --json`` printed, twice.

    Raises:
        MssctlError: a file that is no such document (exit 4), or another mode or amount of audio
            per step (exit 2).
    """
    a, b = _read(Path(first)), _read(Path(second))
    for key in ("mode", "audio_seconds"):
        if a[key] != b[key]:
            raise MssctlError(
                f"not the same work: {key} is {a[key]} in {first} and {b[key]} in {second}",
                hint="measure both with the same --mode, preset and --batch",
                exit_code=ExitCode.USAGE,
            )
    numbers = [
        ComparedNumber(key, a[key], b[key], b[key] / a[key])
        for key in _NUMBERS
        if isinstance(a.get(key), float) and isinstance(b.get(key), float) and a[key]
    ]
    settings = {**a["environment"], **b["environment"]}
    different = {
        key: [str(side.get(key)) for side in ({**a, **a["environment"]}, {**b, **b["environment"]})]
        for key in ("preset", "device", *settings)
        if {**a, **a["environment"]}.get(key) != {**b, **b["environment"]}.get(key)
    }
    return BenchComparison(str(first), str(second), a["mode"], numbers, different)


def _read(path: Path) -> dict[str, Any]:
    found = read_json(path).get("data")
    if isinstance(found, dict) and "timings" in found:
        raise MssctlError(f"{path}: a result of mode scan, which already compares its ways")
    if not isinstance(found, dict) or not _is_measurement(found):
        raise MssctlError(
            f"{path}: not what `mssctl bench --json` prints",
            hint="mssctl bench --json > FILE makes one",
        )
    return found


def _is_measurement(found: dict[str, Any]) -> bool:
    numbers = [found.get("audio_seconds"), found.get("seconds")]
    return (
        isinstance(found.get("mode"), str)
        and isinstance(found.get("environment"), dict)
        and all(type(number) in (int, float) for number in numbers)
    )
