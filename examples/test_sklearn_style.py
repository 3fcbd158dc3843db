"""Measures in scikit-learn's style, on what networks make of their samples.

Run with ``pytest --fragility examples``. A score such as ``silhouette_score(X, labels)`` and an
estimator with ``fit(X, y)`` and ``score(X, y)`` know nothing of networks. What they are to look at,
and how a score becomes a positive number, is for whoever proposes the measure to say: a function of
three lines.
"""

import pytest
import torch
from sklearn.metrics import silhouette_score
from sklearn.neighbors import NearestCentroid


def features(network):
    """Return what the last layer reads, shape (n, features)."""
    with torch.no_grad():
        return network.model[:-1](network.inputs).cpu().numpy()


def one_minus_silhouette(network):
    """Return one minus the mean silhouette of the classes: 0 where they lie far apart."""
    return 1 - silhouette_score(features(network), network.labels.cpu().numpy())


def centroid_error(network):
    """Return how often the nearest class centroid is another's, on the samples it was fitted to."""
    x, y = features(network), network.labels.cpu().numpy()
    mistakes = (1 - NearestCentroid().fit(x, y).score(x, y)) * network.n
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
    centroid_error,
    checks=["trend", "symmetry"],
    perturbations=["lr-x10"],
    xfail={
        "trend-baseline": "it rises with n, while test error falls",
        "symmetry-neuron-rescaling": "distances are those of features, which have any scale",
        "symmetry-silent-neurons": "it sees features that the last layer does not read",
    },
)
def test_nearest_centroid_of_the_features(check):
    """An estimator with fit and score: its mistakes on training samples grow with random labels."""
    check()
