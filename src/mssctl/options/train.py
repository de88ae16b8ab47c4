"""The options of ``mssctl train`` and ``mssctl resume``."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from mssctl.options.base import PAIR, Options, option
from mssctl.options.separate import device_option

Layout = Literal[
    "auto",
    "musdb18",
    "musdb18hq",
    "stems",
    "samples",
    "moisesdb",
    "slakh",
    "labelnoise",
    "mapped",
    "csv",
]
Paths = str | Path | Sequence[str | Path]


def overrides_option() -> Any:
    """Changes of a preset."""
    return option(
        (), "--set", help="Override one preset key; may be repeated.", metavar=PAIR, repeatable=True
    )


def layout_option() -> Any:
    """How songs lie in folders."""
    return option("auto", "--layout", help="Layout of the folders.")


def stem_map_option() -> Any:
    """Names of files or of a data set -> stems."""
    return option(
        (),
        "--stem-map",
        help="Stem for a name in the data set, or a YAML file of them; repeatable.",
        metavar="NAME=STEM|FILE",
        repeatable=True,
    )


def force_option() -> Any:
    """Whether a prediction of too little memory stops the start."""
    return option(False, "--force", help="Start even if it will not fit the GPU's memory.")


@dataclass(frozen=True, kw_only=True)
class TrainOptions(Options):
    """What `mssctl.train` trains on, where and how."""

    data: Paths = option(
        (),
        "--data",
        help="Folder or CSV of songs; repeatable; else $MUSDB_PATH.",
        metavar="PATH",
        repeatable=True,
    )
    layout: Layout = layout_option()
    stem_map: Sequence[str | Path] = stem_map_option()
    valid: str | Path | None = option(
        None, "--valid", help="Folder of validation songs, never trained on.", metavar="PATH"
    )
    out: str | Path | None = option(
        None, "--out", "-o", help="Folder of the run; a new one if left out.", metavar="RUN"
    )
    init: str | None = option(
        None, "--init", help="Start from these weights: a model's name or file.", metavar="MODEL"
    )
    init_prefix: Sequence[str] = option(
        (),
        "--init-prefix",
        help="Take only weights whose names start so; repeatable.",
        metavar="PREFIX",
        repeatable=True,
    )
    freeze: Sequence[str] = option(
        (),
        "--freeze",
        help="Do not train weights whose names start so; repeatable.",
        metavar="PREFIX",
        repeatable=True,
    )
    overrides: Sequence[str] = overrides_option()
    device: str = device_option()
    force: bool = force_option()
    dry_run: bool = option(False, "--dry-run", help="Do one step on the real data, write nothing.")


@dataclass(frozen=True, kw_only=True)
class ResumeOptions(Options):
    """What `mssctl.resume` changes about a run."""

    data: Sequence[str | Path] = option(
        (),
        "--data",
        help="New path of a moved data folder; once for each, in order.",
        metavar="PATH",
        repeatable=True,
    )
    valid: str | Path | None = option(
        None, "--valid", help="New path of moved validation songs.", metavar="PATH"
    )
    overrides: Sequence[str] = overrides_option()
    device: str = device_option()
    force: bool = force_option()
