"""The claims of a paper's abstract, one test each, on real data and with intervals.

Zhang & Louis, "Many generalization measures for deep learning are fragile" (arXiv 2510.18934).
Run with ``pytest --fragility examples``. What is asked stands in ``paper_claims.py``: a claim holds
only where the intervals that it rests on decide it, at a level that all changes tried share. What
does not hold here is an expected failure; the README has the same claims in more settings.

Claims 1 to 4 are asked of the default audit's networks, digits with 20 % random training labels;
the paper has its own networks and data. Some of claims 5 and 6 need Fashion-MNIST (Debian's package
``dataset-fashion-mnist``, or torchvision's folders) and ``pip install 'pytest-fragility[data]'``.
"""

from importlib.util import find_spec

import pytest
from paper_claims import (
    CHANGES,
    FRAGILE,
    HOLDS,
    LEARNING_RATES,
    MOVING,
    ORIGIN,
    VARIANTS,
    follows_the_data,
    is_fragile,
    misses_the_data,
    moves_less,
    slope_reverses,
)

from pytest_fragility import MLP, SGD, Recipe, cross_entropy_below
from pytest_fragility.measures import marginal_likelihood_bound, path_norm
from pytest_fragility.tasks import is_installed

HAS_FASHION = is_installed("fashion-mnist") and find_spec("mlxtend") is not None
SURROGATE = "PAC-Bayes initialization"

over_training = pytest.mark.fragility(perturbations=CHANGES, checks="trend", seeds=10)
over_random_labels = pytest.mark.fragility(
    perturbations=[], checks="complexity", sizes=[32, 64, 128, 256, 512]
)
# the networks of test_data_complexity.py
FASHION = {
    "task": "mnist-5k",
    "ladder": "mnist-to-fashion",
    "recipe": Recipe(
        architecture=MLP(hidden=(128, 128)),
        optimizer=SGD(lr=0.1),
        stopping=cross_entropy_below(0.01),
    ),
    "perturbations": [],
    "checks": "complexity",
}
needs_fashion = pytest.mark.skipif(
    not HAS_FASHION, reason="needs Fashion-MNIST and the package mlxtend"
)


@pytest.fixture(scope="module")
def known():
    """Return curves that a test before has asked for, by measure."""
    return {}


@pytest.fixture
def curves(learning_curves, known):
    """Return a measure's curves; noise is searched once for each network."""

    def of(measure):
        if measure not in known:
            known[measure] = learning_curves(measure)
        return known[measure]

    return of


def assert_holds(found):
    """Assert that a claim holds, and show its figures where it does not."""
    assert found.status == HOLDS, str(found)


@over_training
def test_a_learning_rate_reverses_the_path_norm(curves):
    """1. At three or ten times the rate the slope's sign is the other one; test error barely moves.

    Of the path norm in its bound's form, sqrt(value / n): as a raw value it rises from the start.
    """
    assert_holds(slope_reverses(LEARNING_RATES)(curves(path_norm.bound_form)))


@over_training
def test_a_variant_of_sgd_reverses_the_path_norm(curves):
    """2. So it is with Adam or RMSprop at their usual rates; momentum alone keeps the slope."""
    assert_holds(slope_reverses(VARIANTS)(curves(path_norm.bound_form)))


@over_training
@pytest.mark.parametrize("name", [name for name in FRAGILE if name != SURROGATE])
def test_a_change_takes_sign_or_exponent(name, curves):
    """3. Of spectral and Frobenius norms and of a flatness proxy, all in their bound's form.

    One of six changes, whichever, takes the sign or moves the exponent by more than 0.1.
    """
    assert_holds(is_fragile(curves(FRAGILE[name])))


@over_training
@pytest.mark.xfail(
    # so near to zero that other seeds or another processor may decide it
    strict=False,
    reason="under adam-x10 its slope is 0.02 below zero, for which ten seeds are too few",
)
def test_a_change_takes_sign_or_exponent_of_a_surrogate(curves):
    """3. Of a deterministic PAC-Bayes surrogate, with its prior at the initialization."""
    assert_holds(is_fragile(curves(FRAGILE[SURROGATE])))


@over_training
@pytest.mark.parametrize("name", [name for name in MOVING if name != SURROGATE])
def test_pac_bayes_origin_moves_less(name, curves):
    """4. Under some change another exponent moves farther than this one does under any."""
    assert_holds(moves_less(curves(ORIGIN), curves(MOVING[name])))


@over_training
@pytest.mark.xfail(reason="here the two exponents move alike")
def test_pac_bayes_origin_moves_less_than_with_another_prior(curves):
    """4. Against PAC-Bayes with its prior at the initialization."""
    assert_holds(moves_less(curves(ORIGIN), curves(MOVING[SURROGATE])))


@needs_fashion
@pytest.mark.fragility(**FASHION, sizes=[64, 128, 256, 512, 1024, 2048])
@pytest.mark.parametrize("quantity", ["exponents", "levels"])
def test_pac_bayes_origin_misses_what_makes_fashion_harder(quantity, learning_curves):
    """5. From MNIST to Fashion-MNIST: test error's exponent and level change, its own hardly do."""
    assert_holds(misses_the_data(quantity)(learning_curves(ORIGIN)))


@over_random_labels
@pytest.mark.xfail(reason="random labels are one complexity that it sees")
def test_pac_bayes_origin_misses_random_labels(learning_curves):
    """5. The claim is of other data: over random labels the exponent follows test error's."""
    assert_holds(misses_the_data("exponents")(learning_curves(ORIGIN)))


@over_random_labels
def test_the_marginal_likelihood_bound_scales_with_random_labels(learning_curves):
    """6. Its exponents follow test error's as labels turn random."""
    assert_holds(follows_the_data("exponents")(learning_curves(marginal_likelihood_bound)))


@needs_fashion
@pytest.mark.fragility(**FASHION, sizes=[64, 128, 256, 512, 1024])
@pytest.mark.xfail(reason="its exponent is the same on both; its split of the classes is another")
def test_the_marginal_likelihood_bound_scales_from_mnist_to_fashion(learning_curves):
    """6. From MNIST to Fashion-MNIST.

    The bound is one on the error of a binary task, the lower half of the classes against the rest.
    """
    assert_holds(follows_the_data("exponents")(learning_curves(marginal_likelihood_bound)))
