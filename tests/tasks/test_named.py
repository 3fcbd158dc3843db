"""Names of tasks and operations: what a task calls itself is what it can be asked for by."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_fragility.tasks import (
    Task,
    digits,
    get_task,
    linear_teacher,
    relu_teacher,
    sparse_parity,
    standardized,
    with_binary_split,
    with_classes,
    with_fewer_dimensions,
    with_input_noise,
    with_label_noise,
    with_permuted_pixels,
    with_shuffled_pixels,
)
from tests.in_turn import in_turn

Change = Callable[[Task], Task]

CHANGES: dict[str, Change] = {
    "label-noise-0.2": lambda task: with_label_noise(task, 0.2),
    "label-noise-1": lambda task: with_label_noise(task, 1),
    "label-noise-0.3333333333333333": lambda task: with_label_noise(task, 1 / 3),
    "label-noise-1e-05": lambda task: with_label_noise(task, 1e-05),
    "permuted-pixels": with_permuted_pixels,
    "shuffled-pixels": with_shuffled_pixels,
    "shuffled-pixels-test": lambda task: with_shuffled_pixels(task, test=True),
    "input-noise-0.5": lambda task: with_input_noise(task, 0.5),
    "input-noise-3": lambda task: with_input_noise(task, 3),
    # no sign in an exponent is taken for the start of another operation
    "input-noise-1e16": lambda task: with_input_noise(task, 1e16),
    "input-noise-1.5e-07": lambda task: with_input_noise(task, 1.5e-07),
    "input-noise-1e-05-test": lambda task: with_input_noise(task, 0.00001, test=True),
    "dimensions-16": lambda task: with_fewer_dimensions(task, 16),
    "classes-7-0": lambda task: with_classes(task, [7, 0]),
    "binary": with_binary_split,
    "binary-3-5": lambda task: with_binary_split(task, [5, 3]),
    "standardized": standardized,
    "standardized-features": lambda task: standardized(task, each_feature=True),
}

brief = settings(deadline=None, max_examples=25)
deviations = st.floats(1e-12, 1e9)
of_classes: st.SearchStrategy[Change] = st.one_of(
    st.lists(st.integers(0, 9), min_size=2, unique=True).map(
        lambda kept: lambda task: with_classes(task, kept)
    ),
    st.sets(st.integers(0, 9), min_size=1, max_size=9).map(
        lambda ones: lambda task: with_binary_split(task, ones)
    ),
    st.just(with_binary_split),
)
of_inputs: st.SearchStrategy[Change] = st.one_of(
    st.sampled_from([with_permuted_pixels, with_shuffled_pixels, standardized]),
    st.just(lambda task: with_shuffled_pixels(task, test=True)),
    st.just(lambda task: standardized(task, each_feature=True)),
    st.tuples(deviations, st.booleans()).map(
        lambda noise: lambda task: with_input_noise(task, noise[0], test=noise[1])
    ),
)
of_labels: st.SearchStrategy[Change] = st.floats(0, 1).map(
    lambda fraction: lambda task: with_label_noise(task, fraction)
)
combinations = st.tuples(
    st.lists(of_classes, max_size=1),
    st.lists(of_inputs, max_size=3),
    st.lists(of_labels, max_size=2),
).map(lambda groups: [change for group in groups for change in group])


def assert_named_as_built(built: Task) -> None:
    """Fail unless the task's name gives a task of the same name and data."""
    named = get_task(built.name)
    assert named is not built
    assert named.name == built.name
    assert named.data.fingerprint == built.data.fingerprint
    assert (named.clean is None) == (built.clean is None)


@in_turn("name", CHANGES)
def test_every_operation_has_its_name(name: str) -> None:
    """The operation calls itself so, and its name gives it again."""
    built = CHANGES[name](digits())
    assert built.name == f"digits+{name}"
    assert_named_as_built(built)


@brief
@given(changes=combinations)
def test_names_of_combinations_give_the_tasks_again(changes: Sequence[Change]) -> None:
    """Whatever operations follow one another, the name says which, with all digits of numbers."""
    task = digits()
    for change in changes:
        task = change(task)
    assert_named_as_built(task)


@in_turn(
    ("built", "name"),
    [
        (linear_teacher(), "teacher-linear"),
        (linear_teacher(dimensions=5), "teacher-linear-in-5"),
        (relu_teacher(2, dimensions=7), "teacher-relu-2-in-7"),
        (relu_teacher(3), "teacher-relu-3"),
        (sparse_parity(3, dimensions=12), "parity-3-in-12"),
        (sparse_parity(3, dimensions=20), "parity-3"),
    ],
)
def test_teachers_are_known_by_the_names_that_they_give_themselves(built: Task, name: str) -> None:
    """The usual number of inputs goes without saying."""
    assert built.name == name
    assert_named_as_built(built)


@in_turn(
    ("spelled", "name"),
    [
        ("mnist-5k", "mnist-5k"),
        ("mnist-1d", "mnist-1d"),
        ("digits+label-noise-0.20", "digits+label-noise-0.2"),
        ("digits+label-noise-1.0", "digits+label-noise-1"),
        ("digits+label-noise-0", "digits"),
        ("digits+input-noise-0.50", "digits+input-noise-0.5"),
        ("digits+input-noise-2.", "digits+input-noise-2"),
        ("digits+input-noise-0.00001", "digits+input-noise-1e-05"),
        ("digits+input-noise-0-test", "digits"),
        ("digits+binary-5-3", "digits+binary-3-5"),
        ("digits+dimensions-016", "digits+dimensions-16"),
    ],
)
def test_one_task_has_one_name(spelled: str, name: str) -> None:
    """However a number is spelled, the task calls itself by the shortest."""
    assert get_task(spelled).name == name
