"""What is learned: tasks and ladders, and where their data come from.

A source of data is a file such as `bundled`; a change of data one of `inputs` and `labels`; names
are spelled in `named`. Arrays are read when they are first needed: here nothing imports NumPy.
"""

from pytest_fragility.tasks.arrays import from_arrays, from_sklearn
from pytest_fragility.tasks.bundled import digits, mnist_1d, mnist_5k
from pytest_fragility.tasks.datasets import from_dataset
from pytest_fragility.tasks.idx import from_idx_folder, installed, is_installed
from pytest_fragility.tasks.inputs import (
    standardized,
    with_fewer_dimensions,
    with_input_noise,
    with_permuted_pixels,
    with_shuffled_pixels,
)
from pytest_fragility.tasks.labels import with_binary_split, with_classes, with_label_noise
from pytest_fragility.tasks.ladders import (
    Ladder,
    get_ladder,
    label_noise_ladder,
    mnist_to_fashion_ladder,
    teacher_depth_ladder,
)
from pytest_fragility.tasks.named import get_task
from pytest_fragility.tasks.task import Task, TaskData
from pytest_fragility.tasks.teachers import linear_teacher, relu_teacher, sparse_parity

__all__ = [
    "Ladder",
    "Task",
    "TaskData",
    "digits",
    "from_arrays",
    "from_dataset",
    "from_idx_folder",
    "from_sklearn",
    "get_ladder",
    "get_task",
    "installed",
    "is_installed",
    "label_noise_ladder",
    "linear_teacher",
    "mnist_1d",
    "mnist_5k",
    "mnist_to_fashion_ladder",
    "relu_teacher",
    "sparse_parity",
    "standardized",
    "teacher_depth_ladder",
    "with_binary_split",
    "with_classes",
    "with_fewer_dimensions",
    "with_input_noise",
    "with_label_noise",
    "with_permuted_pixels",
    "with_shuffled_pixels",
]
