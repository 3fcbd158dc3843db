"""What torch is set to while networks are trained, and that it is put back."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch.utils import deterministic

from pytest_fragility.training.devices import CUBLAS_WORKSPACE, PRECISIONS, trainer_settings

BACKENDS: Any = torch.backends
HAS_PARTS = hasattr(BACKENDS.cuda.matmul, "fp32_precision")
FLAGS = (
    "torch.get_float32_matmul_precision()",
    "torch.backends.cudnn.allow_tf32",
    "torch.backends.cuda.matmul.allow_tf32",
)


def parts() -> list[Any]:
    """Return every place where torch keeps a precision."""
    if not HAS_PARTS:
        return []
    return [getattr(getattr(BACKENDS, backend), operation) for backend, operation in PRECISIONS]


def shown() -> list[object]:
    """Return what torch says of precision, in all its ways; some raise where others were used."""
    found: list[object] = [part.fp32_precision for part in parts()]
    for flag in FLAGS:
        try:
            found.append(eval(flag))
        except RuntimeError:
            found.append("raises")
    return found


def generally(precision: str) -> None:
    """Set the precision of everything, in torch's newer way."""
    BACKENDS.fp32_precision = precision


def of_products(precision: str) -> None:
    """Set the precision of one backend's products, in torch's newer way."""
    BACKENDS.cuda.matmul.fp32_precision = precision


newer = pytest.mark.skipif(not HAS_PARTS, reason="torch keeps precisions in one place each")


@pytest.fixture(autouse=True)
def _put_back() -> Iterator[None]:
    """Leave torch as this file found it."""
    before = [part.fp32_precision for part in parts()]
    yield
    torch.set_float32_matmul_precision("highest")
    BACKENDS.cudnn.allow_tf32 = True
    if HAS_PARTS:
        generally("none")
    for part, precision in zip(parts(), before, strict=True):
        part.fp32_precision = precision


@pytest.mark.parametrize(
    "lower",
    [
        lambda: None,
        lambda: torch.set_float32_matmul_precision("medium"),
        lambda: setattr(BACKENDS.cudnn, "allow_tf32", False),
        pytest.param(lambda: generally("tf32"), marks=newer),
        pytest.param(lambda: of_products("tf32"), marks=newer),
    ],
    ids=["default", "medium", "cudnn", "general", "products"],
)
def test_products_are_in_full_precision(lower: Callable[[], None]) -> None:
    """However the caller has lowered it; every flag is as before, also where they disagree."""
    lower()
    before = shown()
    with trainer_settings(torch.device("cpu")):
        if HAS_PARTS:
            assert {part.fp32_precision for part in parts()} == {"ieee"}
        else:
            assert torch.get_float32_matmul_precision() == "highest"
    assert shown() == before


@pytest.mark.parametrize("workspace", [None, ":16:8"])
def test_cuda_is_deterministic_meanwhile(
    workspace: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its flags need no device, nor torch's compiler; what the caller had set is put back."""
    # imports the compiler, which takes seconds
    monkeypatch.delattr(torch, "use_deterministic_algorithms")
    monkeypatch.delenv(CUBLAS_WORKSPACE, raising=False)
    if workspace:
        monkeypatch.setenv(CUBLAS_WORKSPACE, workspace)

    def flags() -> tuple[object, ...]:
        cudnn = BACKENDS.cudnn
        return (
            cudnn.deterministic,
            cudnn.benchmark,
            torch.are_deterministic_algorithms_enabled(),
            torch.is_deterministic_algorithms_warn_only_enabled(),
            deterministic.fill_uninitialized_memory,
            os.environ.get(CUBLAS_WORKSPACE),
        )

    before = flags()
    with trainer_settings(torch.device("cuda")):
        assert flags() == (True, False, True, True, False, workspace or ":4096:8")
    assert flags() == before


def test_threads_are_given_back() -> None:
    """One per operation meanwhile; the caller's number is what the trainer may use in all."""
    threads = torch.get_num_threads()
    with trainer_settings(torch.device("cpu")) as cores:
        assert torch.get_num_threads() == 1
        assert cores == threads
    assert torch.get_num_threads() == threads
