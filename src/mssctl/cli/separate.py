"""``mssctl separate``: parse, split the songs, show what was written."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from mssctl.cli.arguments import listed
from mssctl.cli.options import Batch, Device, Dtype, Json, Name, Overlap, Segment
from mssctl.cli.session import session
from mssctl.config import bounds
from mssctl.errors import ExitCode, MssctlError

Songs = Annotated[
    list[str],
    typer.Argument(
        help="Files, folders (walked; hidden files and linked folders are skipped) and patterns.",
        metavar="SONGS...",
        show_default=False,
    ),
]
Out = Annotated[
    Path | None,
    typer.Option("--out", "-o", help="Folder of the outputs [default: separated/{model}]."),
]
Filename = Annotated[
    str,
    typer.Option(
        "--filename",
        help="Names below the folder, from {track} {stem} {ext} {trackext} {model} {dir}.",
        metavar="TEMPLATE",
    ),
]
Shifts = Annotated[
    int,
    typer.Option(
        "--shifts", help="Passes to average, with shifted segments; time grows N-fold.",
        min=bounds.SHIFTS[0], max=bounds.SHIFTS[1], metavar="N",
    ),
]  # fmt: skip
Seed = Annotated[
    int | None,
    typer.Option(
        "--seed",
        help="Random seed for --shifts [default: 0].",
        min=bounds.SEED[0],
        max=bounds.SEED[1],
        metavar="N",
    ),
]
Stems = Annotated[
    str | None,
    typer.Option("--stems", help="Write only these, separated by commas.", metavar="A,B"),
]
TwoStems = Annotated[
    str | None,
    typer.Option("--two-stems", help="Write this stem and the rest (no_STEM).", metavar="STEM"),
]
OtherMethod = Annotated[
    Literal["add", "minus", "none"] | None,
    typer.Option(
        "--other-method",
        help="The rest: sum of the other stems (no_STEM), mixture less the stem (minus_STEM), "
        "or not written [default: add].",
    ),
]
Format = Annotated[
    Literal["wav", "flac", "mp3"] | None,
    typer.Option("--format", help="Of the files [default: wav]."),
]
Flac = Annotated[bool, typer.Option("--flac", help="Same as --format flac.")]
Mp3 = Annotated[bool, typer.Option("--mp3", help="Same as --format mp3 (320 kbit/s).")]
BitDepth = Annotated[
    Literal["auto", "16", "24", "float32"] | None,
    typer.Option("--bit-depth", help="auto keeps the input's, 16 at least [default: auto]."),
]
Int24 = Annotated[bool, typer.Option("--int24", help="Same as --bit-depth 24.")]
Float32 = Annotated[bool, typer.Option("--float32", help="Same as --bit-depth float32.")]
Clip = Annotated[
    Literal["rescale", "clamp", "none"] | None,
    typer.Option(
        "--clip-mode",
        help="Beyond full scale: one gain for all stems, or cut; none cuts integers only "
        "[default: rescale, none for float32].",
    ),
]
Keep = Annotated[
    bool | None,
    typer.Option(
        "--skip-existing/--overwrite",
        help="Outputs that exist already; without either they are an error.",
        show_default=False,
    ),
]
FailFast = Annotated[bool, typer.Option("--fail-fast", help="Stop at the first failure.")]

_EXISTING: dict[bool | None, Literal["error", "skip", "overwrite"]] = {
    None: "error",
    True: "skip",
    False: "overwrite",
}


def command(
    songs: Songs,
    name: Name = "starter",
    out: Out = None,
    filename: Filename = "{track}/{stem}.{ext}",
    device: Device = "auto",
    dtype: Dtype = "auto",
    segment: Segment = None,
    overlap: Overlap = None,
    batch: Batch = None,
    shifts: Shifts = 1,
    seed: Seed = None,
    stems: Stems = None,
    two_stems: TwoStems = None,
    other_method: OtherMethod = None,
    format: Format = None,  # noqa: A002 (the flag's name)
    flac: Flac = False,
    mp3: Mp3 = False,
    bit_depth: BitDepth = None,
    int24: Int24 = False,
    float32: Float32 = False,
    clip_mode: Clip = None,
    skip_existing: Keep = None,
    fail_fast: FailFast = False,
    json: Json = False,
) -> None:
    """Split SONGS into stems.

    The stems have each song's sample rate, channels and length, and add up to it.
    """
    with session(json=json) as ui:
        _at_most_one({"--format": format, "--flac": flac, "--mp3": mp3})
        _at_most_one({"--bit-depth": bit_depth, "--int24": int24, "--float32": float32})

        from mssctl.api.separate import separate

        ui.show(
            separate(
                songs,
                name=name,
                out=out,
                filename=filename,
                device=device,
                dtype=dtype,
                segment=segment,
                overlap=overlap,
                batch=batch,
                shifts=shifts,
                seed=seed,
                stems=None if stems is None else listed("--stems", stems),
                two_stems=two_stems,
                other_method=other_method,
                format="flac" if flac else "mp3" if mp3 else format or "wav",
                bit_depth="24" if int24 else "float32" if float32 else bit_depth or "auto",
                clip_mode=clip_mode,
                existing=_EXISTING[skip_existing],
                fail_fast=fail_fast,
                report=ui.report,
            )
        )


def _at_most_one(flags: dict[str, object]) -> None:
    """Refuse flags that say the same thing twice.

    Raises:
        MssctlError: more than one was given (exit 2).
    """
    given = [flag for flag, value in flags.items() if value]
    if len(given) > 1:
        raise MssctlError(f"{' and '.join(given)} exclude each other", exit_code=ExitCode.USAGE)
