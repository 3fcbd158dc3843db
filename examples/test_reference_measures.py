"""Reference measures, and a measure as its author has it, audited on the same networks."""

import pytest
import torch

from pytest_fragility.measures import (
    negative_log_evidence,
    pac_bayes_origin,
    product_of_spectral_norms,
)


@pytest.mark.fragility(pac_bayes_origin.bound_form, checks="trend")
def test_pac_bayes_with_its_prior_at_the_origin(check):
    """Falls with n under every change that reverses the path norm."""
    check()


@pytest.mark.fragility(
    product_of_spectral_norms.bound_form,
    checks="exponent",
    perturbations=["momentum", "lr-x10", "adam", "rmsprop"],
    xfail={
        "exponent-lr-x10": "ten times the learning rate",
        "exponent-adam": "Adam at its usual rate",
        "exponent-rmsprop": "RMSprop at its usual rate",
    },
)
def test_product_of_spectral_norms(check):
    """Momentum keeps its exponent; larger rates and adaptive optimizers change it."""
    check()


def mean_confidence(model, dataloader):
    """Return the mean probability of the labels; it knows nothing of this package."""
    with torch.no_grad():
        batches = [
            torch.softmax(model(inputs), dim=1).gather(1, labels[:, None])
            for inputs, labels in dataloader
        ]
    return torch.cat(batches).mean()


@pytest.mark.fragility(mean_confidence, checks="spread", perturbations=["momentum", "adam"])
def test_a_function_of_model_and_dataloader(check):
    """Arguments are filled by their names."""
    check()


@pytest.mark.fragility(perturbations=["adam"], sizes=[32, 64, 128])
def test_the_evidence_does_not_look_at_the_network(learning_curves):
    """The same data give the same value under every optimizer."""
    curves = learning_curves(negative_log_evidence)
    assert (curves.measure["baseline"].values == curves.measure["adam"].values).all()
