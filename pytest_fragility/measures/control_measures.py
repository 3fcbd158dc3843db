"""Controls: measures whose verdict is known beforehand, to audit the audit."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from pytest_fragility.measures.adapters import as_measure
from pytest_fragility.measures.measure import Measure, control, measure_name, oracle
from pytest_fragility.measures.norms.path_norms import path_norm
from pytest_fragility.measures.stacked import (
    INPUTS,
    LABELS,
    TRAINED_WEIGHTS,
    StackMeasure,
    reference,
)

if TYPE_CHECKING:
    from pytest_fragility.networks.stacks import NetworkStack
    from pytest_fragility.networks.trained_network import OracleNetwork, TrainedNetwork


@reference(source="Jiang et al. 2020, eq. 20", reads=("architecture",), is_control=True)
def parameter_count(stack: NetworkStack) -> list[float]:
    """Return the number of trained parameters, biases and normalization included.

    A control (Jiang et al. 2020, eq. 20). The same number under every recipe with the same
    architecture: every `exponent` and `spread` check is kept, and its trend is not that of test
    error. In the bound's form, sqrt(value / n), its slope is -1/2 for every network and data set.

    Reads the architecture alone.
    """
    count = sum(weight[0].numel() for weight in stack.weights.values())
    return [float(count)] * len(stack)


@reference(source="training record", reads=(TRAINED_WEIGHTS, INPUTS, LABELS), is_control=True)
def train_loss(stack: NetworkStack) -> tuple[float, ...]:
    """Return the mean cross-entropy over the training samples at the end, in nats.

    A control: where training stops at a train loss, it says where it stopped, and nothing else.

    Reads the training's record; it depends on trained weights, inputs and labels.
    """
    return stack.train_losses


@control
@oracle
def oracle_test_error(network: OracleNetwork) -> float:
    """Return the test error, (mistakes + 1/2) / (test size + 1): the perfect measure.

    A control and an oracle: it sees test data, as no measure may. Every check must be kept.

    Parameters
    ----------
    network
        With its mistakes on the test set.
    """
    return network.test_record.test_error


@control
def noise(network: TrainedNetwork) -> float:
    """Return a random number, uniform in (0, 1], that has nothing to do with the network.

    A control: no check of it may ever be kept for a reason, its intervals are too wide.

    Parameters
    ----------
    network
        Gives the random numbers.
    """
    import torch

    return 1.0 - float(torch.rand((), generator=network.rng, device=network.rng.device))


def at_initialization(measure: Measure) -> Measure:
    """Return a measure of the initial, random weights in the place of the trained ones.

    A control: what it says is known before training, so that it cannot track how training went.

    Parameters
    ----------
    measure
        Any measure.
    """
    if isinstance(measure, StackMeasure):
        return measure.at_initialization()
    name = f"{measure_name(measure)}_at_initialization"
    of_network = as_measure(measure)

    @functools.wraps(of_network)
    def of_initial(network: TrainedNetwork) -> Any:
        return of_network(network.with_models(network.initial_model, network.initial_model))

    of_initial.__name__ = of_initial.__qualname__ = name
    return control(of_initial)


path_norm_at_initialization = at_initialization(path_norm)
