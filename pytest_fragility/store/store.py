"""A folder of trained runs: one file each, named by what decided its contents."""

from __future__ import annotations

import errno
import os
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock

from pytest_fragility.errors import FragilityWarning, StoreError, printable
from pytest_fragility.networks.runs import Run, TrainedRun
from pytest_fragility.parallel.cores import own_share
from pytest_fragility.store.entries import decode, encode
from pytest_fragility.store.entry_validation import Expected, require_plain_file

# of what stands in an entry: another version's entries stand in a folder of their own
FORMAT = 2
RUNS = f"runs-{FORMAT}"
DAMAGED, UNFINISHED = "damaged", "unfinished"
# the first is that of the first format
OWN_FOLDERS = ("runs", RUNS, DAMAGED, UNFINISHED)
LOCK = "training.lock"
SUFFIX = ".safetensors"

CACHEDIR_TAG = """Signature: 8a477f597d28d172789f06886806bc55
# Trained networks, kept by pytest-fragility so that they are not trained again.
# Everything here can be deleted; see https://bford.info/cachedir/ about this file.
"""
MARKS = {"CACHEDIR.TAG": CACHEDIR_TAG, ".gitignore": "*\n"}

IS_FULL = {errno.ENOSPC, errno.EDQUOT}
IS_READ_ONLY = {errno.EROFS, errno.EACCES, errno.EPERM}
HAS_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}
# seconds: nothing takes as long to be written
CERTAINLY_LEFT = 3600.0
# seconds: how exactly it is known when a run was last used
USE_RESOLUTION = 86400.0


class DamagedEntryWarning(FragilityWarning):
    """A stored run cannot be read; it is trained again."""


class NotStoredWarning(FragilityWarning):
    """Trained runs are not kept, since they cannot be written."""


class UnlockedStoreWarning(FragilityWarning):
    """The file system has no locks: processes may train the same runs at the same time."""


# folders of which a warning has been given
_told: set[tuple[type[Warning], Path]] = set()


class Store:
    """A folder of trained runs.

    Entries are written to a temporary file and then renamed, so that a reader finds a whole entry
    or none, and hold a checksum. Nothing is ever unpickled. Where a run cannot be written (a full
    disk, a folder that may only be read), that is said once, and the audit goes on.

    Parameters
    ----------
    folder
        Made when it is not there.

    Raises
    ------
    StoreError
        If the folder cannot be made, or holds something else.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._runs = folder / RUNS
        self._is_kept = True
        try:
            folder.mkdir(parents=True, exist_ok=True)
            _require_own_folder(folder)
            for name, text in MARKS.items():
                if not (folder / name).exists():
                    (folder / name).write_text(text, encoding="utf-8")
            for name in (RUNS, UNFINISHED):
                (folder / name).mkdir(exist_ok=True)
        except StoreError:
            raise
        except OSError as error:
            if error.errno in IS_FULL or (error.errno in IS_READ_ONLY and self._runs.is_dir()):
                self._stop_keeping(error)
                return
            raise StoreError(
                f"cannot keep trained runs in {folder}: {error.strerror}; "
                "choose another folder with --fragility-cache-dir"
            ) from error

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Let one process at a time train: the others wait, then find the runs stored.

        Raises
        ------
        StoreError
            If the lock's file is none.

        Warns
        -----
        NotStoredWarning
            Where the folder may only be read.
        UnlockedStoreWarning
            Where the file system has no locks.
        """
        lock = FileLock(self.folder / LOCK)
        try:
            lock.acquire()
        except (OSError, NotImplementedError) as error:
            self._go_on_unlocked(error)
            yield
            return
        try:
            # what processes that were killed have left half written
            for path in left_unfinished(self.folder):
                path.unlink(missing_ok=True)
            yield
        finally:
            lock.release()

    def load(self, run: Run, key: str) -> TrainedRun | None:
        """Return the stored run, or None where there is none that can be read.

        Raises
        ------
        SettingsError
            If the run's network cannot be built: what is stored of it is not judged, and stays.
        StoreError
            If the disk or the system fails.

        Warns
        -----
        DamagedEntryWarning
            If it is damaged, and set aside; or if it may not be read, and is left where it is.
        """
        path = self.path(key)
        expected = Expected.of(run)
        self._heal_shelf(path.parent)
        try:
            require_plain_file(path, expected.most_bytes)
            trained = decode(path.read_bytes(), run, expected)
        except FileNotFoundError:
            return None
        except PermissionError as error:
            _warn_of_damage(path, f"cannot be read ({error.strerror}); it is left where it is")
            return None
        except OSError as error:
            raise StoreError(f"cannot read the trained run {path}: {error}") from error
        except ValueError as error:
            _warn_of_damage(path, f"is damaged ({printable(str(error))}); {self.set_aside(path)}")
            return None
        _note_use(path)
        return trained

    def save(self, trained: TrainedRun, key: str) -> None:
        """Keep a trained run under its key.

        Raises
        ------
        StoreError
            If it would be written elsewhere, by a link.

        Warns
        -----
        NotStoredWarning
            If it cannot be written; none is, from then on.
        """
        if not self._is_kept:
            return
        path = self.path(key)
        temporary = self.folder / UNFINISHED / f"{key}.{os.getpid()}"
        try:
            self._heal_shelf(path.parent)
            path.parent.mkdir(exist_ok=True)
            _require_no_link(path.parent)
            try:
                temporary.write_bytes(encode(trained))
                temporary.replace(path)
            except BaseException:
                temporary.unlink(missing_ok=True)
                raise
        except StoreError:
            raise
        except OSError as error:
            self._stop_keeping(error)

    def path(self, key: str) -> Path:
        """Return where the run with this key is kept."""
        return self._runs / key[:2] / f"{key[2:]}{SUFFIX}"

    def _heal_shelf(self, shelf: Path) -> None:
        """Set aside what stands where a folder of entries should be, and is none."""
        # a link to a folder is nobody's accident: it is refused where something would be written
        if os.path.lexists(shelf) and not shelf.is_dir():
            _warn_of_damage(shelf, f"should be a folder, and is none; {self.set_aside(shelf)}")

    def set_aside(self, path: Path) -> str:
        """Move what is damaged to where it is not read again; return what was done."""
        aside = self.folder / DAMAGED / f"{path.parent.name}{path.name}"
        try:
            aside.parent.mkdir(exist_ok=True)
            path.replace(aside)
        except FileNotFoundError:
            return "another process has set it aside"
        except OSError as error:
            return f"it could not be set aside ({error.strerror})"
        return f"set aside as {aside}"

    def _stop_keeping(self, error: OSError) -> None:
        self._is_kept = False
        self._tell(
            NotStoredWarning,
            f"trained runs are not kept in {self.folder}: {error.strerror}. What is not there yet "
            "is trained, and trained again next time; make room, or choose another folder with "
            "--fragility-cache-dir",
        )

    def _go_on_unlocked(self, error: Exception) -> None:
        if isinstance(error, OSError) and error.errno in IS_FULL | IS_READ_ONLY:
            self._stop_keeping(error)
            return
        if isinstance(error, OSError) and error.errno not in HAS_NO_LOCKS:
            raise StoreError(f"cannot lock {self.folder / LOCK}: {error}; delete it") from error
        self._tell(
            UnlockedStoreWarning,
            f"the file system of {self.folder} has no locks ({error}): processes that run at the "
            "same time may each train the same runs, which are stored whole all the same. Use a "
            "local folder with --fragility-cache-dir, or one process",
        )

    def _tell(self, kind: type[Warning], text: str) -> None:
        if (kind, self.folder) not in _told:
            _told.add((kind, self.folder))
            warnings.warn(text, kind, stacklevel=4)


def open_store(folder: Path | None) -> Store | None:
    """Return the store in a folder; without one, that of the processes which share the machine.

    None where there is neither.
    """
    chosen = folder or own_share().folder
    return Store(chosen) if chosen else None


def left_unfinished(folder: Path) -> list[Path]:
    """Return files that nobody is writing any more."""
    old = time.time() - CERTAINLY_LEFT
    found = []
    for path in (folder / UNFINISHED).glob("*"):
        # another process may have renamed it meanwhile
        with suppress(FileNotFoundError):
            if path.stat().st_mtime < old:
                found.append(path)
    return found


def _warn_of_damage(path: Path, what: str) -> None:
    warnings.warn(
        f"stored run {path.name} {what}, training it again", DamagedEntryWarning, stacklevel=3
    )


def _note_use(path: Path) -> None:
    """Set an entry's time to now, by which pruning knows what is still used."""
    # where it may only be read, it is not pruned from here either
    with suppress(OSError):
        if time.time() - path.stat().st_mtime > USE_RESOLUTION:
            os.utime(path)


def _require_own_folder(folder: Path) -> None:
    """Refuse a folder that holds something else: everything in a cache may be deleted."""
    for name in (*MARKS, *OWN_FOLDERS, LOCK):
        _require_no_link(folder / name)
    if (folder / "CACHEDIR.TAG").exists():
        return
    foreign = sorted({entry.name for entry in folder.iterdir()} - {*MARKS, *OWN_FOLDERS, LOCK})
    if foreign:
        raise StoreError(
            f"cannot keep trained runs in {folder}: it holds other files ({foreign[0]}); "
            "name a folder of its own with --fragility-cache-dir"
        )


def _require_no_link(path: Path) -> None:
    if path.is_symlink():
        raise StoreError(
            f"cannot keep trained runs: {path} is a symbolic link, through which files elsewhere "
            "would be written; delete it"
        )
