"""Several stacks in flight on one CUDA device: a stream for each, one recording at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

# stacks that share a device: while one is looked at, another's steps are taken
IN_FLIGHT = 3
# torch asks for some before a recording
WARM_UP_STEPS = 3
Replay = Callable[[], None]
# while a stream is recorded, nobody may wait for the whole device
_recording = threading.Lock()


@contextmanager
def own_stream(device: torch.device) -> Iterator[None]:
    """Have this thread's work on a CUDA device wait for no other thread's."""
    if device.type != "cuda":
        yield
        return
    # streams are the current device's, which need not be the one asked for
    with torch.cuda.device(device):
        stream: Any = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        with torch.cuda.stream(stream):
            yield
        stream.synchronize()


def cuda_recording(function: Replay, device: torch.device) -> Replay:
    """Return what plays a function's CUDA kernels again, without its Python (a CUDA graph)."""
    with _recording, _recordable_stream(device):
        for _ in range(WARM_UP_STEPS):
            function()
        torch.cuda.current_stream().synchronize()
        graph = torch.cuda.CUDAGraph()
        # others may go on; torch.cuda.graph would wait for them, and collect garbage
        graph.capture_begin(capture_error_mode="thread_local")
        try:
            function()
        finally:
            graph.capture_end()
    return graph.replay


@contextmanager
def _recordable_stream(device: torch.device) -> Iterator[None]:
    """Stay on this thread's stream, which is no other's; the default one cannot be recorded."""
    with torch.cuda.device(device):
        current = torch.cuda.current_stream()
        if current != torch.cuda.default_stream():
            yield
            return
        current.synchronize()
        with own_stream(device):
            yield


def sent(values: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Return values of the CPU on a device, which fetches them when it gets there.

    Nobody waits for a CUDA device to have done what it was asked before.
    """
    if device.type != "cuda":
        return values.to(device)
    return values.pin_memory().to(device, non_blocking=True)


def give_memory_back(device: torch.device) -> None:
    """Return to a CUDA device what torch holds and nobody uses."""
    if device.type == "cuda":
        with _recording:
            torch.cuda.empty_cache()
