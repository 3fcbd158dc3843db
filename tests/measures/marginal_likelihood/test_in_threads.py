"""Parts of a stack that are measured at the same time: the same values, and nothing left behind."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from threadpoolctl import threadpool_info
from torch import fx, nn

from pytest_fragility.errors import UndefinedMeasureError
from pytest_fragility.measures import (
    hessian_largest_eigenvalue,
    hessian_trace,
    negative_log_evidence,
    pac_bayes_flatness,
    pac_bayes_flatness_as_published,
    worst_case_sharpness,
)
from pytest_fragility.measures.common.outputs import perceptron_of, relu_chain_of
from pytest_fragility.measures.marginal_likelihood.in_threads import (
    _UNWANTED,
    FEWEST_SAMPLES,
    leave_if_unwanted,
    side_by_side,
)
from pytest_fragility.measures.stacked import StackMeasure
from pytest_fragility.networks.stacks import NetworkStack
from tests.in_turn import in_turn
from tests.interrupting import interrupt
from tests.sample_networks import perceptron, randomize, sample_network

NETWORKS = 5


def stack_of(
    n: int = FEWEST_SAMPLES, *, model: nn.Module | None = None, count: int = NETWORKS
) -> NetworkStack:
    """Return a stack of networks with random weights that fit their labels."""
    generator = torch.Generator().manual_seed(0)
    networks = []
    for seed in range(count):
        network = randomize(model or perceptron([4, 6, 3]), seed)
        inputs = torch.randn(n, 4, generator=generator)
        with torch.no_grad():
            labels = network(inputs).argmax(dim=1)
        networks.append(sample_network(network, inputs, labels, seed=seed))
        model = None if model is None else type(model)()
    return NetworkStack.of_networks(networks)


def describe(part: NetworkStack) -> list[tuple[int, float, float, float]]:
    """Return of each network its seed, its samples and weights summed, and a random number."""
    sums = zip(part.inputs.sum(dim=(1, 2)), next(iter(part.weights.values())), strict=True)
    draws = [float(torch.rand(1, generator=part.generator(i, "x"))) for i in range(len(part))]
    return [
        (seed, float(inputs), float(weights.sum()), draw)
        for seed, (inputs, weights), draw in zip(part.seeds, sums, draws, strict=True)
    ]


@pytest.fixture
def three_cores() -> Iterator[None]:
    """Let torch use three threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(threads)


@pytest.mark.usefixtures("three_cores")
def test_parts_are_measured_in_threads_of_their_own() -> None:
    """One network each, in order, and each knows its network, samples and randomness."""
    stack = stack_of()
    seen: list[tuple[int, int, bool]] = []
    here = threading.get_ident()

    def compute(part: NetworkStack) -> list[tuple[int, float, float, float]]:
        seen.append((len(part), torch.get_num_threads(), threading.get_ident() == here))
        return describe(part)

    values = side_by_side(stack, compute)
    assert seen == [(1, 1, False)] * NETWORKS
    assert values == describe(stack)
    assert len(set(values)) == NETWORKS


@pytest.mark.usefixtures("three_cores")
def test_threads_are_as_they_were_afterwards() -> None:
    """Torch's, and those of NumPy and SciPy, also where the work fails."""
    before = threadpool_info()

    def fail(part: NetworkStack) -> list[float]:
        raise ValueError("not today")

    side_by_side(stack_of(), lambda part: list(part.seeds))
    with pytest.raises(ValueError, match="not today"):
        side_by_side(stack_of(), fail)
    assert torch.get_num_threads() == 3
    assert threadpool_info() == before


@pytest.mark.usefixtures("three_cores")
@in_turn("n", [FEWEST_SAMPLES - 1, FEWEST_SAMPLES])
def test_small_work_is_not_divided(n: int) -> None:
    """With few samples one call does; operations have one thread all the same."""
    calls = []

    def compute(part: NetworkStack) -> list[int]:
        calls.append(torch.get_num_threads())
        return list(part.seeds)

    assert side_by_side(stack_of(n), compute) == list(range(NETWORKS))
    assert calls == [1] * (NETWORKS if n == FEWEST_SAMPLES else 1)


@pytest.mark.usefixtures("three_cores")
def test_work_of_numpy_takes_the_cores_wherever_networks_are() -> None:
    """It is done on the CPU whatever the device."""
    stack = stack_of()
    # what the networks are is found out where their samples are
    assert relu_chain_of(stack) and perceptron_of(stack)
    away = replace(stack, weights={name: each.to("meta") for name, each in stack.weights.items()})
    calls = []

    def compute(part: NetworkStack) -> list[int]:
        calls.append(len(part))
        return list(part.seeds)

    assert side_by_side(away, compute) == list(range(NETWORKS))
    assert calls == [1] * NETWORKS


@pytest.mark.skipif(sys.platform == "win32", reason="signals to a thread")
@pytest.mark.usefixtures("three_cores", "interruptible")
def test_an_interruption_leaves_the_rest_undone() -> None:
    """What has not begun never does, and what has ends at the next moment where it may."""
    begun, ended = [], []
    here, all_three = threading.get_ident(), threading.Barrier(3)

    def compute(part: NetworkStack) -> list[int]:
        begun.append(part.seeds)
        is_unwanted = _UNWANTED.get()
        assert is_unwanted
        if all_three.wait(60) == 0:
            interrupt(here, is_unwanted)
        assert is_unwanted.wait(60)
        leave_if_unwanted()
        ended.append(part.seeds)
        return list(part.seeds)

    leave_if_unwanted()
    with pytest.raises(KeyboardInterrupt):
        side_by_side(stack_of(), compute)
    assert len(begun) == 3 < NETWORKS
    assert ended == []


class Smooth(nn.Module):
    """A network that is no ReLU perceptron."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(4, 5), nn.Linear(5, 3)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return the logits."""
        return self.last(torch.tanh(self.first(inputs)))  # type: ignore[no-any-return]


class Own(nn.Module):
    """A ReLU perceptron whose forward pass is its own."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(4, 5), nn.Linear(5, 3)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return the logits."""
        return self.last(self.first(inputs).relu())  # type: ignore[no-any-return]


@pytest.mark.usefixtures("three_cores")
@in_turn("kind", [Smooth, Own])
def test_other_networks_keep_torchs_threads(kind: type[nn.Module]) -> None:
    """A module is not called by two threads at the same time."""
    calls = []

    def compute(part: NetworkStack) -> list[int]:
        calls.append((len(part), torch.get_num_threads()))
        return list(part.seeds)

    side_by_side(stack_of(model=kind()), compute)
    assert calls == [(NETWORKS, 3)]


@pytest.mark.usefixtures("three_cores")
@in_turn("odd", range(NETWORKS))
def test_refusals_name_the_place_in_the_whole_stack(odd: int) -> None:
    """Whichever part it is in; of several, the first counts."""

    def compute(part: NetworkStack) -> list[float]:
        for place, seed in enumerate(part.seeds):
            if seed >= odd:
                raise UndefinedMeasureError(f"no value for {seed}", place)
        return [0.0] * len(part)

    with pytest.raises(UndefinedMeasureError, match=f"no value for {odd}") as refused:
        side_by_side(stack_of(), compute)
    assert refused.value.place == odd


every_measure = in_turn(
    "measure",
    [
        hessian_largest_eigenvalue,
        hessian_trace,
        negative_log_evidence,
        pac_bayes_flatness,
        pac_bayes_flatness_as_published,
        worst_case_sharpness,
    ],
)


@every_measure
@pytest.mark.usefixtures("three_cores")
def test_nothing_is_traced_in_a_thread(
    measure: StackMeasure, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor is a module called: both change it for all threads."""
    here = threading.get_ident()
    called: list[str] = []

    def watched(name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        def watch(*args: Any, **kwargs: Any) -> Any:
            if threading.get_ident() != here:
                called.append(name)
            return method(*args, **kwargs)

        return watch

    monkeypatch.setattr(fx.Tracer, "trace", watched("trace", fx.Tracer.trace))
    monkeypatch.setattr(nn.Module, "__call__", watched("call", nn.Module.__call__))
    measure.over_stack(stack_of())
    assert not called


@every_measure
def test_measures_do_not_depend_on_the_number_of_cores(measure: StackMeasure) -> None:
    """One or three: the same values, but for rounding."""
    threads = torch.get_num_threads()
    found = []
    try:
        for cores in (1, 3):
            torch.set_num_threads(cores)
            found.append(measure.over_stack(stack_of()).tolist())
    finally:
        torch.set_num_threads(threads)
    assert found[0] == pytest.approx(found[1], rel=1e-9)
    assert len(set(found[0])) == NETWORKS
