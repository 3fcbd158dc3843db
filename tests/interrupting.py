"""Interruptions that arrive, however slow the machine is."""

from __future__ import annotations

import signal
import threading
import time


def interrupt(thread: int, has_noticed: threading.Event) -> None:
    """Interrupt a thread, again where it has not noticed: one that is just about to wait does not.

    Parameters
    ----------
    thread
        Which, as `threading.get_ident` calls it; it waits by now, or soon will.
    has_noticed
        Set by what the interruption leads to.
    """
    time.sleep(0.1)
    for _ in range(10):
        signal.pthread_kill(thread, signal.SIGINT)
        if has_noticed.wait(5):
            return
    raise TimeoutError("an interruption was not noticed in 50 seconds")
