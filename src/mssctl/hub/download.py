"""Gets one file by its address; a transfer that broke off is continued."""

import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

from mssctl.errors import ExitCode, MssctlError
from mssctl.events import Progress, Reporter

LARGEST = 8 << 30  # bytes of a file
_CHUNK = 1 << 20
_TIMEOUT = 30  # seconds without an answer
_LOOPBACK = ("127.0.0.1", "::1", "localhost")


def download(url: str, path: Path, report: Reporter) -> None:
    """Get one file; what came of an earlier try is kept and continued.

    Raises:
        MssctlError: not https (of another machine), not there, too large, or broken off (exit 3).
    """
    parts = urlsplit(url)
    if parts.scheme != "https" and parts.hostname not in _LOOPBACK:
        raise MssctlError(f"{url}: only https", exit_code=ExitCode.USAGE)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    done = part.stat().st_size if part.exists() else 0
    headers = {"Range": f"bytes={done}-"} if done else {}
    request = urllib.request.Request(url, headers=headers)  # noqa: S310 (checked above)
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT) as answer:  # noqa: S310
            if answer.status != 206:
                done = 0
            total = done + int(answer.headers.get("Content-Length") or 0)
            if total > LARGEST:
                raise MssctlError(f"{url}: {total} bytes are more than a model has")
            with part.open("ab" if done else "wb") as file:
                while chunk := answer.read(_CHUNK):
                    file.write(chunk)
                    done += len(chunk)
                    report(Progress(path.name, done / 1e6, max(total, done) / 1e6, "MB"))
    except urllib.error.HTTPError as error:
        if error.code == 416 and done:  # all of it was there
            part.replace(path)
            return
        raise _broken(url, f"{error.code} {error.reason}") from None
    except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
        raise _broken(url, str(getattr(error, "reason", error))) from None
    if done < total:
        raise _broken(url, f"{done} of {total} bytes came")
    part.replace(path)


def _broken(url: str, why: str) -> MssctlError:
    return MssctlError(
        f"{url}: cannot be fetched: {why[:200]}",
        hint="try again; what came is kept",
        exit_code=ExitCode.ENVIRONMENT,
    )
