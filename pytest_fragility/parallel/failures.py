"""Exceptions on their way between processes, and what is said of work that was lost there."""

from __future__ import annotations

import pickle
import traceback
from dataclasses import dataclass
from typing import NoReturn

from pytest_fragility._util.text import error_text
from pytest_fragility.errors import FragilityWarning


class WorkerTraceback(Exception):
    """The traceback of an exception in a worker process; shown as its cause."""


class WorkerFailure(RuntimeError):
    """An exception in a worker process whose own class is not known here."""


class LostWorkerWarning(FragilityWarning):
    """A worker process has ended early; what it left was done all the same."""


@dataclass(frozen=True)
class Failure:
    """An exception on its way between processes, with the traceback that it had.

    Parameters
    ----------
    error
        The exception.
    traceback
        What is shown as its cause; empty where the error has its own, or says all.
    """

    error: Exception
    traceback: str

    @classmethod
    def of(cls, error: BaseException) -> Failure:
        """Return the failure that an exception is, with its whole traceback."""
        return cls(_as_others_know_it(error), traceback.format_exc())

    def with_cause_as_text(self) -> Failure:
        """Return the failure with its own error's cause as traceback, if any, to be sent."""
        cause = self.error.__cause__
        return Failure(self.error, "".join(traceback.format_exception(cause)) if cause else "")

    def throw(self) -> NoReturn:
        """Raise the exception."""
        cause = WorkerTraceback(self.traceback) if self.traceback else self.error.__cause__
        raise self.error from cause


def _as_others_know_it(error: BaseException) -> Exception:
    """Return an exception that another process can read, and that ends nothing there."""
    if not isinstance(error, Exception):
        return WorkerFailure(error_text(error))
    try:
        pickle.loads(pickle.dumps(error))
    # whatever one's own exceptions raise where they are pickled
    except Exception:
        return WorkerFailure(error_text(error))
    return error
