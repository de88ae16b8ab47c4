"""Pull a public model: ask for its license, fetch it, check it, make a model file of it."""

import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock

from mssctl.config.user import models_folder, user_folder
from mssctl.documents import read_yaml
from mssctl.errors import ExitCode, MssctlError, did_you_mean
from mssctl.events import Notice, Reporter
from mssctl.files import sha256, storage_error
from mssctl.hub import registry, state
from mssctl.hub.registry import Entry
from mssctl.hub.sources import Fetched, fetch

Confirm = Callable[[str], bool | None]  # a question -> the answer; None where nobody can be asked


def nobody(_: str) -> None:
    """There is no one to ask."""


def pull(
    name: str,
    *,
    config: Path | None = None,
    accept_license: bool = False,
    offline: bool = False,
    confirm: Confirm = nobody,
    report: Reporter,
) -> Path:
    """Make a public model usable by its name.

    Args:
        name: of the registry, or an address such as ``hf:org/repo@revision/file``.
        config: the YAML file that belongs to it, where its source has none.
        accept_license: use a model whose license is not stated, without being asked.
        offline: take only what is on this machine.
        confirm: asks the user.
        report: receives events.

    Returns:
        The model file.

    Raises:
        MssctlError: no such model, its license is not accepted, it cannot be fetched (exit 3), or
            it is not what was fetched before (exit 4).
    """
    entry = known(name)
    before = state.load().pulled.get(entry.name)
    if before is not None and str(before.get("source", "")).split("@")[0] != _place(entry):
        raise MssctlError(
            f"{entry.name}: a model of that name came from {before.get('source')}",
            hint=f"remove {models_folder() / entry.name}.safetensors and its entry in "
            f"{user_folder() / 'state.json'} first",
            exit_code=ExitCode.USAGE,
        )
    revision = entry.source.revision or (before or {}).get("revision")
    parts = user_folder() / "downloads" / entry.name
    try:
        parts.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(parts.with_suffix(".lock")):
            fetched = fetch(
                entry,
                revision,
                parts,
                agree=lambda stated: _check_license(entry, stated, accept_license, confirm),
                offline=offline,
                report=report,
            )
            hashes = _checked(entry, fetched, before)
            path = _installed(entry, fetched, hashes, config, report)
            shutil.rmtree(parts, ignore_errors=True)
    except OSError as error:
        raise storage_error(user_folder(), error) from None
    _remember(entry, fetched, hashes, first=before is None, report=report)
    return path


def _remember(
    entry: Entry, fetched: Fetched, hashes: dict[str, str], *, first: bool, report: Reporter
) -> None:
    """Record what was pulled, if it is the first time, and a license that was accepted."""
    if first:
        record = {"revision": fetched.revision, "source": str(entry.source), "sha256": hashes}
        state.remember(pulled={entry.name: record})
        at = f"revision {fetched.revision}, " if fetched.revision else ""
        report(
            Notice(
                f"{entry.name}: {at}sha256 {next(iter(hashes.values()))} recorded: later pulls "
                "must match"
            )
        )
    if not (entry.license or fetched.license):
        state.remember(accepted={entry.name: dict.fromkeys(hashes.values(), _today())})


def _place(entry: Entry) -> str:
    """Where a model comes from, whatever the revision."""
    return str(entry.source).split("@")[0]


def _today() -> str:
    return datetime.now(UTC).date().isoformat()


def known(name: str) -> Entry:
    """The entry of a model.

    Raises:
        MssctlError: there is none (exit 3).
    """
    entry = registry.find(name)
    if entry is None:
        raise MssctlError(
            f"no model '{name}'",
            hint=did_you_mean(name, list(registry.entries()))
            or "`mssctl models list` shows what there is; or hf:org/repo[@revision][/file]",
            exit_code=ExitCode.ENVIRONMENT,
        )
    return entry


def _check_license(entry: Entry, stated: str | None, accept: bool, confirm: Confirm) -> None:
    """Ask, before any weights are fetched, about a license that is not stated.

    Args:
        entry: the model.
        stated: the license by the source's own page.
        accept: without being asked.
        confirm: asks the user.

    Raises:
        MssctlError: nobody could be asked, or the answer was no (exit 3).
    """
    if entry.license or stated or accept or state.load().accepted.get(entry.name):
        return
    note = f" ({entry.license_note})" if entry.license_note else ""
    answer = confirm(
        f"{entry.name}: no license is stated for these weights{note}; without one you may have no "
        "right to use them. Use them all the same?"
    )
    if not answer:
        raise MssctlError(
            f"{entry.name}: no license is stated for these weights{note}",
            hint=f"`mssctl models pull {entry.name} --accept-license` uses them all the same; "
            "nothing was fetched",
            exit_code=ExitCode.ENVIRONMENT,
        )


def _checked(entry: Entry, fetched: Fetched, before: dict[str, object] | None) -> dict[str, str]:
    """Full hashes of what was fetched, as they were the first time.

    Raises:
        MssctlError: a file is another one than the registry or the first pull says (exit 4).
    """
    hashes = {}
    for wanted, file in zip(entry.files, fetched.files, strict=True):
        size, found = file.stat().st_size, sha256(file)
        if not wanted.fits(found) or (wanted.size is not None and size != wanted.size):
            _discard(file)
            raise MssctlError(
                f"{entry.name}: {file.name} is not the file that is known: sha256 {found}, "
                f"{size} bytes",
                hint="it was damaged or replaced; nothing of it is used",
            )
        hashes[file.name] = found
    if before is not None and before.get("sha256") != hashes:
        raise MssctlError(
            f"{entry.name}: other files than those that were pulled first: {_words(hashes)}",
            hint=f"if that is meant, remove the model's entry from {user_folder() / 'state.json'}",
        )
    return hashes


def _discard(file: Path) -> None:
    """Remove a wrong file, and the file that a link in the hub's cache leads to."""
    for path in (file.resolve(), file):
        path.unlink(missing_ok=True)


def _words(hashes: dict[str, str]) -> str:
    return ", ".join(f"{name} has sha256 {value}" for name, value in hashes.items())


def _installed(
    entry: Entry, fetched: Fetched, hashes: dict[str, str], config: Path | None, report: Reporter
) -> Path:
    """The model file made of what was fetched; complete, or not there."""
    from mssctl.models.importing import import_files  # noqa: PLC0415 - brings torch

    given = config or fetched.config
    if given is None and entry.config:
        raise MssctlError(
            f"{entry.name}: needs its configuration {entry.config}",
            hint=f"fetch it from {entry.config_known or 'where the weights are'} and name it with "
            "--config",
            exit_code=ExitCode.ENVIRONMENT,
        )
    tree = read_yaml(given, foreign=True) if given else {}
    if entry.stems and "stems" not in tree:
        tree = {**tree, "stems": list(entry.stems)}
    if entry.weights:
        tree = {"bag": [list(row) for row in entry.weights], **tree}
    card = {
        "source": str(entry.source),
        "revision": fetched.revision or "",
        "source_sha256": ", ".join(hashes.values()),
        "license": entry.license or fetched.license or "not stated",
        "license_where": entry.license_where or ("the source's page" if fetched.license else ""),
        "license_note": entry.license_note or "",
        "license_accepted": "" if entry.license or fetched.license else _today(),
    }
    path = models_folder() / f"{entry.name}.safetensors"
    path.parent.mkdir(parents=True, exist_ok=True)
    import_files(
        fetched.files,
        path,
        tree,
        card={key: value for key, value in card.items() if value},
        overwrite=True,
        report=report,
    )
    return path
