"""Cutting off a measure that takes too long."""

from __future__ import annotations

import ctypes
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from pytest_fragility.errors import MeasureTimedOut

# seconds: what swallows the first exception gets another one
AGAIN = 1.0


@contextmanager
def time_limit(seconds: float | None) -> Iterator[None]:
    """Raise `MeasureTimedOut` in what takes longer.

    By the system's alarm clock, so that Python code, a sleep or a lock that is waited for are cut
    off, and one long call of a library when it returns. A clock that was set before goes on. In
    other threads than a process's main one, and on Windows, by another thread, which a sleep or a
    lock does not notice before it ends.

    Parameters
    ----------
    seconds
        None has no limit.
    """
    if seconds is None:
        yield
        return
    is_main = threading.current_thread() is threading.main_thread()
    has_clock = is_main and hasattr(signal, "setitimer")
    began = time.monotonic()
    with _alarm(seconds) if has_clock else _watch(seconds):
        yield
    # what has swallowed the exception, or kept it from being raised
    if time.monotonic() - began > seconds:
        raise MeasureTimedOut


@contextmanager
def _alarm(seconds: float) -> Iterator[None]:
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


@contextmanager
def _watch(seconds: float) -> Iterator[None]:
    watched = threading.get_ident()
    is_over = threading.Event()
    change = threading.Lock()

    def watch() -> None:
        wait = seconds
        while not is_over.wait(wait):
            with change:
                if not is_over.is_set():
                    _raise_in(watched)
            wait = AGAIN

    threading.Thread(target=watch, daemon=True).start()
    try:
        yield
    finally:
        try:
            with change:
                is_over.set()
            # what was raised last of all comes at the next step of a loop
            for _ in range(2):
                pass
        except MeasureTimedOut:
            is_over.set()


def _raise_in(thread: int) -> None:
    exception = ctypes.py_object(MeasureTimedOut)
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), exception)


def took_longer(seconds: float | None) -> str:
    """Return what messages say of a measure that was cut off."""
    return f"took longer than {seconds:g} s and was cut off (measure_timeout)"
