"""Data that cannot be learned from: what is put in, and the error that a user sees for it."""

from __future__ import annotations

import gzip
import os
import pickle
import struct
import zipfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.sparse import csr_matrix
from sklearn.datasets import load_diabetes, load_wine
from sklearn.utils import Bunch
from torch.utils.data import IterableDataset

from pytest_fragility.errors import TaskError
from pytest_fragility.tasks import (
    Ladder,
    Task,
    TaskData,
    digits,
    from_arrays,
    from_dataset,
    from_idx_folder,
    from_sklearn,
    get_ladder,
    get_task,
    label_noise_ladder,
    linear_teacher,
    relu_teacher,
    sparse_parity,
    standardized,
    with_binary_split,
    with_classes,
    with_fewer_dimensions,
    with_input_noise,
    with_label_noise,
)
from pytest_fragility.tasks.idx import read_idx
from tests.in_turn import in_turn
from tests.tables import odd, raising, rows, sees
from tests.tasks.sample_tasks import parts, sample_data, sample_task

NAN, INF = float("nan"), float("inf")
HUGE, LARGE = 10**5000, 10**400
TRAIN, TEST = "train_inputs", "test_inputs"
Read = Callable[[], Any]


def data(**changes: Any) -> Read:
    """Return a function that makes the data of sound arrays, some of them replaced."""
    return lambda: TaskData(**parts(**changes))


INPUTS = rows(
    ("as many labels", data(train_labels=[0, 1]), r"train data: .* \(6, 2\) and .* \(2,\)"),
    ("columns of labels", data(test_labels=[[0], [1], [1]]), r"labels of shape \(3, 1\)"),
    ("nothing", data(train_inputs=[], train_labels=[]), "train data: .* at least one, got inputs"),
    ("one axis", data(train_inputs=np.ones(6)), r"train_inputs: expected shape .*, got \(6,\)"),
    ("no features", data(test_inputs=np.ones((3, 0))), r"test_inputs: .*, got \(3, 0\)"),
    ("one number", data(test_inputs=5.0), "test data: expected as many inputs as labels"),
    ("NaN", data(train_inputs=[[1, NAN]] * 6), "train_inputs: 6 samples are not finite, .* row 0"),
    ("infinite", data(test_inputs=[[1, 2], [-INF, 4], [5, 6]]), "test_inputs: 1 samples .* row 1"),
    ("no float32", data(test_inputs=[[1, 2], [3, 4], [5, 1e39]]), "test_inputs: 1 .* row 2"),
    ("tensor of NaN", data(test_inputs=torch.full((3, 1, 1), NAN)), "test_inputs: 3 samples"),
    ("words", data(test_inputs=[["1", "2"]] * 3), "test_inputs: expected numbers, got .* <U1"),
    ("None", data(test_inputs=[[3, None]] * 3), "test_inputs: expected numbers, got .* object"),
    ("complex", data(train_inputs=np.ones((6, 2), dtype=complex)), "got values of type complex128"),
    ("masked", data(train_inputs=np.ma.masked_less(np.ones((6, 2)), 2)), "a masked array"),
    ("sparse", data(train_inputs=torch.ones(6, 2).to_sparse()), "expected dense values"),
    ("no values", data(train_inputs=torch.empty(6, 2, device="meta")), "expected dense values"),
    ("4 TB", data(train_inputs=np.broadcast_to(1, (10**6, 10**6))), "numbers take 4,000 GB"),
    ("other features", data(test_inputs=np.ones((3, 5))), r"train \(2,\), test \(5,\)"),
    ("ragged", data(train_inputs=[[1, 2], [3, 4], [5]]), r"\(2,\) at row 0, \(1,\) at row 2"),
    ("arrays of two shapes", data(test_inputs=[np.ones((2, 2)), np.ones((3, 2))]), "at row 1"),
    ("tensors of two shapes", data(test_inputs=[torch.ones(2), torch.ones(3)]), "at row 1"),
    ("ragged within", data(test_inputs=[[[1, 2], [3]]] * 3), "test_inputs"),
)
LABELS = rows(
    ("negative", data(test_labels=[0, -3, 1]), "test_labels: expected classes counted from 0, got"),
    ("fractions", data(train_labels=[0, 1, 2, 0, 1.5, 2]), "train_labels: .* with fractions"),
    ("NaN", data(train_labels=[0, 1, 2, 0, NAN, 2]), "train_labels: .* with fractions or NaN"),
    ("bool", data(test_labels=[True, False, True]), "expected class numbers"),
    ("words", data(train_labels=list("abcabc")), "expected class numbers, got .* <U1"),
    ("None", data(test_labels=[0, None, 1]), "expected class numbers, got .* object"),
    ("too large", data(train_labels=[0, 1, 2, 0, 1, 10**9]), "label 1000000000, expected classes"),
    ("beyond 64 bits", data(train_labels=[0, 1, 2, 0, 1, 2**64]), "expected class numbers"),
    ("unknown to the pool", data(test_labels=[0, 1, 8]), r"class 8 never .* \(0 to 2\).*classes="),
    ("a gap", data(train_labels=[0, 2, 2, 0, 2, 2]), r"class 1 never occurs .* \(0 to 2\)"),
    ("classes: text", data(classes="x"), "classes='x': expected a whole number"),
    ("classes: NaN", data(classes=NAN), "classes=nan: expected a whole number"),
    ("classes: negative", data(classes=-1), "classes=-1: expected a whole number"),
    ("classes: too many", data(classes=10**9), "classes=1000000000: expected a whole number"),
    ("classes: too few", data(classes=2), "train_labels: label 2 is out of range, expected 0 to 1"),
    ("classes: of the test", data(test_labels=[0, 9, 1], classes=9), "test_labels: .* 0 to 8 for"),
    ("subsets", data(subsets="balanced"), "subsets='balanced': expected one of stratified, random"),
    ("strata: too few", data(strata=[0, 1, 2]), r"strata of shape \(3,\): .* each of the 6"),
    ("strata: a row", data(strata=[[0, 1, 2, 0, 1, 2]]), r"strata of shape \(1, 6\)"),
    ("strata: one number", data(strata=1), r"strata of shape \(1,\): .* each of"),
)
LOADED = rows(
    ("no function", lambda: Task("mine", odd(5)), "load=5, expected a function"),
    (
        "a pair",
        lambda: Task("mine", lambda: odd((1, 2))).data,
        "returned tuple, expected",
    ),
    (
        "raises",
        lambda: Task("mine", raising(OSError("\x1b[31m"))).data,
        r"task 'mine': load\(\) raised OSError: \\x1b\[31m",
    ),
)

X = np.arange(300, dtype=np.float32).reshape(100, 3)
Y = np.repeat([0, 1, 2], (60, 30, 10))
SPARSE = Bunch(data=csr_matrix(X), target=Y)


def arrays(inputs: Any = X, labels: Any = Y, **arguments: Any) -> Read:
    """Return a function that reads a task from arrays."""
    return lambda: from_arrays("mine", inputs, labels, **arguments).data


NEEDED = "'mine': expected test_inputs and test_labels, or test_size="
ARRAYS = rows(
    ("no test set", lambda: from_arrays("mine", X, Y), NEEDED),
    ("two", arrays(test_inputs=X, test_labels=Y, test_size=1), NEEDED),
    ("half", arrays(test_inputs=X), NEEDED),
    ("the other half", arrays(test_labels=Y), NEEDED),
    ("half and a size", arrays(test_inputs=X, test_size=1), NEEDED),
    ("nothing held out", arrays(test_size=0), "test_size=0, expected .* 1 and 99, .* 100 samples"),
    ("all held out", arrays(test_size=100), "test_size=100, expected .* between 1 and 99"),
    ("a class held out", arrays(test_size=99), "class 1 never occurs among the training pool's"),
    ("a share", arrays(test_size=0.2), "test_size=0.2, expected a whole number"),
    ("a text", arrays(test_size="20"), "test_size='20', expected a whole number"),
    ("a label too few", arrays(labels=Y[:99], test_size=10), r"\(100, 3\) and .* \(99,\)"),
    ("one-hot", arrays(labels=np.eye(3)[Y], test_size=10), r"labels of shape \(100, 3\)"),
    ("sparse", arrays(SPARSE.data, test_size=10), "inputs have no rows; .* made dense"),
    ("sparse pool", arrays(SPARSE.data, test_inputs=X, test_labels=Y), "train_inputs"),
    ("sparse bunch", lambda: from_sklearn(SPARSE, test_size=9, name="x").data, "inputs have no"),
    ("nameless", lambda: from_sklearn(load_wine(), test_size=5), "no name of its own: say name="),
    ("partial", lambda: from_sklearn(partial(load_wine), test_size=5), "no name of its own"),
    (
        "a pair in place of a bunch",
        lambda: from_sklearn(partial(load_wine, return_X_y=True), test_size=5, name="wine").data,
        r"'wine': .* tuple, expected a Bunch .*leave out return_X_y",
    ),
    ("regression", lambda: from_sklearn(load_diabetes, test_size=9).data, "regression; .* classes"),
)


class Stream(IterableDataset[Any]):
    """An iterable data set that knows its length, as PyTorch allows."""

    def __iter__(self) -> Iterator[Any]:
        return iter(PAIRS)

    def __len__(self) -> int:
        return len(PAIRS)


class Endless:
    """A data set that says it has more items than anything could hold."""

    def __init__(self, length: int) -> None:
        self.length = length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, place: int) -> tuple[Any, int]:
        return np.zeros(1000, dtype=np.float32), place % 2


PAIRS = [(np.array([n, -n], dtype=np.float32), n % 2) for n in range(6)]
ITEM = {"image": [1.0], "label": 0}


def items(*given: Any, **keys: Any) -> Read:
    """Return a function that reads a data set of these items, as pool and as test set."""
    return lambda: from_dataset("mine", list(given), list(given), **keys).data


def dataset(pool: Any = PAIRS, test: Any = None, size: int | None = None) -> Read:
    """Return a function that reads a task from data sets."""
    return lambda: from_dataset("mine", pool, test, test_size=size).data


NO_MAP = "'mine': a {} has no length or no items by number.*list"
DATASETS = rows(
    ("label: probabilities", items(([1.0], np.eye(3)[0])), "a label of shape .* the argmax"),
    ("label: lengths", items(([1.0], [0]), ([2.0], [0, 1])), r"item 1: a label of shape \(2,\)"),
    ("label: a word", items(([1.0], "cat")), "train_labels: expected class numbers"),
    ("label: a fraction", items(([1.0], 0.5)), "train_labels: .* with fractions"),
    ("pairs: input key", items(*PAIRS, input_key="x"), "item 0 is a pair .* which has no keys"),
    ("pairs: label key", items(*PAIRS, label_key="y"), "item 0 is a pair .* which has no keys"),
    ("two inputs", items(ITEM | {"x": [1.0]}), r"keys image, label, x; .* input_key='\.\.\.'"),
    ("two labels", items(ITEM | {"y": 0}), r"keys image, label, y; .* label_key='\.\.\.'"),
    ("no input", items({"text": [1.0], "label": 0}), "the keys text, label; .* input_key="),
    ("no such key", items(ITEM, input_key="img"), "the keys image, label; .* input_key="),
    ("three", items(PAIRS[0], (1, 2, 3)), "item 1 is a tuple of 3, expected a pair"),
    ("one", items(PAIRS[0], [1]), "item 1 is a list of 1, expected a pair"),
    ("no pair", items(PAIRS[0], np.ones(2)), "item 1 is a ndarray, expected a pair"),
    ("two shapes", items((np.ones(2), 0), (np.ones(3), 1)), r"\(2,\) at item 0, \(3,\) at item 1"),
    ("uneven rows", items(([[1.0, 2.0], [3.0]], 0)), "task 'mine', item 0: inputs of two shapes"),
    ("a dict", dataset({"train": PAIRS}, None, 1), r"several data sets \(train\); .*\['train'\]"),
    ("empty pool", dataset([], PAIRS), "'mine': the data set has no items"),
    ("empty test set", dataset(PAIRS, []), "'mine': the data set has no items"),
    ("a stream", dataset(Stream(), None, 1), NO_MAP.format("Stream")),
    ("a stream of tests", dataset(PAIRS, Stream()), NO_MAP.format("Stream")),
    ("an iterator", dataset(iter(PAIRS), None, 1), NO_MAP.format("list_iterator")),
    ("a set", dataset(set(), None, 1), NO_MAP.format("set")),
    ("no test set", dataset(), "'mine': expected test_dataset, or test_size="),
    ("an empty one and a size", dataset(PAIRS, [], 1), "expected test_dataset, or test_size="),
    ("more than memory", dataset(Endless(10**12), None, 1), "numbers take 4,000,000 GB"),
    ("more than Python counts", dataset(Endless(10**30), None, 1), "the data set's length"),
    ("fewer than none", dataset(Endless(-1), None, 1), "the data set's length"),
)

NOISY = with_label_noise(sample_task(3, classes=5), 0.2)
FLAT = Task("flat", lambda: TaskData(np.full((6, 3), 0.1), Y[:6], np.ones((2, 3)), Y[:2]))
GAPS = Task("gaps", lambda: TaskData(X[:3], odd([0, 2, 2]), X[:1], Y[:1], classes=4))


def split(*positive: Any) -> Read:
    """Return a function that reads a split of three classes."""
    return lambda: with_binary_split(sample_task(3), positive).data


PARTS = "binary split of 'sample' by .* classes 0 to 2, and not all"
CHANGES = rows(
    ("noise: NaN", lambda: with_label_noise(digits(), NAN), "label noise nan: expected a fraction"),
    ("noise: above one", lambda: digits(label_noise=1.5), "label noise 1.5: expected"),
    ("noise: below zero", lambda: digits(label_noise=-0.1), "label noise -0.1: expected"),
    ("noise: text", lambda: with_label_noise(digits(), odd("a")), "label noise 'a': expected"),
    ("input noise: huge", lambda: with_input_noise(digits(), LARGE), "input noise 10+"),
    ("input noise: NaN", lambda: with_input_noise(digits(), NAN), "input noise nan: expected"),
    ("input noise: negative", lambda: with_input_noise(digits(), -0.5), "input noise -0.5: "),
    ("dimensions: NaN", lambda: with_fewer_dimensions(digits(), odd(NAN)), "dimensions nan:"),
    ("dimensions: none", lambda: with_fewer_dimensions(digits(), 0), "dimensions 0: .* at least 1"),
    (
        "dimensions: more than there are",
        lambda: with_fewer_dimensions(sample_task(1, 4, 4), 17).data,
        "dimensions 17: .* task 'sample' have only 16",
    ),
    ("all the same", lambda: standardized(FLAT).data, "'flat': all training inputs are the same"),
    (
        "each the same",
        lambda: standardized(FLAT, each_feature=True).data,
        "task 'flat': all training inputs are the same",
    ),
    ("classes: one", lambda: with_classes(digits(), [1]), r"classes \[1\]: expected at least two"),
    ("classes: twice", lambda: with_classes(digits(), [0, 2, 0]), r"\[0, 2, 0\]: .* each once"),
    ("classes: text", lambda: with_classes(digits(), odd(["a", 1])), "class 'a': expected"),
    ("classes: nested", lambda: with_classes(digits(), odd([[1], 2])), r"class \[1\]:"),
    ("unknown", lambda: with_classes(sample_task(3), [0, 3]).data, "class 3: .* classes 0, 1, 2"),
    ("without samples", lambda: with_classes(GAPS, [2, 1]).data, "class 1: .* classes 0, 2"),
    ("split: NaN", lambda: with_binary_split(digits(), odd([NAN])), "class nan: expected"),
    ("split: none", split(), PARTS),
    ("split: all", split(0, 1, 2), PARTS),
    ("split: unknown", split(0, 7), PARTS),
    ("noise first", lambda: with_classes(NOISY, [0, 1]), r"'sample\+label-noise-0.2' has label"),
    (
        "noise below",
        lambda: with_binary_split(standardized(NOISY)),
        "ized' has label noise",
    ),
)
NAMES = rows(
    ("a number", lambda: get_task(odd(5)), "task name 5: expected"),
    *(
        (f"task {name!r}", partial(get_task, name), f"unknown task '.*': .* digits, .*{known}")
        for name in ("", "Digits", "emnist", "parity-", "parity-x", "+binary")
        for known in ("mnist-1d", "emnist-letters", "parity-2")
    ),
    *(
        (f"{operation!r}", partial(get_task, f"digits+binary+{operation}"), "no operation '.*-3-5,")
        for operation in (
            *("", "noise-0.2", "label-noise-", "label-noise-much", "label-noise--0.1"),
            *("label-noise-0.2 ", "permuted-pixels-test", "shuffled-pixels-", "input-noise-0.5-"),
            *("dimensions-2.5", "classes-", "classes-0-", "classes-a-b", "binary-", "Binary"),
        )
    ),
    ("noise of 2", lambda: get_task("digits+label-noise-2"), r"label noise 2\.0: expected a fra"),
    ("no dimensions", lambda: get_task("digits+dimensions-0"), "dimensions 0: expected at least 1"),
    ("one class", lambda: get_task("digits+classes-3-3"), r"classes \[3, 3\]: expected at least"),
    ("no layer", lambda: get_task("teacher-relu-0"), "depth 0: expected at least one hidden layer"),
    ("parity of 21", lambda: get_task("parity-21"), "parity of 21 entries: expected between 1 and"),
    ("dimensions: text", lambda: linear_teacher(dimensions=odd("a")), "dimensions 'a': expected"),
    ("dimensions: huge", lambda: linear_teacher(dimensions=10**9), "at most 100,000"),
    ("depth: bool", lambda: relu_teacher(True), "depth True: expected"),
    ("depth: huge", lambda: relu_teacher(10**9), "depth 1000000000: expected"),
    ("inputs: none", lambda: relu_teacher(2, dimensions=0), "dimensions 0: expected at least one"),
    ("parity: of none", lambda: sparse_parity(0), "parity of 0 entries: expected between 1 and 20"),
    ("parity: of more", lambda: sparse_parity(6, dimensions=5), "parity of 6 .* between 1 and 5"),
    ("parity: no inputs", lambda: sparse_parity(1, dimensions=0), "dimensions 0: expected"),
    ("ladder: a number", lambda: Ladder("mine", odd(5)), "expected at least two tasks, got 5"),
    ("ladder: of one", lambda: Ladder("mine", [digits()]), "'mine': expected at least two tasks"),
    ("ladder: of data", lambda: Ladder("x", odd([digits(), sample_data(3)])), "at least two tasks"),
    ("ladder: twins", lambda: Ladder("x", [digits(), digits()]), "'x': two tasks are called 'dig"),
    ("ladder: noise twice", lambda: label_noise_ladder(digits(), (0.1, 0.1)), "two tasks are call"),
    ("ladder: one noise", lambda: label_noise_ladder(digits(), (0.1,)), "expected at least two"),
    (
        "ladder: unknown",
        lambda: get_ladder("Label-Noise", digits()),
        "unknown ladder",
    ),
    ("folder: null", lambda: from_idx_folder("a\0b"), r"folder 'a\\x00b': a path cannot hold"),
)


@in_turn(
    ("make", "message"),
    [*INPUTS, *LABELS, *LOADED, *ARRAYS, *DATASETS, *CHANGES, *NAMES],
)
def test_what_cannot_be_learned_from(make: Read, message: str) -> None:
    """Data, changes and names that cannot be used are named with what is wrong, and where."""
    sees(TaskError, message, make)


def idx(shape: Sequence[int], content: bytes = b"", kind: int = 8) -> bytes:
    """Return an IDX file that says it has this shape."""
    return struct.pack(f">HBB{len(shape)}I", 0, kind, len(shape), *shape) + content


def archive() -> bytes:
    """Return a zip file, as NumPy's ``.npz`` is one."""
    path = Path("archive.npz")
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("x.npy", b"0" * 100)
    return path.read_bytes()


class Bomb:
    """What leaves a file where it is unpickled."""

    def __reduce__(self) -> Any:
        return Path.touch, (Path("exploded"),)


WHOLE = idx((2, 3, 4), bytes(range(24)))
PACKED = gzip.compress(WHOLE)
FILES = rows(
    ("empty", "x", lambda: b"", "not an IDX file"),
    ("a zip", "x", archive, "not an IDX file"),
    ("a pickle", "x", lambda: pickle.dumps(Bomb()), "not an IDX file"),
    ("doubles", "x", lambda: idx((1,), b"\0" * 8, kind=14), "not an IDX file of unsigned bytes"),
    ("signed bytes", "x", lambda: idx((1,), b"\0", kind=9), "not an IDX file of unsigned bytes"),
    ("another start", "x", lambda: b"\x01" + WHOLE[1:], "not an IDX file of unsigned bytes"),
    ("no dimensions", "x", lambda: idx((), b"x"), "says it has 0 dimensions; expected 1 to 4"),
    ("255 dimensions", "x", lambda: idx((1,) * 255, b"x"), "says it has 255 dimensions"),
    ("16 EB", "x", lambda: idx((2**32 - 1,) * 2), "expected at most 4 GB"),
    ("a product that wraps", "x", lambda: idx((2**31, 2**31, 4)), "expected at most 4 GB"),
    ("4 GB that are not there", "x", lambda: idx((2**31,)), r"\(2147483648,\), .* only 8;"),
    ("too many", "x", lambda: WHOLE + b"\0", r"\(2, 3, 4\) and has more than 24 entries"),
    ("a page, gzipped", "x", lambda: gzip.compress(b"<html>not found</html>"), "not an IDX file"),
    (
        "a gzip of too many",
        "x.gz",
        lambda: gzip.compress(idx((4,)) + b"\0" * (1 << 24)),
        r"\(4,\) and has more than 4 entries",
    ),
    (
        "4 GB that a gzip has not",
        "x.gz",
        lambda: gzip.compress(idx((2**31,), b"\0")),
        r"\(2147483648,\), which takes .* only 27;",
    ),
    (
        "zeros, packed too well",
        "x.gz",
        lambda: gzip.compress(idx((1 << 5, 1 << 10, 1 << 10), bytes(1 << 25))),
        "says it has shape .* get the file again",
    ),
    *(
        (f"cut at {length}", "x", lambda n=length: WHOLE[:n], "not an IDX file|says it has shape")
        for length in range(len(WHOLE))
    ),
    *(
        (f"packed, cut at {n}", "x.gz", lambda n=n: PACKED[:n], r"x\.gz: ")
        for n in range(len(PACKED))
    ),
    *(
        (
            f"packed, with another byte at {n}",
            "x.gz",
            lambda n=n: PACKED[:n] + bytes([PACKED[n] ^ 255]) + PACKED[n + 1 :],
            r"x\.gz: ",
        )
        for n in range(10, len(PACKED))
    ),
)


@in_turn(("name", "content", "message"), FILES)
def test_data_files(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    content: Callable[[], bytes],
    message: str,
) -> None:
    """They are compared with their header, read no further than it says, and never unpickled."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / name
    path.write_bytes(content())
    text = sees(TaskError, message, lambda: read_idx(path))
    assert text.startswith(str(path))
    assert not Path("exploded").exists()


@in_turn("make", [Path.mkdir, os.mkfifo, lambda path: path.symlink_to(path), lambda path: None])
def test_data_files_that_are_none(tmp_path: Path, make: Callable[[Path], Any]) -> None:
    """A folder, a pipe, a link to itself and nothing are no files; no writer is waited for."""
    path = tmp_path / "train-images-idx3-ubyte"
    make(path)
    sees(TaskError, "cannot be read", lambda: read_idx(path))
    sees(TaskError, "no train-images-idx3-ubyte there", lambda: from_idx_folder(tmp_path).data)
