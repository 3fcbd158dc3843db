"""How long an executor may do nothing: that is said, said again while it lasts, and has an end."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable

from pytest_fragility.errors import FragilityWarning, TrainingError

# seconds: until it is first said, and from then on
SAID_AFTER = 5.0
AGAIN = 60.0
Tell = Callable[[str], None]


class IdleExecutorWarning(FragilityWarning):
    """An executor has work, and does nothing."""


def warn(text: str) -> None:
    """Say it where there is no terminal of pytest's."""
    warnings.warn(text, IdleExecutorWarning, stacklevel=2)


# seconds that an executor may do nothing
EXECUTOR_LIMIT = 600.0


class Patience:
    """What is borne of an executor.

    Parameters
    ----------
    limit
        Seconds until the audit ends.
    tell
        Shows a line at once.
    """

    def __init__(self, limit: float = EXECUTOR_LIMIT, tell: Tell = warn) -> None:
        self._limit = limit
        self._tell = tell
        self._since: float | None = None
        self._said_next = 0.0

    def bear(self, problem: str | None) -> None:
        """Note whether something keeps an executor from its work.

        Parameters
        ----------
        problem
            What, in words; None where it works.

        Raises
        ------
        TrainingError
            If that has lasted as long as it may.
        """
        now = time.monotonic()
        if problem is None:
            self._since = None
            return
        if self._since is None:
            self._since, self._said_next = now, now + SAID_AFTER
        waited = now - self._since
        if waited >= self._limit:
            raise TrainingError(
                f"{problem}: nothing was done for {waited:.0f} s, after which the audit ends. See "
                "to the cluster, or wait longer with --fragility-executor-timeout=SECONDS "
                "(executor_timeout=)"
            )
        if now >= self._said_next:
            self._said_next = now + AGAIN
            self._tell(
                f"{problem}, for {waited:.0f} s now; the audit waits, and ends after "
                f"{self._limit:g} s (--fragility-executor-timeout)"
            )
