"""Where training runs, and torch's settings while it does."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

import torch

from pytest_fragility.errors import SettingsError
from pytest_fragility.parallel.cores import own_share

CUBLAS_WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"


def choose_device(name: str) -> torch.device:
    """Return the device to train and measure on.

    Parameters
    ----------
    name
        ``"auto"`` (CUDA if there is one, else the CPU), ``"cpu"``, ``"cuda"`` or ``"cuda:1"``.
        Processes that share the machine deal its CUDA devices out, where none is named.

    Raises
    ------
    SettingsError
        If the name is none of these, or the device is not there.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        device = torch.device("meta")
    if device.type not in ("cpu", "cuda"):
        raise SettingsError(f"device {name!r}: expected auto, cpu, cuda or cuda:<number>")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise SettingsError(
            f"device {name!r}: this machine has {torch.cuda.device_count()} CUDA devices; "
            "use --fragility-device=cpu, or auto"
        )
    return device if device.type == "cpu" else own_device(device, torch.cuda.device_count())


def own_device(device: torch.device, count: int) -> torch.device:
    """Return the CUDA device that this process takes.

    Parameters
    ----------
    device
        What was asked for; one with a number is taken.
    count
        How many devices there are.
    """
    share = own_share()
    if device.index is not None or count == 1 or share.processes == 1:
        return device
    return torch.device("cuda", share.device_index(count))


@contextmanager
def trainer_settings(device: torch.device) -> Iterator[int]:
    """Set full float32 precision, deterministic operations and one thread for each of them.

    What was set before is restored. Small networks gain nothing from threads inside an operation:
    the trainer gives each process a stack of its own instead. Yields the number of threads that
    the caller allows.
    """
    threads = torch.get_num_threads()
    with _full_precision(), _deterministic(device):
        torch.set_num_threads(1)
        try:
            yield threads
        finally:
            torch.set_num_threads(threads)


class WhileUsed:
    """A change of the whole process: made by the first thread that uses it, undone by the last.

    Parameters
    ----------
    change
        Returns a context manager that makes the change.
    """

    def __init__(self, change: Callable[[], AbstractContextManager[object]]) -> None:
        self._change = change
        self._lock = threading.Lock()
        self._users = 0
        self._made = ExitStack()

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """Have the change be there meanwhile."""
        with self._lock:
            self._users += 1
            if self._users == 1:
                self._made.enter_context(self._change())
        try:
            yield
        finally:
            with self._lock:
                self._users -= 1
                if self._users == 0:
                    self._made.close()


@contextmanager
def having(owner: Any, **values: object) -> Iterator[None]:
    """Give an object's attributes other values, and put them back."""
    before = {name: getattr(owner, name) for name in values}
    try:
        for name, value in values.items():
            setattr(owner, name, value)
        yield
    finally:
        for name, value in before.items():
            setattr(owner, name, value)


# where torch keeps the precision of float32 products, from 2.9 on
PRECISIONS = (
    ("cuda", "matmul"),
    ("cudnn", "conv"),
    ("cudnn", "rnn"),
    ("mkldnn", "matmul"),
    ("mkldnn", "conv"),
    ("mkldnn", "rnn"),
)


@contextmanager
def _full_precision() -> Iterator[None]:
    """Compute float32 products in float32; TF32 and bfloat16 would be faster and not the same."""
    if not hasattr(torch.backends.cuda.matmul, "fp32_precision"):
        precision = torch.get_float32_matmul_precision()
        with having(torch.backends.cudnn, allow_tf32=False):
            torch.set_float32_matmul_precision("highest")
            try:
                yield
            finally:
                torch.set_float32_matmul_precision(precision)
        return
    with ExitStack() as stack:
        for backend, operation in PRECISIONS:
            part = getattr(getattr(torch.backends, backend), operation)
            stack.enter_context(having(part, fp32_precision="ieee"))
        yield


@contextmanager
def _deterministic(device: torch.device) -> Iterator[None]:
    """Have CUDA give the same results run after run; on the CPU one thread does.

    An operation that has no deterministic form warns.
    """
    if device.type != "cuda":
        yield
        return
    # use_deterministic_algorithms would import torch's compiler, which takes seconds
    mode = torch.get_deterministic_debug_mode()
    workspace = os.environ.get(CUBLAS_WORKSPACE)
    with (
        having(torch.backends.cudnn, deterministic=True, benchmark=False),
        # memory that is written before it is read need not be filled
        having(torch.utils.deterministic, fill_uninitialized_memory=False),
    ):
        torch.set_deterministic_debug_mode("warn")
        # without it, cuBLAS may choose another way of adding up each time
        os.environ.setdefault(CUBLAS_WORKSPACE, ":4096:8")
        try:
            yield
        finally:
            if workspace is None:
                del os.environ[CUBLAS_WORKSPACE]
            torch.set_deterministic_debug_mode(mode)
