"""Several iterators at once."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from pytest_fragility.training.workers import run_in_threads


@pytest.mark.parametrize("threads", [1, 2, 10])
def test_every_item_of_every_job_comes_once(threads: int) -> None:
    """Nothing is lost or doubled, and the items of one job keep their order."""

    def count(job: int) -> Iterator[tuple[int, int]]:
        for item in range(job):
            yield job, item

    jobs = [lambda job=job: count(job) for job in range(7)]
    found = list(run_in_threads(jobs, threads))
    assert sorted(found) == [(job, item) for job in range(7) for item in range(job)]
    for job in range(7):
        assert [item for place, item in found if place == job] == list(range(job))


def test_no_more_jobs_at_once_than_threads() -> None:
    """Two threads run two jobs, at once: each waits for the other."""
    meeting = threading.Barrier(2, timeout=20)
    names = set()

    def meet() -> Iterator[int]:
        names.add(threading.current_thread().name)
        yield meeting.wait()

    assert sorted(run_in_threads([meet, meet, meet, meet], 2)) == [0, 0, 1, 1]
    assert len(names) == 2


def test_an_error_is_raised_and_ends_the_others() -> None:
    """The exception of a job comes out; no thread goes on behind it."""

    def fail() -> Iterator[int]:
        yield 1
        raise ZeroDivisionError("lost")

    def go_on() -> Iterator[int]:
        yield from iter(lambda: 0, 1)

    before = threading.active_count()
    with pytest.raises(ZeroDivisionError, match="lost"):
        for _ in run_in_threads([go_on, fail], 2):
            pass
    assert threading.active_count() == before


def test_closing_ends_the_jobs() -> None:
    """Jobs end, their ``finally`` included, when the caller has enough; others never start."""
    ended, started = threading.Event(), threading.Event()

    def go_on() -> Iterator[int]:
        try:
            yield from iter(lambda: 0, 1)
        finally:
            ended.set()

    def other() -> Iterator[int]:
        started.set()
        yield 1

    items = run_in_threads([go_on, other], 1)
    assert next(items) == 0
    before = threading.active_count()
    items.close()  # type: ignore[attr-defined]
    assert ended.wait(20)
    assert threading.active_count() == before - 1
    assert not started.is_set()


def test_no_jobs_yield_nothing() -> None:
    """An empty list is no error."""
    assert list(run_in_threads([], 2)) == []
