"""Folders in the IDX layout of MNIST, Fashion-MNIST, KMNIST and EMNIST, gzipped or not."""

from __future__ import annotations

import math
import os
import re
import struct
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_fragility._util.files import most_unpacked, opened, read_at_most
from pytest_fragility._util.text import one_line, shown
from pytest_fragility.errors import TaskError
from pytest_fragility.tasks.task import STRATIFIED, Task, TaskData

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

DATA_VARIABLE = "PYTEST_FRAGILITY_DATA"
USUAL_ROOTS = ("data", "/usr/share/datasets")
UNSIGNED_BYTES = 0x08
MOST_DIMENSIONS = 4
# as 32-bit numbers, four times as much: what a task may have
LARGEST_BYTES = 1 << 32
MOST_SHOWN = 8
_IDX = {"images": "idx3", "labels": "idx1"}
PARTS = (("train", "images"), ("train", "labels"), ("test", "images"), ("test", "labels"))

# by task: folders below a root as torchvision and Debian call them
FOLDERS = {
    "mnist": ("MNIST", "mnist"),
    "fashion-mnist": ("FashionMNIST", "fashion-mnist"),
    "kmnist": ("KMNIST", "kmnist"),
    "emnist": ("EMNIST", "emnist"),
}
EMNIST_SPLITS = ("balanced", "byclass", "bymerge", "digits", "letters", "mnist")


def from_idx_folder(
    folder: Path | str,
    *,
    name: str | None = None,
    prefix: str = "",
    subsets: str = STRATIFIED,
    allow_missing_classes: bool = False,
) -> Task:
    """Return a task from a folder with the four IDX files of MNIST and its likes.

    ``train-images-idx3-ubyte`` (or ``train-images.idx3-ubyte``), ``train-labels-idx1-ubyte`` and
    the same with ``t10k-`` (or ``test-``), each as it is or gzipped (``.gz``), in the folder or in
    ``raw`` below it. Inputs
    have shape (1, height, width) and lie in [0, 1]. Labels that start at 1 (EMNIST letters) are
    counted from 0.

    Parameters
    ----------
    folder
        Where the files are.
    name
        How reports call it; by default the folder's name in lower case.
    prefix
        What file names start with, such as ``emnist-digits-``.
    subsets, allow_missing_classes
        How training subsets are drawn; see `TaskData`.

    Raises
    ------
    TaskError
        If the folder cannot be one; when the data are read, if a file is missing, cut short or not
        in the format.
    """
    root = Path(folder)
    if "\0" in str(root):
        raise TaskError(f"folder {shown(str(root))}: a path cannot hold null characters")

    def load() -> TaskData:
        return _load(_files(root, prefix), subsets, allow_missing_classes)

    return Task(name or root.resolve().name.lower(), load)


def installed(name: str) -> Task:
    """Return MNIST, Fashion-MNIST, KMNIST or EMNIST from where it was put on this machine.

    Looked for below each folder in the environment variable ``PYTEST_FRAGILITY_DATA`` (separated
    as in ``PATH``), then in ``data`` and ``/usr/share/datasets``, as torchvision (``MNIST/raw``)
    or Debian (``fashion-mnist``) lay it out. Nothing is ever downloaded.

    Parameters
    ----------
    name
        ``mnist``, ``fashion-mnist``, ``kmnist``, or ``emnist-`` with one of its splits, such as
        ``emnist-digits``; EMNIST's images are turned upright.

    Raises
    ------
    TaskError
        If there is no such task; when the data are read, if they are not there.
    """
    _, split = _base_and_split(name)

    def load() -> TaskData:
        data = _load(_find(name), STRATIFIED, False)
        return _upright(data) if split else data

    return Task(name, load)


def is_installed(name: str) -> bool:
    """Return whether the four files of `installed` are there; nothing is read.

    Parameters
    ----------
    name
        As `installed` takes it.

    Raises
    ------
    TaskError
        If there is no such data set.
    """
    base, split = _base_and_split(name)
    return any(None not in _there(folder, _prefix(split)) for folder in _candidates(base))


def _base_and_split(name: str) -> tuple[str, str]:
    base, _, split = name.partition("-") if name.startswith("emnist") else (name, "", "")
    if base not in FOLDERS or (base == "emnist" and split not in EMNIST_SPLITS):
        known = [task for task in FOLDERS if task != "emnist"]
        known += [f"emnist-{split}" for split in EMNIST_SPLITS]
        raise TaskError(f"unknown data set {name!r}: expected {', '.join(known)}")
    return base, split


def data_roots() -> tuple[Path, ...]:
    """Return the folders below which data are looked for now."""
    given = [part for part in os.environ.get(DATA_VARIABLE, "").split(os.pathsep) if part]
    return tuple(Path(root) for root in (*given, *USUAL_ROOTS))


def _candidates(base: str) -> list[Path]:
    return [root / folder for root in data_roots() for folder in FOLDERS[base]]


def _prefix(split: str) -> str:
    return f"emnist-{split}-" if split else ""


def _find(name: str) -> list[Path]:
    """Return the four files in the first folder that has them all."""
    base, split = _base_and_split(name)
    prefix = _prefix(split)
    # where some of the files are, those that are not are worth naming
    for enough in (all, any):
        for folder in _candidates(base):
            if enough(_there(folder, prefix)):
                return _files(folder, prefix)
    arguments = f"'data', split='{split}', download=True" if split else "'data', download=True"
    ways = [f"run torchvision.datasets.{FOLDERS[base][0]}({arguments}) once"]
    if base == "fashion-mnist":
        ways.insert(0, "install Debian's package dataset-fashion-mnist")
    looked = ", ".join(map(str, data_roots()))
    raise TaskError(
        f"task {name!r}: not on this machine; looked below {looked}. To get "
        f"it, {', or '.join(ways)}, or set {DATA_VARIABLE} to the folder that has "
        f"{' or '.join(FOLDERS[base])} in it. Nothing is downloaded by itself"
    )


def _there(folder: Path, prefix: str) -> list[Path | None]:
    """Return the file of each part; None where a folder lacks it."""
    return [_file(folder, prefix, part, kind) for part, kind in PARTS]


def _files(folder: Path, prefix: str) -> list[Path]:
    """Return train images, train labels, test images and test labels."""
    found = _there(folder, prefix)
    if None in found:
        part, kind = PARTS[found.index(None)]
        missing = _usual_name(prefix, "t10k" if part == "test" else part, kind)
        there = sorted(one_line(path.name, 60) for path in _listed(folder))
        more = f" and {len(there) - MOST_SHOWN} more" if len(there) > MOST_SHOWN else ""
        has = f"{', '.join(there[:MOST_SHOWN])}{more}" if there else "nothing"
        raise TaskError(
            f"{folder}: no {missing} there, gzipped or not, nor in raw below it; expected the "
            f"four files of MNIST's layout. It has {has}"
        )
    return [path for path in found if path is not None]


def _usual_name(prefix: str, part: str, kind: str) -> str:
    return f"{prefix}{part}-{kind}-{_IDX[kind]}-ubyte"


def _file(folder: Path, prefix: str, part: str, kind: str) -> Path | None:
    """Return the file of a part; the name that MNIST's has goes before others, and plain files."""
    names = ("t10k", "test") if part == "test" else (part,)
    for place in (folder / "raw", folder):
        for name in names:
            usual = _usual_name(prefix, name, kind)
            # unpacked by some tools, the first mark becomes a point
            pattern = re.compile(
                rf"{re.escape(prefix)}{name}[-._ ]{kind}[-._ ]{_IDX[kind]}[-._ ]ubyte(\.gz)?", re.I
            )
            found = [path for path in _listed(place) if pattern.fullmatch(path.name)]
            for path in sorted(found, key=lambda each: _rank(each.name, usual)):
                # some archives have a folder of the name around each file
                for file in (path, path / path.name):
                    if file.is_file():
                        return file
    return None


def _rank(name: str, usual: str) -> tuple[bool, bool, str]:
    plain = name[:-3] if name.lower().endswith(".gz") else name
    return plain != usual, plain != name, name


def _listed(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    # it is not there, is no folder, or is somebody else's
    except OSError:
        return []


def _load(files: list[Path], subsets: str, allow_missing_classes: bool) -> TaskData:
    train_images, train_labels, test_images, test_labels = map(read_idx, files)
    for path, images, labels in (
        (files[0], train_images, train_labels),
        (files[2], test_images, test_labels),
    ):
        if images.ndim != 3 or labels.ndim != 1 or len(images) != len(labels):
            raise TaskError(
                f"{path}: shape {images.shape} with labels of shape {labels.shape}; expected "
                "(samples, height, width) and (samples,)"
            )
    smallest = min(
        (int(part.min()) for part in (train_labels, test_labels) if len(part)), default=0
    )
    first = min(smallest, 1)
    return TaskData(
        _pixels(train_images),
        train_labels.astype("int64") - first,
        _pixels(test_images),
        test_labels.astype("int64") - first,
        subsets=subsets,
        allow_missing_classes=allow_missing_classes,
    )


def _pixels(images: npt.NDArray[np.uint8]) -> Any:
    return images[:, None].astype("float32") / 255


def _upright(data: TaskData) -> TaskData:
    """Return the data with rows and columns exchanged: EMNIST stores its images transposed."""
    return replace(
        data,
        train_inputs=data.train_inputs.swapaxes(2, 3),
        test_inputs=data.test_inputs.swapaxes(2, 3),
    )


def read_idx(path: Path) -> npt.NDArray[np.uint8]:
    """Return the array in an IDX file of unsigned bytes, gzipped or not.

    The format: two zero bytes, the type (0x08), the number of dimensions, each dimension as a
    big-endian 32-bit number, then the entries. A TaskError says that it cannot be read, is of
    another type, or has not as many entries as it says, or more than 4 GB of them.
    """
    import numpy as np

    with opened(path) as file:
        start = file.read(4)
        if len(start) < 4 or start[:2] != b"\0\0" or start[2] != UNSIGNED_BYTES:
            raise TaskError(f"{path}: not an IDX file of unsigned bytes (it starts {start!r})")
        dimensions = start[3]
        if not 1 <= dimensions <= MOST_DIMENSIONS:
            raise TaskError(
                f"{path}: says it has {dimensions} dimensions; expected 1 to {MOST_DIMENSIONS}"
            )
        sizes = file.read(4 * dimensions)
        shape = struct.unpack(f">{dimensions}I", sizes) if len(sizes) == 4 * dimensions else (0,)
        size = math.prod(shape)
        if size > LARGEST_BYTES:
            raise TaskError(
                f"{path}: says it has shape {shape}, which is {size / 1e9:,.0f} GB; expected at "
                f"most {LARGEST_BYTES / 1e9:.0f} GB"
            )
        packed = path.stat().st_size
        if size > most_unpacked(packed):
            raise TaskError(
                f"{path}: says it has shape {shape}, which takes {size:,} bytes, and the file has "
                f"only {packed:,}; get the file again"
            )
        # one more than it says, so that a longer file shows
        content = read_at_most(file, size + 1)
    if len(sizes) != 4 * dimensions or len(content) != size:
        many = f"more than {size}" if len(content) > size else f"{len(content)}"
        raise TaskError(
            f"{path}: says it has shape {shape} and has {many} entries; get the file again"
        )
    return np.frombuffer(content, dtype=np.uint8).reshape(shape)
