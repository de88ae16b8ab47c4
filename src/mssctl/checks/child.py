"""The process that checks run in: ``python -m mssctl.checks.child SETTINGS CHECK...``.

Each CHECK is ``module:function``. One line of JSON on stdout says that a check begins, one more
what it found. Whatever else a check prints goes to stderr, also from C code.
"""

import json
import os
import sys
import traceback
from dataclasses import asdict
from importlib import import_module

from mssctl.checks.findings import crashed, failed, first_line
from mssctl.documents import parse_json
from mssctl.errors import MssctlError
from mssctl.options.doctor import DoctorOptions
from mssctl.results.doctor import Finding

REPORT = "please report this with `mssctl doctor -v`; the other checks do not depend on it"


def look(check: str, settings: DoctorOptions) -> list[Finding]:
    """Run one check; an exception is a finding like any other."""
    module, _, function = check.partition(":")
    try:
        return list(getattr(import_module(module), function)(settings))
    except MssctlError as error:  # a preset that cannot be read, say: its message is the finding
        return [failed(function.replace("_", " "), error.message, error.hint or REPORT)]
    except OSError as error:
        where = f"{os.fsdecode(error.filename)}: " if error.filename else ""
        summary = f"{where}{error.strerror or error}"
        return [failed(function.replace("_", " "), summary, "change its permissions, or the path")]
    except Exception as error:  # noqa: BLE001 (shown in full: a broken check is one line)
        lines = traceback.format_exc().splitlines()
        return [crashed(function.replace("_", " "), first_line(error), REPORT, lines)]


def main(arguments: list[str]) -> None:
    """Run the checks one after the other."""
    settings = DoctorOptions(**parse_json(arguments[0], "settings"))
    with os.fdopen(os.dup(1), "w", encoding="ascii") as out:
        os.dup2(2, 1)
        for check in arguments[1:]:
            print(json.dumps({"begin": check}), file=out, flush=True)
            found = [asdict(finding) for finding in look(check, settings)]
            print(json.dumps({"check": check, "findings": found}), file=out, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
    sys.stdout.flush()
    # Libraries' clean-up at exit is not what is checked, and has been known to hang.
    os._exit(0)
