"""Processes of this machine that work beside this one, and wait for more."""

from __future__ import annotations

import atexit
import os
import pickle
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Generator, Hashable, Mapping
from contextlib import suppress
from typing import Any, NamedTuple
from weakref import ref

from pytest_fragility.parallel.failures import Failure
from pytest_fragility.parallel.pool import Job, Key, Lost, Pool, Replies, Work

# seconds: a thread that some work has started and left would keep its process for ever
TO_LEAVE = 3.0
# seconds of work after which a worker is worth its start, which takes about as long
START_AFTER = 1.0
# seconds: a thread whose worker is killed ends soon
PATIENCE = 1.0


class WorkerLostError(Exception):
    """A worker process has ended before its time."""


class Yielded(NamedTuple):
    """What some work has yielded, on its way to who has sent it."""

    value: Any


class Worker:
    """A process that does one piece of work after the other.

    Its interpreter and where it looks for modules are those of this process.

    Attributes
    ----------
    known
        Names of what it keeps of earlier work.

    Raises
    ------
    WorkerLostError
        If no process can be started.
    """

    def __init__(self) -> None:
        self.known: set[Hashable] = set()
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

    def perform(self, work: Work, *arguments: Any) -> Generator[Any, None, None]:
        """Have work done, yielding what it yields as that comes.

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


class LocalProcesses(Pool):
    """Worker processes of this machine, each in the care of a thread.

    Jobs of several callers may be open at a time; those that came last are begun first. Workers
    that wait for more to do take part at once.

    Parameters
    ----------
    workers
        How many work at a time.
    start_after
        Seconds after which others are started, if jobs still wait; None starts none.
    prepare
        What a worker does before the first job is begun for it.
    """

    def __init__(
        self, workers: int, *, start_after: float | None = None, prepare: Work | None = None
    ) -> None:
        self._workers = workers
        self._start_after = start_after
        self._prepare = prepare
        # nobody waits for replies that are gone
        self._begun: list[ref[Replies[Any]]] = []
        self._helping: dict[threading.Thread, Worker | None] = {}
        self._has_lost = self._is_closed = False
        self._lock = threading.Lock()

    @property
    def workers(self) -> int:
        """How many work at a time."""
        return self._workers

    def begin(self, work: Work, jobs: Mapping[Key, Job], *, first_here: int = 0) -> Replies[Key]:
        """Have jobs done by workers, and return what their replies come to."""
        replies = Replies(work, jobs, first_here)
        with self._lock:
            self._begun = [ref(replies), *map(ref, self._waiting())]
        self.recruit()
        return replies

    def recruit(self) -> None:
        """Have as many workers take part as may, if there is something to do."""
        with self._lock:
            # where one is lost, others may be: each start takes longer than most jobs
            jobs = 0 if self._has_lost else sum(each.count_waiting() for each in self._waiting())
            for _ in range(min(self.workers, jobs) - len(self._helping)):
                worker = idle_workers.take_waiting()
                if worker or self._start_after is not None:
                    thread = threading.Thread(target=self._help, daemon=True)
                    self._helping[thread] = worker
                    thread.start()

    def close(self) -> None:
        """End the workers that are at work, and have nothing more begun."""
        self._is_closed = True
        with self._lock:
            for replies in self._waiting():
                replies.cancel()
            # one that has nothing more to do is not among them, and waits
            for worker in filter(None, self._helping.values()):
                worker.kill()
            threads = list(self._helping)
        for thread in threads:
            thread.join(PATIENCE)

    def forget(self) -> None:
        """Leave threads and workers to the process that this one was forked from."""
        self._begun, self._helping, self._lock = [], {}, threading.Lock()

    def _waiting(self) -> list[Replies[Any]]:
        """Return what has jobs that nobody has begun."""
        alive = [each() for each in self._begun]
        return [each for each in alive if each is not None and each.count_waiting()]

    def _help(self) -> None:
        """Take one job after the other for a worker, and pass on what comes of it."""
        me = threading.current_thread()
        try:
            if self._helping[me] is None:
                self._wait_to_start()
            if self._prepare:
                list(self._own_worker().perform(self._prepare))
            while self._do_next():
                pass
        except WorkerLostError:
            self._has_lost = True
        finally:
            with self._lock:
                worker = self._helping.pop(me, None)
            if worker:
                idle_workers.give_back(worker)
        # what has come since this thread found nothing to do
        self.recruit()

    def _wait_to_start(self) -> None:
        """Return when a worker is worth its start."""
        with self._lock:
            waiting = self._waiting()
        for replies in waiting[:1]:
            replies.wait_while_any_waits(self._start_after or 0.0)

    def _own_worker(self) -> Worker:
        """Return this thread's worker, which is started where there is none.

        Raises
        ------
        WorkerLostError
            If that is not possible.
        """
        me = threading.current_thread()
        worker = self._helping.get(me) or idle_workers.take()
        with self._lock:
            self._helping[me] = worker
        if self._is_closed:
            worker.kill()
        return worker

    def _do_next(self) -> bool:
        """Have a job done that nobody has begun; return whether there was one."""
        worker = self._helping[threading.current_thread()]
        known = worker.known if worker else ()
        with self._lock:
            taken = ((each, each.take_next(known)) for each in self._waiting())
            replies, key = next((each for each in taken if each[1] is not None), (None, None))
        if replies is None:
            return False
        job = replies.jobs[key]
        try:
            worker = self._own_worker()
            arguments = job.for_worker(worker.known)
            if job.keeps is not None:
                worker.known.add(job.keeps)
            for reply in worker.perform(replies.work, *arguments):
                replies.put(key, reply)
        except WorkerLostError as error:
            replies.put(key, Lost("a worker process ended early", str(error)), is_end=True)
            raise
        except Exception as error:
            if worker:
                # it may not have got as far as to keep anything
                worker.known.discard(job.keeps)
            replies.put(key, Failure(error, ""), is_end=True)
        else:
            replies.put(key, is_end=True)
        return True
