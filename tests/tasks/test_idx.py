"""Tasks from IDX files: read exactly, found where others put them, never downloaded."""

from __future__ import annotations

import gzip
import os
import re
import shutil
import socket
import struct
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt
import pytest

from pytest_fragility.errors import TaskError
from pytest_fragility.tasks import TaskData, from_idx_folder, get_task, idx, installed, is_installed
from pytest_fragility.tasks.idx import DATA_VARIABLE, read_idx
from tests.in_turn import in_turn

Arrays = dict[str, npt.NDArray[np.uint8]]

FASHION = "fashion-mnist"
ENDINGS = {"images": "images-idx3-ubyte", "labels": "labels-idx1-ubyte"}


def idx_bytes(array: npt.NDArray[np.uint8]) -> bytes:
    """Return an array of bytes in the IDX format."""
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()


def write(path: Path, content: bytes) -> Path:
    """Write a file, gzipped if its name says so, and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def write_folder(
    folder: Path,
    *,
    seed: int = 0,
    prefix: str = "",
    test: str = "t10k",
    end: str = "",
    low: int = 0,
) -> Arrays:
    """Write the four files of a data set of 12 + 6 images, 4 x 3 pixels; return their arrays."""
    generator = np.random.default_rng(seed)
    arrays: Arrays = {}
    for part, size in (("train", 12), (test, 6)):
        kinds = {
            "images": generator.integers(256, size=(size, 4, 3), dtype=np.uint8),
            "labels": (generator.permutation(size) % 3 + low).astype(np.uint8),
        }
        for kind, array in kinds.items():
            write(folder / f"{prefix}{part}-{ENDINGS[kind]}{end}", idx_bytes(array))
            arrays[f"{'train' if part == 'train' else 'test'}_{kind}"] = array
    return arrays


def assert_holds(data: TaskData, arrays: Arrays, *, low: int = 0, upright: bool = False) -> None:
    """Assert that a task has these images over 255, with a channel, and these labels."""
    axes = (0, 2, 1) if upright else (0, 1, 2)
    for part in ("train", "test"):
        pixels = arrays[f"{part}_images"].transpose(axes)
        inputs = getattr(data, f"{part}_inputs")
        assert inputs.shape == (len(pixels), 1, *pixels.shape[1:])
        np.testing.assert_allclose(inputs[:, 0], pixels / 255, rtol=1e-6)
        labels = arrays[f"{part}_labels"].astype(np.int64) - low
        np.testing.assert_array_equal(getattr(data, f"{part}_labels"), labels, strict=True)


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that `PYTEST_FRAGILITY_DATA` names, on a machine without data."""
    root, empty, system = (tmp_path / name for name in ("root", "empty", "system"))
    for folder in (root, empty):
        folder.mkdir()
    monkeypatch.setattr(idx, "USUAL_ROOTS", ("data", str(system)))
    monkeypatch.chdir(empty)
    monkeypatch.setenv(DATA_VARIABLE, str(root))
    return root


@in_turn("end", ["", ".gz"])
@in_turn("below", ["", "raw"])
@in_turn("test", ["t10k", "test"])
@in_turn("prefix", ["", "emnist-digits-"])
def test_the_four_files_are_read(
    tmp_path: Path, end: str, below: str, test: str, prefix: str
) -> None:
    """Plain or gzipped, in the folder or in raw, under both names of the test set."""
    arrays = write_folder(tmp_path / below, end=end, test=test, prefix=prefix)
    data = from_idx_folder(tmp_path, prefix=prefix).data
    assert_holds(data, arrays)
    assert data.train_inputs.dtype == np.float32 and data.classes == 3


def test_plain_and_gzipped_files_may_be_mixed(tmp_path: Path) -> None:
    """Each file is looked for on its own."""
    arrays = write_folder(tmp_path)
    for name in ("train-images-idx3-ubyte", "t10k-labels-idx1-ubyte"):
        content = (tmp_path / name).read_bytes()
        (tmp_path / name).unlink()
        write(tmp_path / f"{name}.gz", content)
    assert_holds(from_idx_folder(str(tmp_path)).data, arrays)


def test_prefixes_choose_among_data_sets_of_one_folder(tmp_path: Path) -> None:
    """Each prefix has its own files."""
    for seed, prefix in enumerate(["a-", "b-", ""]):
        arrays = write_folder(tmp_path, prefix=prefix, seed=seed)
        assert_holds(from_idx_folder(tmp_path, prefix=prefix).data, arrays)


def test_labels_from_1_are_counted_from_0(tmp_path: Path) -> None:
    """Labels 1 to 3 become 0 to 2 in both parts."""
    arrays = write_folder(tmp_path, low=1)
    data = from_idx_folder(tmp_path).data
    assert_holds(data, arrays, low=1)
    assert data.classes == 3


def test_folders_give_tasks_their_names(tmp_path: Path) -> None:
    """The folder's name in lower case, unless another is said."""
    folder = tmp_path / "MyLetters"
    assert from_idx_folder(folder).name == "myletters"
    assert from_idx_folder(folder / "raw" / "..").name == "myletters"
    assert from_idx_folder(folder, name="Mine").name == "Mine"


def test_nothing_is_read_before_the_data_are_needed(tmp_path: Path) -> None:
    """A task can be made before its files are there."""
    task = from_idx_folder(tmp_path / "later")
    arrays = write_folder(tmp_path / "later")
    assert_holds(task.data, arrays)


def test_how_subsets_are_drawn_is_handed_on(tmp_path: Path) -> None:
    """`subsets` and `allow_missing_classes` reach the data."""
    write_folder(tmp_path)
    data = from_idx_folder(tmp_path, subsets="random", allow_missing_classes=True).data
    assert data.subsets == "random" and data.allow_missing_classes


@in_turn("shape", [(7,), (3, 5), (4, 3, 2), (2, 3, 2, 2), (0, 4), (300,)])
@in_turn("end", ["", ".gz"])
def test_arrays_of_any_shape_are_read(tmp_path: Path, shape: tuple[int, ...], end: str) -> None:
    """What is read is what was written."""
    array = np.random.default_rng(0).integers(256, size=shape, dtype=np.uint8)
    path = write(tmp_path / f"array-ubyte{end}", idx_bytes(array))
    np.testing.assert_array_equal(read_idx(path), array, strict=True)


@in_turn("part", ["train", "t10k"])
@in_turn("kind", ENDINGS)
def test_a_missing_file_is_named(tmp_path: Path, part: str, kind: str) -> None:
    """The error says which file is not in which folder."""
    write_folder(tmp_path)
    name = f"{part}-{ENDINGS[kind]}"
    (tmp_path / name).unlink()
    with pytest.raises(
        TaskError, match=f"{re.escape(str(tmp_path))}: no {name} there, gzipped or not"
    ):
        _ = from_idx_folder(tmp_path).data


def test_a_missing_file_is_named_with_its_prefix(tmp_path: Path) -> None:
    """Files without the prefix do not count."""
    write_folder(tmp_path)
    with pytest.raises(TaskError, match="no emnist-digits-train-images-idx3-ubyte there"):
        _ = from_idx_folder(tmp_path, prefix="emnist-digits-").data


ARRAY = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)


@in_turn("part", ["train", "t10k"])
def test_as_many_labels_as_images_are_needed(tmp_path: Path, part: str) -> None:
    """The error names the file with the images and shows both shapes."""
    arrays = write_folder(tmp_path)
    labels = arrays["train_labels" if part == "train" else "test_labels"][:-1]
    write(tmp_path / f"{part}-labels-idx1-ubyte", idx_bytes(labels))
    shapes = r"shape \(12, 4, 3\).*\(11,\)" if part == "train" else r"shape \(6, 4, 3\).*\(5,\)"
    with pytest.raises(TaskError, match=f"{part}-images-idx3-ubyte: {shapes}"):
        _ = from_idx_folder(tmp_path).data


def test_files_that_are_swapped_are_refused(tmp_path: Path) -> None:
    """Images must have three axes and labels one."""
    arrays = write_folder(tmp_path)
    write(tmp_path / "train-images-idx3-ubyte", idx_bytes(arrays["train_labels"]))
    with pytest.raises(TaskError, match=r"train-images-idx3-ubyte: shape \(12,\)"):
        _ = from_idx_folder(tmp_path).data


def test_images_of_two_sizes_are_refused(tmp_path: Path) -> None:
    """Pool and test set must agree."""
    write_folder(tmp_path)
    images = np.zeros((6, 4, 4), dtype=np.uint8)
    write(tmp_path / "t10k-images-idx3-ubyte", idx_bytes(images))
    with pytest.raises(TaskError, match=r"two shapes: train \(1, 4, 3\), test \(1, 4, 4\)"):
        _ = from_idx_folder(tmp_path).data


LAYOUTS = [
    ("mnist", "MNIST/raw", ""),
    ("fashion-mnist", "FashionMNIST/raw", ""),
    ("kmnist", "KMNIST/raw", ""),
    ("mnist", "mnist", ".gz"),
    ("fashion-mnist", "fashion-mnist", ".gz"),
]


@in_turn(("name", "folder", "end"), LAYOUTS)
def test_data_are_found_as_torchvision_and_debian_lay_them_out(
    elsewhere: Path, name: str, folder: str, end: str
) -> None:
    """Below the folder that the environment names, each under its own name."""
    arrays = write_folder(elsewhere / folder, end=end)
    assert is_installed(name)
    task = installed(name)
    assert task.name == name
    assert_holds(task.data, arrays)
    shutil.rmtree(elsewhere / folder)


@in_turn("split", ["balanced", "byclass", "bymerge", "digits", "letters", "mnist"])
def test_emnist_is_turned_upright(elsewhere: Path, split: str) -> None:
    """Rows and columns are exchanged, for each split by its own files."""
    prefix, low = f"emnist-{split}-", int(split == "letters")
    folder = elsewhere / "EMNIST/raw"
    write_folder(folder, prefix="emnist-other-", test="test", seed=1)
    assert not is_installed(f"emnist-{split}")
    arrays = write_folder(folder, prefix=prefix, test="test", low=low)
    assert is_installed(f"emnist-{split}")
    task = installed(f"emnist-{split}")
    assert task.name == f"emnist-{split}" and task.data.input_shape == (1, 3, 4)
    assert_holds(task.data, arrays, low=low, upright=True)


def test_the_first_folder_with_the_data_wins(
    tmp_path: Path, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Folders in the environment variable come in order, `data` below the directory after them."""
    roots = [tmp_path / name for name in ("none", "first", "second")]
    monkeypatch.setenv(DATA_VARIABLE, os.pathsep.join(["", *map(str, roots)]))
    found = []
    for seed, root in enumerate([Path("data"), *roots[:0:-1]]):
        found.append(write_folder(root / "KMNIST/raw", seed=seed))
        assert_holds(installed("kmnist").data, found[-1])
    monkeypatch.delenv(DATA_VARIABLE)
    assert_holds(installed("kmnist").data, found[0])


def test_a_name_means_the_data_of_the_folders_there_are(
    tmp_path: Path, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asked for again with another folder in the environment, or from another directory."""
    first = write_folder(elsewhere / "KMNIST/raw", seed=1)
    task = get_task("kmnist+binary")
    assert get_task("kmnist+binary") is task
    inputs = task.data.train_inputs
    second = write_folder(tmp_path / "KMNIST/raw", seed=2)
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path))
    other = get_task("kmnist+binary").data.train_inputs
    assert_holds(get_task("kmnist").data, second)
    assert inputs.shape == other.shape and not np.array_equal(inputs, other)
    monkeypatch.setenv(DATA_VARIABLE, str(elsewhere))
    assert get_task("kmnist+binary") is task
    assert_holds(get_task("kmnist").data, first)
    monkeypatch.delenv(DATA_VARIABLE)
    for place, name in enumerate(("here", "there")):
        arrays = write_folder(tmp_path / name / "data" / "MNIST/raw", seed=place)
        monkeypatch.chdir(tmp_path / name)
        assert_holds(get_task("mnist").data, arrays)


def test_a_data_set_is_not_taken_for_another(elsewhere: Path) -> None:
    """Fashion-MNIST does not make MNIST installed."""
    write_folder(elsewhere / "FashionMNIST/raw")
    assert is_installed("fashion-mnist") and not is_installed("mnist")
    assert not is_installed("kmnist") and not is_installed("emnist-mnist")


@in_turn("kind", ENDINGS)
@in_turn("part", ["train", "t10k"])
def test_data_with_a_file_missing_are_not_installed(elsewhere: Path, part: str, kind: str) -> None:
    """A copy that was broken off does not count, and the error names a file it lacks."""
    write_folder(elsewhere / "KMNIST/raw")
    (elsewhere / "KMNIST/raw" / f"{part}-{ENDINGS[kind]}").unlink()
    assert not is_installed("kmnist")


def test_a_copy_with_a_file_missing_does_not_hide_a_whole_one(
    tmp_path: Path, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first folder with all four files wins."""
    whole = tmp_path / "whole"
    monkeypatch.setenv(DATA_VARIABLE, os.pathsep.join(map(str, (elsewhere, whole))))
    write_folder(elsewhere / "KMNIST/raw")
    (elsewhere / "KMNIST/raw/t10k-labels-idx1-ubyte").unlink()
    arrays = write_folder(whole / "KMNIST/raw", seed=1)
    assert_holds(installed("kmnist").data, arrays)


@in_turn("name", ["", "emnist", "emnist-", "emnist-words", "MNIST", "cifar10"])
def test_an_unknown_data_set_is_refused(name: str) -> None:
    """The error names it and those there are, for both functions."""
    for function in (installed, is_installed):
        with pytest.raises(TaskError, match=f"unknown data set '{name}': .*kmnist.*emnist-digits"):
            function(name)


@in_turn(
    ("name", "folder", "call"),
    [
        ("mnist", "MNIST or mnist", r"MNIST\('data', download=True\)"),
        ("kmnist", "KMNIST or kmnist", r"KMNIST\('data', download=True\)"),
        ("emnist-digits", "EMNIST or emnist", r"EMNIST\('data', split='digits', download=True\)"),
    ],
)
def test_absent_data_say_where_they_were_sought_and_how_to_get_them(
    elsewhere: Path, name: str, folder: str, call: str
) -> None:
    """The error names the folders, a call that works and the variable; nothing is downloaded."""
    assert not is_installed(name)
    with pytest.raises(TaskError, match=f"'{name}': not on this machine") as caught:
        _ = installed(name).data
    sought = re.escape(f"{elsewhere}, data, {elsewhere.parent / 'system'}. ")
    for expected in (sought, call, f"{DATA_VARIABLE} .* {folder}", "Nothing is downloaded"):
        caught.match(expected)


@pytest.mark.usefixtures("elsewhere")
def test_absent_fashion_mnist_names_its_package() -> None:
    """The error tells which package of Debian's has it."""
    with pytest.raises(TaskError, match="Debian's package dataset-fashion-mnist, or run torchv"):
        _ = installed("fashion-mnist").data


def test_nothing_is_downloaded(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Absent data open no connection and leave no file."""

    def refuse(*_: Any, **__: Any) -> NoReturn:
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    with pytest.raises(TaskError):
        _ = installed("mnist").data
    assert not list(elsewhere.rglob("*")) and not list(Path.cwd().rglob("*"))


@pytest.mark.skipif(
    not is_installed(FASHION), reason="install Debian's package dataset-fashion-mnist"
)
def test_fashion_mnist_is_the_published_data_set() -> None:
    """60,000 and 10,000 images, classes of one size, with the mean and deviation all normalize by.

    The first label is that of an ankle boot.
    """
    data = installed(FASHION).data
    assert data.train_inputs.shape == (60_000, 1, 28, 28) and data.classes == 10
    assert data.test_inputs.shape == (10_000, 1, 28, 28)
    assert np.bincount(data.train_labels).tolist() == [6_000] * 10
    assert np.bincount(data.test_labels).tolist() == [1_000] * 10
    assert data.train_labels[0] == 9
    assert data.train_inputs.mean(dtype=np.float64) == pytest.approx(0.2860, abs=5e-5)
    assert data.train_inputs.std(dtype=np.float64) == pytest.approx(0.3530, abs=5e-5)


SPELLINGS = [
    "train-images.idx3-ubyte",
    "train-images.idx3-ubyte.gz",
    "TRAIN-IMAGES-IDX3-UBYTE",
    "Train-Images.IDX3-ubyte.GZ",
    "train-images.idx3.ubyte",
    "train_images_idx3_ubyte",
    "train-images-idx3-ubyte/train-images-idx3-ubyte",
    "raw/train-images.idx3-ubyte",
]


@in_turn("spelling", SPELLINGS)
@in_turn("prefix", ["", "emnist-digits-"])
def test_names_as_other_tools_write_them(tmp_path: Path, spelling: str, prefix: str) -> None:
    """Of the four files, one is called so; the others as usual."""
    arrays = write_folder(tmp_path, prefix=prefix)
    usual = tmp_path / f"{prefix}train-images-idx3-ubyte"
    content = usual.read_bytes()
    usual.unlink()
    folder, _, name = spelling.rpartition("/")
    folder = f"{prefix}{folder}" if folder.startswith("train") else folder
    path = tmp_path / folder / f"{prefix}{name}"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(gzip.compress(content) if name.lower().endswith(".gz") else content)
    assert_holds(from_idx_folder(tmp_path, prefix=prefix).data, arrays)


def test_of_two_names_the_usual_one_counts(tmp_path: Path) -> None:
    """Plain goes before gzipped, as where a download was unpacked beside itself."""
    arrays = write_folder(tmp_path)
    for other in ("train-images.idx3-ubyte", "train-images-idx3-ubyte.gz"):
        write(tmp_path / other, idx_bytes(np.zeros((12, 5, 5), dtype=np.uint8)))
    assert_holds(from_idx_folder(tmp_path).data, arrays)


@in_turn("is_packed", [True, False])
def test_packed_files_are_told_by_their_content(tmp_path: Path, is_packed: bool) -> None:
    """Browsers unpack what keeps its name, and archives lose endings."""
    path = tmp_path / ("train-ubyte" if is_packed else "train-ubyte.gz")
    content = idx_bytes(ARRAY)
    path.write_bytes(gzip.compress(content) if is_packed else content)
    np.testing.assert_array_equal(read_idx(path), ARRAY)


def test_files_that_are_there_are_named(tmp_path: Path) -> None:
    """Where one lacks."""
    write(tmp_path / "train_x.idx", b"")
    with pytest.raises(TaskError, match=r"no train-images-idx3-ubyte there.*It has train_x\.idx$"):
        _ = from_idx_folder(tmp_path).data
