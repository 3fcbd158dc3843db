"""Worker processes of this machine: jobs are done once, and nothing is lost with a worker."""

from __future__ import annotations

import gc
import io
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pytest_fragility.parallel import local_worker
from pytest_fragility.parallel.failures import Failure, LostWorkerWarning
from pytest_fragility.parallel.local_processes import (
    LocalProcesses,
    Worker,
    WorkerLostError,
    idle_workers,
)
from pytest_fragility.parallel.pool import Job, Lost, Pool, Replies

JOBS = {number: Job((number,)) for number in range(4)}
SQUARES = {number: number**2 for number in JOBS}


@pytest.fixture(autouse=True)
def none_is_left_behind() -> Iterator[None]:
    """No worker waits before or after a test."""
    idle_workers.dismiss()
    yield
    idle_workers.dismiss()


@pytest.fixture
def worker() -> Worker:
    """A worker that waits."""
    worker = Worker()
    idle_workers.give_back(worker)
    return worker


def square(number: int) -> Iterator[int]:
    """Yield the square."""
    yield number**2


def get_ready() -> Iterator[None]:
    """Yield nothing."""
    yield from ()


def die(number: int) -> Iterator[int]:
    """End the process after the first reply, where the number is odd."""
    yield number**2
    if number % 2:
        os._exit(7)


def hang(number: int) -> Iterator[int]:
    """Reply, and never end."""
    yield number
    time.sleep(600)


def fail(number: int) -> Iterator[int]:
    """Raise, where the number is odd."""
    if number % 2:
        raise ValueError(f"{number} is odd")
    yield number


def failing_value() -> Iterator[Failure]:
    """Yield what some work knows to have failed."""
    yield Failure(ValueError("a value"), "")


_KEPT: list[bytes] = []


def keep(number: int, sent: bytes | None) -> Iterator[tuple[int, bool]]:
    """Keep what is sent, and say whether it was."""
    _KEPT.extend([] if sent is None else [sent])
    yield len(_KEPT), sent is not None


def wait_for(condition: Callable[[], Any]) -> None:
    """Return when something holds that soon will."""
    limit = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < limit
        time.sleep(0.001)


def test_each_job_is_done_once_whoever_does_it() -> None:
    """By several workers; the caller takes back what nobody has begun."""
    pool = LocalProcesses(2, start_after=0.0)
    replies = pool.begin(square, JOBS)
    assert dict(replies) == SQUARES
    replies = pool.begin(square, JOBS, first_here=1)
    mine = [number for number in reversed(JOBS) if replies.take_back(number)]
    theirs = dict(replies)
    assert 0 in mine
    assert sorted([*mine, *theirs]) == list(JOBS)
    assert all(SQUARES[number] == found for number, found in theirs.items())
    pool.close()


def test_where_nobody_else_works_all_is_taken_back() -> None:
    """Once each, in whatever order."""
    replies = Pool().begin(square, JOBS)
    assert all(replies.take_back(number) for number in (2, 0, 3, 1))
    assert list(replies) == []
    assert Pool().workers == 0


def test_a_worker_stays_for_the_next_jobs(worker: Worker) -> None:
    """They start no process."""
    for _ in range(2):
        pool = LocalProcesses(1)
        assert pool.begin(square, JOBS).get(3) == 9
        wait_for(lambda: idle_workers.is_any)
        pool.close()
    assert idle_workers.take() is worker
    worker.dismiss()


def test_work_that_is_soon_done_starts_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers take part from some time on, for which nobody waits; or they are never started."""
    monkeypatch.setattr(Worker, "__init__", lambda self: pytest.fail("a worker was started"))
    for start_after in (3600.0, None):
        pool = LocalProcesses(3, start_after=start_after)
        replies = pool.begin(square, JOBS)
        began = time.monotonic()
        assert all(replies.take_back(number) for number in JOBS)
        pool.close()
        assert time.monotonic() - began < 1


def test_what_a_worker_holds_is_not_sent_again(worker: Worker) -> None:
    """Jobs that keep the same come one after the other; what fails may have kept nothing."""
    fetched: list[int] = []

    def fetch() -> bytes:
        fetched.append(1)
        return b"networks"

    jobs = {number: Job((number,), fetch, ("a", "b")[number % 2]) for number in JOBS}
    pool = LocalProcesses(1)
    assert list(pool.begin(keep, jobs)) == [
        (0, (1, True)),
        (2, (1, False)),
        (1, (2, True)),
        (3, (2, False)),
    ]
    failing = Job(("not a number", "too many"), fetch, "c")
    assert isinstance(pool.begin(keep, {0: failing}).get(0), Failure)
    wait_for(lambda: idle_workers.is_any)
    assert worker.known == {"a", "b"} and len(fetched) == 3
    pool.close()


def test_a_failure_is_a_reply_and_the_worker_goes_on() -> None:
    """With the worker's traceback as its cause."""
    pool = LocalProcesses(1, start_after=0.0)
    found = dict(pool.begin(fail, JOBS))
    assert found[0] == 0 and found[2] == 2
    with pytest.raises(ValueError, match="3 is odd") as caught:
        found[3].throw()
    assert "in fail" in str(caught.value.__cause__)
    pool.close()


def test_what_is_lost_with_a_worker_is_said_once() -> None:
    """Others are not started in its place: what is left is the caller's."""
    pool = LocalProcesses(1, start_after=0.0)
    jobs = {number: Job((number,)) for number in (1, 3)}
    replies = pool.begin(die, jobs)
    found = [next(iter(replies)), next(iter(replies))]
    lost = Lost("a worker process ended early", "exit status 7")
    assert found == [(1, 1), (1, lost)]
    with pytest.warns(LostWorkerWarning, match=r"ended early \(exit status 7\); so what"):
        replies.warn_of_loss(lost, "; so what")
    replies.warn_of_loss(lost, "; so what")
    pool.recruit()
    assert replies.take_back(3)
    pool.close()


@pytest.mark.parametrize(
    ("executable", "reason"),
    [("false", "exit status 1"), ("", "it did not start: "), ("no-such-file", "it did not start")],
)
def test_a_worker_that_cannot_start_is_lost(
    monkeypatch: pytest.MonkeyPatch, executable: str, reason: str
) -> None:
    """With its first job; none where it had to get ready first."""
    monkeypatch.setattr("sys.executable", executable)
    lost = LocalProcesses(1, start_after=0.0).begin(square, JOBS).get(0)
    assert str(lost).startswith(f"a worker process ended early ({reason}")
    pool = LocalProcesses(1, start_after=0.0, prepare=get_ready)
    replies = pool.begin(square, JOBS)
    wait_for(lambda: not pool._helping)
    assert all(replies.take_back(number) for number in JOBS)


def test_those_that_came_last_are_begun_first() -> None:
    """Nobody begins what is cancelled, nor what nobody waits for."""
    pool = LocalProcesses(0)
    first, second, gone = (pool.begin(square, JOBS) for _ in range(3))
    del gone
    gc.collect()
    assert pool._waiting() == [second, first]
    second.cancel()
    assert pool._waiting() == [first]
    assert second.take_back(1) and list(second) == []


def test_closing_ends_everything() -> None:
    """Work that would take minutes is given up, and its threads end."""
    before = threading.active_count()
    pool = LocalProcesses(1, start_after=0.0)
    replies = pool.begin(hang, JOBS)
    assert next(iter(replies)) == (0, 0)
    (worker,) = pool._helping.values()
    assert worker and worker.is_alive
    pool.close()
    assert not worker.is_alive
    assert threading.active_count() == before
    assert [type(reply) for _, reply in replies.so_far()] == [Lost]
    assert replies.take_back(1)


def test_a_fork_leaves_all_to_its_parent() -> None:
    """Two processes that talk to one worker would garble each other's words."""
    worker = idle_workers.take()
    idle_workers.give_back(worker)
    idle_workers.forget()
    other = idle_workers.take()
    assert other is not worker
    pool = LocalProcesses(0)
    pool._helping[threading.current_thread()] = worker
    replies: Replies[int] = pool.begin(square, JOBS)
    pool.forget()
    assert not pool._helping and not pool._waiting() and replies.count_waiting()
    for each in (worker, other):
        assert each.is_alive
        each.dismiss()


def test_a_dead_worker_is_not_given_out(worker: Worker) -> None:
    """One that was killed while it waited is replaced."""
    worker.kill()
    other = idle_workers.take()
    assert other is not worker
    assert other.is_alive
    other.dismiss()
    assert not other.is_alive
    with pytest.raises(ValueError, match="closed file"):
        next(other.perform(square, 1))


def test_a_closed_worker_is_lost() -> None:
    """What is asked of a process that has ended comes to nothing, and is said."""
    worker = Worker()
    worker.kill()
    with pytest.raises(WorkerLostError, match="exit status -9"):
        list(worker.perform(square, 1))


def test_a_worker_looks_for_modules_where_this_process_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A module beside the working directory does not stand in for one of the library's."""
    (tmp_path / "signal.py").write_text("raise SystemExit('the wrong module')")
    monkeypatch.chdir(tmp_path)
    worker = Worker()
    assert list(worker.perform(square, 3)) == [9]
    worker.dismiss()


def test_workers_ignore_interrupts(worker: Worker) -> None:
    """The terminal sends them to all processes; what follows is the first one's to say."""
    assert list(worker.perform(square, 3)) == [9]
    os.kill(worker._process.pid, signal.SIGINT)
    assert list(worker.perform(square, 4)) == [16]


def test_serving_ends_with_the_orders() -> None:
    """Where standard input is closed there is nothing more to do."""
    assert local_worker._next_order(io.BytesIO()) is None


def test_a_failure_that_work_yields_is_a_value(worker: Worker) -> None:
    """It is not raised, and what comes next is not taken for it."""
    for _ in range(2):
        (found,) = worker.perform(failing_value)
        assert isinstance(found, Failure) and str(found.error) == "a value"
        assert list(worker.perform(get_ready)) == []


def test_a_worker_whose_replies_are_not_all_taken_is_used_no_more(worker: Worker) -> None:
    """What it still sends would be taken for what comes of other work."""
    replies = worker.perform(failing_value)
    next(replies)
    replies.close()
    assert not worker.is_alive
