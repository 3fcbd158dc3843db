"""A table without gaps, made of numbers alone, and an export of a small trained family."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pytest_fragility.families.family import Family
from pytest_fragility.families.plan import FamilyPlan
from pytest_fragility.families.train import train_families
from pytest_fragility.perturbations import BASELINE, get_perturbation
from pytest_fragility.recipes import Recipe
from pytest_fragility.rows.columns import packed
from pytest_fragility.tasks import Ladder, Task, TaskData

SIZES, SEEDS, TEST_SAMPLES = (32, 64, 128), tuple(range(5)), 400
Row = dict[str, Any]


def table_rows(
    recipes: tuple[str, ...] = (BASELINE, "adam"),
    *,
    sizes: tuple[int, ...] = SIZES,
    seeds: tuple[int, ...] = SEEDS,
    task: str = "toy",
    with_masks: bool = True,
) -> list[Row]:
    """Return rows of two measures: `steady` follows test error, `fragile` reverses under Adam."""
    rows = []
    for place, recipe in enumerate(recipes):
        for n in sizes:
            for seed in seeds:
                generator = np.random.default_rng([n, seed, place])
                common = np.random.default_rng([n, seed]).normal()
                hardness = np.linspace(0, 1, TEST_SAMPLES)
                mask = hardness < 0.5 * (n / 32) ** -0.4 * np.exp(0.03 * common)
                wobble = np.exp(0.02 * generator.normal() + 0.02 * common)
                slope = 0.5 if recipe == "adam" else -0.4
                row: Row = {
                    "task": task,
                    "recipe": recipe,
                    "n": n,
                    "seed": seed,
                    "test_error": float(mask.mean()),
                    "test_size": TEST_SAMPLES,
                    "steady": float(n**-0.4 * wobble),
                    "fragile": float(n**slope * wobble),
                }
                rows.append({**row, "mistaken": packed(mask)} if with_masks else row)
    return rows


@pytest.fixture(scope="session")
def hard_blobs(blobs: Task) -> Task:
    """The same inputs, half of whose training labels are wrong."""

    def change(data: TaskData) -> TaskData:
        wrong = (data.train_labels + np.arange(len(data.train_labels)) % 2) % 3
        return TaskData(data.train_inputs, wrong, data.test_inputs, data.test_labels)

    return blobs.changed("wrong", change)


@pytest.fixture(scope="session")
def laddered_family(blobs: Task, hard_blobs: Task, small_recipe: Recipe) -> Family:
    """Baseline and Adam on blobs, the baseline on a harder task too: 27 networks."""
    recipes = {BASELINE: small_recipe, "adam": get_perturbation("adam")(small_recipe)}
    ladder = Ladder("blobs -> blobs+wrong", [blobs, hard_blobs])
    plan = FamilyPlan(blobs, recipes, (16, 32, 64), (0, 1, 2), ladder)
    return train_families([plan], device=torch.device("cpu"))[0]


@pytest.fixture(scope="session")
def exported(laddered_family: Family, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that it was exported to; not to be changed."""
    folder = tmp_path_factory.mktemp("export") / "networks"
    laddered_family.export(folder)
    return folder


@pytest.fixture
def read_back(exported: Path, blobs: Task, hard_blobs: Task) -> Callable[..., Family]:
    """A function that reads the exported family."""

    def read(**options: Any) -> Family:
        tasks = {blobs.name: blobs, hard_blobs.name: hard_blobs}
        return Family.from_checkpoints(exported / "manifest.csv", tasks=tasks, **options)

    return read


@pytest.fixture
def read_rows(exported: Path, blobs: Task, hard_blobs: Task) -> tuple[list[Row], dict[str, Task]]:
    """The rows of the exported manifest, with whole paths, and its tasks."""
    with (exported / "manifest.csv").open(encoding="utf-8", newline="") as file:
        rows: list[Row] = list(csv.DictReader(file))
    for row in rows:
        for column in ("checkpoint", "initial_checkpoint", "samples"):
            row[column] = str(exported / row[column])
    return rows, {blobs.name: blobs, hard_blobs.name: hard_blobs}
