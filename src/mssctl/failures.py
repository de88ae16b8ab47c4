"""Turn the exception of one input into a failure in the result; the others continue."""

from mssctl.errors import BUG, ExitCode, MssctlError
from mssctl.results.common import FileFailure


def failure(path: str, error: Exception) -> FileFailure:
    """The failure of the input ``path``."""
    if isinstance(error, MssctlError):
        message = error.message.removeprefix(f"{path}: ")
        return FileFailure(path, message, error.hint, error.exit_code)
    if isinstance(error, OSError):
        return FileFailure(path, error.strerror or str(error), None, ExitCode.ENVIRONMENT)
    if isinstance(error, MemoryError):
        return FileFailure(path, "memory ran out", None, ExitCode.BAD_INPUT)
    return FileFailure(path, f"{type(error).__name__}: {error}", BUG, ExitCode.FAILED)
