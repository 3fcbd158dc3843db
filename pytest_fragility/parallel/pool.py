"""One way to have work done beside this process: who does it, the jobs, and their replies."""

from __future__ import annotations

import threading
import warnings
from collections import deque
from collections.abc import Callable, Container, Hashable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pytest_fragility.parallel.failures import LostWorkerWarning

Key = TypeVar("Key", bound=Hashable)
# a generator function of this package; what it yields are replies
Work = Callable[..., Iterator[Any]]


@dataclass(frozen=True)
class Job:
    """One call of some work.

    Parameters
    ----------
    arguments
        What the work is called with: plain values, or bytes where pickling takes more than
        `pickle`.
    fetch
        Returns one more argument, when somebody begins. A worker that holds what the job `keeps`
        gets None in its place.
    keeps
        Names what a worker keeps of the job for later ones.
    """

    arguments: tuple[Any, ...]
    fetch: Callable[[], Any] | None = None
    keeps: Hashable = None

    def for_worker(self, known: Container[Hashable] = ()) -> tuple[Any, ...]:
        """Return all arguments for a worker that holds what has some names."""
        if self.fetch is None:
            return self.arguments
        return *self.arguments, None if self.keeps in known else self.fetch()


@dataclass(frozen=True)
class Lost:
    """The reply to a job that was lost with who had it: the caller does it.

    Parameters
    ----------
    what_happened, reason
        In words.
    is_expected
        Whether nobody is to be warned.
    """

    what_happened: str
    reason: str
    is_expected: bool = False

    def __str__(self) -> str:
        return f"{self.what_happened} ({self.reason})"


class Replies(Generic[Key]):
    """What comes of jobs: what the work yields, `Failure` where it raises, or `Lost`.

    A caller takes back, and does, what nobody has begun.

    Parameters
    ----------
    work
        What is called.
    jobs
        In the order in which they are begun.
    first_here
        How many of the first jobs the caller has begun already.
    """

    def __init__(self, work: Work, jobs: Mapping[Key, Job], first_here: int = 0) -> None:
        self.work = work
        self.jobs = dict(jobs)
        self._waiting = dict.fromkeys(list(jobs)[first_here:])
        self._has_begun: set[Key] = set()
        self._open = set(jobs)
        self._arrived: deque[tuple[Key, Any]] = deque()
        self._changed = threading.Condition()
        self._has_warned = False

    def __iter__(self) -> Iterator[tuple[Key, Any]]:
        """Yield keys and replies as they come, until nobody does anything more."""
        while True:
            self._wait(lambda: self._arrived or not self._open)
            if not self._arrived:
                return
            yield self._arrived.popleft()

    def get(self, key: Key) -> Any:
        """Return the reply to one job, when it has come."""
        self._wait(lambda: key not in self._open)
        return next(reply for each, reply in reversed(self._arrived) if each == key)

    def so_far(self) -> Iterator[tuple[Key, Any]]:
        """Yield what has come, and wait for nothing."""
        while self._arrived:
            yield self._arrived.popleft()

    def take_back(self, key: Key) -> bool:
        """Return whether nobody has begun a job, which the caller does now, without a reply."""
        with self._changed:
            self._waiting.pop(key, None)
            if key not in self._has_begun:
                self._open.discard(key)
            return key not in self._has_begun

    def take_next(self, known: Container[Hashable] = ()) -> Key | None:
        """Return a job that nobody has begun, for whoever will `put` replies, or None.

        Parameters
        ----------
        known
            What the worker holds of earlier jobs; those that keep the same come first.
        """
        with self._changed:
            first = next(iter(self._waiting), None)
            kept = (key for key in self._waiting if self.jobs[key].keeps in known)
            key = next(kept, first) if known else first
            if key is not None:
                del self._waiting[key]
                self._has_begun.add(key)
                self._changed.notify_all()
            return key

    def put(self, key: Key, *replies: Any, is_end: bool = False) -> None:
        """Pass on what has come of a job; after its end nothing comes."""
        with self._changed:
            self._arrived.extend((key, reply) for reply in replies)
            if is_end:
                self._open.discard(key)
            self._changed.notify_all()

    def count_waiting(self) -> int:
        """Return how many jobs nobody has begun."""
        return len(self._waiting)

    def wait_while_any_waits(self, seconds: float) -> None:
        """Return when nothing is left to begin, or after a time."""
        with self._changed:
            self._changed.wait_for(lambda: not self._waiting, seconds)

    def cancel(self) -> None:
        """Have nobody begin what nobody has begun."""
        with self._changed:
            self._open.difference_update(self._waiting)
            self._waiting.clear()
            self._changed.notify_all()

    def warn_of_loss(self, lost: Lost, consequence: str) -> None:
        """Say once that jobs were lost, and what becomes of them."""
        if not (lost.is_expected or self._has_warned):
            self._has_warned = True
            warnings.warn(f"{lost}{consequence}", LostWorkerWarning, stacklevel=3)

    def _wait(self, condition: Callable[[], Any]) -> None:
        """Return when something holds that others bring about."""
        with self._changed:
            self._changed.wait_for(condition)


class Pool:
    """Who else works: of this class itself, nobody, so that the caller takes back all jobs."""

    @property
    def workers(self) -> int:
        """How many jobs are probably done at a time."""
        return 0

    def begin(self, work: Work, jobs: Mapping[Key, Job], *, first_here: int = 0) -> Replies[Key]:
        """Have jobs done, and return what their replies come to; see `Replies` for parameters."""
        return Replies(work, jobs, first_here)

    def close(self) -> None:
        """Have nobody begin anything more."""
