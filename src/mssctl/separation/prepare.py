"""From options and a model to what a run makes of each song."""

from pathlib import Path

from mssctl.events import Reporter, silent
from mssctl.options.separate import SeparateOptions
from mssctl.separation.formats import StemFormat
from mssctl.separation.open_model import FoundModel
from mssctl.separation.outputs import Namer
from mssctl.separation.song import SongSeparation
from mssctl.separation.stems import select
from mssctl.separation.stream import SeparationSettings


def song_separation(
    given: SeparateOptions, model: FoundModel, folder: Path, report: Reporter = silent
) -> SongSeparation:
    """What ``given`` asks for, with a model, below a folder.

    Raises:
        MssctlError: a stem, a format or a template that cannot be (exit 2).
    """
    files = StemFormat(given.format, given.bit_depth, given.clip_mode)
    selection = select(
        model.config.audio.outputs,
        only=given.stems,
        two_stems=given.two_stems,
        other_method=given.other_method,
        whole=model.config.audio.complete,
    )
    settings = SeparationSettings.from_config(
        model.config,
        segment_seconds=given.segment,
        overlap=given.overlap,
        batch_size=given.batch,
        amp_dtype=model.dtype.amp_dtype,
        mix_consistent=False,  # done at the song's own rate, see SongSeparation.outputs
        shifts=given.shifts,
        seed=given.seed or 0,
    )
    namer = Namer(folder, given.filename, model.name, given.format)
    return SongSeparation(namer, selection, settings, files, given.existing, report)
