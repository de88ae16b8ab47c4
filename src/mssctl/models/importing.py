"""Model files made from weights of other programs."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mssctl.errors import MssctlError
from mssctl.events import Notice, Reporter
from mssctl.models import official, weights
from mssctl.models.packages import bag_of, stated
from mssctl.models.wrappers import find_weights, joined


def import_files(
    files: Sequence[Path],
    out: Path,
    config: Mapping[str, Any],
    *,
    layout: str = "auto",
    key: str | None = None,
    card: Mapping[str, str],
    overwrite: bool = False,
    report: Reporter,
) -> None:
    """Read checkpoints, translate their keys, write one model file.

    Args:
        files: the parts of one model, in order; mostly one.
        out: the model file.
        config: the configuration that belongs to them, in its program's own terms; ``bag``: the
            weights of each model's stems.
        layout: of the keys.
        key: place of the weights in a file that has several.
        card: entries of the model's card, beside where it comes from.
        overwrite: replace an existing file.
        report: receives what was chosen and what was left out.

    Raises:
        MssctlError: no such layout (exit 2), or files that follow none (exit 4).
    """
    layouts = official.chosen(layout)
    contents = [official.read_tree(file) for file in files]
    try:
        parts = [find_weights(content, layouts, key) for content in contents]
        found, notes = joined(parts, layouts[parts[0][0].layout].parts)
        own = bag_of([stated(content) for content in contents])
        separator, run = official.load_with_config(found.state, found.layout, {**own, **config})
    except MssctlError as error:
        where = files[0] if len(files) == 1 else files[0].parent
        raise MssctlError(f"{where}: {error.message}", error.hint, error.exit_code) from None
    if not config and (assumed := layouts[found.layout].assumed):
        notes.append(f"assumed without --config: {assumed}, stems {', '.join(separator.stems)}")
    for note in notes:
        report(Notice(f"{files[0].name}: {note}"))
    own = {"imported_from": ", ".join(file.name for file in files), "layout": found.layout}
    place = {"weights": found.place} if found.place else {}
    weights.save(out, separator, run, {**own, **place, **card}, overwrite=overwrite)
