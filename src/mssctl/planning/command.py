"""What to do with a plan: the command to type, and the preset to write."""

from collections.abc import Sequence
from pathlib import Path

from mssctl import presets
from mssctl.config.bundled import bundled_folder
from mssctl.errors import ExitCode, MssctlError
from mssctl.files import write_new
from mssctl.models.run_config import RunConfig
from mssctl.separation.stream import SeparationSettings

NOTHING_FITS = "no configuration fits: see what to change"


def train_command(
    preset: str, asked: RunConfig, run: RunConfig | None, overrides: Sequence[str]
) -> str:
    """What to type to train.

    Args:
        preset: name, or path of a YAML file.
        asked: its configuration with ``overrides``.
        run: the one that fits; None where none does.
        overrides: ``section.key=value``.
    """
    if run is None:
        return NOTHING_FITS
    changed = [f"training.{key}={value}" for key, value in run.training.model_dump().items()
               if value != getattr(asked.training, key)]  # fmt: skip
    sets = "".join(f" --set {item}" for item in [*overrides, *changed])
    return f"mssctl train {preset} --data SONGS{sets}"


def separate_command(
    preset: str, asked: RunConfig, run: RunConfig | None, dtype: str | None
) -> str:
    """What to type to separate with a model of this preset; ``run`` as in `train_command`.

    Segment and batch are said where they are not what a model trained so would take by itself;
    so is ``dtype`` (bf16, fp16 or fp32), unless None.
    """
    if run is None:
        return NOTHING_FITS
    before = presets.load(preset)
    bundled = (bundled_folder() / "weights" / f"{preset}.safetensors").is_file()
    same = (run.model, run.stft, run.audio) == (before.model, before.stft, before.audio)
    model = preset if bundled and same else "RUN/best.safetensors"
    segment, usual = (SeparationSettings.from_config(one).segment for one in (run, before))
    batch, overlap = run.separation.batch_size, asked.separation.overlap
    options = {
        "--segment": segment / run.audio.sample_rate if segment != usual else None,
        "--batch": batch if batch != before.separation.batch_size else None,
        "--overlap": overlap if overlap != before.separation.overlap else None,
        "--dtype": dtype,
    }
    given = "".join(f" {flag} {value}" for flag, value in options.items() if value is not None)
    return f"mssctl separate SONG -n {model}{given}"


def write(path: str | Path, config: RunConfig | None) -> str:
    """Write a preset file.

    Raises:
        MssctlError: nothing fits, the file exists, or it cannot be written.
    """
    if config is None:
        raise MssctlError("nothing fits: no preset written")
    file = Path(path).expanduser()
    try:
        write_new(file, presets.dump(config))
    except OSError as error:
        raise MssctlError(
            f"{file}: cannot be written: {error.strerror}", exit_code=ExitCode.ENVIRONMENT
        ) from None
    return str(file)
