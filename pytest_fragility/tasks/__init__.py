"""What is learned: tasks and ladders, and where their data come from.

A source of data is a file such as `bundled`; a change of data one of `inputs` and `labels`; names
are spelled in `named`. Arrays are read when they are first needed: here nothing imports NumPy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_fragility._util.lazy import lazy_face

if TYPE_CHECKING:
    from pytest_fragility.tasks.arrays import from_arrays as from_arrays
    from pytest_fragility.tasks.arrays import from_sklearn as from_sklearn
    from pytest_fragility.tasks.bundled import digits as digits
    from pytest_fragility.tasks.bundled import mnist_1d as mnist_1d
    from pytest_fragility.tasks.bundled import mnist_5k as mnist_5k
    from pytest_fragility.tasks.datasets import from_dataset as from_dataset
    from pytest_fragility.tasks.idx import from_idx_folder as from_idx_folder
    from pytest_fragility.tasks.idx import installed as installed
    from pytest_fragility.tasks.idx import is_installed as is_installed
    from pytest_fragility.tasks.inputs import standardized as standardized
    from pytest_fragility.tasks.inputs import with_fewer_dimensions as with_fewer_dimensions
    from pytest_fragility.tasks.inputs import with_input_noise as with_input_noise
    from pytest_fragility.tasks.inputs import with_permuted_pixels as with_permuted_pixels
    from pytest_fragility.tasks.inputs import with_shuffled_pixels as with_shuffled_pixels
    from pytest_fragility.tasks.labels import with_binary_split as with_binary_split
    from pytest_fragility.tasks.labels import with_classes as with_classes
    from pytest_fragility.tasks.labels import with_label_noise as with_label_noise
    from pytest_fragility.tasks.ladders import Ladder as Ladder
    from pytest_fragility.tasks.ladders import get_ladder as get_ladder
    from pytest_fragility.tasks.ladders import label_noise_ladder as label_noise_ladder
    from pytest_fragility.tasks.ladders import mnist_to_fashion_ladder as mnist_to_fashion_ladder
    from pytest_fragility.tasks.ladders import teacher_depth_ladder as teacher_depth_ladder
    from pytest_fragility.tasks.named import get_task as get_task
    from pytest_fragility.tasks.task import Task as Task
    from pytest_fragility.tasks.task import TaskData as TaskData
    from pytest_fragility.tasks.teachers import linear_teacher as linear_teacher
    from pytest_fragility.tasks.teachers import relu_teacher as relu_teacher
    from pytest_fragility.tasks.teachers import sparse_parity as sparse_parity

if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy_face()
