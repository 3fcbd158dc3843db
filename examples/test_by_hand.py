"""The same audit by hand, from its parts: for tests of your own design."""

import pytest

from pytest_fragility import CheckInconclusive
from pytest_fragility.measures import noise, path_norm

pytestmark = pytest.mark.fragility(perturbations=["momentum", "adam-x10"])


def frobenius_norm(network):
    """Return the Euclidean norm of all trained weights, over sqrt(n)."""
    squares = sum(float(p.detach().square().sum()) for p in network.model.parameters())
    return (squares / network.n) ** 0.5


def test_momentum_is_a_small_change(learning_curves, fragility):
    """The same effective learning rate, with momentum: nothing moves."""
    curves = learning_curves(frobenius_norm)
    fragility.assert_trend_kept(curves)
    fragility.assert_trend_kept(curves, "momentum")
    fragility.assert_exponent_kept(curves, "momentum", tolerance=0.05)
    fragility.assert_spread_kept(curves, "momentum")


def test_noise_is_never_kept(learning_curves, fragility):
    """A random number has no certain trend."""
    with pytest.raises(CheckInconclusive, match="no certain sign"):
        fragility.assert_trend_kept(learning_curves(noise))


def test_raw_path_norm_grows_with_n(learning_curves):
    """Without its bound's 1/sqrt(n), the path norm rises while test error falls."""
    curves = learning_curves(path_norm)
    assert curves.measure["baseline"].slope.low > 0
    assert curves.error["baseline"].slope.high < 0


def test_networks_one_by_one(trained_family):
    """A family is iterable, and indexable by task, recipe, n and seed."""
    network = trained_family["digits+label-noise-0.2", "adam-x10", 128, 0]
    assert network.inputs.shape == (128, 64)
    assert network.recipe.optimizer.lr == 0.01
    assert all(network.train_loss < 0.1 for network in trained_family)
