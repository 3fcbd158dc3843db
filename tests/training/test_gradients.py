"""Gradients come to where they are sent, however that lies in memory."""

from __future__ import annotations

import torch

from pytest_fragility.training.gradients import Sink, aligned_stack, inputs_first

NETWORKS, SAMPLES = 5, 7
# the first lies in one piece, the others with gaps between the networks
SHAPES = [(8, 4), (10, 7), (3, 5), (1, 9), (9, 1)]


def random(*shape: int, seed: int) -> torch.Tensor:
    """Return normals in float64."""
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_products_are_added_however_parameters_lie() -> None:
    """Products of each network's matrices, to a share of what is there."""
    for keep in [0.0, 0.9, 1.0]:
        for has_inputs_first in [False, True]:
            for shape in SHAPES:
                before = random(NETWORKS, *shape, seed=0)
                stacked = aligned_stack(list(before), torch.device("cpu"))
                if has_inputs_first:
                    stacked = inputs_first(stacked)
                outputs, inputs = shape
                upstream = random(NETWORKS, SAMPLES, outputs, seed=1)
                samples = random(NETWORKS, SAMPLES, inputs, seed=2)

                Sink(0, NETWORKS, [stacked], keep).add_product(0, upstream.mT, samples)

                expected = keep * before + torch.einsum("kso,ksi->koi", upstream, samples)
                torch.testing.assert_close(stacked, expected, rtol=1e-12, atol=1e-12)


def test_a_sink_takes_what_is_its_networks() -> None:
    """Of the whole stack's matrices, its own."""
    for shape in SHAPES:
        outputs, inputs = shape
        stacked = aligned_stack([torch.zeros(shape, dtype=torch.float64)] * 2, torch.device("cpu"))
        upstream = random(NETWORKS, SAMPLES, outputs, seed=1)
        samples = random(NETWORKS, SAMPLES, inputs, seed=2)

        Sink(2, 4, [stacked], keep=0).add_product(0, upstream.mT, samples)

        expected = torch.einsum("kso,ksi->koi", upstream, samples)[2:4]
        torch.testing.assert_close(stacked, expected, rtol=1e-12, atol=1e-12)
