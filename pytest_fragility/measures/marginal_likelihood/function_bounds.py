"""The function-based PAC-Bayes bound: how likely a random network fits the training labels.

Valle-Perez and Louis 2020, "Generalization bounds for deep learning". The prior over functions is
that of the network's architecture at random initialization (`kernels`);
its probability of the training labels is a Gaussian process's evidence
(`evidence`). Nothing here looks at trained weights: the same data give
the same value under every optimizer.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable
from functools import cache, partial
from typing import TYPE_CHECKING, Any

from pytest_fragility.errors import UndefinedMeasureError
from pytest_fragility.measures.measure import BOUND
from pytest_fragility.measures.stacked import ARCHITECTURE, INPUTS, LABELS, RANDOMNESS, reference

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from pytest_fragility.measures.marginal_likelihood.kernels import Kernel
    from pytest_fragility.networks.stacks import NetworkStack
    from pytest_fragility.networks.trained_network import TrainedNetwork
    from pytest_fragility.recipes import Recipe

    Floats = npt.NDArray[np.float64]
    Labels = npt.NDArray[np.int64]
    Labelling = Callable[[Labels, int], Floats]


DATA = (ARCHITECTURE, INPUTS, LABELS, RANDOMNESS)
SOURCE = "Valle-Perez and Louis 2020"
# both failure probabilities of the bounds, as in published code
DELTA = 2.0**-10
WEIGHT_VARIANCES = {"he-normal": 2.0, "he-uniform": 2.0, "lecun-normal": 1.0}


def bound_of_theorem(negative_log_evidence: float, n: int) -> float:
    """Return the bound on the error by the theorem of Valle-Perez and Louis 2020.

    ``-ln(1 - error) <= (ln 1/P + ln n + ln 1/delta + ln 1/gamma) / (n - 1)`` with probability at
    least 1 - delta over training sets and 1 - gamma over functions drawn from the posterior;
    delta = gamma = 2^-10. `n` is at least 2.
    """
    exponent = (negative_log_evidence + math.log(n) - 2 * math.log(DELTA)) / (n - 1)
    return -math.expm1(-exponent)


def bound_as_published(negative_log_evidence: float, n: int) -> float:
    """Return the bound on the error as published code computes it.

    ``error <= 1 - exp(-(ln 1/P + 2 ln n + 1 - ln delta) / n)`` with delta = 2^-10 (after McAllester
    1999, theorem 1), on the expected error of functions drawn from the posterior.
    """
    exponent = (negative_log_evidence + 2 * math.log(n) + 1 - math.log(DELTA)) / n
    return -math.expm1(-exponent)


def _bounded(bound: Callable[[float, int], float], link: str) -> Callable[[NetworkStack], Any]:
    def compute(stack: NetworkStack) -> Any:
        import numpy as np

        if stack.n < 2:
            raise UndefinedMeasureError(f"the bound divides by n - 1, and n is {stack.n}")
        values = _negative_log_evidences(stack, _halves, link)
        return np.array([bound(value, stack.n) for value in values])

    return compute


@reference(
    source=SOURCE,
    reads=DATA,
    bound=_bounded(bound_of_theorem, "heaviside"),
)
def negative_log_evidence(stack: NetworkStack) -> Any:
    """Return -ln P, with P the chance that a random network fits the training labels.

    P is the probability that the sign of a zero-mean Gaussian process with the architecture's
    kernel agrees with every label (noiseless, Heaviside link), by expectation propagation. Two
    classes as they are; K classes by the split of published code: the lower half (labels below
    K / 2) against the rest, so that it speaks of that binary task. Valle-Perez and Louis 2020. Raw
    value, in nats, at least zero; the bound's form is `marginal_likelihood_bound`.

    Reads inputs, labels and architecture, and randomness where the kernel needs Monte Carlo; no
    weights. Kernel: weights N(0, 2 s^2 / fan_in) with s the recipe's initialization scale, biases
    zero. ReLU perceptrons in closed form at infinite width, anything else by Monte Carlo over
    random initializations (`prior_kernel` gives rank and error).

    Raises
    ------
    UndefinedMeasureError
        Where two samples coincide with opposite labels (P is zero); where an input is all zeros;
        where the architecture's prior is not known; where expectation propagation does not
        converge.
    """
    return _negative_log_evidences(stack, _halves, "heaviside")


@reference(source=SOURCE, reads=DATA, bound=_bounded(bound_of_theorem, "probit"))
def negative_log_evidence_probit(stack: NetworkStack) -> Any:
    """Return `negative_log_evidence` with the probit link, which allows for mistakes.

    ``-ln E[prod_i Phi(y_i f(x_i))]``: labels that the function's sign misses are unlikely instead
    of impossible, more so the larger the prior's scale. Raw value, in nats.

    Reads inputs, labels and architecture; no weights. Split and kernel as in
    `negative_log_evidence`.

    Raises
    ------
    UndefinedMeasureError
        As `negative_log_evidence`, but for coinciding samples, which are allowed.
    """
    return _negative_log_evidences(stack, _halves, "probit")


@reference(source=SOURCE, reads=DATA, form=BOUND)
def marginal_likelihood_bound(stack: NetworkStack) -> Any:
    """Return the marginal-likelihood PAC-Bayes bound on the error.

    ``1 - exp(-(ln 1/P + ln n + ln 1/delta + ln 1/gamma) / (n - 1))`` with delta = gamma = 2^-10
    (Valle-Perez and Louis 2020), P as in `negative_log_evidence`. A bound on the error, in (0, 1),
    of functions drawn from the posterior: it speaks of the prior's architecture and the data, and
    of the trained network only as far as training samples that posterior.

    Reads inputs, labels and architecture; no weights. Split and kernel as in
    `negative_log_evidence`.

    Raises
    ------
    UndefinedMeasureError
        As `negative_log_evidence`; below two samples.
    """
    return _bounded(bound_of_theorem, "heaviside")(stack)


@reference(source=f"{SOURCE}; their published code", reads=DATA, form=BOUND)
def marginal_likelihood_bound_as_published(stack: NetworkStack) -> Any:
    """Return the marginal-likelihood PAC-Bayes bound as published code computes it.

    ``1 - exp(-(ln 1/P + 2 ln n + 1 - ln delta) / n)`` with delta = 2^-10 (after McAllester 1999,
    theorem 1); P as in `negative_log_evidence`. A bound on the error, in (0, 1).

    Reads inputs, labels and architecture; no weights. Split and kernel as in
    `negative_log_evidence`; published kernels have biases of variance 0.01, this one has the
    initialization's own, zero.

    Raises
    ------
    UndefinedMeasureError
        As `negative_log_evidence`.
    """
    return _bounded(bound_as_published, "heaviside")(stack)


@reference(source="one-vs-rest sum; no proper evidence", reads=DATA)
def sum_of_one_vs_rest_negative_log_evidences(stack: NetworkStack) -> Any:
    """Return the sum over classes of -ln P(class against the rest).

    Not the evidence of the multi-class labels, nor a bound on it: the K binary problems are not
    independent, and the sum counts each sample K times. It is a number that follows data
    complexity where the binary split of `negative_log_evidence` would hide it. Classes without a
    sample count as all-negative problems. Heaviside link. Raw value, in nats.

    Reads inputs, labels and architecture; no weights. Kernel as in `negative_log_evidence`.

    Raises
    ------
    UndefinedMeasureError
        As `negative_log_evidence`.
    """
    return _negative_log_evidences(stack, _one_vs_rest, "heaviside")


def prior_kernel(network: TrainedNetwork) -> Kernel:
    """Return the covariance of a network's outputs over random initializations.

    Parameters
    ----------
    network
        Gives architecture, initialization scale and training samples.

    Returns
    -------
    Kernel
        Shape (n, n), with its method, rank and Monte Carlo error.

    Raises
    ------
    UndefinedMeasureError
        Where the architecture's prior is not known.
    """
    from pytest_fragility.networks.stacks import NetworkStack

    return _kernel(NetworkStack.of_network(network), 0)


def _kernel(stack: NetworkStack, place: int) -> Kernel:
    """Return the prior's kernel, worked out once for all networks with these samples."""
    from pytest_fragility.measures.common.outputs import relu_chain_of
    from pytest_fragility.measures.marginal_likelihood.kernels import (
        monte_carlo_kernel,
        perceptron_kernel,
    )

    key = ("prior kernel", *_prior(stack))
    weight_variance = _weight_variance(stack.recipe)

    chain = relu_chain_of(stack)

    def compute() -> Kernel:
        inputs = stack.inputs[place]
        if chain is not None:
            return perceptron_kernel(
                inputs, hidden_layers=len(chain) - 1, weight_variance=weight_variance
            )
        return monte_carlo_kernel(
            stack.structure,
            inputs,
            generator=stack.generator(place, "prior kernel"),
            weight_variance=weight_variance,
        )

    return stack.once_for_samples(place, key, compute)


def _prior(stack: NetworkStack) -> tuple[Hashable, ...]:
    recipe = stack.recipe
    return recipe.architecture, recipe.initialization, recipe.initialization_scale


def _weight_variance(recipe: Recipe) -> float:
    """Return the variance of initial weights times their fan-in."""
    if recipe.initialization not in WEIGHT_VARIANCES:
        raise UndefinedMeasureError(
            f"the prior over functions is not known for the initialization "
            f"{recipe.initialization!r}, only for {', '.join(WEIGHT_VARIANCES)}"
        )
    return WEIGHT_VARIANCES[recipe.initialization] * recipe.initialization_scale**2


def _halves(labels: Labels, classes: int) -> Floats:
    """Return the lower half of the classes against the rest: signs, shape (1, n)."""
    import numpy as np

    return np.where(2 * labels < classes, -1.0, 1.0)[None]


def _one_vs_rest(labels: Labels, classes: int) -> Floats:
    """Return each class against the rest: signs, shape (classes, n)."""
    import numpy as np

    return np.where(labels == np.arange(classes)[:, None], 1.0, -1.0)


def _negative_log_evidences(stack: NetworkStack, labelling: Labelling, link: str) -> Floats:
    """Return each network's sum of -ln P over a labelling's signs, shape (K,).

    Worked out once for all networks with the same samples.
    """
    import numpy as np

    key = ("evidences", *_prior(stack), labelling, link)
    find = _found_together if stack.device.type == "cuda" else _found_one_by_one
    return np.array(find(stack, labelling, link, key))


def _found_one_by_one(
    stack: NetworkStack, labelling: Labelling, link: str, key: tuple[Hashable, ...]
) -> list[float]:
    from pytest_fragility.measures.common.batching import counted_from
    from pytest_fragility.measures.marginal_likelihood.in_threads import (
        leave_if_unwanted,
        side_by_side,
    )
    from pytest_fragility.measures.marginal_likelihood.log_evidence import GaussianProcess

    def of_samples(part: NetworkStack, place: int) -> float:
        process = GaussianProcess(_kernel(part, place).matrix)
        total = 0.0
        for signs in _signs(part, place, labelling):
            leave_if_unwanted()
            total -= process.log_evidence(signs, link=link).log_evidence
        return total

    def each(part: NetworkStack) -> list[float]:
        values = []
        for place in range(len(part)):
            with counted_from(place):
                compute = partial(of_samples, part, place)
                values.append(part.once_for_samples(place, key, compute))
        return values

    return side_by_side(stack, each)


def _found_together(
    stack: NetworkStack, labelling: Labelling, link: str, key: tuple[Hashable, ...]
) -> list[float]:
    """Work out all networks' on their device, if anything is not known yet."""

    @cache
    def all_values() -> list[float]:
        import numpy as np

        from pytest_fragility.measures.marginal_likelihood.batched_evidence import log_evidences

        places = range(len(stack))
        kernels = [_kernel(stack, place).matrix for place in places]
        signs = np.stack([_signs(stack, place, labelling) for place in places])
        evidences = log_evidences(kernels, signs, link=link, device=stack.device)
        found: list[float] = (-evidences.sum(1)).tolist()
        return found

    def value(place: int) -> float:
        return stack.once_for_samples(place, key, lambda: all_values()[place])

    return [value(place) for place in range(len(stack))]


def _signs(stack: NetworkStack, place: int, labelling: Labelling) -> Floats:
    from pytest_fragility.measures.common.outputs import number_of_outputs

    return labelling(stack.labels[place].cpu().numpy(), number_of_outputs(stack))
