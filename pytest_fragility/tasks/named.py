"""Tasks by name, for the command line and configuration files."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path

from pytest_fragility._util.validation import require_name
from pytest_fragility.errors import TaskError
from pytest_fragility.tasks.bundled import digits, mnist_1d, mnist_5k
from pytest_fragility.tasks.idx import EMNIST_SPLITS, FOLDERS, data_roots, installed
from pytest_fragility.tasks.inputs import (
    standardized,
    with_fewer_dimensions,
    with_input_noise,
    with_permuted_pixels,
    with_shuffled_pixels,
)
from pytest_fragility.tasks.labels import with_binary_split, with_classes, with_label_noise
from pytest_fragility.tasks.task import Task
from pytest_fragility.tasks.teachers import linear_teacher, relu_teacher, sparse_parity

TASKS: dict[str, Callable[[], Task]] = {
    "digits": digits,
    "mnist-5k": mnist_5k,
    "mnist-1d": mnist_1d,
}
INSTALLED = [name for name in FOLDERS if name != "emnist"]
INSTALLED += [f"emnist-{split}" for split in EMNIST_SPLITS]

_WHOLE = r"[0-9]{1,9}"
_NUMBER = r"[0-9]+(?:\.[0-9]*)?(?:e-?[0-9]+)?"
_CLASSES = rf"{_WHOLE}(?:-{_WHOLE})*"

# how names spell tasks with numbers; what stands in brackets is handed on
NUMBERED: dict[str, Callable[..., Task]] = {
    rf"teacher-linear()(?:-in-({_WHOLE}))?": lambda _, inputs: linear_teacher(**_inputs(inputs)),
    rf"teacher-relu-({_WHOLE})(?:-in-({_WHOLE}))?": lambda depth, inputs: relu_teacher(
        int(depth), **_inputs(inputs)
    ),
    rf"parity-({_WHOLE})(?:-in-({_WHOLE}))?": lambda relevant, inputs: sparse_parity(
        int(relevant), **_inputs(inputs)
    ),
}

# how names spell each operation; what stands in brackets is handed on
OPERATIONS: dict[str, Callable[..., Task]] = {
    rf"label-noise-({_NUMBER})": lambda task, share: with_label_noise(task, float(share)),
    "permuted-pixels": with_permuted_pixels,
    "shuffled-pixels": with_shuffled_pixels,
    "shuffled-pixels-test": lambda task: with_shuffled_pixels(task, test=True),
    rf"input-noise-({_NUMBER})": lambda task, size: with_input_noise(task, float(size)),
    rf"input-noise-({_NUMBER})-test": lambda task, size: with_input_noise(
        task, float(size), test=True
    ),
    rf"dimensions-({_WHOLE})": lambda task, kept: with_fewer_dimensions(task, int(kept)),
    rf"classes-({_CLASSES})": lambda task, kept: with_classes(task, _numbers(kept)),
    "binary": with_binary_split,
    rf"binary-({_CLASSES})": lambda task, ones: with_binary_split(task, _numbers(ones)),
    "standardized": standardized,
    "standardized-features": lambda task: standardized(task, each_feature=True),
}


def get_task(name: str) -> Task:
    """Return a built-in task by name, such as ``digits`` or ``mnist-5k+binary+label-noise-0.2``.

    The same object each time, so that its data are read once; another one where the data of its
    name are looked for in other folders by then.

    Parameters
    ----------
    name
        Of the data, and of each operation on them behind a ``+``.

    Raises
    ------
    TaskError
        If there is no such task or operation.
    """
    if name != "":
        require_name(name, "task", TaskError)
    is_from_files = name.partition("+")[0] in INSTALLED
    return _named_task(name, tuple(map(Path.absolute, data_roots())) if is_from_files else ())


@cache
def _named_task(name: str, _: tuple[Path, ...]) -> Task:
    base, *operations = name.split("+")
    task = _base(base, name)
    for operation in operations:
        task = _changed(task, operation, name)
    return replace(task, code=f"get_task({name!r})")


def _base(base: str, name: str) -> Task:
    if base in TASKS:
        return TASKS[base]()
    if base in INSTALLED:
        return installed(base)
    made = _first_match(NUMBERED, base)
    if made:
        return made
    known = [*TASKS, *INSTALLED, "teacher-linear", "teacher-relu-2", "parity-2"]
    raise TaskError(
        f"unknown task {name!r}: expected one of {', '.join(known)}, or one of them followed by "
        "'+' and an operation, such as digits+label-noise-0.2"
    )


def _changed(task: Task, operation: str, name: str) -> Task:
    made = _first_match(OPERATIONS, operation, task)
    if made:
        return made
    raise TaskError(
        f"unknown task {name!r}: no operation {operation!r}; expected label-noise-0.2, "
        "permuted-pixels, shuffled-pixels, input-noise-0.5, dimensions-16, classes-0-1, binary, "
        "binary-3-5, standardized or standardized-features"
    )


def _first_match(makers: Mapping[str, Callable[..., Task]], text: str, *task: Task) -> Task | None:
    for pattern, make in makers.items():
        match = re.fullmatch(pattern, text)
        if match:
            return make(*task, *match.groups())
    return None


def _numbers(text: str) -> list[int]:
    return [int(part) for part in text.split("-")]


def _inputs(number: str | None) -> dict[str, int]:
    return {"dimensions": int(number)} if number else {}
