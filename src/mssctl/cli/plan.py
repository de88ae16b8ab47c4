"""``mssctl plan``: how much memory a run needs, and what fits."""

from typing import Annotated, Literal

import typer

from mssctl.cli.command import command
from mssctl.cli.render import aligned
from mssctl.cli.session import Session
from mssctl.errors import ExitCode, MssctlError
from mssctl.options.plan import PlanOptions
from mssctl.results.plan import (
    MemoryShare,
    PlanComparison,
    PlannedRun,
    PlanResult,
    PlanTable,
    PlanVerification,
    TrafficResult,
)

Preset = Annotated[
    str | None,
    typer.Argument(
        help="Name of a preset, or path of a .yaml file; all presets if left out.",
        metavar="[PRESET]",
    ),
]
Compare = Annotated[bool, typer.Option("--compare", help="All presets side by side.")]
Verify = Annotated[
    bool,
    typer.Option(
        "--verify", help="Run real steps on the GPU and compare them with the prediction."
    ),
]

Explain = Annotated[
    Literal["traffic"] | None,
    typer.Option(
        "--explain",
        help="Count what a training step of PRESET reads and writes, computes and launches.",
    ),
]


@command(PlanOptions)
def plan_command(
    ui: Session,
    options: PlanOptions,
    *,
    preset: Preset = None,
    compare: Compare = False,
    verify: Verify = False,
    explain: Explain = None,
) -> None:
    """Predict the memory of a run, without a GPU.

    Without PRESET: what of each preset fits the card, and which to use.
    """
    from mssctl.api import plan

    if explain:
        _explain(ui, options, preset, alone=not (compare or verify))
    elif verify:
        from mssctl.planning.verify import verify as measure

        if compare:
            raise MssctlError("--compare does nothing with --verify", exit_code=ExitCode.USAGE)
        ui.show(measure(preset, options, report=ui.report), verification_text)
    elif preset is not None and not compare:
        ui.show(plan.plan(preset, options), preset_text)
    elif compare:
        if preset is not None:
            raise MssctlError(
                "--compare shows all presets", hint="leave out PRESET", exit_code=ExitCode.USAGE
            )
        ui.show(plan.compare(options), comparison_text)
    else:
        ui.show(plan.plan_table(options), table_text)


def _explain(ui: Session, options: PlanOptions, preset: str | None, *, alone: bool) -> None:
    from mssctl.api import plan

    if preset is None or not alone:
        raise MssctlError(
            "--explain traffic counts the step of one preset",
            hint="say mssctl plan PRESET --explain traffic",
            exit_code=ExitCode.USAGE,
        )
    ui.show(plan.traffic(preset, options), traffic_text)


_LEAST = 0.005  # GiB; smaller shares are left out of the text


def preset_text(result: PlanResult) -> str:
    """What one preset needs."""
    run = result.run
    lines = [
        (
            f"{run.preset}, {run.mode}: batch {run.batch_size} × {run.segment_seconds:g} s, "
            f"{run.dtype}, checkpointing {run.checkpointing}, "
            f"{_millions(run.parameters)} parameters"
        ),
        (
            f"needs {run.peak_gib:.2f} GiB free on the card; PyTorch will report "
            f"{result.allocated_gib:.2f} allocated and at most {result.reserved_gib:.2f} reserved"
        ),
        *_verdict(result),
        f"the peak is at {result.peak_at}; attention: {', '.join(result.attention) or 'none'}",
        "",
        aligned(["by purpose", "GiB"], _rows(result.components), numbers=True),
        aligned(["by module (activations)", "GiB"], _rows(result.modules), numbers=True),
        aligned(
            ["largest tensors", "GiB", "where"],
            [
                [
                    f"{_shape(item.shape)} {item.dtype}, {item.operation}",
                    f"{item.gib:.2f}",
                    item.where,
                ]
                for item in result.tensors
            ],
        ),
        *(f"note: {note}" for note in result.notes),
    ]
    if result.remedies:
        lines.append("what would change it (by formula, about 5 %):")
        rows = [[f"  {remedy.change}", f"{remedy.gib:.1f} GiB"] for remedy in result.remedies]
        lines.append(aligned(["", ""], rows).rstrip("\n"))
    lines.append(result.command)
    if result.written:
        lines.append(f"written: {result.written}")
    return "".join(f"{line}\n" for line in lines)


def _verdict(result: PlanResult) -> list[str]:
    run = result.run
    if run.fits is None or result.vram_gib is None or run.headroom_gib is None:
        return ["no card named: --vram GIB or --gpu NAME says whether it fits"]
    card = f"{result.gpu or 'the card'} ({result.vram_gib:.1f} GiB)"
    verdict = "fits" if run.fits else "does NOT fit"
    lines = [f"{verdict} on {card}: {run.headroom_gib:+.2f} GiB, risk {run.risk}"]
    if result.largest_batch is not None and result.next_gib is None:
        lines.append(
            f"largest batch that fits: about {result.largest_batch}, in proportion to this"
        )
    elif result.largest_batch is not None:
        lines.append(
            f"largest batch that fits, with 2 % to spare: {result.largest_batch} "
            f"(batch {result.largest_batch + 1} needs {result.next_gib:.2f} GiB)"
        )
    return lines


def table_text(result: PlanTable) -> str:
    """The presets on a card, and which one to use."""
    head = "preset batch effective checkpointing peak headroom parameters risk".split()
    rows = [_run(run) for run in result.runs]
    card = f"{result.gpu}, " if result.gpu else ""
    lines = [
        f"training on {card}{result.vram_gib:.1f} GiB",
        aligned(head, rows).rstrip("\n"),
        "~: by the closed form; the pick and the batch after it are confirmed by the real step",
        f"pick: {result.pick or 'none'}, {result.reason}",
        *_left_out(result.left_out),
    ]
    if result.next_gib is not None:
        lines.append(f"the first batch that does not fit needs {result.next_gib:.2f} GiB")
    if result.command:
        lines.append(result.command)
    if result.written:
        lines.append(f"written: {result.written}")
    return "".join(f"{line}\n" for line in lines)


def _run(run: PlannedRun) -> list[str]:
    about = "" if run.confirmed else "~"
    room = "" if run.headroom_gib is None else f"{run.headroom_gib:+.1f} GiB"
    return [
        run.preset,
        str(run.batch_size),
        str(run.batch_size * run.accumulation),
        run.checkpointing,
        f"{about}{run.peak_gib:.1f} GiB",
        room,
        _millions(run.parameters),
        run.risk,
    ]


def comparison_text(result: PlanComparison) -> str:
    """All presets side by side."""
    names = [preset.preset for preset in result.presets]
    keys = dict.fromkeys(key for preset in result.presets for key in preset.settings)
    rows = [[key, *(p.settings.get(key, "") for p in result.presets)] for key in keys]
    rows.append(["parameters", *(_millions(preset.parameters) for preset in result.presets)])
    rows.append(["tokens per example", *(str(p.tokens or "") for p in result.presets)])
    purposes = dict.fromkeys(part.name for preset in result.presets for part in preset.components)
    for purpose in purposes:
        shares = [{part.name: part.gib for part in preset.components} for preset in result.presets]
        rows.append([f"{purpose}, GiB", *(f"{share.get(purpose, 0.0):.2f}" for share in shares)])
    rows.append(["peak, GiB", *(f"{preset.peak_gib:.2f}" for preset in result.presets)])
    rows.append(["TFLOP per step", *(f"{preset.tflop:.1f}" for preset in result.presets)])
    text = ""
    if result.gpu and all(preset.step_seconds is not None for preset in result.presets):
        seconds = [f"{preset.step_seconds or 0.0:.2f}" for preset in result.presets]
        rows.append(["s per step (estimate)", *seconds])
        rows.append(["× real time (estimate)", *(f"{p.speed or 0.0:.0f}" for p in result.presets)])
        text = (
            f"estimates: a roofline of {result.gpu}, a lower bound of the time. "
            "Nothing was measured.\n"
        )
    text += "".join(f"{line}\n" for line in _left_out(result.left_out))
    return aligned(["", *names], rows) + text


def _left_out(names: list[str]) -> list[str]:
    return [f"not here: {', '.join(names)}; `mssctl plan {names[0]}` predicts it"] if names else []


def traffic_text(result: TrafficResult) -> str:
    """What a training step moves, by part."""
    head = ["part", "GB", "%", "TFLOP", "kernels", "operations", "kept, MiB"]
    rows = [
        [
            part.name,
            f"{part.gigabytes:.1f}",
            f"{100 * part.gigabytes / result.total.gigabytes:.1f}",
            f"{part.tflop:.2f}",
            str(part.kernels),
            str(part.operations),
            f"{part.kept_mib:.1f}",
        ]
        for part in (*result.parts, result.total)
    ]
    return (
        f"{result.preset}: one micro-batch of {result.batch_size} × {result.segment_seconds:g} s, "
        f"{result.dtype}, checkpointing {result.checkpointing}, and the update of the weights\n"
        f"{aligned(head, rows, numbers=True)}"
        "kept: per example, alive when the backward pass starts\n"
    )


def verification_text(result: PlanVerification) -> str:
    """Predictions next to measurements."""
    rows = [
        [c.name, f"{c.predicted_gib:.3f}", f"{c.measured_gib:.3f}", f"{c.error:+.1%}"]
        for c in result.checks
    ]
    head = ["configuration", "predicted GiB", "measured GiB", "error"]
    return f"{result.gpu}, torch {result.torch}\n{aligned(head, rows, numbers=True)}"


def _rows(shares: list[MemoryShare]) -> list[list[str]]:
    return [[share.name, f"{share.gib:.2f}"] for share in shares if share.gib >= _LEAST]


def _shape(shape: list[int]) -> str:
    return " × ".join(map(str, shape))


def _millions(number: int) -> str:
    return f"{number / 1e6:.1f} M"
