"""Sharpness: how the training loss rises around the trained weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_fragility.measures.stacked import INPUTS, LABELS, RANDOMNESS, TRAINED_WEIGHTS, reference

if TYPE_CHECKING:
    import torch

    from pytest_fragility.networks.stacks import NetworkStack


LOSS = (TRAINED_WEIGHTS, INPUTS, LABELS)


@reference(source="Keskar et al. 2017; Lanczos 1950", reads=(*LOSS, RANDOMNESS))
def hessian_largest_eigenvalue(stack: NetworkStack) -> torch.Tensor:
    """Return the largest eigenvalue of the Hessian of the mean train cross-entropy.

    By Lanczos iteration on Hessian-vector products, to an error of 1e-7 relative to the
    eigenvalue of largest magnitude; a lower one may be taken for it where the start vector has
    hardly any of its direction (on the default family, none was). Raw value, in nats per squared
    weight.

    Reads trained weights, inputs, labels, and randomness as part of the start vector. All
    parameters as they stand, biases and normalization included; any twice differentiable
    architecture in eval mode. In float64; of ReLU perceptrons, the vector along which the
    curvature is taken is found in float32.

    Raises
    ------
    UndefinedMeasureError
        If 200 steps do not converge.
    """
    from pytest_fragility.measures.sharpness.hessian import largest_eigenvalues

    return largest_eigenvalues(stack)


@reference(source="Hutchinson 1990; Schraudolph 2002", reads=(*LOSS, RANDOMNESS))
def hessian_trace(stack: NetworkStack) -> torch.Tensor:
    """Return the trace of the Hessian of the mean train cross-entropy.

    Exact for ReLU perceptrons, whose outputs are linear in each parameter by itself: there the
    Hessian has the diagonal of its Gauss-Newton matrix (Schraudolph 2002), the mean over samples
    of ``sum_c p_c ||grad f_c - sum_d p_d grad f_d||^2``, with p the probabilities and f the
    logits. Estimated for others (Hutchinson 1990): the mean of ``v^T H v`` over 50 vectors v of
    random signs; `hessian_trace_estimate` gives the standard error. Raw value, in nats per squared
    weight.

    Reads trained weights, inputs, labels, and randomness where it estimates. All parameters as
    they stand, biases and normalization included. In float64. May be negative but for ReLU
    perceptrons, and has no logarithm then.
    """
    from pytest_fragility.measures.sharpness.hessian import traces

    return traces(stack)


@reference(source="Foret et al. 2021; Keskar et al. 2017", reads=(*LOSS, RANDOMNESS))
def worst_case_sharpness(stack: NetworkStack) -> torch.Tensor:
    """Return ``max over ||e|| <= 0.05 of L(w + e) - L(w)``, L the mean train cross-entropy.

    Foret et al. 2021 (SAM), with its default radius rho = 0.05. Found by gradient ascent along the
    ball's edge, 5 steps from SAM's one-step solution and from its opposite, and 3 more from the
    higher place: a lower bound that is tight on small networks (tested against a search of the
    whole ball). Raw value, in nats, worked out in float64 at the place that ascents in float32
    find (in float64, where the loss is below 1e-4).

    Reads trained weights, inputs and labels, and randomness for a direction where the gradient is
    zero. All parameters as they stand, biases and normalization included; changes under rescaling
    that leaves the function unchanged.
    """
    import torch

    from pytest_fragility.measures.sharpness.worst_case import RADIUS, largest_rise

    return largest_rise(stack, RADIUS, torch.ones_like)


@reference(source="Kwon et al. 2021", reads=(*LOSS, RANDOMNESS))
def adaptive_sharpness(stack: NetworkStack) -> torch.Tensor:
    """Return ``max over ||T^-1 e|| <= 0.5 of L(w + e) - L(w)`` with ``T = diag |w_i|``.

    Kwon et al. 2021 (ASAM): sharpness that is unchanged by rescaling of weights which leaves the
    function unchanged, with its default radius rho = 0.5; without the 0.01 that training adds to
    |w_i|. Found by gradient ascent as in `worst_case_sharpness`. Raw value, in nats.

    Reads what `worst_case_sharpness` reads. All parameters as they stand, biases and
    normalization included.
    """
    import torch

    from pytest_fragility.measures.sharpness.worst_case import ADAPTIVE_RADIUS, largest_rise

    return largest_rise(stack, ADAPTIVE_RADIUS, torch.abs)


@reference(source="Liang et al. 2019", reads=LOSS)
def fisher_rao_norm(stack: NetworkStack) -> torch.Tensor:
    """Return ``w^T F w``, the squared Fisher-Rao norm, F the empirical Fisher information.

    Liang et al. 2019: ``mean over samples of (w . grad l_i)^2`` with l_i the cross-entropy of the
    sample with its own label. For a network of L linear layers without biases this is
    ``L^2 mean of (dl . f)^2``, dl the gradient with respect to the outputs f (their analytical
    formula). Raw value, squared nats; unchanged by rescaling that leaves the function unchanged.

    Reads trained weights, inputs and labels. All parameters as they stand, biases and
    normalization included. In float64.
    """
    from pytest_fragility.measures.sharpness.loss_surface import LossSurface

    return LossSurface(stack).radial_slopes().square().mean(dim=1)


@reference(source="Euclidean norm", reads=LOSS)
def gradient_norm(stack: NetworkStack) -> torch.Tensor:
    """Return ``||grad L(w)||``, L the mean train cross-entropy.

    Raw value, in nats per weight; zero at a stationary point.

    Reads trained weights, inputs and labels. All parameters as they stand, biases and
    normalization included. In float64.
    """
    from pytest_fragility.measures.sharpness.loss_surface import LossSurface

    _, gradients = LossSurface(stack).own_losses_and_gradients()
    norms: torch.Tensor = gradients.norm(dim=1)
    return norms
