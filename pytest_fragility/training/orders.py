"""Runs on their way to another process, with the data and the code that they need."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from types import ModuleType
from typing import TypeVar

import cloudpickle

from pytest_fragility.recipes import Factory
from pytest_fragility.recipes.fingerprints import is_installed
from pytest_fragility.runs import Run
from pytest_fragility.tasks.task import Task

Order = list[list[Run]]
T = TypeVar("T")


def pack_order(shard: Sequence[Sequence[Run]]) -> bytes:
    """Return the runs of each trajectory in a form that another process can read."""
    factories = {
        run.recipe.architecture
        for runs in shard
        for run in runs
        if isinstance(run.recipe.architecture, Factory)
    }
    with _by_value(factories):
        packed: bytes = cloudpickle.dumps(_portable(shard))
    return packed


def reason_not_to_pack(factory: Factory) -> str | None:
    """Return why a factory cannot be sent to another process, or None where it can."""
    try:
        with _by_value({factory}):
            cloudpickle.dumps(factory)
    # whatever one's own objects raise where they are pickled
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return None


def _portable(shard: Sequence[Sequence[Run]]) -> Order:
    """Return runs whose tasks hold data in the place of a loader."""
    tasks: dict[int, Task] = {}
    for run in (run for runs in shard for run in runs):
        if id(run.task) not in tasks:
            tasks[id(run.task)] = Task(run.task.name, partial(_same, run.task.data))
    return [[replace(run, task=tasks[id(run.task)]) for run in runs] for runs in shard]


@contextmanager
def _by_value(factories: set[Factory]) -> Iterator[None]:
    """Have the code of factories sent along: their modules may be tests, which nobody imports."""
    modules = {module for factory in factories if (module := _own_module(factory))}
    known = cloudpickle.list_registry_pickle_by_value()
    added = [module for module in modules if module.__name__ not in known]
    for module in added:
        cloudpickle.register_pickle_by_value(module)
    try:
        yield
    finally:
        for module in added:
            cloudpickle.unregister_pickle_by_value(module)


def _own_module(factory: Factory) -> ModuleType | None:
    build = getattr(factory.build, "func", factory.build)
    named = build if hasattr(build, "__qualname__") else type(build)
    return None if is_installed(named) else sys.modules.get(named.__module__)


def _same(value: T) -> T:
    return value
