"""The machine's floor: the matrix products of the training, and nothing else."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import torch

from tests.benchmarks.training_speed.cases import Case, Work
from tests.benchmarks.training_speed.ways import PRODUCTS, Timed, Way, steps_to_time

SQUARES = (1024, 2048)
STACKS = (16, 64)

Products = Callable[[], None]


class Shape(NamedTuple):
    """A layer's product for one network: (rows, inputs) times (inputs, outputs)."""

    rows: int
    inputs: int
    outputs: int
    needs_input_gradient: bool

    @property
    def operations(self) -> int:
        """Floating-point operations of a step, forward and backward."""
        products = 3 if self.needs_input_gradient else 2
        return products * 2 * self.rows * self.inputs * self.outputs


def product_shapes(case: Case) -> list[Shape]:
    """Return the products of one network, layer by layer; a convolution is one over its patches."""
    network, batch = case.network(), case.recipe.batch_size
    shapes: list[Shape] = []

    def note(module: torch.nn.Module, _: object, output: torch.Tensor) -> None:
        weight = module.get_parameter("weight")
        rows = output.numel() // len(weight)
        shapes.append(Shape(rows, weight[0].numel(), len(weight), len(shapes) > 0))

    for module in network.modules():
        if isinstance(module, torch.nn.Linear | torch.nn.Conv2d):
            module.register_forward_hook(note)
    network(torch.zeros(batch, *case.task.data.input_shape))
    return shapes


def square_rate() -> float:
    """Return the machine's floating-point operations a second in large square products."""
    best = 0.0
    for side in SQUARES:
        left, right = torch.randn(side, side), torch.randn(side, side)
        torch.mm(left, right)
        begin = time.perf_counter()
        torch.mm(left, right)
        best = max(best, 2 * side**3 / (time.perf_counter() - begin))
    return best


def operations_per_network(case: Case) -> int:
    """Return the floating-point operations of one network's whole training."""
    return case.steps * sum(shape.operations for shape in product_shapes(case))


def batched_products(cores: int) -> list[Way]:
    """Return several ways to take the batched products alone; the fastest is the floor.

    Threads inside each operation over all networks, or one thread for each core with a stack of
    its own: products release the interpreter, so that threads do as well as processes.
    """
    inside = Way(
        PRODUCTS,
        "threads inside",
        lambda work: _timed(work, stack=work.networks, stacks=1, threads=cores),
    )
    return [inside, *(_side_by_side(cores, stack) for stack in STACKS)]


def _side_by_side(cores: int, largest: int) -> Way:
    def prepare(work: Work) -> Timed:
        stacks = min(cores, work.networks)
        return _timed(work, stack=min(largest, work.networks // stacks), stacks=stacks, threads=1)

    return Way(PRODUCTS, f"stacks of {largest}", prepare)


def _timed(work: Work, *, stack: int, stacks: int, threads: int) -> Timed:
    shapes, steps = product_shapes(work.case), steps_to_time(work, stack)
    prepared = [_products(shapes, stack) for _ in range(stacks)]
    if stacks == 1:
        return Timed(
            lambda: _repeat(prepared[0], steps, threads),
            networks=stack,
            steps=steps,
            threads=threads,
        )

    def call() -> None:
        with ThreadPoolExecutor(stacks) as pool:
            for future in [pool.submit(_repeat, each, steps, threads) for each in prepared]:
                future.result()

    return Timed(call, networks=stacks * stack, steps=steps, threads=threads)


def _repeat(products: Products, steps: int, threads: int) -> None:
    # MKL keeps its number of threads for each thread apart
    torch.set_num_threads(threads)
    for _ in range(steps):
        products()


def _products(shapes: list[Shape], networks: int) -> Products:
    """Return what takes the products of a step of so many networks, in memory laid out for it."""
    # each with operands laid out as products like them best: rows first, none transposed
    calls: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = []
    for rows, inputs, outputs, needs_input_gradient in shapes:
        factors = [(rows, inputs, outputs), (outputs, rows, inputs)]
        if needs_input_gradient:
            factors.append((rows, outputs, inputs))
        calls += [
            (
                torch.randn(networks, left, inner),
                torch.randn(networks, inner, right),
                torch.empty(networks, left, right),
            )
            for left, inner, right in factors
        ]

    def products() -> None:
        for left, right, out in calls:
            torch.bmm(left, right, out=out)

    return products
