"""Which public models there are, and what is known about each.

An entry states what its sources state; the rest is None and shown as unverified.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mssctl.config.user import in_user_folder
from mssctl.documents import read_yaml
from mssctl.errors import ExitCode, MssctlError, shown

OWN = Path(__file__).with_name("registry.yaml")
_HF = re.compile(r"hf:([\w.-]+/[\w.-]+)(?:@([\w.-]+))?(?:/(.+))?")
_PYPI = re.compile(r"pypi:([\w.-]+)==([\w.]+)/(.+)")
_PERMISSIVE = re.compile(
    r"(mit|apache|bsd|cc0|cc[ -]by([ -]\d|$)|isc|unlicense|public domain)", re.IGNORECASE
)


@dataclass(frozen=True)
class RemoteFile:
    """A file of a model. Of a hash that is not known in full, perhaps its head and tail."""

    name: str | None
    size: int | None = None
    sha256: str | None = None
    sha256_head: str = ""
    sha256_tail: str = ""

    def fits(self, sha256: str) -> bool:
        """Whether a file with this hash may be the one."""
        if self.sha256 is not None:
            return sha256 == self.sha256
        return sha256.startswith(self.sha256_head) and sha256.endswith(self.sha256_tail)


@dataclass(frozen=True)
class Source:
    """Where the files are.

    Attributes:
        kind: ``hf`` (the hub), ``url`` (a file by its address), ``pypi`` (members of a wheel), or
            ``bundled``.
        place: repository, address or package; None where it is not known.
        revision: commit or version; None where none is fixed.
        sha256: of the wheel.
        known: in words, where the address is not known.
    """

    kind: str
    place: str | None
    revision: str | None = None
    sha256: str | None = None
    known: str | None = None

    def __str__(self) -> str:
        """In one word, as one writes it on the command line."""
        if self.place is None:
            return f"unverified: {self.known}"
        at = {"hf": "@", "pypi": "==", "url": "@"}[self.kind]
        return f"{self.kind}:{self.place}" + (f"{at}{self.revision}" if self.revision else "")


@dataclass(frozen=True)
class Entry:
    """A public model; see ``registry.yaml``."""

    name: str
    source: Source
    files: tuple[RemoteFile, ...]
    architecture: str | None = None
    weights: tuple[tuple[float, ...], ...] = ()
    config: str | None = None
    config_known: str | None = None
    size: int | None = None
    stems: tuple[str, ...] | None = None
    rate: int | None = None
    quality: str | None = None
    license: str | None = None
    license_where: str | None = None
    license_date: str | None = None
    license_note: str | None = None

    @property
    def verified(self) -> bool:
        """Whether address, revision and all hashes are known in full."""
        pinned = self.source.place and (self.source.revision or self.source.sha256)
        return bool(pinned) and all(file.sha256 for file in self.files)


def is_permissive(license: str) -> bool:  # noqa: A002
    """Whether a stated license asks for credit at most."""
    return bool(_PERMISSIVE.match(license))


def entries() -> dict[str, Entry]:
    """All known models by name; those of the user's own ``registry.yaml`` come first.

    Raises:
        MssctlError: that file is damaged (exit 3).
    """
    known, theirs = _read(OWN), in_user_folder("registry.yaml")
    return {**_read(theirs), **known} if theirs else known


def find(name: str) -> Entry | None:
    """The model of a name, or at an address such as ``hf:org/repo@revision/file``.

    Raises:
        MssctlError: an address of another form (exit 2).
    """
    if match := _HF.fullmatch(name):
        repo, revision, file = match.groups()
        short = Path(file).stem if file else repo.partition("/")[2]
        return Entry(short, Source("hf", repo, revision), (RemoteFile(file),))
    if match := _PYPI.fullmatch(name):
        package, version, file = match.groups()
        source = Source("pypi", package, version)
        return Entry(Path(file).stem, source, (RemoteFile(file),))
    if name.startswith(("hf:", "pypi:")):
        raise MssctlError(
            f"{shown(name)}: not an address of a model",
            hint="expected hf:org/repo[@revision][/file] or pypi:package==version/file",
            exit_code=ExitCode.USAGE,
        )
    return entries().get(name)


def _read(path: Path) -> dict[str, Entry]:
    tree = read_yaml(path)
    found = {}
    for name, facts in tree.items():
        try:
            found[str(name)] = _entry(str(name), dict(facts))
        except (TypeError, ValueError, KeyError, AttributeError) as error:
            raise MssctlError(
                f"{path}: {shown(name)}: not an entry of a model ({error})",
                hint="docs/models.md shows one",
                exit_code=ExitCode.ENVIRONMENT,
            ) from None
    return found


def _entry(name: str, facts: dict[str, Any]) -> Entry:
    if not re.fullmatch(r"[\w.-]{1,100}", name):
        raise ValueError("a name has letters, digits, '.', '_' and '-'")
    where = facts.pop("source")
    source = Source(
        kind=where["kind"],
        place=where.get("repo") or where.get("url") or where.get("package"),
        revision=where.get("revision") or where.get("version"),
        sha256=where.get("sha256"),
        known=where.get("known"),
    )
    if source.kind not in ("hf", "url", "pypi", "bundled"):
        raise ValueError("kind is hf, url or pypi")
    files = tuple(RemoteFile(**file) for file in facts.pop("files"))
    stems = facts.pop("stems", None)
    date = facts.pop("license_date", None)
    weights = tuple(tuple(row) for row in facts.pop("weights", ()))
    return Entry(
        name,
        source,
        files,
        stems=tuple(stems) if stems else None,
        weights=weights,
        license_date=str(date) if date else None,
        **facts,
    )
