"""Subsets, sample orders and initial weights: the same under every recipe."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pytest_fragility.errors import TaskError
from pytest_fragility.families.plan import FamilyPlan
from pytest_fragility.families.train import train_families
from pytest_fragility.networks.runs import Run
from pytest_fragility.perturbations import AXES, CATALOGUE
from pytest_fragility.recipes import MLP, Recipe, fixed_steps
from pytest_fragility.tasks import Task, TaskData, with_label_noise
from pytest_fragility.tasks.sampling import BLOCK_SAMPLES, SampleOrder, training_subset
from pytest_fragility.tasks.task import SUBSETS
from pytest_fragility.training import trainer
from pytest_fragility.training.trainer import train
from tests.in_turn import in_turn


def pool(counts: Sequence[int], **rules: Any) -> TaskData:
    """Return a pool with so many samples of each class, in a mixed order."""
    labels = np.random.default_rng(sum(counts)).permutation(
        np.repeat(np.arange(len(counts)), counts)
    )
    inputs = np.ones((len(labels), 1))
    return TaskData(inputs, labels, inputs[:1], labels[:1], **rules)


def uneven(**rules: Any) -> TaskData:
    """Return a pool of 200 samples in three classes."""
    return pool([100, 70, 30], **rules)


def lax(subsets: str) -> TaskData:
    """Return a pool of 200 samples whose subsets may lack a class."""
    return uneven(subsets=subsets, allow_missing_classes=True)


def subset_labels(data: TaskData, n: int, seed: int) -> list[int]:
    """Return the labels that a run trains on, in the order of its subset."""
    return [int(label) for label in data.train_labels[training_subset(data, n, seed)]]


def farthest_from_shares(labels: Sequence[int], counts: Sequence[int]) -> Fraction:
    """Return by how many samples any class in any beginning is off its share of the whole."""
    seen = [0] * len(counts)
    farthest = Fraction(0)
    for n, label in enumerate(labels, start=1):
        seen[label] += 1
        for count, had in zip(counts, seen, strict=True):
            farthest = max(farthest, abs(had - Fraction(n * count, sum(counts))))
    return farthest


@in_turn("subsets", SUBSETS)
def test_subsets_are_nested(subsets: str) -> None:
    """A larger size adds samples and keeps those it had."""
    data = lax(subsets)
    drawn = [training_subset(data, n, 3) for n in (1, 16, 150, 200)]
    assert [len(rows) for rows in drawn] == [1, 16, 150, 200]
    for small, large in itertools.pairwise(drawn):
        np.testing.assert_array_equal(large[: len(small)], small)
    np.testing.assert_array_equal(np.sort(drawn[-1]), np.arange(200))


@in_turn("subsets", SUBSETS)
def test_subsets_depend_on_the_seed(subsets: str) -> None:
    """Seeds draw different samples, and each seed the same ones again."""
    drawn = [
        [tuple(training_subset(data, 16, seed).tolist()) for seed in range(10)]
        for data in (lax(subsets), lax(subsets))
    ]
    assert len({tuple(sorted(rows)) for rows in drawn[0]}) == 10
    assert drawn[0] == drawn[1]


@in_turn("subsets", SUBSETS)
def test_subset_larger_than_the_pool_is_refused(subsets: str) -> None:
    """The error names the size and the pool."""
    with pytest.raises(TaskError, match=r"size 201: .* only 200 samples"):
        training_subset(uneven(subsets=subsets), 201, 0)


class_counts = st.lists(st.integers(1, 60), min_size=1, max_size=14)


@settings(deadline=None, max_examples=100)
@example(counts=[100, *[10] * 10], seed=0)
@example(counts=[1, 1, 300], seed=0)
@given(counts=class_counts, seed=st.integers(0, 5))
def test_stratified_subsets_have_the_pool_s_shares(counts: list[int], seed: int) -> None:
    """At every size, each class has its share of the samples, to within one sample."""
    data = pool(counts, allow_missing_classes=True)
    labels = subset_labels(data, sum(counts), seed)
    assert farthest_from_shares(labels, counts) <= 1


@settings(deadline=None, max_examples=50)
@given(classes=st.integers(1, 20), each=st.integers(1, 8), seed=st.integers(0, 5))
def test_classes_of_one_size_come_in_turn(classes: int, each: int, seed: int) -> None:
    """Where all classes are as large, every K samples after another hold each of K classes once."""
    labels = subset_labels(pool([each] * classes), classes * each, seed)
    for turn in np.reshape(labels, (each, classes)).tolist():
        assert sorted(turn) == list(range(classes))


def test_random_subsets_are_drawn_without_regard_to_classes() -> None:
    """Their class counts vary as those of draws without replacement do, unlike stratified ones."""
    counts = {
        subsets: [subset_labels(lax(subsets), 40, seed).count(0) for seed in range(400)]
        for subsets in SUBSETS
    }
    assert set(counts["stratified"]) == {20}
    # 40 of 200 with 100 of the class: hypergeometric
    assert np.mean(counts["random"]) == pytest.approx(20, abs=0.7)
    assert np.var(counts["random"]) == pytest.approx(40 * 0.25 * 160 / 199, rel=0.3)


@in_turn("fraction", [0.2, 0.5, 1.0])
@in_turn("subsets", SUBSETS)
def test_label_noise_leaves_the_samples_as_they_are(subsets: str, fraction: float) -> None:
    """At every size and seed, the noisy task trains on the samples that the clean one does."""
    clean = Task("pool", lambda: lax(subsets))
    noisy = with_label_noise(clean, fraction)
    assert (noisy.data.train_labels != clean.data.train_labels).any()
    for n, seed in itertools.product((20, 77, 200), range(5)):
        expected = training_subset(clean.data, n, seed)
        np.testing.assert_array_equal(training_subset(noisy.data, n, seed), expected)


def test_noise_that_hides_a_class_is_no_error() -> None:
    """What a subset may not lack are the classes before the noise."""
    data = dataclasses.replace(uneven(), train_labels=np.zeros(200, dtype=int))
    assert len(training_subset(data, 16, 0)) == 16
    with pytest.raises(TaskError, match=r"no sample of class [12], one of 3 in the pool"):
        training_subset(data, 2, 0)


def test_a_stratified_subset_that_lacks_a_class_is_refused() -> None:
    """The error names size, seed, class and what to do."""
    with pytest.raises(TaskError) as caught:
        training_subset(pool([50, 50, 4]), 5, 3)
    assert str(caught.value) == (
        "size 5, seed 3: the stratified training subset has no sample of class 2, one of 3 in the "
        "pool; ask for larger sizes, or allow_missing_classes=True"
    )


def test_a_random_subset_that_lacks_a_class_is_refused() -> None:
    """The error names stratified subsets as a way out, too."""
    data = pool([1, 199, 1], subsets="random")
    lenient = dataclasses.replace(data, allow_missing_classes=True)
    absent = [seed for seed in range(5) if 0 not in subset_labels(lenient, 20, seed)]
    with pytest.raises(TaskError) as caught:
        training_subset(data, 20, absent[0])
    assert str(caught.value) == (
        f"size 20, seed {absent[0]}: the random training subset has no sample of class 0, one of 3 "
        "in the pool; ask for larger sizes, subsets='stratified', or allow_missing_classes=True"
    )


@in_turn("subsets", SUBSETS)
def test_missing_classes_may_be_allowed(subsets: str) -> None:
    """Then a subset has the samples it would have had, and nothing is refused."""
    assert len(training_subset(lax(subsets), 1, 0)) == 1
    expected = training_subset(uneven(subsets=subsets), 100, 0)
    np.testing.assert_array_equal(training_subset(lax(subsets), 100, 0), expected)


def refuse_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail the test where anything is trained."""

    def train_nothing(*_: Any) -> None:
        pytest.fail("trained")

    monkeypatch.setattr(trainer, "train", train_nothing)


def plan_of(task: Task, sizes: tuple[int, ...], seeds: tuple[int, ...]) -> FamilyPlan:
    """Return a plan of one recipe."""
    return FamilyPlan(task, {"baseline": Recipe()}, sizes, seeds)


@in_turn(
    ("sizes", "message"),
    [
        ((2, 100), r"task 'uneven': size 2, seed 0: .* no sample of class 2, one of 3"),
        ((100, 201), r"size 201: the training pool of task 'uneven' has only 200 samples"),
    ],
)
def test_families_refuse_their_subsets_before_training(
    blobs: Task, monkeypatch: pytest.MonkeyPatch, sizes: tuple[int, ...], message: str
) -> None:
    """The error names the task, though another one's runs could have been trained first."""
    refuse_training(monkeypatch)
    plans = [plan_of(blobs, (64,), (0,)), plan_of(Task("uneven", uneven), sizes, (0, 1))]
    with pytest.raises(TaskError, match=message):
        train_families(plans, device=torch.device("cpu"), progress=lambda *_: pytest.fail("begun"))


def test_families_look_at_every_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A class that only the last seed's subset lacks is found before the first is trained."""
    refuse_training(monkeypatch)
    labels = [set(subset_labels(lax("random"), 10, seed)) for seed in range(50)]
    lacking = [seed for seed in range(50) if labels[seed] == {0, 1}]
    complete = [seed for seed in range(50) if labels[seed] == {0, 1, 2}]
    task = Task("random", lambda: uneven(subsets="random"))
    plan = plan_of(task, (10,), (*complete[:3], lacking[0]))
    with pytest.raises(TaskError, match=rf"task 'random': size 10, seed {lacking[0]}: .* class 2"):
        train_families([plan], device=torch.device("cpu"))


@settings(deadline=None, max_examples=30)
@given(
    n=st.integers(1, 60),
    seed=st.integers(0, 5),
    start=st.integers(0, 2 * BLOCK_SAMPLES),
    counts=st.lists(st.integers(1, BLOCK_SAMPLES), min_size=1, max_size=3),
)
def test_order_does_not_depend_on_how_it_is_cut(
    n: int, seed: int, start: int, counts: list[int]
) -> None:
    """Pieces joined equal the whole, across epochs and blocks, in a reader of their own or not."""
    order = SampleOrder(n, seed)
    starts = [start + sum(counts[:place]) for place in range(len(counts))]
    pieces = [order.take(*piece) for piece in zip(starts, counts, strict=True)]
    whole = SampleOrder(n, seed).take(start, sum(counts))
    np.testing.assert_array_equal(np.concatenate(pieces), whole)


@in_turn("n", [1, 7, 100, BLOCK_SAMPLES + 1])
def test_every_epoch_is_a_permutation(n: int) -> None:
    """Each n positions hold each sample once."""
    epochs = SampleOrder(n, 0).take(0, 5 * n).reshape(5, n)
    np.testing.assert_array_equal(np.sort(epochs, axis=1), np.tile(np.arange(n), (5, 1)))


def test_epochs_and_seeds_differ() -> None:
    """No two epochs are alike, neither within a block nor across, nor those of two seeds."""
    epochs_per_block = BLOCK_SAMPLES // 100
    orders = [SampleOrder(100, seed).take(0, 2 * BLOCK_SAMPLES) for seed in (0, 1)]
    epochs = np.concatenate([order[: 100 * epochs_per_block * 2] for order in orders])
    rows = {tuple(row) for row in epochs.reshape(-1, 100).tolist()}
    assert len(rows) == 4 * epochs_per_block


def test_recipes_are_paired(blobs: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    """Under every recipe a seed has the same start, up to its scale, and the same first samples.

    But for what changes just that: weights of other shapes, drawn otherwise, or samples in another
    order. What is drawn alike starts alike, whatever else differs.
    """
    taken: dict[tuple[int, int, int, int], set[tuple[int, ...]]] = {}
    plain_take = SampleOrder.take

    def take(order: SampleOrder, start: int, count: int) -> np.ndarray:
        positions = plain_take(order, start, count)
        head = tuple(positions[:20].tolist())
        taken.setdefault((order.n, order.seed, order.order, start), set()).add(head)
        return positions

    monkeypatch.setattr(SampleOrder, "take", take)
    baseline = Recipe(architecture=MLP(hidden=(4,)), stopping=fixed_steps(10))
    recipes = [change(baseline) for change in CATALOGUE.values()]
    recipes = [recipe.replace(stopping=fixed_steps(10)) for recipe in recipes]
    runs = [Run(blobs, 20, recipe, seed) for recipe in recipes for seed in (0, 1)]
    trained = [one for batch in train(runs, torch.device("cpu")) for one in batch]
    assert len(trained) == len(runs)
    starts: dict[tuple[int, MLP, str], list[dict[str, torch.Tensor]]] = {}
    for one in trained:
        recipe = one.run.recipe
        assert isinstance(recipe.architecture, MLP)
        place = one.run.seed, recipe.architecture, recipe.initialization
        weights = one.initial_weights.items()
        start = {name: weight / recipe.initialization_scale for name, weight in weights}
        starts.setdefault(place, []).append(start)
    for alike in starts.values():
        for start in alike[1:]:
            torch.testing.assert_close(start, alike[0], rtol=0, atol=0)
    # the axes of width, of depth and of the initialization, which leave few entries out
    left_out = sum(len(AXES[name].perturbations) for name in ("width", "depth", "initialization"))
    for seed in (0, 1):
        assert len(starts[seed, MLP(hidden=(4,)), "he-normal"]) >= len(CATALOGUE) - left_out
    assert {place[:3] for place in taken} == {(20, 0, 0), (20, 1, 0), (20, 0, 1), (20, 1, 1)}
    assert all(len(heads) == 1 for heads in taken.values())
    one_order, other_order = ({*taken[20, 0, order, 0]} for order in (0, 1))
    assert one_order != other_order
    assert len([recipe for recipe in recipes if recipe.sample_order]) == 1


def test_normal_and_uniform_starts_differ_by_factors_within_their_form(blobs: Task) -> None:
    """Of one distribution, two schemes are the same draw, layer by layer, times a number."""
    schemes = ("he-normal", "glorot-normal", "lecun-normal", "he-uniform", "glorot-uniform")
    baseline = Recipe(architecture=MLP(hidden=(4,)), stopping=fixed_steps(1))
    runs = [Run(blobs, 20, baseline.replace(initialization=scheme), 0) for scheme in schemes]
    found = [one for batch in train(runs, torch.device("cpu")) for one in batch]
    starts = {one.run.recipe.initialization: one.initial_weights for one in found}
    for layer, (fan_in, fan_out) in (("1.weight", (6, 4)), ("3.weight", (4, 3))):
        factor = {"he": 2 / fan_in, "glorot": 2 / (fan_in + fan_out), "lecun": 1 / fan_in}
        for scheme in schemes:
            family, _, form = scheme.partition("-")
            ratio = (factor[family] / factor["he"]) ** 0.5
            expected = ratio * starts[f"he-{form}"][layer]
            torch.testing.assert_close(starts[scheme][layer], expected, rtol=1e-6, atol=0)
        assert not torch.allclose(starts["he-normal"][layer], starts["he-uniform"][layer])
