"""Calls that an executor makes, each until it has a reply."""

from __future__ import annotations

import pickle
import queue
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pytest_fragility.errors import SettingsError
from pytest_fragility.parallel.futures import LOOK_EVERY, Executors

Key = TypeVar("Key")


@dataclass(frozen=True)
class Lost:
    """Work that no executor has done.

    Parameters
    ----------
    reason
        Why.
    """

    reason: str


class Batch(Generic[Key]):
    """Calls that are made elsewhere, each again where the executor that had it has lost it.

    Parameters
    ----------
    executors
        Who makes them; there is one.
    function
        What is called, of a module that the workers can import.
    arguments
        What it is called with, by a key for each call.
    """

    def __init__(
        self,
        executors: Executors,
        function: Callable[..., Any],
        arguments: Mapping[Key, tuple[Any, ...]],
    ) -> None:
        self._executors = executors
        self._function = function
        self._arguments = dict(arguments)
        self._events: queue.SimpleQueue[tuple[Key, int, Future[bytes] | Exception]] = (
            queue.SimpleQueue()
        )
        self._futures: dict[Key, Future[bytes]] = {}
        self._replies: dict[Key, Any] = {}
        for key in self._arguments:
            self._send(key)

    def __iter__(self) -> Iterator[tuple[Key, Any]]:
        """Yield keys and replies as they come, each once: what a call returned, `Failure`, `Lost`.

        Raises
        ------
        SettingsError
            If the workers do not have this package.
        TrainingError
            If the executor does nothing for longer than it may.
        """
        for _ in self._arguments:
            while not self._replies:
                self._receive()
            yield self._replies.popitem()

    def reply(self, key: Key) -> Any:
        """Return the reply to one call, when it has come."""
        while key not in self._replies:
            self._receive()
        return self._replies[key]

    def cancel(self) -> None:
        """Have those calls not made that have not begun."""
        self._executors.cancel(self._futures.values())

    def _send(self, key: Key) -> None:
        generation = self._executors.generation
        try:
            future = self._executors.submit(self._function, self._arguments[key])
        # of a pool that is broken or shut down, a connection that is lost, ...
        except Exception as error:
            self._events.put((key, generation, error))
            return
        self._futures[key] = future
        future.add_done_callback(lambda done: self._events.put((key, generation, done)))

    def _receive(self) -> None:
        """Wait for what happens next to some call."""
        while True:
            try:
                key, generation, event = self._events.get(timeout=LOOK_EVERY)
                break
            except queue.Empty:
                self._executors.require_work()
        self._futures.pop(key, None)
        problem = event if isinstance(event, Exception) else _problem_of(event)
        if problem is None:
            assert not isinstance(event, Exception)
            self._replies[key] = pickle.loads(event.result())
            return
        reason = f"{type(problem).__name__}: {problem}".rstrip(": ")
        if self._executors.replace(generation, reason):
            self._send(key)
        else:
            self._replies[key] = Lost(reason)


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
