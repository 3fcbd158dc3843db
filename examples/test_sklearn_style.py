"""Measures in scikit-learn's style, on what networks make of their samples.

Run with ``pytest --fragility examples``. A score such as ``silhouette_score(X, labels)`` and an
estimator with ``fit(X, y)`` and ``score(X, y)`` know nothing of networks. What they are to look at,
and how a score becomes a positive number, is for whoever proposes the measure to say: a function of
three lines.
"""

import pytest
import torch
from sklearn.linear_model import RidgeClassifier
from sklearn.metrics import silhouette_score


def features(network):
    """Return what the last layer reads, shape (n, features)."""
    with torch.no_grad():
        return network.model[:-1](network.inputs).cpu().numpy()


def one_minus_silhouette(network):
    """Return one minus the mean silhouette of the classes: 0 where they lie far apart."""
    return 1 - silhouette_score(features(network), network.labels.cpu().numpy())


def probe_error(network):
    """Return the mistakes of a linear probe, fitted to the features, on the same samples."""
    x, y = features(network), network.labels.cpu().numpy()
    mistakes = (1 - RidgeClassifier().fit(x, y).score(x, y)) * network.n
    return (mistakes + 0.5) / (network.n + 1)


@pytest.mark.fragility(
    one_minus_silhouette,
    checks=["trend", "complexity", "symmetry"],
    perturbations=["lr-x10"],
    xfail={
        "trend-baseline": "classes lie nearer to each other the more samples, test error falls",
        "complexity-exponent": "random labels hardly change how it depends on n",
        "complexity-level": "its level moves by a fifth of what test error's does",
        "symmetry-neuron-rescaling": "distances are those of features, which have any scale",
        "symmetry-silent-neurons": "it sees features that the last layer does not read",
    },
)
def test_silhouette_of_the_features(check):
    """A score of samples and labels, on features: two symmetries show that it sees too much."""
    check()


@pytest.mark.fragility(
    probe_error,
    checks=["trend", "complexity"],
    perturbations=["lr-x10"],
    xfail={"trend-baseline": "it rises with n, while test error falls"},
)
def test_linear_probe_of_the_features(check):
    """An estimator with fit and score: it tells clean labels from random ones, and not n."""
    check()
