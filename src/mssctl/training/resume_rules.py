"""What `resume --set` may change: nothing that would make it another model or another past."""

from mssctl.config.section import leaves
from mssctl.errors import ExitCode, MssctlError
from mssctl.models.run_config import RunConfig


def changes(before: RunConfig, after: RunConfig) -> dict[str, str]:
    """Key -> ``old -> new`` of all that differs.

    Raises:
        MssctlError: something differs that a run cannot change (exit 3).
    """
    old = {key: value for key, value, _ in leaves(before)}
    new = {key: value for key, value, _ in leaves(after)}
    resumable = {key for key, _, facts in (*leaves(before), *leaves(after)) if facts.resumable}
    differing = [key for key in old | new if old.get(key) != new.get(key)]
    refused = [key for key in differing if key not in resumable]
    if refused:
        shown = ", ".join(f"{key} ({old.get(key)} -> {new.get(key)})" for key in refused)
        raise MssctlError(
            f"a run cannot change {shown}: that is another model or other training data",
            hint="start a new run with `mssctl train`; docs/presets.md lists what can change",
            exit_code=ExitCode.ENVIRONMENT,
        )
    batches = [
        config.training.batch_size * config.training.gradient_accumulation_steps
        for config in (before, after)
    ]
    if batches[0] != batches[1]:
        raise MssctlError(
            "a run cannot change training.batch_size x training.gradient_accumulation_steps "
            f"({batches[0]} -> {batches[1]}): the examples of a step would be others",
            hint="change both so that their product stays",
            exit_code=ExitCode.ENVIRONMENT,
        )
    return {key: f"{old.get(key)} -> {new.get(key)}" for key in differing}
