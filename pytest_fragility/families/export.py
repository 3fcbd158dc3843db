"""Families written to a folder: checkpoints and the manifest that lists them."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterator
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors.torch import save_file

from pytest_fragility._util.csv_texts import csv_text
from pytest_fragility._util.files import is_there
from pytest_fragility.errors import TableError
from pytest_fragility.families.manifests import (
    ARCHITECTURE,
    CHECKPOINT,
    INITIAL,
    SAMPLES,
    STEPS,
    TRAIN_ERROR,
    TRAIN_LOSS,
)
from pytest_fragility.recipes import Factory
from pytest_fragility.rows.columns import (
    DIVERGED,
    ERROR_COLUMN,
    MISTAKEN,
    REACHED,
    RECIPE,
    SEED,
    TASK,
    TEST_SIZE,
    N,
    packed,
)

if TYPE_CHECKING:
    from pytest_fragility.families.trained_family import TrainedFamily
    from pytest_fragility.networks import NetworkState
    from pytest_fragility.networks.runs import TrainedRun
    from pytest_fragility.recipes import Architecture, Recipe


MANIFEST_FILE = "manifest.csv"
WEIGHTS, INITIAL_WEIGHTS, ROWS = "weights", "initial-weights", "samples"
Exported = tuple[str, str, "TrainedRun"]


def export(family: TrainedFamily, folder: Path, *, overwrite: bool) -> None:
    """Write a family to a folder, whole or not at all; see `Family.export`."""
    if is_there(folder):
        if not overwrite:
            raise TableError(f"{folder} is there already; say overwrite=True to have it replaced")
        if not (folder / MANIFEST_FILE).is_file():
            raise TableError(
                f"{folder} holds no {MANIFEST_FILE}, so that no export has made it; name another"
            )
    unfinished = folder.with_name(f".{folder.name}.{os.getpid()}")
    replaced = folder.with_name(f".{folder.name}.{os.getpid()}.old")
    try:
        unfinished.mkdir()
        _write(family, unfinished)
        if is_there(folder):
            folder.rename(replaced)
        unfinished.rename(folder)
    except OSError as error:
        if replaced.exists() and not is_there(folder):
            replaced.rename(folder)
        raise TableError(f"{folder} cannot be written: {error.strerror or error}") from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
        if is_there(folder):
            shutil.rmtree(replaced, ignore_errors=True)


def _write(family: TrainedFamily, folder: Path) -> None:
    rows = [_written(place, exported, folder) for place, exported in enumerate(_runs_of(family))]
    columns = [name for name in rows[0] if any(row[name] not in ("", None) for row in rows)]
    text = csv_text(columns, ([row[column] for column in columns] for row in rows))
    (folder / MANIFEST_FILE).write_text(text, encoding="utf-8", newline="\n")


def _runs_of(family: TrainedFamily) -> Iterator[Exported]:
    """Yield tasks, recipe names and runs, those of the ladder in its order."""
    own = family.task.name
    learned = {rung.task.name: rung for rung in family.rungs} | {own: family}
    order = [task.name for task in family.plan.ladder.tasks] if family.plan.ladder else []
    for task in order if own in order else [own, *order]:
        if task in learned:
            each = learned[task]
            for recipe in each.judged:
                for n in each.sizes:
                    for seed in each.seeds_of(recipe):
                        yield task, recipe, each.trained_run(recipe, n, seed)


def _written(place: int, exported: Exported, folder: Path) -> dict[str, Any]:
    """Write a run's files, and return its row."""
    task, recipe_name, trained = exported
    run, record, unknown = trained.run, trained.record, trained.unknown
    name = f"{place:05d}.safetensors"
    checkpoint = _save(trained.state, folder / WEIGHTS / name)
    initial = ""
    if "initial_model" not in unknown:
        initial = _save(trained.initial_state, folder / INITIAL_WEIGHTS / name)
    is_known = len(trained.mistaken) > 0
    share = record.test_mistakes / record.test_size if record.test_size else record.test_error
    row = {
        CHECKPOINT: checkpoint,
        INITIAL: initial,
        TASK: task,
        RECIPE: recipe_name,
        N: run.n,
        SEED: run.seed,
        ERROR_COLUMN: share,
        TEST_SIZE: record.test_size or "",
        MISTAKEN: packed(trained.mistaken.numpy()) if is_known else "",
        SAMPLES: ""
        if "inputs" in unknown
        else _save_samples(trained, folder / ROWS / f"{place:05d}.txt"),
        STEPS: "" if STEPS in unknown else record.steps,
        TRAIN_LOSS: "" if TRAIN_LOSS in unknown else record.train_loss,
        TRAIN_ERROR: "" if TRAIN_ERROR in unknown else record.train_error,
        REACHED: str(record.reached_target).lower(),
        DIVERGED: str(record.diverged).lower(),
        **_recipe_columns(run.recipe, is_known="recipe" not in unknown),
    }
    # a training that diverged has no loss
    return {**row, TRAIN_LOSS: ""} if str(row[TRAIN_LOSS]) in ("nan", "inf") else row


def _save(state: NetworkState, path: Path) -> str:
    path.parent.mkdir(exist_ok=True)
    tensors = {**state.weights, **state.buffers}
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path)
    return f"{path.parent.name}/{path.name}"


def _save_samples(trained: TrainedRun, path: Path) -> str:
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(f"{row}\n" for row in trained.run.rows()), encoding="utf-8")
    return f"{path.parent.name}/{path.name}"


def _recipe_columns(recipe: Recipe, *, is_known: bool) -> dict[str, Any]:
    fields = recipe.to_dict()
    columns = {
        name: json.dumps(value) if isinstance(value, dict) else value
        for name, value in fields.items()
        if is_known and name != ARCHITECTURE
    }
    return {ARCHITECTURE: _architecture(recipe.architecture, fields[ARCHITECTURE]), **columns}


def _architecture(architecture: Architecture, plain: Any) -> str:
    """Return what a manifest says of an architecture; nothing of a function without a place."""
    if not isinstance(architecture, Factory):
        return json.dumps(plain)
    build = architecture.build
    module, name = getattr(build, "__module__", ""), getattr(build, "__qualname__", "")
    try:
        found = attrgetter(name)(sys.modules.get(module))
    except (AttributeError, TypeError):
        return ""
    is_plain = found is build and Factory(found) == architecture
    return f"{module}:{name}" if is_plain else ""
