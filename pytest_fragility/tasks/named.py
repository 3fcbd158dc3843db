"""Tasks by name, for the command line and configuration files."""

from __future__ import annotations

from collections.abc import Callable

from pytest_fragility.errors import TaskError
from pytest_fragility.tasks.digits import digits
from pytest_fragility.tasks.label_noise import with_label_noise
from pytest_fragility.tasks.task import Task

TASKS: dict[str, Callable[[], Task]] = {"digits": digits}

_NOISE = "+label-noise-"


def get_task(name: str) -> Task:
    """Return a built-in task: ``digits``, or ``digits+label-noise-0.2``.

    Raises
    ------
    TaskError
        If there is no such task.
    """
    base, _, fraction = name.partition(_NOISE)
    if base not in TASKS or (_NOISE in name and not _is_number(fraction)):
        raise TaskError(
            f"unknown task {name!r}: expected one of {', '.join(TASKS)}, "
            f"or one of them followed by '{_NOISE}' and a fraction, such as digits{_NOISE}0.2"
        )
    return with_label_noise(TASKS[base](), float(fraction or 0))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
