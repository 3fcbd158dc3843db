"""A strategy for tasks."""

from __future__ import annotations

from hypothesis import strategies as st

from pytest_fragility.tasks import Task, get_task

# with the operations that suit each; all come with the package, and are quick to make
BASES = {
    "digits": (
        "label-noise-0.2",
        "label-noise-0.5",
        "permuted-pixels",
        "shuffled-pixels",
        "input-noise-0.5",
        "dimensions-16",
        "binary",
        "classes-3-5",
        "standardized",
    ),
    "teacher-linear": ("label-noise-0.2", "input-noise-0.5", "standardized"),
    "teacher-relu-2": ("label-noise-0.2", "input-noise-0.5", "standardized"),
    "parity-2": ("label-noise-0.2", "input-noise-0.5"),
}


@st.composite
def _tasks(draw: st.DrawFn, max_operations: int) -> Task:
    base = draw(st.sampled_from(list(BASES)))
    operations = st.lists(st.sampled_from(BASES[base]), max_size=max_operations, unique=True)
    drawn = draw(operations)
    # one kind of label noise is enough, and classes are chosen before they are split
    kinds = {each.split("-")[0]: each for each in drawn}
    ordered = [each for each in BASES[base] if each in kinds.values()]
    ordered.sort(key=lambda each: ["classes", "binary"].count(each.split("-")[0]) == 0)
    if {"classes", "binary"} <= {each.split("-")[0] for each in ordered}:
        ordered.remove("binary")
    return get_task("+".join([base, *ordered]))


def tasks(*, max_operations: int = 2) -> st.SearchStrategy[Task]:
    """Draw built-in tasks with operations on their data.

    Shrinks to digits without operations. Nothing is read or made before a task's data are asked
    for.

    Parameters
    ----------
    max_operations
        How many operations a drawn task may have.
    """
    return _tasks(max_operations)
