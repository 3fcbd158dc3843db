"""Trainings side by side, in this process and in workers."""

from __future__ import annotations

import io
import os
import pickle
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from pytest_fragility.errors import TaskError
from pytest_fragility.evaluation.remote import get_ready
from pytest_fragility.networks.runs import Run, TrainedRun
from pytest_fragility.networks.transport import pack_runs
from pytest_fragility.parallel import local_worker as worker_process
from pytest_fragility.parallel.failures import Failure
from pytest_fragility.parallel.local_processes import Worker, WorkerLostError, idle_workers
from pytest_fragility.recipes import MLP, SGD, Recipe, fixed_steps
from pytest_fragility.tasks import Task
from pytest_fragility.training import distribution as crew_module
from pytest_fragility.training.distribution import Crew, LostWorkerWarning, train_by
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
    monkeypatch.setattr(crew_module, "START_AFTER", 0.0)


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


def stacks_of(runs: list[Run]) -> list[crew_module.Stack]:
    """Return one stack for each width."""
    by_width: dict[Any, list[Run]] = {}
    for run in runs:
        by_width.setdefault(run.recipe.architecture, []).append(run)
    return [find_trajectories(members) for members in by_width.values()]


def works(worker: Worker, blobs: Task) -> bool:
    """Return whether a worker trains what it is asked to."""
    asked = [trajectory.pending for trajectory in find_trajectories(make_runs(blobs)[:2])]
    return sum(len(batch) for batch in train_by(worker, asked)) == 2


def as_numbers(trained: TrainedRun) -> Any:
    """Return all that came out of a run, to be compared bit by bit."""
    weights = {name: weight.numpy().tobytes() for name, weight in trained.weights.items()}
    initial = {name: weight.numpy().tobytes() for name, weight in trained.initial_weights.items()}
    return weights, initial, trained.record, trained.mistaken.tolist()


def alone(runs: list[Run]) -> dict[int, Any]:
    """Return what comes out where no worker helps."""
    found = Crew(stacks_of(runs), 0, CPU).train()
    return {id(each.run): as_numbers(each) for batch in found for each in batch}


def test_a_worker_trains_as_this_process_does(blobs: Task) -> None:
    """Every bit of what comes back is the same, for the very runs that were asked for."""
    runs = make_runs(blobs)
    worker = idle_workers.take()
    asked = [trajectory.pending for trajectory in find_trajectories(runs[:6])]
    found = [each for batch in train_by(worker, asked) for each in batch]
    again = [each for batch in train_by(worker, asked) for each in batch]
    idle_workers.give_back(worker)
    expected = alone(runs)
    assert len(found) == len(again) == 6
    for each in [*found, *again]:
        assert as_numbers(each) == expected[id(each.run)]


def test_every_run_comes_once_whoever_trains_it(blobs: Task) -> None:
    """With more stacks than processes, workers are used and nothing is lost or doubled."""
    runs = make_runs(blobs, steps=400, widths=(5, 6, 7, 8, 9))
    found = [each for batch in Crew(stacks_of(runs), 2, CPU).train() for each in batch]
    assert sorted(id(each.run) for each in found) == sorted(map(id, runs))
    expected = alone(runs)
    for each in found:
        assert as_numbers(each) == expected[id(each.run)]


def test_stacks_in_flight_are_those_of_one_after_the_other(blobs: Task) -> None:
    """In threads of this process, as on a CUDA device: no bit depends on what goes on beside."""
    runs = make_runs(blobs, steps=200, widths=(5, 6, 7, 8, 9))
    crew = Crew(stacks_of(runs), 0, CPU, in_flight=3)
    found = [each for batch in crew.train() for each in batch]
    assert sorted(id(each.run) for each in found) == sorted(map(id, runs))
    expected = alone(runs)
    for each in found:
        assert as_numbers(each) == expected[id(each.run)]


@pytest.mark.usefixtures("interruptible")
@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_an_interrupted_training_yields_what_is_done(
    blobs: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Runs that were finished while nobody took them come before the interruption."""
    runs = make_runs(blobs, steps=10**9, widths=(8,))
    crew = Crew(stacks_of(runs), 0, CPU)
    here, reply, found = threading.get_ident(), crew.reply, []
    ended = crew._members[0]._has_left

    def interrupt_and_reply(given: crew_module.Reply | None) -> None:
        if isinstance(given, list):
            interrupt(here, ended)
        reply(given)

    monkeypatch.setattr(crew, "reply", interrupt_and_reply)
    monkeypatch.setattr(crew_module, "PATIENCE", 60.0)
    with pytest.raises(KeyboardInterrupt):
        # what it has yielded stays, unlike in a list that is made of it
        list(map(found.extend, crew.train()))
    assert [each.record.steps for each in found] == [20] * 3
    assert not crew._members[0].is_alive()


def test_a_worker_stays_for_the_next_training(blobs: Task) -> None:
    """The second training starts no process."""
    idle_workers.dismiss()
    runs = make_runs(blobs, steps=3_000)
    seen = []
    for _ in range(2):
        list(Crew(stacks_of(runs), 1, CPU).train())
        worker = idle_workers.take()
        seen.append(worker)
        assert worker.is_alive
        idle_workers.give_back(worker)
    assert seen[0] is seen[1]


def test_a_short_training_starts_no_worker(blobs: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers take part from some time on, and this process does not wait for that time."""
    # those that wait already would take part at once
    idle_workers.dismiss()
    monkeypatch.setattr(crew_module, "START_AFTER", 3600.0)
    monkeypatch.setattr(idle_workers, "take", lambda: pytest.fail("a worker was asked for"))
    runs = make_runs(blobs)
    assert len([each for batch in Crew(stacks_of(runs), 3, CPU).train() for each in batch]) == 12


class OneLostWorker(Worker):
    """A worker that is killed when its first runs have come back."""

    def perform(self, work: Any, *arguments: Any) -> Iterator[Any]:
        """Work until something has come back."""
        for reply in super().perform(work, *arguments):
            yield reply
            self.kill()
            self._process.wait()


def test_what_a_lost_worker_left_is_trained_here(
    blobs: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker killed half-way: a warning says so, and each run comes once, as ever."""
    monkeypatch.setattr(idle_workers, "take", OneLostWorker)
    runs = make_runs(blobs, steps=3_000)
    with pytest.warns(LostWorkerWarning, match=r"ended early \(exit status -9\)"):
        found = [each for batch in Crew(stacks_of(runs), 1, CPU).train() for each in batch]
    assert sorted(id(each.run) for each in found) == sorted(map(id, runs))
    expected = alone(runs)
    for each in found:
        assert as_numbers(each) == expected[id(each.run)]


@pytest.mark.parametrize(
    ("executable", "reason"),
    [("false", r"exit status 1"), ("", "it did not start: "), ("no-such-file", "it did not start")],
)
def test_a_worker_that_cannot_start_is_lost(
    blobs: Task, monkeypatch: pytest.MonkeyPatch, executable: str, reason: str
) -> None:
    """An interpreter that ends at once, or is not there, leaves all to this process."""
    idle_workers.dismiss()
    monkeypatch.setattr("sys.executable", executable)
    runs = make_runs(blobs)
    with pytest.warns(LostWorkerWarning, match=rf"ended early \({reason}"):
        found = [each for batch in Crew(stacks_of(runs), 1, CPU).train() for each in batch]
    assert len(found) == len(runs)


def test_what_a_training_raises_in_a_worker_is_raised_here(blobs: Task) -> None:
    """The same error as here, with the worker's traceback as its cause."""
    good, endless = make_runs(blobs, widths=(8,)), make_runs(blobs, steps=10**7, widths=(8,))
    bad = [Run(each.task, 1000, each.recipe, each.seed) for each in good]
    worker = idle_workers.take()
    asked = [trajectory.pending for trajectory in find_trajectories(bad)]
    with pytest.raises(TaskError, match="the training pool has only 200") as caught:
        list(train_by(worker, asked))
    assert "distribution.py" in str(caught.value.__cause__)
    fine = [trajectory.pending for trajectory in find_trajectories(good)]
    assert len([each for batch in train_by(worker, fine) for each in batch]) == 6
    idle_workers.give_back(worker)
    before = threading.active_count()
    with pytest.raises(TaskError, match="the training pool has only 200"):
        list(Crew([*stacks_of(endless), *stacks_of(bad)], 1, CPU).train())
    assert threading.active_count() == before


def test_closing_ends_everything(blobs: Task) -> None:
    """Trainings that would take minutes are given up, in threads and in processes."""
    runs = make_runs(blobs, steps=10**7)
    crew = Crew(stacks_of(runs), 1, CPU)
    before = threading.active_count()
    batches = crew.train()
    arrived: list[TrainedRun] = []
    while len(arrived) < 6:
        arrived += next(batches)
    worker = crew._members[1]._worker  # type: ignore[attr-defined]
    assert worker.is_alive
    batches.close()  # type: ignore[attr-defined]
    assert not worker.is_alive
    assert threading.active_count() == before


def test_no_stacks_train_to_nothing() -> None:
    """There is nobody to wait for."""
    assert list(Crew([], 3, CPU).train()) == []


def test_a_dead_worker_is_not_given_out() -> None:
    """One that was killed while it waited is replaced."""
    worker = Worker()
    idle_workers.give_back(worker)
    worker.kill()
    worker._process.wait()
    other = idle_workers.take()
    assert other is not worker
    assert other.is_alive
    other.dismiss()
    assert not other.is_alive
    with pytest.raises(ValueError, match="closed file"):
        next(train_by(other, []))


def test_a_fork_leaves_the_workers_to_its_parent() -> None:
    """Two processes that talk to one worker would garble each other's words."""
    worker = idle_workers.take()
    idle_workers.give_back(worker)
    idle_workers.forget()
    other = idle_workers.take()
    assert other is not worker
    for each in (worker, other):
        assert each.is_alive
        each.dismiss()


def test_a_worker_looks_for_modules_where_this_process_does(
    blobs: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A module beside the working directory does not stand in for one of the library's."""
    (tmp_path / "signal.py").write_text("raise SystemExit('the wrong module')")
    monkeypatch.chdir(tmp_path)
    worker = Worker()
    assert works(worker, blobs)
    worker.dismiss()


def test_orders_hold_data_in_the_place_of_loaders(blobs: Task) -> None:
    """Loaders may hold what does not pickle; tasks that were one are one still."""
    runs = make_runs(blobs)
    ((first, second),) = pickle.loads(pack_runs([runs[:2]]))
    assert first.task is second.task
    assert first.task is not blobs
    assert first.task.name == blobs.name
    assert first.task.data.fingerprint == blobs.data.fingerprint
    assert first.identity == runs[0].identity


def test_serving_ends_with_the_orders() -> None:
    """Where standard input is closed there is nothing more to do."""
    assert worker_process._next_order(io.BytesIO()) is None


def test_as_many_processes_as_threads_allowed(blobs: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    """The number of workers follows torch's number of threads, this process being one."""
    seen = []

    class Spy(Crew):
        def __init__(
            self, stacks: Any, workers: int, device: torch.device, *, in_flight: int
        ) -> None:
            assert in_flight == 1
            seen.append(workers)
            super().__init__(stacks, 0, device)

    monkeypatch.setattr("pytest_fragility.training.trainer.Crew", Spy)
    threads = torch.get_num_threads()
    try:
        for count in (1, 2, 5):
            torch.set_num_threads(count)
            list(train(make_runs(blobs), CPU))
    finally:
        torch.set_num_threads(threads)
    assert seen == [0, 1, 4]


def test_workers_ignore_interrupts(blobs: Task) -> None:
    """The terminal sends them to all processes; what follows is the first one's to say."""
    worker = Worker()
    assert works(worker, blobs)
    os.kill(worker._process.pid, signal.SIGINT)
    assert works(worker, blobs)
    worker.dismiss()


def test_a_closed_worker_is_lost(blobs: Task) -> None:
    """What is asked of a process that has ended comes to nothing, and is said."""
    worker = Worker()
    worker.kill()
    worker._process.wait()
    asked = [trajectory.pending for trajectory in find_trajectories(make_runs(blobs))]
    with pytest.raises(WorkerLostError, match="exit status -9"):
        list(train_by(worker, asked))


def test_a_failure_that_work_yields_is_a_value() -> None:
    """It is not raised, and what comes next is not taken for it."""
    worker = Worker()
    try:
        for _ in range(2):
            (found,) = worker.perform(failing_value)
            assert isinstance(found, Failure) and str(found.error) == "a value"
            assert list(worker.perform(get_ready)) == []
    finally:
        worker.dismiss()


def failing_value() -> Iterator[Failure]:
    """Yield what some work knows to have failed."""
    yield Failure(ValueError("a value"), "")


def test_a_worker_whose_replies_are_not_all_taken_is_used_no_more() -> None:
    """What it still sends would be taken for what comes of other work."""
    worker = Worker()
    replies = worker.perform(failing_value)
    next(replies)
    replies.close()  # type: ignore[attr-defined]
    assert not worker.is_alive
    worker.dismiss()
