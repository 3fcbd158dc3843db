"""Stacks that families share: the same where networks are the same, and only there."""

from __future__ import annotations

import csv
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from pytest_fragility.auditing.growing_families import GrowingFamily
from pytest_fragility.evaluation.asking import evaluate
from pytest_fragility.families.family import Family
from pytest_fragility.families.plan import FamilyPlan
from pytest_fragility.families.train import train_families
from pytest_fragility.measures import stacked
from pytest_fragility.networks.stack_cache import StacksOfRuns
from pytest_fragility.networks.stacks import NetworkStack, _pool
from pytest_fragility.perturbations import BASELINE, get_perturbation
from pytest_fragility.recipes import Recipe, fixed_steps
from pytest_fragility.settings import resolve_settings
from pytest_fragility.store import Store
from pytest_fragility.tasks import Task
from pytest_fragility.tasks.ladders import Ladder

CPU = torch.device("cpu")


def plan_of(task: Task, recipe: Recipe, *names: str, seeds: tuple[int, ...] = (0, 1)) -> FamilyPlan:
    """Return a plan of two sizes; each name's recipe takes some steps of its own."""
    recipes = {name: recipe.replace(stopping=fixed_steps(len(name))) for name in names}
    return FamilyPlan(task, recipes, (8, 16), seeds)


def test_families_share_the_stacks_of_networks_in_common(blobs: Task, small_recipe: Recipe) -> None:
    """Whatever the rest of their plans; a measure works out once what it needs of them."""
    plans = [
        plan_of(blobs, small_recipe, BASELINE, "first"),
        plan_of(blobs, small_recipe, BASELINE, "second"),
        plan_of(blobs, small_recipe, BASELINE, seeds=(0, 1, 2)),
    ]
    one, other, more = train_families(plans, device=CPU)
    assert one.stack(BASELINE, 8) is other.stack(BASELINE, 8)
    assert one.stack(BASELINE, 8) is not one.stack(BASELINE, 16)
    assert len(more.stack(BASELINE, 8)) == 3

    asked: list[NetworkStack] = []

    @stacked
    def costly(stack: NetworkStack) -> list[float]:
        def compute() -> list[float]:
            asked.append(stack)
            return [1.0] * len(stack)

        return stack.once("costly", compute)

    for family in (one, other):
        for recipe in family.recipes:
            evaluate(costly, "costly", family, recipe)
    assert len(asked) == len(set(map(id, asked))) == 2 * len({BASELINE, "first", "second"})


def test_a_part_of_a_family_shares_its_stacks(blobs: Task, small_recipe: Recipe) -> None:
    """Fewer recipes leave a recipe's stacks as they are; fewer seeds make smaller ones."""
    (family,) = train_families([plan_of(blobs, small_recipe, BASELINE, "first")], device=CPU)
    assert family.with_recipes([BASELINE]).stack(BASELINE, 8) is family.stack(BASELINE, 8)
    fewer = family.without_seeds([0])
    assert fewer.stack(BASELINE, 8).seeds == (1,)
    assert family.without_seeds([0]).stack(BASELINE, 8) is fewer.stack(BASELINE, 8)
    assert family.stack(BASELINE, 8).seeds == (0, 1)


def test_networks_that_grow_on_demand_share_their_stacks(blobs: Task) -> None:
    """A baseline is measured once, whatever it is compared with."""
    family = GrowingFamily(
        resolve_settings(
            {"task": blobs, "sizes": (8, 16, 32), "seeds": 2, "cache_dir": None, "ladder": "none"}
        )
    )
    first, second = (family.family(get_perturbation(name)) for name in ("momentum", "adam"))
    assert first.stack(BASELINE, 8) is second.stack(BASELINE, 8)
    assert first.stack("momentum", 8) is not second.stack("adam", 8)


def test_recipes_with_the_same_weights_have_stacks_of_their_own(
    blobs: Task, small_recipe: Recipe
) -> None:
    """A measure may read the recipe, and its randomness derives from it."""
    (family,) = train_families([plan_of(blobs, small_recipe, BASELINE, "first")], device=CPU)
    runs = {
        place: replace(
            family.trained_run(*place), state=family.trained_run(BASELINE, n, seed).state
        )
        for place in family.plan.runs
        for _, n, seed in [place]
    }
    same = Family(family.plan, runs, CPU)
    stacks = [same.stack(name, 8) for name in same.recipes]
    assert [stack.recipe for stack in stacks] == list(same.recipes.values())
    assert stacks[0].rng_seeds != stacks[1].rng_seeds


def test_tasks_with_samples_of_their_own_share_nothing_of_samples(
    blobs: Task, small_recipe: Recipe
) -> None:
    """The same sizes and seeds of a ladder's tasks are other samples."""
    data = blobs.data
    other = Task("other", lambda: replace(data, train_inputs=-data.train_inputs))
    plan = replace(plan_of(blobs, small_recipe, BASELINE), ladder=Ladder("signs", (blobs, other)))
    (family,) = train_families([plan], device=CPU)
    values = [
        float(
            rung.stack(BASELINE, 8).once_for_samples(
                0, "sum", rung.stack(BASELINE, 8).inputs[0].sum
            )
        )
        for rung in family.rungs
    ]
    assert values[0] == -values[1] != 0


def test_what_is_worked_out_for_runs_is_worked_out_once(blobs: Task, small_recipe: Recipe) -> None:
    """By key and by runs."""
    (family,) = train_families([plan_of(blobs, small_recipe, BASELINE)], device=CPU)
    first, second = (family.trained_run(BASELINE, 8, seed) for seed in (0, 1))
    calls: list[str] = []

    def once(*places: int, key: str) -> int:
        def compute() -> int:
            calls.append(key)
            return len(calls)

        return family.stacks.once([(first, second)[place] for place in places], key, compute)

    found = [once(0, key="a"), once(0, key="a"), once(0, key="b"), once(0, 1, key="a")]
    assert found == [1, 1, 2, 3]
    assert once(1, key="a") == 4


def test_runs_are_told_by_what_they_are(blobs: Task, small_recipe: Recipe, tmp_path: Path) -> None:
    """Trained twice or read from a store they are one; tasks of one name and other data are two."""
    data = blobs.data
    negated = Task(blobs.name, lambda: replace(data, train_inputs=-data.train_inputs))
    store, found = Store(tmp_path), []
    for task, kept in ((blobs, None), (blobs, store), (blobs, store), (negated, store)):
        plan = plan_of(task, small_recipe, BASELINE)
        (family,) = train_families([plan], device=CPU, store=kept)
        found.append(family.trained_run(BASELINE, 8, 0))
    stacks = StacksOfRuns(CPU)
    first, *same, other = [stacks.of([run]) for run in found]
    assert len({run.state for run in found}) == 4
    assert [stack is first for stack in same] == [True, True]
    assert not torch.equal(first.inputs, other.inputs)
    with pytest.raises(AssertionError, match="without a key"):
        stacks.of([replace(found[0], key="")])


def test_checkpoints_are_told_by_all_that_is_read_of_them(
    blobs: Task, small_recipe: Recipe, tmp_path: Path
) -> None:
    """Copies elsewhere are the same runs; other weights, losses or parts that are known are not."""
    (family,) = train_families([plan_of(blobs, small_recipe, BASELINE)], device=CPU)

    def keys(folder: str, **changes: str) -> dict[tuple[int, int], str]:
        with (tmp_path / folder / "manifest.csv").open(encoding="utf-8", newline="") as file:
            rows = [{**row, **changes} for row in csv.DictReader(file)]
        for row in rows:
            for column in ("checkpoint", "initial_checkpoint", "samples"):
                row[column] = row[column] and str(tmp_path / folder / row[column])
        read = Family.from_checkpoints(
            [{name: value for name, value in row.items() if value} for row in rows],
            tasks={blobs.name: blobs},
        )
        return {place[1:]: read.trained_run(*place).key for place in read.plan.runs}

    for folder in ("one", "other"):
        family.export(tmp_path / folder)
    found = keys("one")
    assert keys("other") == found and len(set(found.values())) == 4
    for changes in ({"train_loss": "0.125"}, {"initial_checkpoint": ""}, {"samples": ""}):
        assert not set(keys("one", **changes).values()) & set(found.values())
    with (tmp_path / "other" / "manifest.csv").open(encoding="utf-8", newline="") as file:
        weights = tmp_path / "other" / next(csv.DictReader(file))["checkpoint"]
    tensors = load_file(weights)
    next(iter(tensors.values())).view(-1)[0] += 1
    save_file(tensors, weights)
    assert sum(key != found[place] for place, key in keys("other").items()) == 1


def test_a_device_keeps_each_pool_once(blobs: Task) -> None:
    """Equal data of another object is another pool, as parts of one task's data would be."""
    shared: dict[Any, Any] = {}
    data = blobs.data
    inputs, labels = _pool(data, CPU, shared)
    assert torch.equal(inputs, torch.from_numpy(data.train_inputs))
    assert torch.equal(labels, torch.from_numpy(data.train_labels))
    assert _pool(data, CPU, shared)[0] is inputs
    assert _pool(copy(data), CPU, shared)[0] is not inputs
