"""Whether a measure orders networks as test error orders them: Kendall's tau, seed by seed.

Asked for by ``checks=["rank"]``. For each seed $s$, tau-b (Kendall 1945, "The treatment of ties in
ranking problems"; SciPy's `kendalltau`) over the networks of that seed, of all sizes and recipes:

    tau_s = (C - D) / sqrt((P - T_m) (P - T_e)),

with C and D the pairs in the same and in opposite order, P all pairs, T_m and T_e those that the
measure, and test error, has in ties. A measure that is the same on all of them orders nothing: its
tau is 0. Seeds are independent, so that the mean of tau_s over S seeds has a t interval,

    mean +- t(S - 1, 1 - alpha / 4) * deviation / sqrt(S).

Its level is 1 - alpha / 2, and not 1 - alpha: taus are bounded and skewed, and at 1 - alpha a
measure just below the least value would be certified up to 1.5 times as often as alpha / 2. With
at least 3 seeds, and 10 networks of each, it is not (`tests/checks/test_rank.py`).

Test errors are taken as they were measured: what a finite test set adds to them is noise to ranks,
and draws tau towards 0. A granulated tau is told by `agreement`, beside the verdicts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_fragility import curves as statistics
from pytest_fragility.checks.agreement import NOTHING_IN_COMMON, audited_recipes
from pytest_fragility.checks.check import Check
from pytest_fragility.checks.error_rates import RANKS_ARE_SKEWED
from pytest_fragility.checks.kind import Asked, Kind, Section
from pytest_fragility.checks.quantities import Quantity
from pytest_fragility.checks.tolerances import Tolerances
from pytest_fragility.checks.verdicts import (
    BROKEN,
    INCONCLUSIVE,
    KEPT,
    Evidence,
    Record,
    Verdict,
)
from pytest_fragility.checks.wording import Table, capitalized, indented, sensitivity

if TYPE_CHECKING:
    from pytest_fragility.curves import Estimate, LearningCurves

# two of three pairs in the order of test error, and no ties
LEAST_TAU = 1 / 3
# with fewer, taus that agree by chance have no width
LEAST_SEEDS, LEAST_NETWORKS = 3, 10


@dataclass(frozen=True)
class RankEvidence(Evidence):
    """What a verdict on ranks rests on.

    Parameters
    ----------
    mean_tau
        Kendall's tau-b over the networks of a seed, its mean over seeds.
    least
        What it must be above.
    networks
        How many of each seed were compared.
    recipes
        Under which they were trained.
    """

    mean_tau: Estimate
    least: float
    networks: int
    recipes: tuple[str, ...]


class Ranks(Section):
    """One sentence on ranks, with the verdict."""

    title = "Ranks"
    has_verdicts = True

    def lines(self, kinds: Sequence[Kind], records: Sequence[Record]) -> list[str]:
        """Return tau with its interval, and what it has to be above."""
        return [line for record in records for line in indented(f"ranks: {_sentence(record)}")]

    def tables(self, records: Sequence[Record]) -> list[Table]:
        """Return the same numbers."""
        return [_table(record["evidence"]) for record in records if record["evidence"]]


class Rank(Kind):
    """The measure orders networks as test error does, in at least two of three pairs."""

    id = asked_as = "rank"
    asserts = "networks are in the order of their test errors"
    over_perturbations = True
    is_default = False
    on_linear = True
    section = Ranks()

    def checks(self, asked: Asked) -> list[Check]:
        """Return one check over all perturbations."""
        return [Check(self.id, among=asked.perturbations)]

    def judge_curves(self, check: Check, curves: LearningCurves, tolerances: Tolerances) -> Verdict:
        """Return whether Kendall's tau, in the mean over seeds, is certainly above the least."""
        # SciPy is slow to import
        from pytest_fragility.curves.rank_correlation import taus_by_seed

        recipes = audited_recipes(check, curves, tolerances)
        grid = curves.over_common_seeds(recipes)
        if grid is None:
            return self.inconclusive(check, NOTHING_IN_COMMON)
        networks = len(recipes) * len(curves.sizes)
        if networks < LEAST_NETWORKS:
            reason = (
                f"{networks} networks of each seed are too few for ranks, which need "
                f"{LEAST_NETWORKS}: audit more sizes, or perturbations"
            )
            return self.inconclusive(check, reason)
        tau = statistics.Estimate.from_samples(taus_by_seed(*grid), RANKS_ARE_SKEWED * curves.alpha)
        if math.isnan(tau.mean):
            reason = "test error is the same on all networks of a seed, and orders none of them"
            return self.inconclusive(check, reason)
        evidence = RankEvidence(tau, LEAST_TAU, networks, tuple(recipes))
        status = _status(tau)
        needed = None
        if status == INCONCLUSIVE:
            needed = statistics.seeds_needed(
                tau.seeds, lambda seeds: _status(tau.with_seeds(seeds)) != INCONCLUSIVE
            )
        return Verdict(check, status, _REASONS[status], evidence, seeds_needed=needed)

    def subject(self, record: Record) -> str:
        """Return what is asserted of."""
        return "ranks"

    def quantities(self, record: Record) -> dict[str, Quantity]:
        """Return Kendall's tau."""
        found = record["evidence"].get("mean_tau")
        return {"tau": Quantity.of(record, "tau", found)} if found else {}

    def numbers(self, record: Record) -> list[str]:
        """Return tau with its interval, and what it has to be above."""
        texts = (_told(record["evidence"]), f"({_compared(record)})")
        return [line for text in texts for line in indented(text, more="")]

    def texts(self, record: Record) -> list[str]:
        """Return which networks were compared, and how wide the interval is."""
        return [f"{capitalized(_compared(record))}."]


def _status(tau: Estimate) -> str:
    if tau.seeds < LEAST_SEEDS:
        return INCONCLUSIVE
    return KEPT if tau.low > LEAST_TAU else BROKEN if tau.high < LEAST_TAU else INCONCLUSIVE


_REASONS = {
    KEPT: "networks are in the order of their test errors, more often than not",
    BROKEN: "the order of networks tells too little of their test errors",
    INCONCLUSIVE: "the order of networks: the interval straddles the least value",
}


def _sentence(record: Record) -> str:
    verdict, evidence = record["verdict"], record["evidence"]
    word = verdict.upper() if verdict == BROKEN else verdict
    return f"{word}, {_told(evidence)}" if evidence else word


def _told(evidence: Record) -> str:
    return (
        f"Kendall's tau {sensitivity(evidence['mean_tau'])} over {evidence['networks']} networks "
        f"of each seed, of which more than {evidence['least']:.2f} is asked"
    )


def _table(evidence: Record) -> Table:
    tau, least = sensitivity(evidence["mean_tau"]), f"{evidence['least']:.2f}"
    rows = [["mean over seeds", tau], ["more is asked than", least]]
    return Table(["", "Kendall's tau"], rows)


def _compared(record: Record) -> str:
    level = f"{100 * (1 - RANKS_ARE_SKEWED * record['alpha']):.4g} %"
    names = ", ".join(record["evidence"]["recipes"])
    return f"1 is the order of test error, 0 is chance; {level} interval; under {names}"


KIND = Rank()
