"""``mssctl plan``: how much memory a run needs, and what fits."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

import mssctl.cli.render_plan  # noqa: F401 (registers what the results look like)
from mssctl.cli.arguments import refuse_shortcut
from mssctl.cli.options import Json, Overrides
from mssctl.cli.session import session
from mssctl.config import bounds
from mssctl.errors import ExitCode, MssctlError

Preset = Annotated[
    str | None,
    typer.Argument(
        help="Name of a preset, or path of a .yaml file; all presets if left out.",
        metavar="[PRESET]",
    ),
]
Vram = Annotated[
    float | None,
    typer.Option(
        "--vram",
        min=0.5,
        max=1024,
        help="Free memory of the card, GiB; else NVML is asked.",
        metavar="GIB",
    ),
]
Gpu = Annotated[
    str | None, typer.Option("--gpu", help="A card by name, such as 'RTX 5090'.", metavar="NAME")
]
Mode = Annotated[Literal["train", "separate"], typer.Option("--mode", help="What to plan.")]
Segment = Annotated[
    float | None,
    typer.Option(
        "--segment",
        min=bounds.SEGMENT_SECONDS[0],
        max=bounds.SEGMENT_SECONDS[1],
        help="Seconds of audio.",
        metavar="SEC",
    ),
]
NFft = Annotated[
    int | None,
    typer.Option(
        "--n-fft", min=bounds.N_FFT[0], max=bounds.N_FFT[1], help="stft.n_fft.", metavar="N"
    ),
]
Hop = Annotated[
    int | None,
    typer.Option(
        "--hop",
        min=bounds.HOP_LENGTH[0],
        max=bounds.HOP_LENGTH[1],
        help="stft.hop_length.",
        metavar="N",
    ),
]
Layers = Annotated[
    int | None,
    typer.Option(
        "--layers", min=bounds.LAYERS[0], max=bounds.LAYERS[1], help="model.n_layers.", metavar="N"
    ),
]
EmbDim = Annotated[
    int | None,
    typer.Option(
        "--emb-dim",
        min=bounds.WIDTH[0],
        max=bounds.WIDTH[1],
        help="model.emb_dim and attention_dim; set the rest with --set.",
        metavar="N",
    ),
]
Heads = Annotated[
    int | None,
    typer.Option(
        "--heads", min=bounds.HEADS[0], max=bounds.HEADS[1], help="model.n_heads.", metavar="N"
    ),
]
Batch = Annotated[
    int | None,
    typer.Option(
        "--batch",
        min=bounds.BATCH[0],
        max=bounds.BATCH[1],
        help="Examples at a time.",
        metavar="N",
    ),
]
Dtype = Annotated[
    Literal["bf16", "fp16", "fp32"] | None,
    typer.Option("--dtype", help="training.amp_dtype; of --mode separate: its --dtype."),
]
Attention = Annotated[
    Literal["auto", "flash", "cudnn", "efficient", "math"],
    typer.Option("--attention", help="Pin the attention kernel; auto is what train would use."),
]
FrontEnd = Annotated[
    Literal["bands", "bins"] | None, typer.Option("--front-end", help="model.front_end.")
]
Checkpointing = Annotated[
    Literal["none", "block", "path"] | None,
    typer.Option("--checkpointing", help="training.gradient_checkpointing."),
]
Compare = Annotated[bool, typer.Option("--compare", help="All presets side by side.")]
Write = Annotated[
    Path | None, typer.Option("--write", help="Write a preset that fits.", metavar="FILE")
]
Verify = Annotated[
    bool, typer.Option("--verify", help="Run real steps on the GPU beside the prediction.")
]


def command(
    preset: Preset = None,
    vram: Vram = None,
    gpu: Gpu = None,
    mode: Mode = "train",
    segment: Segment = None,
    n_fft: NFft = None,
    hop: Hop = None,
    layers: Layers = None,
    emb_dim: EmbDim = None,
    heads: Heads = None,
    batch: Batch = None,
    dtype: Dtype = None,
    attention: Attention = "auto",
    front_end: FrontEnd = None,
    checkpointing: Checkpointing = None,
    overrides: Overrides = None,
    compare: Compare = False,
    write: Write = None,
    verify: Verify = False,
    json: Json = False,
) -> None:
    """Predict the memory of a run, without a GPU.

    Without PRESET: what of each preset fits the card, and which to take.
    """
    with session(json=json) as ui:
        from mssctl.api import plan
        from mssctl.hardware.device import DTYPES
        from mssctl.planning.verify import verify as measure

        section = "training" if mode == "train" else "separation"
        length = "training.segment_length" if mode == "train" else "separation.segment_seconds"
        shortcuts = {
            "stft.n_fft": ("--n-fft", n_fft),
            "stft.hop_length": ("--hop", hop),
            "model.n_layers": ("--layers", layers),
            "model.emb_dim": ("--emb-dim", emb_dim),
            "model.attention_dim": ("--emb-dim", emb_dim),
            "model.n_heads": ("--heads", heads),
            f"{section}.batch_size": ("--batch", batch),
            "training.amp_dtype": ("--dtype", DTYPES[dtype] if dtype and mode == "train" else None),
            "model.front_end": ("--front-end", front_end),
            "training.gradient_checkpointing": ("--checkpointing", checkpointing),
            length: ("--segment", segment),
        }
        given = {
            key: (flag, value) for key, (flag, value) in shortcuts.items() if value is not None
        }
        refuse_shortcut({key: flag for key, (flag, _) in given.items()}, overrides or [])
        changes = [f"{key}={value}" for key, (_, value) in given.items() if key != length]
        changes += overrides or []
        kernel = None if attention == "auto" else attention
        if dtype == "fp16" and mode == "train":
            raise MssctlError(
                "--dtype fp16: training has bf16 and fp32 only",
                hint="float16 needs its gradients scaled; --mode separate takes fp16",
                exit_code=ExitCode.USAGE,
            )
        if checkpointing and mode == "separate":
            raise MssctlError(
                "--checkpointing does nothing with --mode separate: nothing is trained",
                exit_code=ExitCode.USAGE,
            )
        if verify:
            if vram or gpu or compare or write or kernel or mode != "train":
                raise MssctlError(
                    "--verify measures this machine's GPU as `train` would use it",
                    hint="leave out --vram, --gpu, --mode, --attention, --write and --compare",
                    exit_code=ExitCode.USAGE,
                )
            ui.show(measure(preset, segment=segment, overrides=changes, report=ui.report))
        elif compare:
            if preset is not None:
                raise MssctlError(
                    "--compare shows all presets", hint="leave out PRESET", exit_code=ExitCode.USAGE
                )
            _only_for_presets(kernel is not None or mode != "train" or write is not None)
            ui.show(plan.compare(gpu=gpu, vram=vram, segment=segment, overrides=changes))
        elif preset is None:
            _only_for_presets(kernel is not None or mode != "train")
            ui.show(
                plan.plan_table(vram=vram, gpu=gpu, segment=segment, overrides=changes, write=write)
            )
        else:
            ui.show(
                plan.plan(
                    preset,
                    vram=vram,
                    gpu=gpu,
                    segment=segment,
                    overrides=changes,
                    attention=kernel,
                    mode=mode,
                    dtype=dtype if mode == "separate" else None,
                    write=write,
                )
            )


def _only_for_presets(given: bool) -> None:
    """Refuse what a table of all presets has no place for."""
    if given:
        raise MssctlError(
            "--mode, --attention and --write are for one preset (--write also for the table)",
            hint="name a preset: mssctl plan base …",
            exit_code=ExitCode.USAGE,
        )
