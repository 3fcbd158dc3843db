"""Breaking points: where the admissible range ends, what fresh seeds correct, and the table."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_fragility import audit
from pytest_fragility.auditing.search import FIRST_FRESH_SEED
from pytest_fragility.checks.admissibility import judge_admissibility
from pytest_fragility.checks.verdicts import ADMISSIBLE
from pytest_fragility.networks.trained_network import TrainedNetwork
from pytest_fragility.perturbations import AXES

# pytest finds fixtures by name in the module
from tests.auditing.test_breaking_points import (
    MakeSearch,
    Ruler,
    factor,
    make_search,  # noqa: F401
    options,  # noqa: F401
    points,
)


def test_the_admissible_range_ends_at_the_margin(make_search: MakeSearch) -> None:  # noqa: F811
    """For every margin: at the first step whose test error moves further, and never blamed there.

    What decides is `judge_admissibility`, asked here about every step, without bisection.
    """
    ends = set()
    for margin in (0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 1e6):
        search = make_search(Ruler(1.2), error_margin=margin)
        steps = AXES["lr"].directions[0]
        admissible = [
            judge_admissibility(search.curves(each), each.name, margin=margin).status == ADMISSIBLE
            for each in steps
        ]
        if admissible != sorted(admissible, reverse=True):
            continue  # noise makes it come and go: bisection finds one of its ends
        count = sum(admissible)
        up, _ = points(search)
        assert up.admissible == (steps[count - 1].name if count else None)
        assert up.inadmissible == (steps[count].name if count < len(steps) else None)
        assert up.broken is None or factor(up.broken) <= factor(up.admissible)
        ends.add(count)
    assert {0, len(AXES["lr"].directions[0])} <= ends and len(ends) > 2


def test_a_larger_step_stands_in_for_one_that_luck_found(
    make_search: MakeSearch,  # noqa: F811
) -> None:
    """Fresh seeds break from x10 up, the search's own from x4 up: x10 is what is reported."""

    def lucky(network: TrainedNetwork) -> float:
        least = 4 if network.seed < FIRST_FRESH_SEED else 10
        is_broken = network.recipe.optimizer.lr >= least * 0.1 * (1 - 1e-9)
        return float(network.n ** (0.3 if is_broken else -0.3))

    up, _ = points(make_search(lucky))
    assert (up.kept, up.broken) == ("lr-x8", "lr-x10")
    assert up.evidence is not None and up.evidence.perturbed is not None
    assert up.evidence.perturbed.mean == pytest.approx(0.3)


def test_long_names_keep_their_columns(options: dict[str, Any]) -> None:  # noqa: F811
    """A space between them, in 80 columns."""

    def breaks(network: TrainedNetwork) -> float:
        is_broken = "0.002" in repr(network.recipe)
        return float(network.n ** (0.3 if is_broken else -0.3))

    plain = {**options, "checks": "trend", "trend": "decreasing", "perturbations": ["lr-x2"]}
    lines = str(audit(breaks, **plain, locate=["weight-decay"])).splitlines()
    rows = [line.split() for line in lines if "decoupled-weight-decay" in line]
    assert rows and all("decoupled-weight-decay-0.002" in row for row in rows)
    assert max(map(len, lines)) <= 80
