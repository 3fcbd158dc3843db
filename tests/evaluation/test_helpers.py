"""Workers that help to measure: the same values, bit by bit, and nothing lost with a worker."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from pytest_fragility.errors import MeasureError
from pytest_fragility.evaluation import asking
from pytest_fragility.evaluation import helpers as module
from pytest_fragility.evaluation.asking import Key, begin, evaluate
from pytest_fragility.evaluation.evaluate import Asking
from pytest_fragility.evaluation.helpers import Helpers, can_be_helped, helpers
from pytest_fragility.evaluation.measured_curves import learning_curves
from pytest_fragility.evaluation.remote import _FAMILIES, Place, Sent, answer, pack
from pytest_fragility.families.family import Family
from pytest_fragility.families.plan import FamilyPlan
from pytest_fragility.families.train import train_families
from pytest_fragility.measures import (
    Measure,
    inverse_margin,
    negative_log_evidence,
    pac_bayes_flatness,
    pac_bayes_flatness_as_published,
    path_norm,
    path_norm_at_initialization,
    product_of_spectral_norms,
    stacked,
)
from pytest_fragility.parallel import cores as sharing
from pytest_fragility.parallel.failures import LostWorkerWarning
from pytest_fragility.parallel.local_processes import Worker, WorkerLostError, idle_workers
from pytest_fragility.parallel.pickling import dump
from pytest_fragility.parallel.pool import Job, Replies
from pytest_fragility.perturbations import BASELINE
from pytest_fragility.recipes import CNN, Recipe, fixed_steps
from pytest_fragility.tasks import Task, TaskData

CPU = torch.device("cpu")
SIZES = (16, 32, 48)


@pytest.fixture(autouse=True, scope="module")
def none_is_left_behind() -> Iterator[None]:
    """Workers that wait are ended."""
    yield
    idle_workers.dismiss()


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Two cores, of which a worker has one at once."""
    monkeypatch.setattr(module, "HELP_AFTER", -1.0)
    monkeypatch.setattr(module, "START_AFTER", -1.0)
    monkeypatch.setattr(helpers, "_has_lost", False)
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    assert torch.get_num_threads() == 2
    torch.set_num_threads(threads)
    wait_for(lambda: not helpers._helping)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """What workers are asked: recipe and size; this process answers when they have begun."""
    found: list[tuple[str, int]] = []
    take_back, take_next = Replies.take_back, Replies.take_next

    def taking_back(self: Replies[Key], key: Key) -> bool:
        if helpers._helping:
            wait_for(lambda: bool(found))
        return take_back(self, key)

    def taking_next(self: Replies[Key], *known: Any) -> Key | None:
        key = take_next(self, *known)
        if key is not None:
            found.append(key[:2])
        return key

    monkeypatch.setattr(Replies, "take_back", taking_back)
    monkeypatch.setattr(Replies, "take_next", taking_next)
    return found


@pytest.fixture(scope="module")
def family(blobs: Task, small_recipe: Recipe) -> Family:
    """Two recipes, three sizes and seeds."""
    recipes = {BASELINE: small_recipe, "longer": small_recipe.replace(stopping=fixed_steps(90))}
    return train_families([FamilyPlan(blobs, recipes, SIZES, (0, 1, 2))], device=CPU)[0]


def wait_for(condition: Callable[[], bool]) -> None:
    """Return when something holds that soon will."""
    limit = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < limit
        time.sleep(0.001)


def anew(family: Family) -> Family:
    """Return the family with nothing worked out."""
    trained = {place: family.trained_run(*place) for place in family.plan.runs}
    return Family(family.plan, trained, family.device)


def alone(measure: Measure, family: Family, recipe: str, **options: Any) -> np.ndarray:
    """Return values as this process works them out where no core is idle."""
    torch.set_num_threads(1)
    try:
        return evaluate(measure, "it", anew(family), recipe, scale="linear", **options)
    finally:
        torch.set_num_threads(2)


def helped_values(measure: Measure, family: Family) -> dict[str, np.ndarray]:
    """Return the values of all recipes, as the auditor asks for them."""
    found = begin(measure, "it", family, list(family.recipes), scale="linear")
    return {recipe: found(recipe) for recipe in family.recipes}


def images(family: Family) -> Family:
    """Return a family of convolutional networks."""

    def load() -> TaskData:
        generator = np.random.default_rng(0)
        inputs = generator.normal(size=(120, 1, 6, 6)).astype(np.float32)
        labels = generator.integers(3, size=120)
        return TaskData(inputs[:80], labels[:80], inputs[80:], labels[80:])

    recipe = Recipe(architecture=CNN(channels=(4, 4)), batch_size=8, stopping=fixed_steps(30))
    plan = FamilyPlan(Task("images", load), {BASELINE: recipe}, SIZES, (0, 1, 2))
    return train_families([plan], device=CPU)[0]


@pytest.mark.parametrize(
    "measure",
    [
        path_norm,
        product_of_spectral_norms.bound_form,
        path_norm_at_initialization.logarithm,
        pac_bayes_flatness_as_published,
        negative_log_evidence,
    ],
    ids=lambda measure: measure.__name__,
)
def test_helped_values_are_those_of_this_process(
    family: Family, asked: list[tuple[str, int]], measure: Measure
) -> None:
    """Of derived measures, of one that draws numbers, and of one that looks at data alone."""
    found = helped_values(measure, anew(family))
    assert asked
    for recipe in family.recipes:
        np.testing.assert_array_equal(found[recipe], alone(measure, family, recipe))


def test_convolutional_networks_are_measured_alike(
    family: Family, asked: list[tuple[str, int]]
) -> None:
    """Threads within operations change no bit there either."""
    networks = images(family)
    found = helped_values(pac_bayes_flatness, networks)
    assert asked
    np.testing.assert_array_equal(found[BASELINE], alone(pac_bayes_flatness, networks, BASELINE))


def test_networks_are_sent_once(family: Family, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a worker has, it is asked about as often as there are questions."""
    sent: list[int] = []

    def packing(asked: Asking, n: int) -> bytes:
        sent.append(n)
        return pack(asked, n)

    monkeypatch.setattr(asking, "pack", packing)
    # this process leaves all to the worker, which begins with the last
    monkeypatch.setattr(Replies, "take_back", lambda self, key: False)
    fresh = anew(family)
    for measure in (path_norm, product_of_spectral_norms, path_norm.bound_form):
        found = begin(measure, "it", fresh, [BASELINE], sizes=[16, 32])(BASELINE)
        np.testing.assert_array_equal(found, alone(measure, family, BASELINE, sizes=[16, 32]))
        wait_for(lambda: not helpers._helping)
    assert sent == [32, 16]


def test_failures_are_told_as_without_help(family: Family, asked: list[tuple[str, int]]) -> None:
    """Of a measure that is not defined for a size, and of data that a measure cannot take."""
    small = train_families(
        [FamilyPlan(family.task, dict(family.recipes), (8, 16), (0, 1, 2))], device=CPU
    )[0]
    data = family.task.data
    inputs = data.train_inputs.copy()
    inputs[:] = inputs[0]
    same = Task("same", lambda: replace(data, train_inputs=inputs))
    alike = train_families(
        [FamilyPlan(same, dict(family.recipes), (16, 32), (0, 1, 2))], device=CPU
    )[0]
    for measure, failing in ((inverse_margin, small), (negative_log_evidence, alike)):
        with pytest.raises(MeasureError) as there:
            helped_values(measure, anew(failing))
        with pytest.raises(MeasureError) as here:
            alone(measure, failing, BASELINE)
        assert str(there.value) == str(here.value)
        assert there.value.seeds == here.value.seeds
    assert asked


class DyingWorker(Worker):
    """A worker that is killed when it is first asked about networks."""

    def perform(self, work: Any, *arguments: Any) -> Iterator[Any]:
        """Get ready, and die of the next work."""
        if arguments:
            self.kill()
            self._process.wait()
        return super().perform(work, *arguments)


def test_what_a_lost_worker_had_is_measured_here(
    family: Family, asked: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a warning, and the same values."""
    idle_workers.dismiss()
    monkeypatch.setattr(idle_workers, "take", DyingWorker)
    with pytest.warns(LostWorkerWarning, match=r"ended early \(exit status -9\); measure it is"):
        found = helped_values(path_norm, anew(family))
    assert asked
    for recipe in family.recipes:
        np.testing.assert_array_equal(found[recipe], alone(path_norm, family, recipe))
    # nobody else is asked in its place
    monkeypatch.setattr(idle_workers, "take", lambda: pytest.fail("a worker was asked for"))
    helped_values(product_of_spectral_norms, anew(family))


def test_where_no_worker_starts_all_is_measured_here(
    family: Family, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody had begun with anything: there is nothing to warn of."""
    tried: list[int] = []

    def none() -> Worker:
        tried.append(1)
        raise WorkerLostError("it did not start")

    idle_workers.dismiss()
    monkeypatch.setattr(idle_workers, "take", none)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = helped_values(path_norm, anew(family))
    np.testing.assert_array_equal(found[BASELINE], alone(path_norm, family, BASELINE))
    wait_for(lambda: helpers._has_lost)
    assert len(tried) == 1


@stacked
def own(stack: Any) -> list[float]:
    """Return one for each."""
    return [1.0] * len(stack)


def test_only_this_packages_measures_are_helped(
    family: Family, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where they would be the same anywhere, and a core is idle."""

    def plain(network: Any) -> float:
        return 1.0

    assert can_be_helped(path_norm, family)
    assert can_be_helped(path_norm.bound_form, family)
    assert not can_be_helped(own, family)
    assert not can_be_helped(plain, family)
    elsewhere = Family(family.plan, {}, torch.device("meta"))
    assert not can_be_helped(path_norm, elsewhere)
    torch.set_default_dtype(torch.float64)
    assert not can_be_helped(path_norm, family)
    torch.set_default_dtype(torch.float32)
    monkeypatch.setattr(sharing, "usable_cores", lambda: 2)
    with sharing.sharing(sharing.Share(0, 2)):
        assert not can_be_helped(path_norm, family)
    torch.set_num_threads(1)
    assert not can_be_helped(path_norm, family)
    torch.set_num_threads(2)
    assert can_be_helped(path_norm, family)


def test_short_measuring_starts_nobody(family: Family, monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers are worth what they cost once measuring has lasted; one that waits, sooner."""
    monkeypatch.setattr(module, "HELP_AFTER", 1e9)
    monkeypatch.setattr(module, "START_AFTER", 1e9)
    idle_workers.dismiss()
    worker = Worker()
    idle_workers.give_back(worker)
    helped_values(path_norm, anew(family))
    assert not helpers._helping and worker.is_alive
    monkeypatch.setattr(module, "HELP_AFTER", -1.0)
    monkeypatch.setattr(idle_workers, "take", lambda: pytest.fail("a worker was asked for"))
    helped_values(path_norm, anew(family))
    wait_for(lambda: not helpers._helping)
    assert idle_workers.take_waiting() is worker
    helped_values(path_norm, anew(family))
    worker.dismiss()


def test_workers_go_on_with_the_measure_that_is_asked_last() -> None:
    """What else it is asked goes on; what another was asked does not."""
    here, jobs = Helpers(), {0: Job(())}
    here.recruit = lambda: None  # type: ignore[method-assign]
    first, second = (here.ask(path_norm, jobs) for _ in range(2))
    assert here._waiting() == [second, first]
    other = here.ask(product_of_spectral_norms, jobs)
    assert here._waiting() == [other]


def test_workers_forget_networks_that_are_gone(family: Family) -> None:
    """They keep what may be asked about again."""
    about, code = Asking(path_norm, "it", family, BASELINE), dump(path_norm, [])
    networks = pack(about, 16)

    def ask(place: Place, sent: Sent | None) -> list[float]:
        (found,) = answer(code, about.options, 2, place, sent)
        return found.values

    try:
        for place in ((-1, 1), (-2, 1), (-1, 2)):
            ask(place, (networks, {-1, -2}))
        ask((-1, 3), (networks, {-1}))
        assert set(_FAMILIES) == {(-1, 1), (-1, 2), (-1, 3)}
        expected = alone(path_norm, family, BASELINE, sizes=[16])
        assert ask((-1, 2), None) == expected[0].tolist()
    finally:
        _FAMILIES.clear()


def test_curves_are_helped(family: Family, asked: list[tuple[str, int]]) -> None:
    """All recipes' once one of them is asked for."""
    fresh = anew(family)
    curves = learning_curves(pac_bayes_flatness, fresh)
    values = curves.measure[BASELINE].values
    wait_for(lambda: ("longer", 48) in asked)
    np.testing.assert_array_equal(values, alone(pac_bayes_flatness, family, BASELINE))
