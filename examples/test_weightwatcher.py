"""Measures that others wrote, as their library computes them: WeightWatcher's means over layers.

Run with ``pytest --fragility examples``, and ``pip install 'pytest-fragility[examples]'`` before.
WeightWatcher (Martin, Peng & Mahoney 2021) fits a power law to the eigenvalues of each layer's
weights; the smaller ``alpha`` and the norms are, the better is a network said to generalize.

It analyzes the networks of the default family with its own defaults: layers of 64, 64 and 10
eigenvalues, of which a fit keeps the largest 5 to 39. Seeds scatter accordingly.
"""

import io
from contextlib import redirect_stdout
from importlib.util import find_spec

import pytest

from pytest_fragility.measures import unclaimed

pytestmark = [
    pytest.mark.skipif(
        find_spec("weightwatcher") is None,
        reason="needs weightwatcher: pip install 'pytest-fragility[examples]'",
    ),
    # it calls what pandas will drop
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]

CHANGES = ["lr-x10", "momentum", "adam", "rmsprop"]
# it raises on normalization layers that have no parameters
NORMALIZATION = "normalization-scale"


def summary(model):
    """Return WeightWatcher's means over layers; importing it takes seconds, and it prints."""
    with redirect_stdout(io.StringIO()):
        from weightwatcher import WeightWatcher

        watcher = WeightWatcher(model=model)
        return watcher.get_summary(watcher.analyze())


@unclaimed(NORMALIZATION)
def alpha(model):
    """Return the mean exponent of the layers' eigenvalues."""
    return summary(model)["alpha"]


@unclaimed(NORMALIZATION)
def alpha_norm(model):
    """Return the layers' alpha-norm, their geometric mean; the library has its logarithm."""
    return 10 ** summary(model)["log_alpha_norm"]


@unclaimed(NORMALIZATION)
def spectral_norm(model):
    """Return the layers' largest eigenvalue, their geometric mean; again not its logarithm."""
    return 10 ** summary(model)["log_spectral_norm"]


@unclaimed(NORMALIZATION)
def stable_rank(model):
    """Return the layers' mean stable rank."""
    return summary(model)["stable_rank"]


@pytest.mark.fragility(
    alpha,
    checks=["trend", "complexity", "symmetry"],
    perturbations=CHANGES,
    xfail={
        "trend-lr-x10": "flat there, as far as six seeds show",
        "complexity-exponent": "it scatters too much over seeds to follow anything",
        "complexity-level": "its level is the same for clean and for random labels",
        "symmetry-neuron-rescaling": "the eigenvalues change, the function does not",
        "symmetry-dead-neurons": "more eigenvalues, the same function",
        "symmetry-silent-neurons": "more eigenvalues, the same function",
    },
)
def test_alpha(check):
    """It falls with n, as test error does, and does not tell easy data from hard data."""
    check()


@pytest.mark.fragility(
    alpha_norm,
    checks="trend",
    perturbations=["adam"],
    xfail={"trend-*": "raises eigenvalues to a power that is fitted to few of them"},
)
def test_alpha_norm(check):
    """Nothing can be said of it with six seeds of networks as small as these."""
    check()


@pytest.mark.fragility(
    spectral_norm,
    checks=["trend", "exponent"],
    perturbations=CHANGES,
    xfail={
        "trend-baseline": "it rises with n, while test error falls",
        "exponent-lr-x10": "ten times the learning rate",
        "exponent-adam": "Adam at its usual rate",
        "exponent-rmsprop": "RMSprop at its usual rate",
    },
)
def test_spectral_norm(check):
    """As the product of spectral norms: large for networks that have learned more."""
    check()


@pytest.mark.fragility(
    stable_rank,
    checks=["trend", "complexity"],
    perturbations=["lr-x10", "rmsprop"],
    xfail={
        "complexity-exponent": "it falls no faster where test error does",
        "complexity-level": "it hardly moves with label noise, and the wrong way",
    },
)
def test_stable_rank(check):
    """It falls with n at larger rates, and with RMSprop; and is blind to the data."""
    check()
