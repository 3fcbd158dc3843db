"""Work that others do: whoever has the interface of `concurrent.futures.Executor`.

What is called, and with what, travels as bytes, and so does what comes back, so that nothing rests
on how an executor pickles, nor on files that both sides can read.
"""

from __future__ import annotations

import pickle
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import CancelledError, Executor, Future
from typing import Any, TypeGuard

from pytest_fragility.errors import SettingsError, TrainingError
from pytest_fragility.parallel.dask_clusters import ClusterWatch, NoSchedulerError, watch_of
from pytest_fragility.parallel.failures import LostWorkerWarning
from pytest_fragility.parallel.patience import EXECUTOR_LIMIT, Patience, Tell, warn
from pytest_fragility.parallel.pool import Job, Key, Lost, Pool, Replies, Work
from pytest_fragility.parallel.worker_side import perform, software

Source = Callable[[], Executor | None]
# how often an executor that has lost work is replaced by a new one
REPLACEMENTS = 3
# of executors that do not say
WORKERS = 8
# seconds between looks at a cluster that sends nothing
LOOK_EVERY = 1.0


class Executors(Pool):
    """An executor that is asked for when it is first needed, and again when it has lost work.

    Parameters
    ----------
    given
        An executor, which stays its owner's to shut down; or a function without parameters that
        returns one, which `close` shuts down, or None where all is to be done here.
    limit
        Seconds that a cluster may do nothing, until the audit ends.
    tell
        Shows at once what keeps a cluster from its work.

    Raises
    ------
    SettingsError
        If it is neither.
    """

    def __init__(
        self, given: Executor | Source, *, limit: float = EXECUTOR_LIMIT, tell: Tell = warn
    ) -> None:
        self._source: Source | None = None
        self._current: Executor | None = None
        self._own: list[Executor] = []
        self._error: Exception | None = None
        self._generation = 0
        self._unfinished: set[Future[bytes]] = set()
        self._patience = Patience(limit, tell)
        self._watched: tuple[Executor, ClusterWatch | None] | None = None
        if _is_executor(given):
            self._current = given
        elif callable(given):
            self._source = given
        else:
            raise SettingsError(_not_an_executor(given))
        self._was_asked = self._source is None

    def open(self) -> bool:
        """Return whether there is an executor; it is asked for where that was not done yet.

        Raises
        ------
        SettingsError
            If what should return an executor returns something else.
        """
        if self._error is not None:
            raise self._error
        if not self._was_asked:
            try:
                self._current = self._ask()
            except Exception as error:
                self._error = error
                raise
            self._was_asked = True
        return self._current is not None

    @property
    def workers(self) -> int:
        """How many calls are probably made at a time."""
        try:
            watch = self._watch
            return (watch.workers if watch else _count_workers(self._current)) or WORKERS
        # of a connection that is lost, which shows where work is sent
        except Exception:
            return WORKERS

    def begin(self, work: Work, jobs: Mapping[Key, Job], *, first_here: int = 0) -> Replies[Key]:
        """Have all jobs done elsewhere; nothing is left to the caller but what is lost."""
        return _Sent(self, work, jobs)

    def submit(self, work: Work, arguments: tuple[Any, ...]) -> Future[bytes]:
        """Have work done elsewhere; the future's result is what `perform` returns."""
        assert self._current is not None
        with warnings.catch_warnings():
            # Dask's, of data that have to be sent
            warnings.filterwarnings("ignore", "Sending large graph", UserWarning)
            future: Future[bytes] = self._current.submit(perform, software(), work, arguments)
        self._unfinished.add(future)
        future.add_done_callback(self._unfinished.discard)
        return future

    def cancel(self, futures: Iterable[Future[bytes]]) -> None:
        """Have calls not made that have not begun; a cluster that does nothing is not told."""
        if self._error is None:
            for future in futures:
                future.cancel()

    def require_work(self) -> None:
        """Say what keeps the executor from its work, where it is known to be.

        Raises
        ------
        TrainingError
            If that has lasted as long as it may; then all that is asked for raises it.
        """
        if self._error is not None:
            raise self._error
        watch = self._watch
        self._bear(watch.problem() if watch else None)

    @property
    def generation(self) -> int:
        """How often an executor was replaced."""
        return self._generation

    def replace(self, generation: int, reason: str) -> bool:
        """Return whether there is another executor than that of a generation, which lost work.

        Parameters
        ----------
        generation
            Of the executor that has lost work.
        reason
            What has become of it.

        Warns
        -----
        LostWorkerWarning
            Where a new executor takes the place of the old one.
        """
        if generation < self._generation:
            return True
        if generation >= REPLACEMENTS:
            return False
        if self._source is None:
            return self._is_connected_again()
        try:
            found = self._ask_until_there()
        except TrainingError:
            raise
        # whatever one's own function raises; the caller says that the work is done here
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
            warnings.warn(f"there is no new executor: {reason}", LostWorkerWarning, stacklevel=2)
            found = None
        if found is None:
            self._source = None
            return False
        self._current = found
        self._generation += 1
        warnings.warn(
            f"an executor has lost work ({reason}), which a new one is asked to do",
            LostWorkerWarning,
            stacklevel=2,
        )
        return True

    def close(self) -> None:
        """Cancel what nobody waits for, and shut down the executors that were asked for.

        From now on there is none.
        """
        self._source = self._current = None
        self._was_asked = True
        self.cancel(list(self._unfinished))
        has_failed = self._error is not None
        while self._own:
            # nobody waits for a cluster that does nothing
            self._own.pop().shutdown(wait=not has_failed)

    @property
    def _watch(self) -> ClusterWatch | None:
        if self._current is None:
            return None
        if self._watched is None or self._watched[0] is not self._current:
            self._watched = self._current, watch_of(self._current)
        return self._watched[1]

    def _bear(self, problem: str | None) -> None:
        try:
            self._patience.bear(problem)
        except TrainingError as error:
            self._error = error
            raise

    def _ask_until_there(self) -> Executor | None:
        """Ask for another executor; where a scheduler does not answer, until it does."""
        while True:
            try:
                found = self._ask()
            except NoSchedulerError as error:
                self._bear(str(error))
                time.sleep(LOOK_EVERY)
            else:
                return found

    def _is_connected_again(self) -> bool:
        """Wait until a client that has lost its connection has it again; False if it never had."""
        watch = self._watch
        if watch is None or not watch.is_reconnecting:
            return False
        while not watch.is_lost:
            problem = watch.problem()
            self._bear(problem)
            if problem is None:
                self._generation += 1
                return True
            time.sleep(LOOK_EVERY)
        self._error = TrainingError(f"{watch.problem()}, and its client has given it up")
        raise self._error

    def _ask(self) -> Executor | None:
        assert self._source is not None
        found = self._source()
        if found is not None and not _is_executor(found):
            raise SettingsError(_not_an_executor(found))
        if found is not None and not any(found is known for known in self._own):
            self._own.append(found)
        return found


def _is_executor(value: Any) -> TypeGuard[Executor]:
    # what has a method of this name is a client of Dask, whose futures are of another kind
    is_client = hasattr(value, "get_executor")
    return not isinstance(value, type) and hasattr(value, "submit") and not is_client


def _not_an_executor(value: Any) -> str:
    return (
        f"executor={value!r}: expected a concurrent.futures.Executor (of a Dask client, "
        "client.get_executor()), or a function without parameters that returns one"
    )


def _count_workers(executor: Any) -> int | None:
    """Return an executor's number of processes; None where it does not say."""
    count = getattr(executor, "_max_workers", getattr(executor, "num_workers", None))
    return count if isinstance(count, int) else None


class _Sent(Replies[Key]):
    """Replies to jobs that are sent all at once, each again where the executor has lost it.

    Whoever waits for them has an error where the workers do not have this package
    (`SettingsError`), or where the executor does nothing for longer than it may (`TrainingError`).
    """

    def __init__(self, executors: Executors, work: Work, jobs: Mapping[Key, Job]) -> None:
        super().__init__(work, jobs)
        self._executors = executors
        self._events: deque[tuple[Key, int, Future[bytes] | Exception]] = deque()
        self._futures: dict[Key, Future[bytes]] = {}
        while (key := self.take_next()) is not None:
            self._send(key)

    def cancel(self) -> None:
        """Have those calls not made that have not begun."""
        self._executors.cancel(self._futures.values())

    def _send(self, key: Key) -> None:
        generation = self._executors.generation
        try:
            future = self._executors.submit(self.work, self.jobs[key].for_worker())
        # of a pool that is broken or shut down, a connection that is lost, ...
        except Exception as error:
            self._note(key, generation, error)
            return
        self._futures[key] = future
        future.add_done_callback(lambda done: self._note(key, generation, done))

    def _note(self, key: Key, generation: int, event: Future[bytes] | Exception) -> None:
        with self._changed:
            self._events.append((key, generation, event))
            self._changed.notify_all()

    def _wait(self, condition: Callable[[], Any]) -> None:
        while not condition():
            with self._changed:
                has_come = self._changed.wait_for(lambda: self._events, LOOK_EVERY)
            if has_come:
                self._receive(*self._events.popleft())
            else:
                self._executors.require_work()

    def _receive(self, key: Key, generation: int, event: Future[bytes] | Exception) -> None:
        self._futures.pop(key, None)
        problem = event if isinstance(event, Exception) else _problem_of(event)
        if problem is None:
            assert not isinstance(event, Exception)
            found = pickle.loads(event.result())
            self.put(key, *(found if isinstance(found, list) else [found]), is_end=True)
            return
        reason = f"{type(problem).__name__}: {problem}".rstrip(": ")
        if self._executors.replace(generation, reason):
            self._send(key)
        else:
            # what is asked for when all else is done is nobody's loss
            lost = Lost("an executor has lost work", reason, not self._executors.open())
            self.put(key, lost, is_end=True)


def _problem_of(future: Future[bytes]) -> BaseException | None:
    """Return what has kept a call from being made, or its reply from coming.

    Raises
    ------
    SettingsError
        If the worker does not have this package.
    """
    try:
        problem = future.exception()
    except CancelledError as error:
        return error
    if isinstance(problem, ImportError | AttributeError):
        raise SettingsError(
            f"a worker of the executor cannot call pytest-fragility ({problem}); install the same "
            "version there as here"
        )
    return problem
