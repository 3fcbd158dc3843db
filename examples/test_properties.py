"""Properties of a measure, tested with Hypothesis: a tutorial.

An audit tries the changes that you name. A property says what must hold under *any* change, and
Hypothesis looks for one where it does not; it then shrinks what it has found, here towards the
baseline, so that the failure names the smallest change that breaks the measure.

Run with ``pytest --fragility examples``. The strategies of ``pytest_fragility.strategies`` draw
training changes, recipes, tasks, symmetries, trained networks and learning curves. Networks that a
test can draw are trained before its first example, in one go, and kept like all others.
"""

import math

import pytest
from hypothesis import example, given

from pytest_fragility import CheckBroken
from pytest_fragility.measures import fisher_rao_norm, parameter_norm, path_norm
from pytest_fragility.strategies import (
    get_perturbation,
    learning_curves,
    perturbations,
    symmetries,
    trained_networks,
)
from pytest_fragility.symmetries import symmetry_factors

SMALL = {"sizes": [32, 64], "seeds": 6, "perturbations": ["adam", "lr-x3"]}


# 1. Exact properties hold for one network, or they do not: no statistics are needed. Rescaling the
# neurons of a ReLU network leaves its function as it is, and with it every path's product.


@pytest.mark.fragility
@given(network=trained_networks(**SMALL))
def test_the_path_norm_withstands_rescaling(network):
    """Whatever the recipe, size and seed."""
    factors = symmetry_factors(path_norm, network)
    for name in ("layer-rescaling", "neuron-rescaling", "permutation", "silent-neurons"):
        assert math.isclose(factors[name], 1, rel_tol=1e-9)


@pytest.mark.fragility
@pytest.mark.xfail(strict=True, raises=AssertionError, reason="a dead neuron's bias is a path too")
@given(network=trained_networks(**SMALL), symmetry=symmetries())
def test_the_path_norm_withstands_every_symmetry(network, symmetry):
    """It does not: the failure names a symmetry that moves it, on the smallest network."""
    for factor in symmetry_factors(path_norm, network, [symmetry]).values():
        assert math.isclose(factor, 1, rel_tol=1e-9)


@pytest.mark.fragility
@given(network=trained_networks(**SMALL))
def test_the_fisher_rao_norm_withstands_what_the_path_norm_does_not(network):
    """It depends on the network's function alone."""
    for factor in symmetry_factors(fisher_rao_norm, network).values():
        assert math.isclose(factor, 1, rel_tol=1e-6)


# 2. Learning curves are statistics. ``assert_withstands`` judges them as an audit does, and knows
# that whoever looks at many changes finds one that breaks a measure by luck: what is found must
# show again on fresh seeds, at a level that is shared out over all that are tried. The marker gives
# the settings. A test that passes says that nothing was found, and certifies nothing.


@pytest.mark.fragility(sizes=[32, 64, 128, 256, 512])
@given(change=perturbations(axes=["optimizer"]))
@example(change=get_perturbation("adam-x10"))
def test_the_parameter_norm_keeps_its_sign(fragility, change):
    """It falls with n under every optimizer; an example of one's own is always tried."""
    fragility.assert_withstands(parameter_norm.bound_form, change, checks=["trend"])


@pytest.mark.fragility(sizes=[32, 64, 128, 256, 512])
@pytest.mark.xfail(strict=True, raises=CheckBroken, reason="Adam at ten times its usual rate")
@given(change=perturbations(axes=["optimizer"]))
def test_the_path_norm_withstands_any_optimizer(fragility, change):
    """It does not: ``adam-x10`` breaks it, and ``adam-x3``, the next smaller step, does not."""
    fragility.assert_withstands(path_norm.bound_form, change)


# 3. Curves can be drawn as well, for properties of your own design.


@pytest.mark.fragility
@given(curves=learning_curves(parameter_norm, **SMALL))
def test_the_parameter_norm_grows_with_n(curves):
    """More samples take larger weights to fit, whatever the recipe."""
    assert all(curve.slope.mean > 0 for curve in curves.measure.values())
