"""Trainings side by side, in this process and in workers."""

from __future__ import annotations

import pickle
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch

from pytest_fragility.errors import TaskError, TrainingError
from pytest_fragility.networks.runs import Run, TrainedRun
from pytest_fragility.networks.transport import pack_runs
from pytest_fragility.parallel import local_processes
from pytest_fragility.parallel.failures import LostWorkerWarning
from pytest_fragility.parallel.local_processes import LocalProcesses, Worker, idle_workers
from pytest_fragility.parallel.pool import Replies
from pytest_fragility.recipes import MLP, SGD, Recipe, fixed_steps
from pytest_fragility.tasks import Task
from pytest_fragility.training import distribution
from pytest_fragility.training.distribution import Stack, train_stacks
from pytest_fragility.training.trainer import find_trajectories, train
from tests.interrupting import interrupt

CPU = torch.device("cpu")


@pytest.fixture(autouse=True, scope="module")
def none_is_left_behind() -> Iterator[None]:
    """Workers that wait are ended."""
    yield
    idle_workers.dismiss()


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers start without delay."""
    monkeypatch.setattr(local_processes, "START_AFTER", 0.0)


def make_runs(blobs: Task, *, steps: int = 40, widths: tuple[int, ...] = (8, 9)) -> list[Run]:
    """Return runs of as many stacks as there are widths, with two stopping rules each."""
    return [
        Run(
            blobs,
            16,
            Recipe(
                architecture=MLP(hidden=(width,)),
                optimizer=SGD(lr=0.1),
                batch_size=8,
                stopping=rule,
            ),
            seed,
        )
        for width in widths
        for rule in (fixed_steps(steps), fixed_steps(20))
        for seed in range(3)
    ]


def stacks_of(runs: list[Run]) -> list[Stack]:
    """Return one stack for each width."""
    by_width: dict[Any, list[Run]] = {}
    for run in runs:
        by_width.setdefault(run.recipe.architecture, []).append(run)
    return [find_trajectories(members) for members in by_width.values()]


def trained(runs: list[Run], **options: Any) -> list[TrainedRun]:
    """Return the runs as they come, each of which must come once."""
    found = [each for batch in train_stacks(stacks_of(runs), CPU, **options) for each in batch]
    assert len(found) == len({each.run for each in found} & set(runs)) == len(runs)
    return found


def as_numbers(one: TrainedRun) -> Any:
    """Return all that came out of a run, to be compared bit by bit."""
    weights = {name: weight.numpy().tobytes() for name, weight in one.weights.items()}
    initial = {name: weight.numpy().tobytes() for name, weight in one.initial_weights.items()}
    return weights, initial, one.record, one.mistaken.tolist()


def assert_as_alone(found: list[TrainedRun], runs: list[Run]) -> None:
    """Compare with what comes out where no worker helps."""
    expected = {each.run: as_numbers(each) for each in trained(runs)}
    for each in found:
        assert as_numbers(each) == expected[each.run]


@contextmanager
def used_workers() -> Iterator[list[Worker]]:
    """Note which workers do something."""
    used: list[Worker] = []
    perform = Worker.perform

    def noting(self: Worker, work: Any, *arguments: Any) -> Any:
        used.append(self)
        yield from perform(self, work, *arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Worker, "perform", noting)
        yield used


def test_every_run_comes_once_whoever_trains_it(blobs: Task) -> None:
    """With more stacks than processes, workers are used and nothing is lost or doubled."""
    runs = make_runs(blobs, steps=400, widths=(5, 6, 7, 8, 9))
    with used_workers() as used:
        found = trained(runs, processes=3)
    assert used
    assert_as_alone(found, runs)


def test_stacks_in_flight_are_those_of_one_after_the_other(blobs: Task) -> None:
    """In threads of this process, as on a CUDA device: no bit depends on what goes on beside."""
    runs = make_runs(blobs, steps=200, widths=(5, 6, 7, 8, 9))
    assert_as_alone(trained(runs, in_flight=3), runs)


@pytest.mark.usefixtures("interruptible")
@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_an_interrupted_training_yields_what_is_done(
    blobs: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Runs that were finished while nobody took them come before the interruption."""
    runs = make_runs(blobs, steps=10**9, widths=(8,))
    here, put, found, is_over = threading.get_ident(), Replies.put, [], threading.Event()

    def interrupt_and_put(self: Replies[int], *reply: Any, **options: Any) -> None:
        interrupt(here, is_over)
        put(self, *reply, **options)

    end = distribution._end

    def ending(threads: Any, event: threading.Event) -> None:
        is_over.set()
        end(threads, event)

    before = threading.active_count()
    monkeypatch.setattr(Replies, "put", interrupt_and_put)
    monkeypatch.setattr(distribution, "_end", ending)
    monkeypatch.setattr(distribution, "PATIENCE", 60.0)
    with pytest.raises(KeyboardInterrupt):
        # what it has yielded stays, unlike in a list that is made of it
        list(map(found.extend, train_stacks(stacks_of(runs), CPU)))
    assert [each.record.steps for each in found] == [20] * 3
    assert threading.active_count() == before


class OneLostWorker(Worker):
    """A worker that is killed when its first runs have come back."""

    def perform(self, work: Any, *arguments: Any) -> Any:
        """Work until something has come back."""
        for reply in super().perform(work, *arguments):
            yield reply
            self.kill()


def test_what_a_lost_worker_left_is_trained_here(
    blobs: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker killed half-way: a warning says so, and each run comes once, as ever."""
    idle_workers.dismiss()
    monkeypatch.setattr(idle_workers, "take", OneLostWorker)
    runs = make_runs(blobs, steps=3_000)
    with pytest.warns(LostWorkerWarning, match=r"ended early \(exit status -9\); 1 of 2 stacks"):
        found = trained(runs, processes=2)
    assert_as_alone(found, runs)


def test_what_a_training_raises_in_a_worker_is_raised_here(blobs: Task) -> None:
    """The same error as here, with the worker's traceback as its cause; all others end."""
    good, endless = make_runs(blobs, widths=(8,)), make_runs(blobs, steps=10**7, widths=(8,))
    bad = [Run(each.task, 1000, each.recipe, each.seed) for each in good]
    before = threading.active_count()
    with pytest.raises(TaskError, match="the training pool has only 200") as caught:
        list(train_stacks([*stacks_of(endless), *stacks_of(bad)], CPU, processes=2))
    assert "distribution.py" in str(caught.value.__cause__)
    assert threading.active_count() == before


@pytest.mark.parametrize("error", [ValueError("not today"), SystemExit(3)])
def test_what_a_training_raises_here_is_raised(
    blobs: Task, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    """Also what would end its thread alone, of which nobody would hear."""

    def failing(*_: Any) -> Iterator[Any]:
        raise error

    monkeypatch.setattr(distribution, "train_within_memory", failing)
    with pytest.raises((ValueError, TrainingError)) as caught:
        trained(make_runs(blobs))
    assert error in (caught.value, caught.value.__cause__)
    assert (caught.value is error) == isinstance(error, Exception)


def test_closing_ends_everything(blobs: Task) -> None:
    """Trainings that would take minutes are given up, in threads and in processes."""
    before = threading.active_count()
    batches = train_stacks(stacks_of(make_runs(blobs, steps=10**7)), CPU, processes=2)
    arrived: list[TrainedRun] = []
    with used_workers() as used:
        while len(arrived) < 6:
            arrived += next(batches)
        assert used[0].is_alive
        batches.close()  # type: ignore[attr-defined]
    assert not used[0].is_alive
    assert threading.active_count() == before


def test_no_stacks_train_to_nothing() -> None:
    """There is nobody to wait for."""
    assert list(train_stacks([], CPU, processes=4)) == []


def test_orders_hold_data_in_the_place_of_loaders(blobs: Task) -> None:
    """Loaders may hold what does not pickle; tasks that were one are one still."""
    runs = make_runs(blobs)
    ((first, second),) = pickle.loads(pack_runs([runs[:2]]))
    assert first.task is second.task
    assert first.task is not blobs
    assert first.task.name == blobs.name
    assert first.task.data.fingerprint == blobs.data.fingerprint
    assert first.identity == runs[0].identity


def test_as_many_processes_as_threads_allowed(blobs: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    """The number of workers follows torch's number of threads, this process being one.

    They are started at once where many networks are to be trained.
    """
    seen: list[tuple[int, float | None]] = []

    class Spy(LocalProcesses):
        def __init__(self, workers: int, *, start_after: float | None) -> None:
            seen.append((workers, start_after))
            super().__init__(0, start_after=start_after)

    monkeypatch.setattr(local_processes, "START_AFTER", 1.0)
    monkeypatch.setattr(distribution, "LocalProcesses", Spy)
    threads = torch.get_num_threads()
    try:
        for count in (1, 2, 5):
            torch.set_num_threads(count)
            list(train(make_runs(blobs), CPU))
    finally:
        torch.set_num_threads(threads)
    monkeypatch.setattr(distribution, "MANY_NETWORKS", 6)
    list(train(make_runs(blobs), CPU))
    assert seen == [(0, 1.0), (1, 1.0), (4, 1.0), (threads - 1, 0.0)]
