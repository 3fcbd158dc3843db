"""Checkpoints in several files, whose index says which tensor is in which."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from pytest_fragility._util.files import read_plain
from pytest_fragility._util.text import shown
from pytest_fragility.weight_files.formats import UnusableFileError
from pytest_fragility.weight_files.leaves import Leaf

WEIGHT_MAP = "weight_map"


def read_shards(path: Path, read: Callable[[Path], list[Leaf]]) -> list[Leaf]:
    """Return the tensors that an index names, from the files beside it, each of which `read` reads.

    The index is JSON, with ``weight_map`` from the names of tensors to those of files. An
    UnusableFileError says that it is none, names a file of another folder or one that is not there,
    or a tensor that is not in its file.
    """
    where = _weight_map(path)
    shards: dict[str, dict[str, Leaf]] = {}
    for name in dict.fromkeys(where.values()):
        shard = _beside(path, name)
        if not shard.is_file():
            raise UnusableFileError(f"names the file {shown(name, 80)}, which is not beside it")
        shards[name] = {".".join(leaf.path): leaf for leaf in read(shard)}
    tensors = []
    for name, file in where.items():
        leaf = shards[file].get(name)
        if leaf is None:
            raise UnusableFileError(
                f"names the tensor {shown(name, 80)}, which {shown(file, 80)} does not hold"
            )
        tensors.append(Leaf((name,), 0, leaf.value))
    return tensors


def _weight_map(path: Path) -> dict[str, str]:
    try:
        found = json.loads(read_plain(path))
    except (ValueError, RecursionError):
        found = None
    where = found.get(WEIGHT_MAP) if isinstance(found, dict) else None
    if (
        not isinstance(where, dict)
        or not where
        or not all(isinstance(name, str) for name in where.values())
    ):
        raise UnusableFileError(
            f"is text, and no index of a checkpoint in several files, which has {WEIGHT_MAP!r}: "
            "names of tensors, and of the files beside it that hold them"
        )
    return where


def _beside(path: Path, name: str) -> Path:
    """Return the path of a file in the index's folder, or below it."""
    parts = name.split("/")
    if any(part in ("", ".", "..") for part in parts) or any(mark in name for mark in "\\:\0"):
        raise UnusableFileError(
            f"names the file {shown(name, 80)}; expected one in the index's own folder"
        )
    return path.parent.joinpath(*parts)
