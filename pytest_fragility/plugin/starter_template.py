"""A first fragility audit: run it with ``pytest --fragility test_fragility.py``.

It trains a few hundred small networks on handwritten digits, which takes some seconds, and keeps
them in ``.fragility_cache``: a second run trains nothing. Put that folder into ``.gitignore``.
"""

import pytest
import torch


def path_norm(network):
    """Replace this by your own measure: one trained network in, one positive number out.

    ``network`` has the trained ``model``, the ``initial_model``, the training ``inputs`` and
    ``labels``, their number ``n``, the ``recipe`` it was trained by, and a generator ``rng``.
    Here: the root of the summed squared weights of all paths, over sqrt(n).
    """
    squared = {name: p.detach().square() for name, p in network.model.named_parameters()}
    ones = torch.ones_like(network.inputs[:1])
    paths = torch.func.functional_call(network.model, squared, (ones,)).sum()
    return (paths / network.n).sqrt()


# checks that the path norm is known to break. Each of them would fail; as an expected failure it
# is reported as such, and fails the run once it is kept. Empty this for your own measure.
KNOWN = {
    "trend-lr-x10": "ten times the learning rate reverses the path norm's slope",
    "trend-adam-x10": "so does Adam at ten times its usual rate",
    "symmetry-split-neurons": "twice the neurons, the same function, half the path norm",
    "symmetry-dead-neurons": "neurons that ReLU cuts off count as others do",
    "symmetry-logit-shift": "a constant added to all logits is no change of a prediction",
}


@pytest.mark.fragility(
    path_norm,
    # little to train; "standard" and "thorough" look at more changes of the training
    profile="quick",
    seeds=10,
    # without this line all checks are made
    checks=["trend", "symmetry"],
    xfail=KNOWN,
)
def test_path_norm(check):
    """One test for each check: the whole audit is this call."""
    check()
