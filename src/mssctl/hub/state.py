"""What this program remembers for a user: models that were pulled, licenses, the default model."""

import json
from dataclasses import asdict, dataclass, field
from typing import Any

from filelock import FileLock

from mssctl.config.user import in_user_folder, user_folder
from mssctl.documents import read_json
from mssctl.errors import ExitCode, MssctlError
from mssctl.files import storage_error, write_whole

_NAME = "state.json"


@dataclass
class State:
    """The content of ``state.json``.

    Attributes:
        default: name or path of the model that ``separate`` takes; None for the bundled one.
        pulled: model -> revision and, by file, the full sha256, as first pulled.
        accepted: model -> sha256 of files whose unstated license the user has accepted -> when.
    """

    default: str | None = None
    pulled: dict[str, dict[str, Any]] = field(default_factory=dict)
    accepted: dict[str, dict[str, str]] = field(default_factory=dict)


def load() -> State:
    """What is remembered.

    Raises:
        MssctlError: the file is damaged (exit 3).
    """
    path = in_user_folder(_NAME)
    if path is None:
        return State()
    try:
        content: dict[str, Any] = {"default": None, "pulled": {}, "accepted": {}}
        content |= read_json(path)
        kinds = (str | None, dict, dict)
        if not all(map(isinstance, content.values(), kinds)):
            raise TypeError
        state = State(**content)
    except (TypeError, MssctlError):
        raise MssctlError(
            f"{path}: damaged",
            hint="remove it; models are then checked against the registry alone",
            exit_code=ExitCode.ENVIRONMENT,
        ) from None
    return state


def remember(**changes: Any) -> None:
    """Set parts of the state; entries of tables are added.

    Raises:
        MssctlError: it cannot be written (exit 3).
    """
    path = user_folder() / _NAME
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_suffix(".lock")):
            state = asdict(load())
            for name, value in changes.items():
                state[name] = {**state[name], **value} if isinstance(value, dict) else value
            write_whole(path, json.dumps(state, indent=1))
    except OSError as error:
        raise storage_error(path, error) from None


def default_model() -> str:
    """The model that is taken where none is named: the user's choice, or the bundled one."""
    return load().default or "starter"


def installed() -> list[str]:
    """Names of the models that were pulled, sorted."""
    folder = in_user_folder("models")
    return sorted(path.stem for path in folder.glob("*.safetensors")) if folder else []
