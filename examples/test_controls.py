"""Three measures whose verdict is known beforehand: what an audit says of each.

Run with ``pytest --fragility examples``. Every test asks for the same networks, so that they are
trained once; a second run trains nothing.
"""

import pytest

from pytest_fragility.measures import noise, oracle_test_error, parameter_count, path_norm


@pytest.mark.fragility(oracle_test_error)
def test_the_perfect_measure(check):
    """Test error itself: every check is kept."""
    check()


@pytest.mark.fragility(
    path_norm.bound_form,
    checks="trend",
    xfail={
        "trend-lr-x3": "three times the learning rate reverses the path norm's slope",
        "trend-lr-x10": "ten times the learning rate reverses it further",
        "trend-adam": "so does Adam at its usual rate",
        "trend-adam-x10": "and at ten times that",
        "trend-rmsprop": "and RMSprop",
        "trend-stop-accuracy": "and stopping at 100 % train accuracy",
    },
)
def test_path_norm(check):
    """The path norm in its bound's form: its trend reverses while test error barely moves."""
    check()


@pytest.mark.fragility(
    noise,
    xfail={
        f"{kind}-*": "a random number shows nothing"
        for kind in ("trend", "exponent", "spread", "stopping", "complexity")
    },
)
def test_noise(check):
    """A random number: nothing is shown of it, but that it does not notice a network's weights."""
    check()


@pytest.mark.fragility(
    parameter_count.bound_form,
    xfail={
        "complexity-*": "it does not look at the data either",
        "symmetry-split-neurons": "twice the neurons, the same function",
        "symmetry-dead-neurons": "as many neurons more, the same function",
        "symmetry-silent-neurons": "as many neurons more, the same function",
    },
)
def test_parameter_count(check):
    """A measure that ignores the network withstands every change of its training.

    What catches this one is data of different complexity: its exponent is 1/2 whatever it learns.
    """
    check()
