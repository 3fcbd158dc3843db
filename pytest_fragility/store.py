"""Trained runs on disk: one safetensors file each, named by what decided its contents."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from pytest_fragility.entry_validation import read_record, require_readable, require_states
from pytest_fragility.errors import StoreError
from pytest_fragility.networks import NetworkState
from pytest_fragility.quoting import printable
from pytest_fragility.runs import Run, TrainedRun, TrainingRecord

WEIGHTS, INITIAL = "weights/", "initial/"
BUFFERS, INITIAL_BUFFERS = "buffers/", "initial buffers/"
MISTAKEN = "mistaken test samples, eight to a byte"
LOCK = "training.lock"

CACHEDIR_TAG = """Signature: 8a477f597d28d172789f06886806bc55
# Trained networks, kept by pytest-fragility so that they are not trained again.
# Everything here can be deleted; see https://bford.info/cachedir/ about this file.
"""


MARKS = {"CACHEDIR.TAG": CACHEDIR_TAG, ".gitignore": "*\n"}


class DamagedEntryWarning(UserWarning):
    """A stored run could not be read; it was set aside and is trained again."""


class Store:
    """A folder of trained runs.

    Entries are written to a temporary file and then renamed, so that a reader finds a whole entry
    or none. Nothing is ever unpickled.

    Parameters
    ----------
    folder
        Made when it is not there.

    Raises
    ------
    StoreError
        If the folder cannot be made or written to.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._runs = folder / "runs"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            _require_own_folder(folder)
            for name, text in MARKS.items():
                if not (folder / name).exists():
                    (folder / name).write_text(text, encoding="utf-8")
            self._runs.mkdir(exist_ok=True)
        except StoreError:
            raise
        except OSError as error:
            raise StoreError(
                f"cannot keep trained runs in {folder}: {error.strerror}; "
                "choose another folder with --fragility-cache-dir"
            ) from error

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Let one process at a time train: the others wait, then find the runs stored."""
        lock = FileLock(self.folder / LOCK)
        try:
            lock.acquire()
        except OSError as error:
            raise StoreError(f"cannot lock {self.folder / LOCK}: {error}; delete it") from error
        try:
            yield
        finally:
            lock.release()

    def load(self, run: Run, key: str) -> TrainedRun | None:
        """Return the stored run, or None where there is none that can be read."""
        path = self._path(key)
        try:
            require_readable(path, run)
            with safe_open(path, framework="pt", device="cpu") as entry:
                record = read_record(entry.metadata(), run)
                tensors = {name: entry.get_tensor(name) for name in entry.keys()}  # noqa: SIM118
            state = NetworkState(_strip(tensors, WEIGHTS), _strip(tensors, BUFFERS))
            initial = NetworkState(_strip(tensors, INITIAL), _strip(tensors, INITIAL_BUFFERS))
            require_states(state, initial, run, record.diverged)
            mistaken = _unpack(tensors[MISTAKEN], record)
        except FileNotFoundError:
            return None
        except (SafetensorError, KeyError, ValueError) as error:
            self._set_aside(path, error)
            return None
        except OSError as error:
            raise StoreError(f"cannot read the trained run {path}: {error}") from error
        return TrainedRun(run, state, initial, record, mistaken)

    def save(self, trained: TrainedRun, key: str) -> None:
        """Keep a trained run under its key.

        Raises
        ------
        StoreError
            If it cannot be written.
        """
        path = self._path(key)
        tensors = {
            prefix + name: tensor
            for prefix, part in (
                (WEIGHTS, trained.state.weights),
                (INITIAL, trained.initial_state.weights),
                (BUFFERS, trained.state.buffers),
                (INITIAL_BUFFERS, trained.initial_state.buffers),
            )
            for name, tensor in part.items()
        }
        tensors[MISTAKEN] = torch.from_numpy(np.packbits(trained.mistaken.numpy()))
        metadata = {
            "record": json.dumps(trained.record.to_dict()),
            "run": json.dumps({"task": trained.run.task.name, **trained.run.identity}),
        }
        try:
            path.parent.mkdir(exist_ok=True)
            if path.parent.is_symlink():
                raise OSError(f"{path.parent} is a symbolic link; delete it")
            temporary = path.with_suffix(f".{os.getpid()}.tmp")
            try:
                save_file(tensors, temporary, metadata=metadata)
                temporary.replace(path)
            except BaseException:
                temporary.unlink(missing_ok=True)
                raise
        except (OSError, SafetensorError) as error:
            raise StoreError(f"cannot write the trained run {path}: {error}") from error

    def _path(self, key: str) -> Path:
        return self._runs / key[:2] / f"{key[2:]}.safetensors"

    def _set_aside(self, path: Path, error: Exception) -> None:
        aside = path.with_suffix(".damaged")
        # another process may have met the same entry first
        try:
            with suppress(FileNotFoundError):
                path.replace(aside)
        except OSError as failure:
            raise StoreError(
                f"cannot set the damaged run {path} aside as {aside}: {failure}; delete both"
            ) from failure
        reason = printable(str(error))
        warnings.warn(
            f"stored run {path.name} is damaged ({reason}); set aside as {aside}, training it "
            "again",
            DamagedEntryWarning,
            stacklevel=3,
        )


def _require_own_folder(folder: Path) -> None:
    """Refuse a folder that holds something else: everything in a cache may be deleted."""
    for name in (*MARKS, "runs", LOCK):
        if (folder / name).is_symlink():
            raise StoreError(
                f"cannot keep trained runs in {folder}: {name} is a symbolic link, through which "
                "files elsewhere would be written; delete it"
            )
    if (folder / "CACHEDIR.TAG").exists():
        return
    foreign = sorted({entry.name for entry in folder.iterdir()} - {*MARKS, "runs", LOCK})
    if foreign:
        raise StoreError(
            f"cannot keep trained runs in {folder}: it holds other files ({foreign[0]}); "
            "name a folder of its own with --fragility-cache-dir"
        )


def _unpack(packed: torch.Tensor, record: TrainingRecord) -> torch.Tensor:
    """Return which test samples were mistaken.

    Raises
    ------
    ValueError
        If that contradicts the record.
    """
    if packed.dtype != torch.uint8 or packed.shape != (-(-record.test_size // 8),):
        raise ValueError(f"its mistakes are not those on {record.test_size} test samples")
    bits = np.unpackbits(packed.numpy())
    mistaken = bits[: record.test_size].astype(np.bool_)
    if bits.sum() != record.test_mistakes or mistaken.sum() != record.test_mistakes:
        raise ValueError(f"its mistakes are not the {record.test_mistakes} of its record")
    return torch.from_numpy(mistaken)


def _strip(tensors: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in tensors.items()
        if name.startswith(prefix)
    }
