"""Which stem of a model a file belongs to, by the names that data sets use."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

from mssctl.data.names import MIXTURE, fold, stem_of
from mssctl.documents import read_yaml
from mssctl.errors import ExitCode, MssctlError, did_you_mean

NOTHING = "-"  # in a table: leave the file out
BLEED = "+bleed"  # after the name of a stem whose recording holds other instruments, too

_REST = ("other", "instrumental", "accompaniment")

# Name in a data set -> stems of a model that it can belong to, the closest first. So a model with
# four stems gets the piano in `other`, and one with five or six gets it apart.
_KEYS = ("keys", "piano", *_REST)
_CLOSEST = {
    # MoisesDB: the names of its top stems (https://github.com/moises-ai/moises-db)
    "vocals": ("vocals",),
    "bass": ("bass", *_REST),
    "drums": ("drums", *_REST),
    "percussion": ("percussion", "drums", *_REST),
    "guitar": ("guitar", *_REST),
    "piano": ("piano", "keys", *_REST),
    "other_keys": ("other_keys", *_KEYS),
    "other_plucked": ("other_plucked", *_REST),
    "bowed_strings": ("bowed_strings", "strings", *_REST),
    "wind": ("wind", *_REST),
    "other": _REST,
    # Slakh2100: the classes of its instruments (inst_class)
    "organ": ("organ", "keys", *_REST),
    "chromatic_percussion": ("chromatic_percussion", *_REST),
    "strings": ("strings", "bowed_strings", *_REST),
    "strings_(continued)": ("strings", "bowed_strings", *_REST),
    "synth_lead": ("synth_lead", "synth", *_REST),
    "synth_pad": ("synth_pad", "synth", *_REST),
    "synth_effects": ("synth_effects", "synth", *_REST),
    "ensemble": ("ensemble", "strings", *_REST),
    "brass": ("brass", "wind", *_REST),
    "reed": ("reed", "wind", *_REST),
    "pipe": ("pipe", "wind", *_REST),
    "ethnic": ("ethnic", *_REST),
    "percussive": ("percussive", "percussion", *_REST),
    "sound_effects": ("sound_effects", *_REST),
}


@dataclass(frozen=True)
class StemNames:
    """The stems of a model, and a table of the names that files have for them.

    Attributes:
        stems: of the model.
        table: pattern with ``*`` and ``?`` -> stem, ``mixture`` or ``-``; the first that fits
            counts, before the names that data sets use.

    Raises:
        MssctlError: the table names a stem that the model lacks (exit 2).
    """

    stems: tuple[str, ...]
    table: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        known = (*self.stems, MIXTURE, NOTHING)
        for name, stem in self.table.items():
            if stem not in known:
                raise MssctlError(
                    f"`stem_map` {name}={stem}: the model has no stem '{stem}'",
                    hint=did_you_mean(stem, list(known)),
                    exit_code=ExitCode.USAGE,
                )

    def by_table(self, names: Iterable[str]) -> str | None:
        """What the table has for the first of ``names`` that it knows; None if it knows none."""
        for name in names:
            for pattern, stem in self.table.items():
                if fnmatchcase(fold(name), fold(pattern)):
                    return stem
        return None

    def of(self, name: str, *, bleed: bool = False) -> str | None:
        """The stem for a name of a data set: by the table, its own, or the closest; ``-`` for none.

        Returns:
            None if the name is unknown.
        """
        found = self.by_table([f"{name}{BLEED}", name] if bleed else [name])
        if found is None:
            found = stem_of(name, self.stems)
        closest = _CLOSEST.get(fold(name).replace(" ", "_"))
        if found is None and closest:
            found = next((stem for stem in closest if stem in self.stems), NOTHING)
        return found

    def unknown(self, where: Path, name: str) -> MssctlError:
        """The error for a name that means no stem."""
        return MssctlError(
            f"{where}: unknown stem '{name}'",
            hint=f"give it one with `stem_map` '{name}={self.stems[-1]}', or leave it out with "
            f"'{name}={NOTHING}'",
        )


def parse_stem_map(items: Sequence[str | Path]) -> dict[str, str]:
    """Read a table of names: each item is ``NAME=STEM``, or a YAML file of ``NAME: STEM``.

    Raises:
        MssctlError: neither of them (exit 2), or a file that cannot be read.
    """
    table: dict[str, str] = {}
    for item in items:
        name, equals, stem = str(item).partition("=")
        if equals:
            found: object = {name.strip(): stem.strip()}
        else:
            found = read_yaml(Path(item).expanduser())
        whole = (
            isinstance(found, dict)
            and found
            and all(isinstance(text, str) and text for pair in found.items() for text in pair)
        )
        if not whole or not isinstance(found, dict):
            raise MssctlError(
                f"`stem_map` {item}: not a table of names",
                hint="write NAME=STEM, or a YAML file with a line NAME: STEM for each name; '-' "
                "in quotes leaves files out",
                exit_code=ExitCode.USAGE,
            )
        table |= found
    return table
