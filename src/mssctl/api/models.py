"""Which models there are, what is known about one, and model files made from other files."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from mssctl.documents import read_yaml
from mssctl.errors import ExitCode, MssctlError
from mssctl.events import Reporter, silent
from mssctl.files import check_new
from mssctl.hub import registry, state
from mssctl.hub.pull import Confirm, nobody, pull
from mssctl.hub.registry import Entry
from mssctl.models import official, onnx, weights
from mssctl.models.importing import import_files
from mssctl.models.packages import is_bag, read_bag
from mssctl.models.weights import bundled, describe
from mssctl.options.base import refuse
from mssctl.options.models import ExportOptions, ImportOptions, ListOptions, PullOptions
from mssctl.results.models import DefaultModel, ModelEntry, ModelList, OnnxModel


def list_models(options: ListOptions | None = None, **changes: Any) -> ModelList:
    """The models at hand by name, then those that can be pulled.

    Args:
        options: which of them; all if None.
        changes: fields of `ListOptions`, instead of those in ``options``.

    Raises:
        MssctlError: the user's registry is damaged (exit 3).
    """
    given = ListOptions.given(options, changes)
    names = [*sorted(bundled()), *state.installed()]
    known = registry.entries()
    found = [_described(name, known) for name in names]
    found += [_available(entry) for entry in known.values() if entry.name not in names]
    shown = [
        entry
        for entry in found
        if set(given.stems or ()) <= set(entry.stems)
        and (given.license is None or registry.is_permissive(entry.license))
    ]
    return ModelList(shown, state.default_model())


def model_info(name: str) -> ModelEntry:
    """What the weights file of a model says about itself, or the registry about one to pull.

    Args:
        name: of the list, or path of a ``.safetensors`` file.

    Raises:
        MssctlError: no such model (exit 3), damaged file (exit 4).
    """
    entry = registry.find(name)
    if entry is not None and entry.name not in [*bundled(), *state.installed()]:
        return _available(entry)
    return _described(name, registry.entries())


def pull_model(
    name: str,
    options: PullOptions | None = None,
    *,
    confirm: Confirm = nobody,
    report: Reporter = silent,
    **changes: Any,
) -> ModelEntry:
    """Fetch a public model, check it, and make it usable by its name.

    Args:
        name: of the registry, or ``hf:org/repo[@revision][/file]``.
        options: how; the defaults if None.
        confirm: asks the user about a license that is not stated.
        report: receives events.
        changes: fields of `PullOptions`, instead of those in ``options``.

    Raises:
        MssctlError: see `mssctl.hub.pull.pull`.
    """
    given = PullOptions.given(options, changes)
    path = pull(
        name,
        config=Path(given.config).expanduser() if given.config else None,
        accept_license=given.accept_license,
        offline=given.offline,
        confirm=confirm,
        report=report,
    )
    return describe(str(path))


def use_model(name: str) -> DefaultModel:
    """Make a model the one that ``separate`` takes where none is named.

    Args:
        name: bundled or pulled model, or path of a ``.safetensors`` file.

    Raises:
        MssctlError: no such model here (exit 3).
    """
    if registry.find(name) and name not in state.installed():
        raise MssctlError(
            f"{name} is not here yet",
            hint=f"`mssctl models pull {name}` fetches it",
            exit_code=ExitCode.ENVIRONMENT,
        )
    found = describe(name)
    chosen = name if name in [*bundled(), *state.installed()] else str(Path(found.path or name))
    state.remember(default=str(Path(chosen).resolve()) if "/" in chosen else chosen)
    return DefaultModel(found.name, found.license)


def _described(name: str, known: Mapping[str, Entry]) -> ModelEntry:
    """A model that is here, with what the registry adds."""
    quality = known[name].quality if name in known else None
    return replace(describe(name), quality=quality)


def _available(entry: Entry) -> ModelEntry:
    """What the registry says about a model that is not here."""
    note = f" ({entry.license_note})" if entry.license_note else ""
    return ModelEntry(
        name=entry.name,
        path=None,
        architecture=entry.architecture,
        stems=list(entry.stems or ()),
        sample_rate=entry.rate,
        channels=None,
        parameters=None,
        license=entry.license or f"not stated{note}",
        sha256=None,
        state="available",
        verified=entry.verified,
        source=str(entry.source),
        size=entry.size,
        quality=entry.quality,
    )


def export_model(
    name: str, out: str | Path, options: ExportOptions | None = None, **changes: Any
) -> ModelEntry | OnnxModel:
    """Write a copy of a model, smaller if wanted, with entries of its card set; or its graph.

    Args:
        name: bundled model, or path of a ``.safetensors`` file, such as a run's best.
        out: the file to write; must not exist.
        options: how it is stored, and the entries; the defaults if None.
        changes: fields of `ExportOptions`, instead of those in ``options``.

    Raises:
        MssctlError: no such model, ``out`` exists or cannot be written, a malformed entry; see
            also `mssctl.models.onnx.export`.
    """
    given = ExportOptions.given(options, changes)
    if given.onnx:
        refuse(given, "`onnx`", ["half"])
        onnx.check_packages()
    else:
        refuse(given, "a .safetensors file", ["segment"])
    path = _new_model_file(out, ".onnx" if given.onnx else ".safetensors")
    entries = [entry.partition("=") for entry in given.card]
    for key, equals, value in entries:
        if not (key and equals and value):
            raise MssctlError(
                f"`card` {key}{equals}{value}: expected key=value", exit_code=ExitCode.USAGE
            )
    model = weights.load(name, torch.device("cpu"))
    card = {**model.card, **{key: value for key, _, value in entries}}
    if given.onnx:
        return onnx.export(path, model, card, given.segment)
    dtype = torch.float16 if given.half else None
    weights.save(path, model.separator, model.config, card, dtype)
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
            `mssctl.models.wrappers`; a folder where a model is several files; or the YAML file of a
            bag of models with their files beside it. Nothing in them is run.
        out: the file to write; must not exist.
        options: layout, YAML file and place of the weights. Without the file, sizes come from the
            tensors where they show them, and the rest are the published ones.
        report: receives what was chosen and what was left out.
        changes: fields of `ImportOptions`, instead of those in ``options``.

    Raises:
        MssctlError: no such file or layout (exit 3, 2); a missing or surplus key, a tensor of
            another shape, or a file with more than tensors (exit 4).
    """
    given = ImportOptions.given(options, changes)
    path, source = _new_model_file(out), Path(file).expanduser()
    tree = read_yaml(Path(given.config).expanduser(), foreign=True) if given.config else {}
    files, rows = read_bag(source) if is_bag(source) else (official.files_of(source), [])
    tree = {"bag": rows, **tree} if rows else tree
    import_files(files, path, tree, layout=given.layout, key=given.key, card={}, report=report)
    return describe(str(path))


def _new_model_file(out: str | Path, suffix: str = ".safetensors") -> Path:
    """The path of a model file to write.

    Raises:
        MssctlError: another ending, the file exists (exit 2), or it cannot be written (exit 3).
    """
    path = Path(out).expanduser()
    if path.suffix != suffix:
        raise MssctlError(f"{path}: the file must end in {suffix}", exit_code=ExitCode.USAGE)
    check_new(path)
    return path
