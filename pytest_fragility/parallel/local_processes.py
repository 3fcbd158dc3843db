"""Processes of this machine that work beside this one, and wait for more."""

from __future__ import annotations

import atexit
import os
import pickle
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from typing import Any, NamedTuple

from pytest_fragility.parallel.failures import Failure

# seconds: a thread that some work has started and left would keep its process for ever
TO_LEAVE = 3.0


class WorkerLostError(Exception):
    """A worker process has ended before its time."""


class Yielded(NamedTuple):
    """What some work has yielded, on its way to who has sent it."""

    value: Any


class Worker:
    """A process that does one piece of work after the other.

    Its interpreter and where it looks for modules are those of this process.

    Raises
    ------
    WorkerLostError
        If no process can be started.
    """

    def __init__(self) -> None:
        # of what else stands there, Python takes no notice
        path = [entry for entry in sys.path if isinstance(entry, str)]
        code = (
            f"import sys; sys.path[:] = {path!r}; "
            "from pytest_fragility.parallel.local_worker import serve; serve()"
        )
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
        except OSError as error:
            raise WorkerLostError(f"it did not start: {error}") from error

    @property
    def is_alive(self) -> bool:
        """Whether the process is running."""
        return self._process.poll() is None

    def perform(
        self, work: Callable[..., Iterator[Any]], *arguments: Any
    ) -> Generator[Any, None, None]:
        """Have work done, yielding what it yields as that comes.

        Parameters
        ----------
        work
            A generator function of this package.
        arguments
            What it is called with; bytes where pickling takes more than `pickle`.

        Raises
        ------
        WorkerLostError
            If the process ends before the work does.
        Exception
            What the work raised.
        """
        assert self._process.stdin
        assert self._process.stdout
        order = pickle.dumps((work, arguments), protocol=pickle.HIGHEST_PROTOCOL)
        has_ended = False
        try:
            self._process.stdin.write(order)
            self._process.stdin.flush()
            while isinstance(reply := pickle.load(self._process.stdout), Yielded):
                yield reply.value
            has_ended = True
        except (EOFError, BrokenPipeError, pickle.UnpicklingError) as error:
            self.kill()
            self._close()
            raise WorkerLostError(f"exit status {self._process.returncode}") from error
        finally:
            if not has_ended:
                # what it still sends would be taken for what comes of other work
                self.kill()
        if isinstance(reply, Failure):
            reply.throw()

    def kill(self) -> None:
        """Have the process end at once, whatever it does; it has when this returns."""
        self._process.kill()
        self._process.wait()

    def dismiss(self) -> None:
        """End the process, which has nothing to do; a thread that it was left with ends too."""
        self._close()

    def _close(self) -> None:
        for stream in (self._process.stdin, self._process.stdout):
            assert stream
            # what was not sent yet is lost with the process
            with suppress(BrokenPipeError):
                stream.close()
        try:
            self._process.wait(timeout=TO_LEAVE)
        except subprocess.TimeoutExpired:
            self.kill()


class IdleWorkers:
    """Workers that wait for more to do: to start one takes as long as to train a small family."""

    def __init__(self) -> None:
        self._idle: deque[Worker] = deque()

    @property
    def is_any(self) -> bool:
        """Whether some worker waits."""
        return bool(self._idle)

    def take(self) -> Worker:
        """Return a worker, a new one where none is left."""
        return self.take_waiting() or Worker()

    def take_waiting(self) -> Worker | None:
        """Return a worker that waits, or None where none is left."""
        while self._idle:
            worker = self._idle.pop()
            if worker.is_alive:
                return worker
            worker.dismiss()
        return None

    def give_back(self, worker: Worker) -> None:
        """Have a worker wait that has nothing to do, if it has not ended."""
        if worker.is_alive:
            self._idle.append(worker)
        else:
            worker.dismiss()

    def forget(self) -> None:
        """Leave the workers to the process that this one was forked from."""
        self._idle.clear()

    def dismiss(self) -> None:
        """End the processes; whoever needs workers starts new ones."""
        while self._idle:
            self._idle.pop().dismiss()


idle_workers = IdleWorkers()


atexit.register(idle_workers.dismiss)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=idle_workers.forget)
