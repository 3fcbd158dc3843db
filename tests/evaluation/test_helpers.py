"""Workers that help to measure: the same values, bit by bit, and nothing lost with a worker."""

from __future__ import annotations

import gc
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from pytest_fragility.errors import MeasureError
from pytest_fragility.evaluation import helpers as module
from pytest_fragility.evaluation.asking import begin
from pytest_fragility.evaluation.evaluate import Asking, evaluate
from pytest_fragility.evaluation.helpers import Helpers, can_be_helped, helpers
from pytest_fragility.evaluation.learning_curves import learning_curves
from pytest_fragility.evaluation.remote import _FAMILIES, Networks, Question, answer_kept
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
    wait_for(lambda: not helpers._working and not helpers._starting)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """What workers are asked: recipe and size; this process answers when they have begun."""
    found: list[tuple[str, int]] = []
    plain, take_here = Helpers._ask, module.OpenQuestions.take_here

    def asking(
        self: Helpers, worker: Worker, questions: module.OpenQuestions, piece: module.Piece
    ) -> Any:
        found.append((piece.asking.recipe, piece.n))
        return plain(self, worker, questions, piece)

    def taking(self: module.OpenQuestions, key: module.Key) -> Any:
        if helpers._working or helpers._starting:
            wait_for(lambda: bool(found))
        return take_here(self, key)

    monkeypatch.setattr(Helpers, "_ask", asking)
    monkeypatch.setattr(module.OpenQuestions, "take_here", taking)
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
    torch.set_num_threads(1)
    for recipe in family.recipes:
        expected = evaluate(measure, "it", anew(family), recipe, scale="linear")
        np.testing.assert_array_equal(found[recipe], expected)
    torch.set_num_threads(2)


def test_convolutional_networks_are_measured_alike(
    family: Family, asked: list[tuple[str, int]]
) -> None:
    """Threads within operations change no bit there either."""
    networks = images(family)
    found = helped_values(pac_bayes_flatness, networks)
    assert asked
    expected = evaluate(pac_bayes_flatness, "it", anew(networks), BASELINE, scale="linear")
    np.testing.assert_array_equal(found[BASELINE], expected)


def test_networks_are_sent_once(family: Family, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a worker has, it is asked about as often as there are questions."""
    sent: list[int] = []
    packed = Networks.packed

    def packing(asking: Asking, n: int) -> bytes:
        sent.append(n)
        return packed(asking, n)

    monkeypatch.setattr(Networks, "packed", packing)
    fresh, here, worker = anew(family), Helpers(), idle_workers.take()
    here._known[worker] = set()
    for measure in (path_norm, product_of_spectral_norms, path_norm.bound_form):
        for n in (16, 32):
            piece = module.Piece(Asking(measure, "it", fresh, BASELINE), n)
            answer = here._ask(worker, module.OpenQuestions(measure, {}), piece)
            expected = evaluate(measure, "it", family, BASELINE, sizes=[n])
            assert answer.values == expected[0].tolist()  # type: ignore[union-attr]
    assert sent == [16, 32]
    idle_workers.give_back(worker)


def test_a_worker_goes_on_with_networks_that_it_has(family: Family) -> None:
    """It may have worked out already what another measure needs."""
    pieces = {
        (recipe, n, 0): module.Piece(Asking(path_norm, "it", family, recipe), n)
        for recipe in family.recipes
        for n in SIZES
    }
    for piece in pieces.values():
        taken = module.OpenQuestions(path_norm, pieces).take_for({piece.place})
        assert taken and taken[0] is piece


def test_this_process_begins_with_the_first_and_workers_with_the_last(family: Family) -> None:
    """Each piece is one's or the other's; in the end nothing is left."""
    pieces = {
        (recipe, n, 0): module.Piece(Asking(path_norm, "it", family, recipe), n)
        for recipe in family.recipes
        for n in SIZES
    }
    questions = module.OpenQuestions(path_norm, pieces)
    assert questions.take_here((BASELINE, 16, 0)) is None
    taken = questions.take_for(set())
    assert taken and taken[0] is pieces["longer", 48, 0]
    assert questions.take_here(("longer", 48, 0)) is taken[1]
    rest = [each for _ in range(5) if (each := questions.take_for(set()))]
    assert [piece for piece, _ in rest] == list(reversed(list(pieces.values())[1:-1]))
    assert questions.take_here((BASELINE, 16, 0)) is None


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
            evaluate(measure, "it", anew(failing), BASELINE, scale="linear")
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
    monkeypatch.setattr(idle_workers, "take", DyingWorker)
    with pytest.warns(LostWorkerWarning, match=r"ended early \(exit status -9\); measure it is"):
        found = helped_values(path_norm, anew(family))
    assert asked
    for recipe in family.recipes:
        np.testing.assert_array_equal(found[recipe], evaluate(path_norm, "it", family, recipe))
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

    monkeypatch.setattr(idle_workers, "take", none)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = helped_values(path_norm, anew(family))
    np.testing.assert_array_equal(found[BASELINE], evaluate(path_norm, "it", family, BASELINE))
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
    monkeypatch.setattr(idle_workers, "take", lambda: pytest.fail("a worker was asked for"))
    monkeypatch.setattr(module, "HELP_AFTER", 1e9)
    monkeypatch.setattr(module, "START_AFTER", 1e9)
    helped_values(path_norm, anew(family))
    worker = Worker()
    idle_workers.give_back(worker)
    helped_values(path_norm, anew(family))
    assert not helpers._working and worker.is_alive


def test_workers_go_on_with_the_measure_that_is_asked_last(family: Family) -> None:
    """What else it is asked goes on; what another was asked does not, nor what nobody waits for."""
    here = Helpers()
    monkeyed = {(BASELINE, 16, 0): module.Piece(Asking(path_norm, "it", family, BASELINE), 16)}
    first, second = (module.OpenQuestions(path_norm, dict(monkeyed)) for _ in range(2))
    here._recruit = lambda: None  # type: ignore[method-assign]
    here.begin(first)
    here.begin(second)
    assert [each() for each in here._questions] == [second, first]
    other = module.OpenQuestions(product_of_spectral_norms, dict(monkeyed))
    here.begin(other)
    assert [each() for each in here._questions] == [other]
    del other
    gc.collect()
    assert here._take_for(set()) is None and here._questions == []


def test_a_fork_leaves_helpers_to_its_parent() -> None:
    """Nothing of what they are asked is known there."""
    here = Helpers()
    here._working.append(Worker())
    (worker,) = here._working
    here.forget()
    assert not here._working and here._starting == 0
    worker.dismiss()


def test_workers_forget_networks_that_are_gone(family: Family) -> None:
    """They keep what may be asked about again."""
    asking = Asking(path_norm, "it", family, BASELINE)
    networks, question = Networks.packed(asking, 16), dump(Question.of(asking, threads=2), [])
    code = dump(path_norm, [])
    try:
        for place in ((-1, 1), (-1, 2), (-2, 1)):
            list(answer_kept(code, question, place, networks, {-1, -2}))
        (again,) = answer_kept(code, question, (-1, 2), None, {-1})
        assert set(_FAMILIES) == {(-1, 1), (-1, 2)}
        expected = evaluate(path_norm, "it", family, BASELINE, sizes=[16])
        assert again.values == expected[0].tolist()  # type: ignore[union-attr]
    finally:
        _FAMILIES.clear()


def test_curves_are_helped(family: Family, asked: list[tuple[str, int]]) -> None:
    """All recipes' once one of them is asked for."""
    fresh = anew(family)
    curves = learning_curves(pac_bayes_flatness, fresh)
    values = curves.measure[BASELINE].values
    wait_for(lambda: ("longer", 48) in asked)
    np.testing.assert_array_equal(values, evaluate(pac_bayes_flatness, "it", family, BASELINE))
