"""How fast this machine separates, measured with the model that comes with the program."""

import time
from collections.abc import Iterator

import torch

from mssctl.checks.findings import ok
from mssctl.events import silent
from mssctl.options.doctor import DoctorOptions
from mssctl.results.doctor import Finding
from mssctl.separation.open_model import find_model
from mssctl.separation.stream import SeparationSettings, separate_array

_MODEL = "starter"
_LONG = 10.0  # seconds after which a first run counts, though it was not warm


def separation(_: DoctorOptions) -> Iterator[Finding]:
    """Separate one segment of noise, once to warm up and once to measure."""
    found = find_model(_MODEL)
    model = found.load(silent).separator
    settings = SeparationSettings.from_config(found.config, amp_dtype=found.dtype.amp_dtype)
    audio = found.config.audio
    generator = torch.Generator().manual_seed(0)
    noise = 0.1 * torch.randn(audio.channels, settings.segment, generator=generator)
    for _number in range(2):
        started = time.perf_counter()
        separate_array(model, noise, settings).cpu()
        seconds = time.perf_counter() - started
        if seconds > _LONG:
            break
    length = settings.segment / audio.sample_rate
    device = found.device.device
    where = (
        f"{device}, torch threads: {torch.get_num_threads()}"
        if device.type == "cpu"
        else str(device)
    )
    summary = f"{_MODEL}: {length / seconds:.1f} x real time on {where}"
    yield ok("separation speed", summary, [f"{length:.1f} s of noise in {seconds:.2f} s"])
