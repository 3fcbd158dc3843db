"""Cutting off a measure that takes too long."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from pytest_fragility.errors import SettingsError

# seconds: what swallows the first exception gets another one
AGAIN = 1.0


class MeasureTimedOut(BaseException):
    """Raised in the midst of a measure; no `Exception`, which a measure might catch."""


@contextmanager
def time_limit(seconds: float | None) -> Iterator[None]:
    """Raise `MeasureTimedOut` in what takes longer.

    By the system's alarm clock, so that Python code, a sleep or a lock that is waited for are cut
    off, and one long call of a library when it returns. A clock that was set before goes on.

    Parameters
    ----------
    seconds
        None has no limit.

    Raises
    ------
    SettingsError
        Where there is no alarm clock: on Windows, and outside of the main thread.
    """
    if seconds is None:
        yield
        return
    _require_clock()
    is_over = False

    def ring(number: int, frame: FrameType | None) -> None:
        if not is_over:
            raise MeasureTimedOut

    handler = signal.signal(signal.SIGALRM, ring)
    started = time.monotonic()
    left, interval = signal.setitimer(signal.ITIMER_REAL, seconds, AGAIN)
    try:
        yield
    finally:
        is_over = True
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, signal.SIG_DFL if handler is None else handler)
        if left:
            passed = time.monotonic() - started
            signal.setitimer(signal.ITIMER_REAL, max(left - passed, 1e-3), interval)


def took_longer(seconds: float | None) -> str:
    """Return what messages say of a measure that was cut off."""
    return f"took longer than {seconds:g} s and was cut off (measure_timeout)"


def _require_clock() -> None:
    if not hasattr(signal, "setitimer"):
        raise SettingsError("measure_timeout: this system has no alarm clock; leave it out")
    if threading.current_thread() is not threading.main_thread():
        raise SettingsError(
            "measure_timeout: works in the main thread of a process alone; leave it out, or audit "
            "from there"
        )
