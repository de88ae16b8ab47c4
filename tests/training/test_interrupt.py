"""The wish to stop a run: any of three signals, whatever becomes of the terminal."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from mssctl.events import Event
from mssctl.hardware.processes import INTERRUPTIONS, asked_to_end
from mssctl.training.interrupt import Interrupt


@pytest.mark.parametrize("number", INTERRUPTIONS)
def test_the_first_signal_is_a_wish_and_the_second_an_abort(number):
    events: list[Event] = []
    before = signal.getsignal(number)
    with Interrupt(events.append) as interrupt:
        assert not interrupt.requested
        signal.raise_signal(number)
        assert interrupt.requested
        signal.raise_signal(signal.SIGHUP)  # a closed terminal and its shell each send one
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
    assert len(events) == 1
    assert signal.getsignal(number) is before


@pytest.mark.parametrize("error", [BrokenPipeError, RuntimeError, OSError, ValueError])
def test_the_wish_counts_where_it_cannot_be_told(error):
    def gone(event: Event) -> None:
        raise error

    with Interrupt(gone) as interrupt:
        signal.raise_signal(signal.SIGINT)
        assert interrupt.requested


def test_nohup_stays_in_force():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert signal.SIGHUP not in asked_to_end()
        with Interrupt(lambda event: None) as interrupt:
            signal.raise_signal(signal.SIGHUP)
            assert not interrupt.requested
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_system_without_sighup_has_the_other_two():
    program = (
        "import signal; del signal.SIGHUP\n"
        "from mssctl.hardware.processes import INTERRUPTIONS\n"
        "print(*(number.name for number in INTERRUPTIONS))"
    )
    done = subprocess.check_output([sys.executable, "-c", program], text=True)
    assert done.split() == ["SIGINT", "SIGTERM"]
