"""Log evidence against exact orthant probabilities and the symmetries that they have."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import log_ndtr, logsumexp, ndtr, ndtri
from scipy.stats import multivariate_normal, truncnorm
from sklearn.datasets import load_digits

from pytest_fragility.errors import UndefinedMeasureError
from pytest_fragility.measures.marginal_likelihood import log_evidence as evidence
from pytest_fragility.measures.marginal_likelihood.kernels import relu_kernel
from pytest_fragility.measures.marginal_likelihood.log_evidence import (
    HEAVISIDE,
    PROBIT,
    log_evidence,
)
from tests.in_turn import in_turn

Floats = npt.NDArray[np.float64]

unhurried = settings(deadline=None, max_examples=15)
seeds = st.integers(0, 2**32 - 1)
either_link = in_turn("link", [HEAVISIDE, PROBIT])


def deep_kernel(inputs: Floats) -> Floats:
    """Return the kernel of a wide perceptron with two hidden layers."""
    return relu_kernel(inputs, hidden_layers=2, weight_variance=2, bias_variance=0.01)


def problem(n: int, seed: int) -> tuple[Floats, Floats]:
    """Return the kernel of normal inputs and random signs."""
    generator = np.random.default_rng(seed)
    kernel = deep_kernel(generator.normal(size=(n, 10)))
    return kernel, generator.choice([-1.0, 1.0], size=n)


def value(kernel: Floats, signs: npt.ArrayLike, link: str = HEAVISIDE) -> float:
    """Return the log evidence alone."""
    return log_evidence(kernel, signs, link=link).log_evidence


def orthant(kernel: Floats, signs: Floats) -> float:
    """Return ln P(sign f = signs) by numerical integration."""
    covariance = np.multiply.outer(signs, signs) * kernel
    zero = np.zeros(len(signs))
    probability = multivariate_normal.cdf(
        zero, mean=zero, cov=covariance, abseps=1e-7, releps=1e-4, maxpts=200_000
    )
    return math.log(probability)


def sequential_estimate(
    kernel: Floats, signs: Floats, *, draws: int, seed: int
) -> tuple[float, float]:
    """Return Genz's estimate of ln P(sign f = signs) and its standard error.

    With ``L L' = y y' * K`` the event is ``(L z)_i > 0`` for all i; each z_i is drawn from the
    half line that the ones before it leave, and the half lines' probabilities are multiplied.
    """
    generator = np.random.default_rng(seed)
    factor = np.linalg.cholesky(np.multiply.outer(signs, signs) * kernel)
    drawn = np.zeros((draws, len(signs)))
    logs = np.zeros(draws)
    for place in range(len(signs)):
        upper = drawn[:, :place] @ factor[place, :place] / factor[place, place]
        logs += log_ndtr(upper)
        uniform = 1 - generator.uniform(size=draws)
        drawn[:, place] = -ndtri(np.maximum(uniform * ndtr(upper), 1e-300))
    weights = np.exp(logs - logs.max())
    error = float(weights.std() / weights.mean() / math.sqrt(draws))
    return float(logsumexp(logs)) - math.log(draws), error


@in_turn("signs", [(1.0, 1.0), (-1.0, -1.0), (1.0, -1.0), (-1.0, 1.0)])
@in_turn(
    ("correlation", "tolerance"),
    [(0, 1e-9), (0.1, 1e-4), (-0.2, 1e-3), (0.3, 1e-3), (-0.5, 3e-3), (0.7, 1e-2), (-0.9, 0.04)],
)
def test_two_samples_follow_the_arcsine_law(
    correlation: float, tolerance: float, signs: tuple[float, float]
) -> None:
    """Two signs have probability 1/4 + y1 y2 asin(c) / 2 pi, whatever the variances.

    Expectation propagation itself has an error, which grows with the correlation; that the value is
    its fixed point is tested to many digits below.
    """
    scales = np.array([0.5, 3.0])
    kernel = np.array([[1, correlation], [correlation, 1]]) * np.multiply.outer(scales, scales)
    exact = math.log(1 / 4 + signs[0] * signs[1] * math.asin(correlation) / (2 * math.pi))
    assert value(kernel, signs) == pytest.approx(exact, abs=tolerance)


def fixed_point(kernel: Floats, signs: Floats) -> float:
    """Return EP's log evidence by textbook: one site at a time, by moments of truncated normals.

    The value is the integral of the prior times the sites,
    ``sum ln Z_i + ln N(site means; 0, K + site variances)``.
    """
    n = len(signs)
    turned = np.multiply.outer(signs, signs) * kernel
    precisions, shifts = np.full(n, 1e-6), np.zeros(n)
    logs = np.zeros(n)
    for _ in range(25):
        for i in range(n):
            inverse = np.linalg.inv(turned)
            posterior = np.linalg.inv(inverse + np.diag(precisions))
            mean = (posterior @ shifts)[i]
            cavity = 1 / (1 / posterior[i, i] - precisions[i])
            center = cavity * (mean / posterior[i, i] - shifts[i])
            spread = math.sqrt(cavity)
            half = truncnorm(-center / spread, math.inf, loc=center, scale=spread)
            new_mean, new_variance = half.stats(moments="mv")
            precisions[i] = 1 / new_variance - 1 / cavity
            shifts[i] = new_mean / new_variance - center / cavity
            variance = cavity + 1 / precisions[i]
            gap = center - shifts[i] / precisions[i]
            logs[i] = log_ndtr(center / spread) + (
                math.log(2 * math.pi * variance) / 2 + gap**2 / (2 * variance)
            )
    sites = turned + np.diag(1 / precisions)
    return float(logs.sum() + multivariate_normal.logpdf(shifts / precisions, cov=sites))


@in_turn("labelling", ["random", "constant"])
@in_turn("n", [2, 4, 7])
def test_evidence_is_the_fixed_point_of_expectation_propagation(n: int, labelling: str) -> None:
    """Another implementation, one site at a time, comes to the same value."""
    kernel, signs = problem(n, 40 + n)
    kernel = kernel + 0.5 * kernel.mean()
    signs = signs if labelling == "random" else np.ones(n)
    assert value(kernel, signs) == pytest.approx(fixed_point(kernel, signs), abs=1e-6)


@in_turn("seed", range(3))
@in_turn("n", range(3, 9))
def test_small_problems_match_orthant_probabilities(n: int, seed: int) -> None:
    """Up to eight samples the evidence is the integral, to within 0.02 nats."""
    kernel, signs = problem(n, 100 * n + seed)
    assert value(kernel, signs) == pytest.approx(orthant(kernel, signs), abs=0.02)


@in_turn("n", [3, 5, 8])
def test_probit_evidence_is_the_orthant_probability_with_noise(n: int) -> None:
    """The probit link is a step behind noise of variance one."""
    kernel, signs = problem(n, n)
    noisy = kernel + np.eye(n)
    assert value(kernel, signs, PROBIT) == pytest.approx(orthant(noisy, signs), abs=0.02)
    assert abs(orthant(noisy, signs) - orthant(kernel, signs)) > 0.05


@in_turn("labelling", ["random", "constant", "linear"])
def test_fifty_samples_match_sequential_conditioning(labelling: str) -> None:
    """At fifty samples the evidence agrees with a Monte Carlo integral."""
    generator = np.random.default_rng(5)
    inputs = generator.normal(size=(50, 10))
    signs = {
        "random": generator.choice([-1.0, 1.0], size=50),
        "constant": np.ones(50),
        "linear": np.where(inputs[:, 0] > 0, 1.0, -1.0),
    }[labelling]
    kernel = deep_kernel(inputs)
    expected, error = sequential_estimate(kernel, signs, draws=50_000, seed=1)
    assert error < 0.15
    assert value(kernel, signs) == pytest.approx(expected, abs=0.3)


def test_sequential_conditioning_matches_integration() -> None:
    """The Monte Carlo that judges fifty samples agrees with the integral at eight."""
    kernel, signs = problem(8, 3)
    estimate, error = sequential_estimate(kernel, signs, draws=20_000, seed=1)
    assert error < 0.02
    assert estimate == pytest.approx(orthant(kernel, signs), abs=4 * error)


@either_link
def test_independent_samples_cost_one_bit_each(link: str) -> None:
    """Each sign has probability one half, alone or among others, whatever the variances."""
    signs = np.random.default_rng(0).choice([-1.0, 1.0], size=20)
    for scale in (1e-6, 0.01, 1.0, 25.0):
        for n in (1, 20):
            found = value(scale * np.eye(n), signs[:n], link)
            assert found == pytest.approx(-n * math.log(2), abs=1e-9), (scale, n)
            assert value(scale * np.eye(n), -signs[:n], link) == pytest.approx(found, abs=1e-9)


@in_turn("n", [1, 2, 10, 60])
def test_probit_evidence_is_the_step_evidence_with_noise(n: int) -> None:
    """Both links give one value where noise is in the kernel or in the link."""
    kernel, signs = problem(n, n)
    noisy = value(kernel + np.eye(n), signs)
    assert value(kernel, signs, PROBIT) == pytest.approx(noisy, abs=1e-6)


@either_link
@unhurried
@given(seed=seeds)
def test_evidence_has_the_symmetries_of_probabilities(link: str, seed: int) -> None:
    """Order and names of classes do not matter, and signs may move into the kernel."""
    kernel, signs = problem(30, seed)
    same = pytest.approx(value(kernel, signs, link), rel=1e-7)
    order = np.random.default_rng(seed).permutation(30)
    assert value(kernel[np.ix_(order, order)], signs[order], link) == same
    assert value(kernel, -signs, link) == same
    assert value(np.multiply.outer(signs, signs) * kernel, np.ones(30), link) == same


@either_link
@unhurried
@given(seed=seeds, n=st.integers(1, 35))
def test_one_more_sample_is_never_more_probable(link: str, n: int, seed: int) -> None:
    """The evidence is at most zero and falls with each sample, but for EP's error."""
    kernel, signs = problem(n + 1, seed)
    fewer, more = value(kernel[:n, :n], signs[:n], link), value(kernel, signs, link)
    assert fewer <= 0
    assert more <= fewer + 0.02


@unhurried
@given(seed=seeds)
def test_step_evidence_ignores_the_scale_of_each_sample(seed: int) -> None:
    """K and D K D have one evidence for a positive diagonal D, up to the jitter."""
    kernel, signs = problem(30, seed)
    scales = np.exp(np.random.default_rng(seed).uniform(-1, 1, size=30))
    scaled = value(np.multiply.outer(scales, scales) * kernel, signs)
    assert scaled == pytest.approx(value(kernel, signs), rel=1e-7)


@unhurried
@given(seed=seeds, exponent=st.floats(-6, 6))
def test_step_evidence_ignores_the_scale_of_the_kernel(seed: int, exponent: float) -> None:
    """K and c K have one evidence, as signs do not see the scale of a function."""
    kernel, signs = problem(30, seed)
    scaled = value(10**exponent * kernel, signs)
    assert scaled == pytest.approx(value(kernel, signs), rel=1e-7)


def twins(*, scale: float = 1.0) -> Floats:
    """Return the kernel of five inputs, of which samples 1 and 3 are one up to a scale."""
    inputs = np.random.default_rng(4).normal(size=(5, 10))
    inputs[3] = scale * inputs[1]
    return relu_kernel(inputs, hidden_layers=2, weight_variance=2, bias_variance=0)


@in_turn("scale", [1.0, 3.0])
@in_turn("first", [1.0, -1.0])
def test_coinciding_samples_of_opposite_labels_are_named(first: float, scale: float) -> None:
    """A contradiction is refused with both samples and the way out in the message."""
    with pytest.raises(UndefinedMeasureError) as caught:
        log_evidence(twins(scale=scale), [1, first, -1, -first, 1])
    message = str(caught.value)
    pair = {word for word in message.partition("coincide")[0].split() if word.isdigit()}
    assert pair == {"1", "3"}
    assert "opposite labels" in message
    assert "probit" in message


def test_probit_allows_for_opposite_labels_of_coinciding_samples() -> None:
    """Noise makes a contradiction possible; its probability is that of K + I."""
    signs = np.array([1.0, 1.0, -1.0, -1.0, 1.0])
    expected = orthant(twins() + np.eye(5), signs)
    assert value(twins(), signs, PROBIT) == pytest.approx(expected, abs=0.02)


def test_opposite_samples_of_one_label_are_refused() -> None:
    """A linear function without biases cannot be positive at both x and -x."""
    inputs = np.array([[1.0, 2.0], [2.0, -1.0], [-1.0, -2.0]])
    kernel = relu_kernel(inputs, hidden_layers=0, weight_variance=2, bias_variance=0)
    assert math.isfinite(value(kernel, [1, 1, -1]))
    with pytest.raises(UndefinedMeasureError):
        log_evidence(kernel, [1, 1, 1])


def test_coinciding_samples_of_one_label_count_once() -> None:
    """A sample's copy with its label changes nothing but EP's error: 0.12 nats for two alone."""
    kernel = twins()
    signs = np.array([1.0, -1.0, -1.0, -1.0, 1.0])
    once = [0, 1, 2, 4]
    expected = orthant(kernel[np.ix_(once, once)], signs[once])
    assert value(kernel, signs) == pytest.approx(expected, abs=0.2)


def with_entry(entry: float, place: tuple[int, int]) -> Floats:
    """Return the unit matrix with another entry."""
    kernel = np.eye(3)
    kernel[place] = entry
    return kernel


@in_turn(
    ("kernel", "signs", "text"),
    [
        (np.diag([1.0, 2.0, 0.0, 1.0]), [1, 1, -1, 1], r"sample 2 .*variance 0\b.*positive"),
        (np.diag([1.0, -2.0]), [1, 1], "sample 1 .*variance -2"),
        *(
            (np.ones(shape), np.ones(count), rf"\({shape[0]}.* not fit signs of shape \({count},\)")
            for shape, count in (((3, 3), 2), ((2, 2), 3), ((2, 3), 2), ((2,), 2), ((1, 2, 2), 2))
        ),
        # in a column or a matrix they would broadcast against the kernel
        *((np.eye(3), np.ones(shape), "does not fit signs") for shape in ((3, 1), (3, 3))),
        (np.ones((0, 0)), [], "at least one sample"),
        *(
            (np.eye(3), signs, "expected -1 and 1")
            for signs in ([0, 1, 1], [1, 2, -1], [0.5, 1, 1], [math.nan, 1, -1])
        ),
        *(
            (with_entry(entry, place), [1, -1, 1], "finite")
            for entry in (math.nan, math.inf)
            for place in ((0, 0), (0, 1), (2, 1))
        ),
        (with_entry(0.5, (0, 1)), [1, 1, 1], "not symmetric"),
    ],
)
def test_what_makes_no_sense_is_refused(kernel: Floats, signs: npt.ArrayLike, text: str) -> None:
    """Under both links; the message says what, and which sample."""
    for link in (HEAVISIDE, PROBIT):
        with pytest.raises(UndefinedMeasureError, match=text):
            log_evidence(kernel, signs, link=link)
    with pytest.raises(UndefinedMeasureError, match=r"'logit'.*heaviside.*probit"):
        log_evidence(np.eye(2), [1, 1], link="logit")


def test_arguments_are_left_alone() -> None:
    """Neither the kernel nor the signs change."""
    kernel, signs = problem(6, 0)
    copies = kernel.copy(), signs.copy()
    log_evidence(kernel, signs)
    np.testing.assert_array_equal(kernel, copies[0])
    np.testing.assert_array_equal(signs, copies[1])


def test_jitter_is_relative_to_the_mean_variance() -> None:
    """What is added to the diagonal is 1e-10 of its mean, and reported."""
    found = log_evidence(np.diag([1.0, 2.0, 6.0]), [1, -1, 1])
    assert found.jitter == pytest.approx(3e-10, rel=1e-12)


def labels_of_digits(labelling: str) -> Floats:
    """Return two hundred signs for the digits."""
    generator = np.random.default_rng(3)
    digits = load_digits().target[:200]
    positive = {
        "random": generator.uniform(size=200) < 0.5,
        "constant": np.ones(200, dtype=bool),
        "one positive": np.arange(200) == 77,
        "halves": digits >= 5,
        "parity": digits % 2 == 0,
    }[labelling]
    return np.where(positive, 1.0, -1.0)


@either_link
@in_turn("labelling", ["random", "constant", "one positive", "halves", "parity"])
def test_the_value_is_right_to_what_is_promised(
    labelling: str, link: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Within a millionth of where the iteration ends if it goes on."""
    kernel, signs = deep_kernel(load_digits().data[:200] / 16), labels_of_digits(labelling)
    found = log_evidence(kernel, signs, link=link)
    assert 1 < found.sweeps < 100
    monkeypatch.setattr(evidence, "TOLERANCE", 1e-11)
    best = log_evidence(kernel, signs, link=link)
    assert best.sweeps > found.sweeps
    assert found.log_evidence == pytest.approx(best.log_evidence, rel=1e-6, abs=1e-6)


@either_link
def test_labellings_do_not_see_each_other(link: str) -> None:
    """One process asked for several has what each has alone, bit for bit, in any order."""
    kernel = deep_kernel(load_digits().data[:200] / 16)
    labellings = ["halves", "one positive", "random", "halves"]
    process = evidence.GaussianProcess(kernel)
    other = HEAVISIDE if link == PROBIT else PROBIT
    for labelling in labellings:
        signs = labels_of_digits(labelling)
        process.log_evidence(signs, link=other)
        alone = log_evidence(kernel, signs, link=link)
        assert process.log_evidence(signs, link=link) == alone


def test_iteration_that_does_not_converge_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the sweeps run out there is no value, and the message says why."""
    monkeypatch.setattr(evidence, "SWEEPS", 1)
    kernel, signs = problem(10, 0)
    with pytest.raises(UndefinedMeasureError, match="did not converge in 1 sweep"):
        log_evidence(kernel, signs)


@given(seed=seeds, weakest=st.sampled_from([1e-300, 1e-18, 1e-9, 1e-4, 1.0]))
@unhurried
def test_posterior_is_known_for_sites_of_any_strength(seed: int, weakest: float) -> None:
    """Marginals and log determinant against a solve of the definition, also for weak sites."""
    generator = np.random.default_rng(seed)
    kernel, signs = problem(20, seed)
    strengths = weakest ** generator.uniform(size=20) * generator.uniform(0.5, 2, size=20)
    strengths[0] = 0.0
    process = evidence.GaussianProcess(kernel)
    kernel = process.kernel
    propagation = evidence._Propagation(process, signs, 0.0)
    propagation._sites.precisions[:] = strengths
    propagation._sites.shifts[:] = generator.normal(size=20)
    propagation._update_posterior()
    # (K^-1 + S)^-1 = (1 + K S)^-1 K
    system = np.eye(20) + kernel * strengths
    covariance = np.linalg.solve(system, kernel)
    np.testing.assert_allclose(propagation._variances, np.diag(covariance), rtol=1e-9)
    np.testing.assert_allclose(
        propagation._means, covariance @ propagation._sites.shifts, atol=1e-9
    )
    assert propagation._log_determinant == pytest.approx(np.linalg.slogdet(system)[1], abs=1e-9)
