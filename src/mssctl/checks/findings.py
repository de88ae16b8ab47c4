"""Findings in few words."""

from collections.abc import Iterable

from mssctl.hardware.machine import GIB
from mssctl.options.doctor import DoctorOptions
from mssctl.results.doctor import Finding, State


def ok(name: str, summary: str, details: Iterable[str] = ()) -> Finding:
    """All is well."""
    return Finding(name, "ok", summary, None, list(details))


def note(
    name: str,
    summary: str,
    remedy: str,
    details: Iterable[str] = (),
    *,
    fix: str | None = None,
) -> Finding:
    """Good to know."""
    return Finding(name, "note", summary, remedy, list(details), fix=fix)


def warning(
    name: str,
    summary: str,
    remedy: str,
    details: Iterable[str] = (),
    *,
    fix: str | None = None,
) -> Finding:
    """Something will be slow, or may go wrong."""
    return Finding(name, "warning", summary, remedy, list(details), fix=fix)


def failed(
    name: str,
    summary: str,
    remedy: str,
    details: Iterable[str] = (),
    *,
    fix: str | None = None,
) -> Finding:
    """Something will not work."""
    return Finding(name, "failed", summary, remedy, list(details), fix=fix)


def crashed(name: str, summary: str, remedy: str, details: Iterable[str] = ()) -> Finding:
    """The check gave no answer."""
    return Finding(name, "crashed", summary, remedy, list(details))


def needs_gpu(options: DoctorOptions, name: str, summary: str, remedy: str) -> Finding:
    """No GPU: a failure where one is required, else a note."""
    state: State = "failed" if options.require_gpu else "note"
    return Finding(name, state, summary, remedy)


def first_line(error: BaseException) -> str:
    """An exception in one line."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def gib(size: float) -> str:
    """Bytes as GiB."""
    return f"{size / GIB:.1f} GiB"
