"""Where training runs, and torch's settings while it does."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from pytest_fragility.errors import SettingsError


def choose_device(name: str) -> torch.device:
    """Return the device to train and measure on.

    Parameters
    ----------
    name
        ``"auto"`` (CUDA if there is one, else the CPU), ``"cpu"``, ``"cuda"`` or ``"cuda:1"``.

    Raises
    ------
    SettingsError
        If the name is none of these, or the device is not there.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
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
    return device


@contextmanager
def trainer_settings() -> Iterator[int]:
    """Set full float32 precision and one thread per operation, and restore what was set before.

    Small networks gain nothing from threads inside an operation: the trainer gives each process a
    stack of its own instead. Yields the number of threads that the caller allows.
    """
    threads, precision = torch.get_num_threads(), torch.get_float32_matmul_precision()
    torch.set_num_threads(1)
    torch.set_float32_matmul_precision("highest")
    try:
        yield threads
    finally:
        torch.set_float32_matmul_precision(precision)
        torch.set_num_threads(threads)
