"""What an executor's worker does with what it is sent."""

from __future__ import annotations

import pickle
import platform
import threading
from collections.abc import Iterator
from functools import cache
from hashlib import sha256
from importlib import metadata, resources
from typing import Any

from pytest_fragility.errors import SettingsError
from pytest_fragility.parallel.failures import Failure
from pytest_fragility.parallel.pool import Work

# torch's settings are those of a process, whose threads would set them for each other
_ONE_AT_A_TIME = threading.Lock()


def perform(expected: dict[str, str], work: Work, arguments: tuple[Any, ...]) -> bytes:
    """Return a list of what some work yields, or how it failed, as bytes; called in a worker."""
    reply: list[Any] | Failure
    try:
        _require_software(expected)
        with _ONE_AT_A_TIME:
            reply = list(work(*arguments))
    except SettingsError as error:
        reply = Failure(error, "").with_cause_as_text()
    except KeyboardInterrupt:
        raise
    # sys.exit() of somebody's code is no end of the worker
    except BaseException as error:
        reply = Failure.of(error)
    return pickle.dumps(reply, protocol=pickle.HIGHEST_PROTOCOL)


def load_sent(packed: bytes) -> Any:
    """Return what was sent to this worker.

    Raises
    ------
    SettingsError
        If it rests on a module that is not installed here.
    """
    try:
        return pickle.loads(packed)
    except ImportError as error:
        raise SettingsError(
            f"a worker of the executor ({platform.node()}) cannot read what it is sent: {error}; "
            "install that there too"
        ) from None


@cache
def software() -> dict[str, str]:
    """Return what has to be the same in all processes, for results to be the same."""
    import torch

    digest = sha256()
    for name, content in sorted(_sources(resources.files("pytest_fragility"))):
        # with its length, so that no two folders of files read alike
        digest.update(f"{name} {len(content)}\n".encode() + content)
    return {
        "python": ".".join(platform.python_version_tuple()[:2]),
        "torch": torch.__version__,
        "pytest-fragility": f"{_version()} (code {digest.hexdigest()[:12]})",
    }


def _version() -> str:
    try:
        return metadata.version("pytest-fragility")
    except metadata.PackageNotFoundError:
        return "not installed"


def _sources(folder: Any) -> Iterator[tuple[str, bytes]]:
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _sources(entry)
        elif entry.name.endswith(".py"):
            yield f"{folder.name}/{entry.name}", entry.read_bytes().replace(b"\r\n", b"\n")


def _require_software(expected: dict[str, str]) -> None:
    found = software()
    different = [name for name in expected if found.get(name) != expected[name]]
    if different:
        pairs = [f"{name} {found.get(name)} instead of {expected[name]}" for name in different]
        raise SettingsError(
            f"a worker of the executor ({platform.node()}) has {', '.join(pairs)}; results would "
            "not be those of this environment: install the same in both"
        )
