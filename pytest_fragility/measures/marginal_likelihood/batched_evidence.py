"""The log evidences of many labellings at once, on a device: `evidence` says what they are.

The same expectation propagation in float64 throughout, which a device is good at: a hundred
factorizations take it about as long as one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch

from pytest_fragility.measures.common.batching import counted_from
from pytest_fragility.measures.marginal_likelihood.log_evidence import (
    CAREFUL,
    COINCIDENCE,
    FIRST_DAMPING,
    LINK_VARIANCE,
    MOST_FOLLOWING,
    NEAR,
    NEARER,
    SMALLEST_DAMPING,
    SWEEPS,
    TOLERANCE,
    Floats,
    broken_down,
    jittered,
    not_converged,
    not_semidefinite,
    require_covariance,
    require_no_contradiction,
)
from pytest_fragility.measures.marginal_likelihood.sites import Functions, Sites

TORCH = Functions(
    torch.exp,
    torch.sqrt,
    torch.log1p,
    torch.special.log_ndtr,
    torch.maximum,
    torch.minimum,
    torch.amax,
)
# what a matrix takes for each of the labellings that are worked on at a time; there are a few
BYTES = 1 << 29


@torch.no_grad()
def log_evidences(
    kernels: Sequence[Floats], signs: Floats, *, link: str, device: torch.device
) -> Floats:
    """Return the log probabilities of C labellings under each of K kernels, shape (K, C), in nats.

    Signs have the shape (K, C, n), kernels (n, n) each; see `evidence.log_evidence`, whose
    refusals name the kernel's place here.
    """
    labellings, samples = signs.shape[1:]
    fitting = max(1, BYTES // (8 * samples**2))
    of_each = min(labellings, fitting)
    together = max(1, fitting // labellings)
    values = np.empty(signs.shape[:2])
    for begin in range(0, len(kernels), together):
        part = slice(begin, begin + together)
        for first in range(0, labellings, of_each):
            some = slice(first, first + of_each)
            with counted_from(begin):
                values[part, some] = _log_evidences(kernels[part], signs[part, some], link, device)
    return values


def _log_evidences(
    kernels: Sequence[Floats], signs: Floats, link: str, device: torch.device
) -> Floats:
    for place, kernel in enumerate(kernels):
        with counted_from(place):
            require_covariance(kernel)
    given = torch.from_numpy(np.stack(kernels)).to(device)
    labels = torch.from_numpy(signs).to(device)
    if LINK_VARIANCE[link] == 0:
        _require_no_contradictions(kernels, signs, given, labels)
    raised = torch.from_numpy(np.stack([jittered(kernel)[0] for kernel in kernels])).to(device)
    found: Floats = _Propagations(raised, labels, LINK_VARIANCE[link]).run().cpu().numpy()
    return found


def _require_no_contradictions(
    kernels: Sequence[Floats], signs: Floats, given: torch.Tensor, labels: torch.Tensor
) -> None:
    """Refuse what `require_no_contradiction` does; most often there is nothing to tell."""
    scaled = labels / given.diagonal(dim1=1, dim2=2).sqrt().unsqueeze(1)
    for labelling in range(labels.shape[1]):
        own = scaled[:, labelling]
        agreements = (given * own.unsqueeze(1) * own.unsqueeze(2)).amin(dim=(1, 2))
        for place in (agreements < -(1 - COINCIDENCE)).nonzero().flatten().tolist():
            with counted_from(place):
                require_no_contradiction(kernels[place], signs[place, labelling])


class _Propagations:
    """Expectation propagation of all labellings side by side, until each is where it ends.

    Kernels have the shape (K, n, n), in float64, and signs (K, C, n).
    """

    def __init__(self, kernels: torch.Tensor, signs: torch.Tensor, link_variance: float) -> None:
        self._kernels = kernels
        self._sites = Sites(TORCH, signs, link_variance)
        priors = kernels.diagonal(dim1=1, dim2=2).unsqueeze(1)
        self._priors = priors.expand(signs.shape)
        self._variances = self._priors.clone()
        self._means = torch.zeros_like(signs)
        self._half = self._log_determinants = torch.empty(0)

    def run(self) -> torch.Tensor:
        """Return the log evidences, shape (K, C)."""
        shape = self._means.shape[:2]
        values = self._means.new_full(shape, math.nan)
        distances = torch.full_like(values, math.inf)
        dampings = torch.full_like(values, FIRST_DAMPING)
        is_done, is_near = (torch.zeros_like(values, dtype=torch.bool) for _ in range(2))
        for sweep in range(1, SWEEPS + 1):
            moving = (~is_done).unsqueeze(2)
            self._sites.move(self._means, self._variances, dampings.unsqueeze(2) * moving)
            self._update_posteriors()
            if sweep >= CAREFUL:
                self._let_means_follow(moving)
            values = torch.where(is_done, values, self._values())
            self._require_finite(values, sweep)
            previous, distances = distances, self._sites.divergence(self._means, self._variances)
            scales = values.abs().clamp(min=1.0)
            is_done |= distances <= TOLERANCE * scales
            if bool(is_done.all()):
                return values
            if sweep >= CAREFUL:
                arrives = ~is_near & (distances <= NEAR * scales)
                overshoots = ~arrives & (distances > 0.9 * previous) & (sweep > CAREFUL)
                smaller = (0.8 * dampings).clamp(min=SMALLEST_DAMPING)
                dampings = torch.where(overshoots, smaller, dampings)
                dampings = torch.where(arrives, 1.0, dampings)
                is_near |= arrives
        place, labelling = (~is_done).nonzero()[0].tolist()
        with counted_from(place):
            raise not_converged(float(values[place, labelling]), float(distances[place, labelling]))

    def _require_finite(self, values: torch.Tensor, sweep: int) -> None:
        for place, labelling in (~values.isfinite()).nonzero().tolist():
            with counted_from(place):
                raise broken_down(sweep, float(values[place, labelling]))

    def _update_posteriors(self) -> None:
        """Work out the marginals that the sites give (Rasmussen and Williams, algorithm 3.5)."""
        roots = self._sites.precisions.sqrt()
        scaled = roots.unsqueeze(3) * self._kernels.unsqueeze(1)
        systems = scaled * roots.unsqueeze(2)
        systems.diagonal(dim1=2, dim2=3).add_(1)
        factors, failures = torch.linalg.cholesky_ex(systems)
        for place, labelling in failures.nonzero().tolist():
            with counted_from(place):
                minor = int(failures[place, labelling])
                raise not_semidefinite(f"leading minor {minor} is not positive")
        del systems
        self._half = torch.linalg.solve_triangular(factors, scaled, upper=False)
        self._log_determinants = 2 * factors.diagonal(dim1=2, dim2=3).log().sum(-1)
        self._variances = self._priors - (self._half**2).sum(2)
        self._update_means()

    def _update_means(self) -> None:
        shifts = self._sites.shifts
        pulls = self._half.mT @ (self._half @ shifts.unsqueeze(3))
        self._means = shifts @ self._kernels - pulls.squeeze(3)

    def _let_means_follow(self, moving: torch.Tensor) -> None:
        """Move shifts, at precisions as they are, to where the means match too."""
        farthest = torch.full_like(self._means[..., :1], math.inf)
        for _ in range(MOST_FOLLOWING):
            shifts, distances = self._sites.followed(self._means, self._variances)
            moving = moving & (distances.unsqueeze(2) < NEARER * farthest)
            farthest = distances.unsqueeze(2)
            self._sites.shifts = torch.where(moving, shifts, self._sites.shifts)
            self._update_means()

    def _values(self) -> torch.Tensor:
        terms = self._sites.log_normalizers(self._means, self._variances)
        quadratic = (self._sites.shifts * self._means).sum(-1)
        values: torch.Tensor = terms + 0.5 * quadratic - 0.5 * self._log_determinants
        return values
