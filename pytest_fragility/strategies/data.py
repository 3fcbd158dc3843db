"""A strategy for tasks."""

from __future__ import annotations

from hypothesis import strategies as st

from pytest_fragility.tasks import Task, get_task

LABEL_NOISE = ("label-noise-0.2", "label-noise-0.5")
INPUT_NOISE = ("input-noise-0.5",)
STANDARDIZED = ("standardized",)

# With the operations that suit each, in the order in which they are done; of those that stand
# together, a task has one. All bases come with the package, and are quick to make.
BASES = {
    "digits": (
        ("binary", "classes-3-5"),
        LABEL_NOISE,
        ("permuted-pixels", "shuffled-pixels"),
        INPUT_NOISE,
        ("dimensions-16",),
        STANDARDIZED,
    ),
    "teacher-linear": (LABEL_NOISE, INPUT_NOISE, STANDARDIZED),
    "teacher-relu-2": (LABEL_NOISE, INPUT_NOISE, STANDARDIZED),
    "parity-2": (LABEL_NOISE, INPUT_NOISE),
}


@st.composite
def _tasks(draw: st.DrawFn, max_operations: int) -> Task:
    base = draw(st.sampled_from(list(BASES)))
    kinds = BASES[base]
    places = st.lists(st.integers(0, len(kinds) - 1), max_size=max_operations, unique=True)
    drawn = [draw(st.sampled_from(kinds[place])) for place in sorted(draw(places))]
    return get_task("+".join([base, *drawn]))


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
