"""Which models there are, what is known about one, and model files made from other files."""

from pathlib import Path
from typing import Any

import torch

from mssctl.documents import read_yaml
from mssctl.errors import ExitCode, MssctlError
from mssctl.events import Notice, Reporter, silent
from mssctl.files import check_new
from mssctl.models import official, weights
from mssctl.models.official import read_tree
from mssctl.models.packages import bag_of, is_bag, joined, read_bag, stated
from mssctl.models.weights import bundled, describe
from mssctl.models.wrappers import find_weights
from mssctl.options.models import ExportOptions, ImportOptions
from mssctl.results.models import ModelEntry, ModelList


def list_models() -> ModelList:
    """The models that come with mssctl, by name."""
    return ModelList([describe(name) for name in sorted(bundled())])


def model_info(name: str) -> ModelEntry:
    """What the weights file of a model says about itself.

    Args:
        name: bundled model, or path of a ``.safetensors`` file.

    Raises:
        MssctlError: no such model (exit 3), damaged file (exit 4).
    """
    return describe(name)


def export_model(
    name: str, out: str | Path, options: ExportOptions | None = None, **changes: Any
) -> ModelEntry:
    """Write a copy of a model, smaller if wanted, with entries of its card set.

    Args:
        name: bundled model, or path of a ``.safetensors`` file, such as a run's best.
        out: the file to write; must not exist.
        options: how it is stored, and the entries; the defaults if None.
        changes: fields of `ExportOptions`, instead of those in ``options``.

    Raises:
        MssctlError: no such model, ``out`` exists or cannot be written, a malformed entry.
    """
    path = _new_model_file(out)
    given = ExportOptions.given(options, changes)
    entries = [entry.partition("=") for entry in given.card]
    for key, equals, value in entries:
        if not (key and equals and value):
            raise MssctlError(
                f"`card` {key}{equals}{value}: expected key=value", exit_code=ExitCode.USAGE
            )
    model = weights.load(name, torch.device("cpu"))
    weights.save(
        path,
        model.separator,
        model.config,
        {**model.card, **{key: value for key, _, value in entries}},
        torch.float16 if given.half else None,
    )
    return describe(str(path))


def import_model(
    file: str | Path,
    out: str | Path,
    options: ImportOptions | None = None,
    *,
    report: Reporter = silent,
    **changes: Any,
) -> ModelEntry:
    """Turn weights of an official implementation into a model file.

    Args:
        file: a checkpoint: a state dict, bare or as training programs wrap it, see
            `mssctl.models.wrappers`, or the YAML file of a bag of models with their files beside
            it. Nothing in them is run.
        out: the file to write; must not exist.
        options: layout, YAML file and place of the weights. Without the file, BSMamba2's sizes
            come from the tensors, and its hop length and rate are the published ones.
        report: receives what was chosen and what was left out.
        changes: fields of `ImportOptions`, instead of those in ``options``.

    Raises:
        MssctlError: no such file or layout (exit 3, 2); a missing or surplus key, a tensor of
            another shape, or a file with more than tensors (exit 4).
    """
    given = ImportOptions.given(options, changes)
    path, source = _new_model_file(out), Path(file).expanduser()
    tree = read_yaml(Path(given.config).expanduser(), foreign=True) if given.config else {}
    layouts = official.chosen(given.layout)
    files, rows = read_bag(source) if is_bag(source) else ([source], [])
    contents = [read_tree(path) for path in files]
    try:
        each = [find_weights(content, layouts, given.key) for content in contents]
        found, notes = joined([weights for weights, _ in each]), each[0][1]
        own = bag_of([stated(content) for content in contents], rows)
        separator, run = official.load_with_config(found.state, found.layout, {**own, **tree})
    except MssctlError as error:
        raise MssctlError(f"{source}: {error.message}", error.hint, error.exit_code) from None
    for note in notes:
        report(Notice(f"{source.name}: {note}"))
    card = {"imported_from": source.name, "layout": found.layout}
    weights.save(path, separator, run, card | ({"weights": found.place} if found.place else {}))
    return describe(str(path))


def _new_model_file(out: str | Path) -> Path:
    """The path of a model file to write.

    Raises:
        MssctlError: another ending, the file exists (exit 2), or it cannot be written (exit 3).
    """
    path = Path(out).expanduser()
    if path.suffix != ".safetensors":
        raise MssctlError(f"{path}: a model file ends in .safetensors", exit_code=ExitCode.USAGE)
    check_new(path)
    return path
