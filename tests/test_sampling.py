"""Subsets, sample orders and initial weights: the same under every recipe."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_fragility.errors import TaskError
from pytest_fragility.perturbations import CATALOGUE
from pytest_fragility.recipes import MLP, Recipe, fixed_steps
from pytest_fragility.runs import Run
from pytest_fragility.tasks import Task
from pytest_fragility.training.sampling import BLOCK_SAMPLES, SampleOrder, training_subset
from pytest_fragility.training.trainer import train


def test_subsets_are_nested() -> None:
    """A larger size adds samples and keeps those it had."""
    subsets = [training_subset(200, n, 3) for n in (1, 16, 150, 200)]
    for small, large in itertools.pairwise(subsets):
        np.testing.assert_array_equal(large[: len(small)], small)
    np.testing.assert_array_equal(np.sort(subsets[-1]), np.arange(200))


def test_subsets_depend_on_the_seed() -> None:
    """Seeds draw different samples, and each seed the same ones again."""
    subsets = [tuple(training_subset(200, 16, seed).tolist()) for seed in range(10)]
    assert len(set(subsets)) == 10
    assert subsets == [tuple(training_subset(200, 16, seed).tolist()) for seed in range(10)]


def test_subset_larger_than_the_pool_is_refused() -> None:
    """The error names the size and the pool."""
    with pytest.raises(TaskError, match=r"size 201: .* only 200 samples"):
        training_subset(200, 201, 0)


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


def test_order_can_be_read_again() -> None:
    """Reading ahead and going back gives what stood there."""
    order = SampleOrder(100, 0)
    first = order.take(0, 50)
    later = order.take(2 * BLOCK_SAMPLES, 50)
    np.testing.assert_array_equal(order.take(0, 50), first)
    np.testing.assert_array_equal(order.take(2 * BLOCK_SAMPLES, 50), later)
    assert not np.array_equal(first, later)


@pytest.mark.parametrize("n", [1, 7, 100, BLOCK_SAMPLES + 1])
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
    """Under every recipe a seed has the same start, up to its scale, and the same first samples."""
    taken: dict[tuple[int, int, int], set[tuple[int, ...]]] = {}
    plain_take = SampleOrder.take

    def take(order: SampleOrder, start: int, count: int) -> np.ndarray:
        positions = plain_take(order, start, count)
        head = tuple(positions[:20].tolist())
        taken.setdefault((order.n, order.seed, start), set()).add(head)
        return positions

    monkeypatch.setattr(SampleOrder, "take", take)
    baseline = Recipe(architecture=MLP(hidden=(4,)), stopping=fixed_steps(10))
    recipes = [change(baseline) for change in CATALOGUE.values()]
    recipes = [recipe.replace(stopping=fixed_steps(10)) for recipe in recipes]
    runs = [Run(blobs, 20, recipe, seed) for recipe in recipes for seed in (0, 1)]
    trained = [one for batch in train(runs, torch.device("cpu")) for one in batch]
    assert len(trained) == len(runs)
    for seed in (0, 1):
        starts = [
            {
                name: weight / one.run.recipe.initialization_scale
                for name, weight in one.initial_weights.items()
            }
            for one in trained
            if one.run.seed == seed
        ]
        for start in starts[1:]:
            torch.testing.assert_close(start, starts[0], rtol=0, atol=0)
    assert {place[:2] for place in taken} == {(20, 0), (20, 1)}
    assert all(len(heads) == 1 for heads in taken.values())
