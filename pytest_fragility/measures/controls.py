"""Controls: measures whose verdict is known beforehand, to audit the audit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_fragility.measures.measure import oracle

if TYPE_CHECKING:
    from pytest_fragility.trained_networks import OracleNetwork, TrainedNetwork


def parameter_count(network: TrainedNetwork) -> float:
    """Return the number of trained parameters, biases included (Jiang et al. 2020, eq. 20).

    The same number under every recipe with the same architecture: every `exponent` and `spread`
    check is kept, and its trend is not that of test error.
    """
    return float(sum(parameter.numel() for parameter in network.model.parameters()))


@oracle
def oracle_test_error(network: OracleNetwork) -> float:
    """Return the test error, (mistakes + 1/2) / (test size + 1): the perfect measure.

    An oracle: it sees test data, as no measure may. Every check must be kept.
    """
    return network.test_record.test_error


def noise(network: TrainedNetwork) -> float:
    """Return a random number, uniform in (0, 1], that has nothing to do with the network.

    No check of it may ever be kept for a reason: its intervals are too wide.
    """
    import torch

    return 1.0 - float(torch.rand((), generator=network.rng, device=network.rng.device))
