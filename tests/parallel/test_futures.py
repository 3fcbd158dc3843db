"""Training and measuring by an executor's workers."""

from __future__ import annotations

import os
import pickle
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import (
    BrokenExecutor,
    CancelledError,
    Executor,
    Future,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
)
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from pytest_fragility import MLP, Factory, Recipe, audit, fixed_steps
from pytest_fragility.errors import MeasureError, SettingsError, TrainingError
from pytest_fragility.evaluation.asking import begin, evaluate
from pytest_fragility.evaluation.calling import MeasuredHereWarning
from pytest_fragility.families.family import Family
from pytest_fragility.families.plan import FamilyPlan
from pytest_fragility.families.train import train_families
from pytest_fragility.measures import (
    constant,
    noise,
    oracle_test_error,
    path_norm,
    product_of_spectral_norms,
    stacked,
)
from pytest_fragility.networks import NetworkState
from pytest_fragility.parallel.failures import LostWorkerWarning, WorkerFailure, WorkerTraceback
from pytest_fragility.parallel.futures import REPLACEMENTS, WORKERS, Executors
from pytest_fragility.parallel.pool import Job, Lost
from pytest_fragility.perturbations import BASELINE, get_perturbation
from pytest_fragility.store import Store
from pytest_fragility.tasks import Task
from pytest_fragility.training.trainer import InOneProcessWarning

CPU = torch.device("cpu")
HERE = os.getpid()


def new_pool(workers: int = 1) -> ProcessPoolExecutor:
    """Return a pool whose processes know nothing of this one."""
    return ProcessPoolExecutor(workers, mp_context=get_context("spawn"))


@pytest.fixture(scope="module")
def pool() -> Iterator[ProcessPoolExecutor]:
    """Two processes."""
    with new_pool(2) as executor:
        yield executor


class Inline(Executor):
    """Makes each call at once, in this process, but for those that fail.

    Parameters
    ----------
    *failures
        What is raised in the place of the first calls' replies.
    """

    def __init__(self, *failures: BaseException) -> None:
        self.failures = list(failures)
        self.calls = 0
        self.is_shut_down = False

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Call the function."""
        self.calls += 1
        future: Future[Any] = Future()
        if self.failures:
            future.set_exception(self.failures.pop(0))
        else:
            future.set_result(fn(*args, **kwargs))
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Note it."""
        self.is_shut_down = True


class Counting(Store):
    """A store that notes what is saved."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.saved: list[str] = []

    def save(self, trained: Any, key: str) -> None:
        """Save a run, and note its key."""
        self.saved.append(key)
        super().save(trained, key)


def plan_of(task: Task, recipe: Recipe) -> FamilyPlan:
    """Return baseline and Adam, two sizes, three seeds: 12 networks."""
    recipes = {BASELINE: recipe, "adam": get_perturbation("adam")(recipe)}
    return FamilyPlan(task, recipes, (16, 32), (0, 1, 2))


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    """Networks that train in a moment."""
    return Recipe(architecture=MLP(hidden=(5,)), batch_size=8, stopping=fixed_steps(30))


@pytest.fixture(scope="module")
def family(blobs: Task, recipe: Recipe) -> Family:
    """The family of `plan_of`, trained in this process."""
    return train_families([plan_of(blobs, recipe)], device=CPU)[0]


def with_executors(family: Family, executors: Executors) -> Family:
    """Return the family, to be measured elsewhere."""
    trained = {place: family.trained_run(*place) for place in family.plan.runs}
    return Family(family.plan, trained, family.device, executors=executors)


def assert_same(family: Family, expected: Family) -> None:
    """Compare all runs bit by bit."""
    for place in expected.plan.runs:
        one, other = family.trained_run(*place), expected.trained_run(*place)
        assert one.record == other.record
        assert torch.equal(one.mistaken, other.mistaken)
        for state in ("state", "initial_state"):
            assert bits(getattr(one, state)) == bits(getattr(other, state))


def bits(state: NetworkState) -> Any:
    """Return all numbers of a state as bytes."""
    return {
        name: tensor.numpy().tobytes()
        for part in (state.weights, state.buffers)
        for name, tensor in sorted(part.items())
    }


def size(network: Any) -> float:
    """Sum the squared weights; names of this module are known to no worker."""
    if os.getpid() != HERE and __name__ in sys.modules:
        raise ImportError("the worker has imported a test")
    return sum(float(p.detach().square().sum()) for p in network.model.parameters())


@stacked
def stacked_size(stack: Any) -> Any:
    """Sum the squared weights."""
    return sum(weight.detach().square().flatten(1).sum(1) for weight in stack.weights.values())


@constant
def prior(network: Any) -> float:
    """Look at no network."""
    return float(network.n)


def crashing(network: Any) -> float:
    """Fail on the larger networks."""
    if network.n > 16:
        raise ValueError("no measure today")
    return 1.0


def crashing_twice(network: Any) -> float:
    """Fail on one network of each size."""
    if (network.n, network.seed) in ((16, 1), (32, 2)):
        raise ValueError("no measure today: crashing twice")
    return 1.0


def zero(network: Any) -> float:
    """Return what has no logarithm."""
    return 0.0


def hanging(network: Any) -> float:
    """Never return, from one network."""
    while network.n == 32 and network.seed == 1:
        time.sleep(0.01)
    return 1.0


def test_a_pool_trains_the_same_runs_bit_by_bit(
    blobs: Task, recipe: Recipe, family: Family, pool: ProcessPoolExecutor, tmp_path: Path
) -> None:
    """Each is saved once, here, and this process trains none."""
    store = Counting(tmp_path)
    progress: list[int] = []
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (found,) = train_families(
            [plan_of(blobs, recipe)],
            device=CPU,
            store=store,
            executors=Executors(pool),
            progress=lambda done, total, share: progress.append(done),
        )
    assert_same(found, family)
    assert len(store.saved) == len(set(store.saved)) == len(family)
    assert progress[0] == 0 and progress[-1] == len(family)


@pytest.mark.parametrize(
    "measure",
    [size, stacked_size, path_norm, product_of_spectral_norms.bound_form, noise, oracle_test_error],
)
def test_a_pool_measures_the_same_values_bit_by_bit(
    family: Family, pool: ProcessPoolExecutor, measure: Any
) -> None:
    """One of a test, reference measures, one that draws numbers, one that sees test data."""
    shared = with_executors(family, Executors(pool))
    found = begin(measure, "it", shared, [BASELINE, "adam"])
    for name in ("adam", BASELINE):
        np.testing.assert_array_equal(found(name), evaluate(measure, "it", family, name))
    second = evaluate(measure, "it", shared, "adam", sizes=[32], draw=1)
    expected = evaluate(measure, "it", family, "adam", sizes=[32], draw=1)
    np.testing.assert_array_equal(second, expected)


@pytest.mark.parametrize("measure", [crashing, crashing_twice, zero])
def test_a_measure_fails_as_it_does_here(
    family: Family, pool: ProcessPoolExecutor, measure: Any
) -> None:
    """With the same message; the measure's own traceback is the cause, where it has one."""
    with pytest.raises(MeasureError) as here:
        evaluate(measure, "it", family, "adam")
    with pytest.raises(MeasureError) as there:
        evaluate(measure, "it", with_executors(family, Executors(pool)), "adam")
    assert str(there.value) == str(here.value)
    assert there.value.seeds == here.value.seeds
    if here.value.__cause__ is None:
        assert there.value.__cause__ is None
    else:
        assert isinstance(there.value.__cause__, WorkerTraceback)
        assert "in crashing" in str(there.value.__cause__)
        assert "ValueError: no measure today" in str(there.value.__cause__)


def test_a_measure_that_hangs_is_cut_off_there(family: Family, pool: ProcessPoolExecutor) -> None:
    """In a process's main thread, and in the threads that some executors have."""
    with ThreadPoolExecutor(1) as threads:
        for executor in (pool, threads):
            shared = with_executors(family, Executors(executor))
            with pytest.raises(MeasureError, match=r"n=32, seed 1: took longer than 0\.3 s") as cut:
                evaluate(hanging, "it", shared, "adam", timeout=0.3)
            assert cut.value.seeds == {1}


def test_only_the_curve_that_fails_raises(family: Family) -> None:
    """All are worked out at once, and each says for itself what has become of it."""

    def adam_alone(network: Any) -> float:
        if network.recipe_name == BASELINE:
            raise ValueError("no baseline")
        return 1.0

    found = begin(adam_alone, "it", with_executors(family, Executors(Inline())), [BASELINE, "adam"])
    assert (found("adam") == 1).all()
    with pytest.raises(MeasureError, match=r"recipe baseline .*no baseline"):
        found(BASELINE)


def test_a_measure_that_cannot_be_sent_is_called_here(family: Family) -> None:
    """With a warning that says why."""
    lock = threading.Lock()

    def locked(network: Any) -> float:
        with lock:
            return 1.0

    executor = Inline()
    with pytest.warns(MeasuredHereWarning, match=r"measure it cannot be sent .*lock"):
        found = evaluate(locked, "it", with_executors(family, Executors(executor)), BASELINE)
    assert (found == 1).all() and executor.calls == 0


def test_an_audit_with_a_pool_says_what_one_without_does(
    blobs: Task, recipe: Recipe, pool: ProcessPoolExecutor
) -> None:
    """Verdict by verdict; the user's pool works on afterwards."""
    options: dict[str, Any] = {
        "task": blobs,
        "recipe": recipe,
        "sizes": (16, 32),
        "seeds": 3,
        "perturbations": ["adam"],
        "ladder": "none",
        "checks": ["trend", "exponent", "spread"],
        "cache_dir": None,
    }
    for measure in (size, prior):
        here, there = (audit(measure, executor=each, **options) for each in (None, pool))
        assert there.to_dict() == here.to_dict()
    assert pool.submit(abs, -3).result() == 3


def killing(marker: str) -> Factory:
    """Return an architecture that kills the first worker that makes a network of it."""

    def build(input_shape: Any, classes: int) -> nn.Module:
        if os.getpid() != HERE and not Path(marker).exists():
            Path(marker).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return nn.Linear(input_shape[0], classes)

    return Factory(build, version="1")


def test_what_a_killed_worker_had_is_done_by_another_pool(
    blobs: Task, recipe: Recipe, tmp_path: Path
) -> None:
    """A whole pool breaks with one of its processes; the next one trains, each run once."""
    pools: list[ProcessPoolExecutor] = []

    def provide() -> ProcessPoolExecutor:
        pools.append(new_pool())
        return pools[-1]

    plan = plan_of(blobs, recipe.replace(architecture=killing(str(tmp_path / "killed"))))
    store, executors = Counting(tmp_path / "store"), Executors(provide)
    with pytest.warns(LostWorkerWarning, match="has lost work .BrokenProcessPool.*a new one"):
        (found,) = train_families([plan], device=CPU, store=store, executors=executors)
    executors.close()
    assert len(pools) == 2
    with pytest.raises(RuntimeError, match="after shutdown"):
        pools[1].submit(abs, 1)
    assert len(store.saved) == len(set(store.saved)) == len(plan.runs)
    assert_same(found, train_families([plan], device=CPU)[0])


@pytest.mark.parametrize("problem", [BrokenExecutor("gone"), CancelledError(), SystemExit(3)])
def test_what_no_executor_does_is_trained_and_measured_here(
    blobs: Task, recipe: Recipe, family: Family, tmp_path: Path, problem: BaseException
) -> None:
    """One that breaks and cannot be replaced: with a warning, each run once, the same bits."""
    store = Counting(tmp_path)
    executors = Executors(Inline(problem))
    with pytest.warns(LostWorkerWarning, match=rf"{type(problem).__name__}.*; 1 of \d stacks"):
        (found,) = train_families(
            [plan_of(blobs, recipe)], device=CPU, store=store, executors=executors
        )
    assert len(store.saved) == len(set(store.saved)) == len(family)
    assert_same(found, family)
    shared = with_executors(family, Executors(Inline(problem)))
    with pytest.warns(LostWorkerWarning, match=r"measure it is called on this machine"):
        values = evaluate(size, "it", shared, BASELINE)
    np.testing.assert_array_equal(values, evaluate(size, "it", family, BASELINE))


def lost(reason: str) -> Lost:
    """Return what becomes of a job that no executor does."""
    return Lost("an executor has lost work", reason)


def square(number: int) -> Iterator[int]:
    """Yield the square."""
    yield number**2


def replies(executors: Executors) -> dict[int, Any]:
    """Have three numbers squared."""
    assert executors.open()
    return dict(executors.begin(square, {number: Job((number,)) for number in range(3)}))


def test_executors_are_replaced_at_most_so_often() -> None:
    """Then what is left is said to be lost; all that were asked for are shut down."""
    made: list[Inline] = []

    def provide() -> Inline:
        made.append(Inline(*(BrokenExecutor("gone") for _ in range(3))))
        return made[-1]

    executors = Executors(provide)
    with pytest.warns(LostWorkerWarning):
        found = replies(executors)
    assert found == dict.fromkeys(range(3), lost("BrokenExecutor: gone"))
    assert len(made) == 1 + REPLACEMENTS
    executors.close()
    assert all(each.is_shut_down for each in made)
    assert not executors.open()


def test_one_that_takes_nothing_more_has_lost_it() -> None:
    """An executor that was shut down, as broken pools do, raises where it is handed work."""
    executor = new_pool()
    executor.shutdown()
    assert replies(Executors(executor))[2] == lost(
        "RuntimeError: cannot schedule new futures after shutdown"
    )


@pytest.mark.parametrize("second", [None, RuntimeError("none left")])
def test_a_function_that_gives_no_second_executor(second: Exception | None) -> None:
    """What the first one lost is lost; an error of the function's own is told."""
    given: list[Any] = [second, Inline(BrokenExecutor("gone"))]

    def provide() -> Any:
        found = given.pop()
        if isinstance(found, Exception):
            raise found
        return found

    executors = Executors(provide)
    if second is None:
        found = replies(executors)
    else:
        with pytest.warns(LostWorkerWarning, match="no new executor: RuntimeError: none left"):
            found = replies(executors)
    assert found == {0: lost("BrokenExecutor: gone"), 1: 1, 2: 4}


def test_a_training_that_fails_is_raised_here(
    blobs: Task, recipe: Recipe, pool: ProcessPoolExecutor
) -> None:
    """With the worker's traceback as its cause."""

    def build(input_shape: Any, classes: int) -> nn.Module:
        if os.getpid() != HERE:
            raise ValueError("not on this machine")
        return nn.Linear(input_shape[0], classes)

    plan = plan_of(blobs, recipe.replace(architecture=Factory(build, version="1")))
    with pytest.raises((TrainingError, ValueError), match="not on this machine") as caught:
        train_families([plan], device=CPU, executors=Executors(pool))
    assert isinstance(caught.value.__cause__, WorkerTraceback)
    assert "in build" in str(caught.value.__cause__)


class Unreadable(Exception):
    """Holds what does not pickle."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.lock = threading.Lock()


def fail() -> Iterator[None]:
    """Raise an exception that no other process can read."""
    yield
    raise Unreadable("not today")


def test_exceptions_that_do_not_travel_are_told() -> None:
    """By their name and message."""
    executors = Executors(Inline())
    failure = executors.begin(fail, {0: Job(())}).get(0)
    assert isinstance(failure.error, WorkerFailure)
    assert str(failure.error) == "Unreadable: not today"
    assert "in fail" in failure.traceback


def test_an_architecture_that_cannot_be_sent_is_trained_here(blobs: Task, recipe: Recipe) -> None:
    """With a warning that gives the reason."""
    lock = threading.Lock()

    def build(input_shape: Any, classes: int) -> nn.Module:
        with lock:
            return nn.Linear(input_shape[0], classes)

    plan = plan_of(blobs, recipe.replace(architecture=Factory(build, version="1")))
    executor = Inline()
    with pytest.warns(InOneProcessWarning, match=r"build cannot be sent .*lock"):
        train_families([plan], device=CPU, executors=Executors(executor))
    assert executor.calls == 0


class OtherSoftware(Inline):
    """A worker with another torch."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Call the function as if this were another torch."""
        expected, *rest = args
        return super().submit(fn, {**expected, "torch": "1.0"}, *rest)


def test_workers_with_other_software_are_refused(
    blobs: Task, recipe: Recipe, family: Family
) -> None:
    """For training and for measuring, naming both versions."""
    pattern = rf"has torch {torch.__version__} instead of 1\.0; .*install the same".replace(
        "+", r"\+"
    )
    with pytest.raises(SettingsError, match=pattern):
        train_families([plan_of(blobs, recipe)], device=CPU, executors=Executors(OtherSoftware()))
    with pytest.raises(SettingsError, match=pattern):
        evaluate(size, "it", with_executors(family, Executors(OtherSoftware())), BASELINE)


def test_workers_without_the_package_are_refused(blobs: Task, recipe: Recipe) -> None:
    """The message says what to install."""
    missing = ModuleNotFoundError("No module named 'pytest_fragility'")
    with pytest.raises(SettingsError, match=r"No module named.*install the same version there"):
        train_families([plan_of(blobs, recipe)], device=CPU, executors=Executors(Inline(missing)))


@pytest.mark.parametrize("given", [5, "tcp://host:8786", object()])
def test_what_is_no_executor_is_refused(given: Any) -> None:
    """Whether it is given or returned; the message names the value."""
    with pytest.raises(SettingsError, match=r"executor=.*expected a concurrent.futures.Executor"):
        Executors(given)
    executors = Executors(lambda: given)
    for _ in range(2):
        with pytest.raises(SettingsError, match=r"executor=.*expected a concurrent"):
            executors.open()
    with pytest.raises(SettingsError, match=r"executor=.*expected a concurrent"):
        audit(size, executor=given, task="digits")


def test_a_function_may_return_no_executor(blobs: Task, recipe: Recipe, family: Family) -> None:
    """Then all is done here; it is asked once, and only when there is something to do."""
    asked: list[int] = []
    executors = Executors(lambda: asked.append(1))
    (found,) = train_families([plan_of(blobs, recipe)], device=CPU, executors=executors)
    assert_same(found, family)
    evaluate(size, "it", found, BASELINE)
    assert asked == [1]


def test_how_many_workers_there_are() -> None:
    """Pools and MPI say it; of others, several are assumed."""
    with new_pool(3) as executor:
        assert Executors(executor).workers == 3
    mpi = Inline()
    mpi.num_workers = 5  # type: ignore[attr-defined]
    assert Executors(mpi).workers == 5
    assert Executors(Inline()).workers == WORKERS


def test_a_worker_is_left_as_it_was(family: Family) -> None:
    """Threads, precision and the treatment of tiny numbers are the worker's own again."""
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        plan = family.plan
        train_families([plan], device=CPU, executors=Executors(Inline()))
        evaluate(size, "it", with_executors(family, Executors(Inline())), BASELINE)
        assert torch.get_num_threads() == 2
        assert float(torch.tensor(1e-40) * 1) != 0
    finally:
        torch.set_num_threads(threads)


def test_threads_of_a_worker_do_not_disturb_each_other(
    blobs: Task, recipe: Recipe, family: Family
) -> None:
    """As workers of Dask have them: the settings are those of all, and so they take turns."""
    with ThreadPoolExecutor(3) as threads:
        (found,) = train_families(
            [plan_of(blobs, recipe)], device=CPU, executors=Executors(threads)
        )
        assert_same(found, family)
        value = evaluate(path_norm, "it", found, "adam")
    np.testing.assert_array_equal(value, evaluate(path_norm, "it", family, "adam"))


def test_no_more_data_travel_than_are_needed(blobs: Task, recipe: Recipe) -> None:
    """Of the pool, the samples of the subsets; of the test set, one unless it is looked at."""
    from pytest_fragility.networks.transport import pack_runs
    from pytest_fragility.tasks.sampling import training_subset

    plan = plan_of(blobs, recipe)
    runs = [plan.runs[BASELINE, 16, 0], plan.runs["adam", 32, 1]]
    ((first, second),) = pickle.loads(pack_runs([runs], with_test_data=False))
    assert first.task is second.task
    assert len(first.task.data.train_labels) <= 48
    assert len(first.task.data.test_labels) == 1
    for run, sent in zip(runs, (first, second), strict=True):
        assert sent.identity == run.identity
        rows = training_subset(run.task.data, run.n, run.seed)
        sent_rows = training_subset(sent.task.data, run.n, run.seed)
        np.testing.assert_array_equal(
            sent.task.data.train_inputs[sent_rows], run.task.data.train_inputs[rows]
        )
    ((whole,),) = pickle.loads(pack_runs([runs[:1]]))
    assert len(whole.task.data.test_labels) == 60
