"""``mssctl preset import``: configurations of other training programs as presets."""

from pathlib import Path
from typing import Any

from mssctl.documents import dump_yaml, read_yaml
from mssctl.errors import ExitCode, MssctlError
from mssctl.files import check_new, storage_error, write_new
from mssctl.models.foreign import flatten, translate
from mssctl.models.registry import ARCHITECTURES
from mssctl.models.run_config import parse
from mssctl.options.presets import ImportPresetOptions
from mssctl.results.presets import ImportedPreset


def import_preset(
    file: str | Path,
    out: str | Path,
    options: ImportPresetOptions | None = None,
    **changes: Any,
) -> ImportedPreset:
    """Translate a YAML file of another training program into a preset.

    Args:
        file: its configuration.
        out: the preset to write; must not exist.
        options: what to change on the way; nothing if None.
        changes: fields of `ImportPresetOptions`, instead of those in ``options``.

    Returns:
        Every key of the file: what it became, or why it has no counterpart.

    Raises:
        MssctlError: no file of a known program, values that no preset accepts, or ``out`` exists.
    """
    given = ImportPresetOptions.given(options, changes)
    source, path = Path(file).expanduser(), Path(out).expanduser()
    if path.suffix not in (".yaml", ".yml"):
        raise MssctlError(f"{path}: a preset ends in .yaml", exit_code=ExitCode.USAGE)
    check_new(path)
    tree = read_yaml(source, foreign=True)
    flat = flatten(tree)
    programs = [program for one in ARCHITECTURES.values() for program in one.foreign_presets()]
    program = next((one for one in programs if one.recognizes(flat)), None)
    if program is None:
        raise MssctlError(
            f"{source}: a configuration of no training program that is known here",
            hint="docs/models.md lists the known ones",
        )
    found = translate(tree, program)
    if given.bands:
        if not program.bands:
            raise MssctlError("`bands` does nothing: the model has bands", exit_code=ExitCode.USAGE)
        found.ours |= program.bands
    ours = {"description": f"imported from {source.name}", **found.tree}
    config = parse(ours, str(source))
    try:
        write_new(path, dump_yaml(ours))
    except OSError as error:
        raise storage_error(path, error) from None
    return ImportedPreset(str(path), config.model.name, found.carried, found.left_out)
