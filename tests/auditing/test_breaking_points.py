"""Breaking points: where along an axis a measure breaks, and how far changes are admissible."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest

from pytest_fragility import audit
from pytest_fragility.auditing.bisection import locate
from pytest_fragility.auditing.growing_families import GrowingFamily
from pytest_fragility.auditing.search import FIRST_FRESH_SEED, Search
from pytest_fragility.checks.breaking_points import BreakingPoint, BreakingPointEvidence
from pytest_fragility.checks.check import Check
from pytest_fragility.checks.verdicts import KEPT
from pytest_fragility.errors import SettingsError
from pytest_fragility.measures.measure import Measure
from pytest_fragility.networks.trained_network import TrainedNetwork
from pytest_fragility.perturbations import AXES
from pytest_fragility.recipes import SGD, Recipe, fixed_steps
from pytest_fragility.settings import resolve_settings
from pytest_fragility.tasks import Task

MakeSearch = Callable[..., Search]


@pytest.fixture
def options(blobs: Task, small_recipe: Recipe) -> dict[str, Any]:
    """Settings of networks that train in a moment, all changes of which are admissible."""
    return {
        "task": blobs,
        "recipe": small_recipe.replace(optimizer=SGD(lr=0.1), stopping=fixed_steps(3)),
        "sizes": (8, 16, 32),
        "seeds": 3,
        "device": "cpu",
        "cache_dir": None,
        "error_margin": 1e6,
        "ladder": "none",
    }


@pytest.fixture
def make_search(options: dict[str, Any]) -> MakeSearch:
    """Searches over such networks."""

    def make(measure: Measure, **changes: Any) -> Search:
        return Search(measure, GrowingFamily(resolve_settings({**options, **changes})))

    return make


class Ruler:
    """n**-0.3, but n**+0.3 where the rate is more than `factor` times the baseline's."""

    __name__ = "ruler"

    def __init__(self, factor: float) -> None:
        self._factor = factor
        self.asked: set[tuple[str, int]] = set()

    def __call__(self, network: TrainedNetwork) -> float:
        """Note under which recipe and seed it was asked."""
        self.asked.add((network.recipe_name, network.seed))
        is_broken = network.recipe.optimizer.lr > self._factor * 0.1
        return float(network.n ** (0.3 if is_broken else -0.3))


def points(search: Search, axis: str = "lr") -> list[BreakingPoint]:
    """Return what a walk along an axis finds, one point for each direction."""
    verdict = locate(Check("locate", change=axis), search)
    assert verdict.status == KEPT
    assert isinstance(verdict.evidence, BreakingPointEvidence)
    return list(verdict.evidence.points)


def factor(name: str | None) -> float:
    """Return the number in the name of a larger rate; 1 for no change."""
    return float(name.removeprefix("lr-x")) if name else 1.0


@pytest.mark.parametrize("truth", [1.2, 1.7, 2.5, 3.99, 5.0, 9.0, 15.0])
def test_the_bounds_bracket_the_truth(make_search: MakeSearch, truth: float) -> None:
    """Closer than the catalogue's steps: the gap between two of them is halved twice."""
    up, down = points(make_search(Ruler(truth)))
    assert factor(up.kept) <= truth < factor(up.broken)
    steps = [1.0, *(factor(each.name) for each in AXES["lr"].directions[0])]
    widest = max(after / before for before, after in pairwise(steps))
    assert factor(up.broken) / factor(up.kept) < widest**0.6
    assert up.kind == "trend" and up.evidence is not None
    assert up.evidence.baseline.mean == pytest.approx(-0.3)
    assert (up.admissible, up.inadmissible) == ("lr-x16", None)
    assert (down.broken, down.kept, down.kind) == (None, "lr-div10", "")


def test_what_never_breaks_has_no_breaking_point(make_search: MakeSearch) -> None:
    """The largest admissible step is where it was still kept."""
    up, down = points(make_search(Ruler(math.inf)))
    assert (up.broken, up.kept) == (None, "lr-x16")
    assert (down.broken, down.kept) == (None, "lr-div10")


def test_bisection_asks_about_few_steps(make_search: MakeSearch) -> None:
    """A logarithm of their number, and of fresh seeds for what is reported alone."""
    ruler = Ruler(3.5)
    up, _ = points(make_search(ruler))
    searched = {name for name, seed in ruler.asked if seed < FIRST_FRESH_SEED}
    confirmed = {name for name, seed in ruler.asked if seed >= FIRST_FRESH_SEED}
    refinements = 2
    assert len({name for name in searched if name.startswith("lr-x")}) <= 3 + refinements
    assert confirmed == {"baseline", up.broken}


def test_luck_is_not_reported(make_search: MakeSearch) -> None:
    """A measure that breaks on the search's own seeds alone does not break."""

    def lucky(network: TrainedNetwork) -> float:
        is_changed = network.recipe.optimizer.lr > 0.15
        is_broken = is_changed and network.seed < FIRST_FRESH_SEED
        return float(network.n ** (0.3 if is_broken else -0.3))

    up, _ = points(make_search(lucky))
    assert up.broken is None


def test_nothing_beyond_the_admissible_range_is_blamed(make_search: MakeSearch) -> None:
    """With no room for test error to move, not even the smallest step is admissible."""
    up, _ = points(make_search(Ruler(1.2), error_margin=0.0))
    assert (up.admissible, up.inadmissible, up.broken) == (None, "lr-x2", None)


def test_an_unknown_axis_is_refused(make_search: MakeSearch) -> None:
    """The error lists those there are, here as in the settings."""
    with pytest.raises(SettingsError, match="unknown axis 'rate': expected some of lr, batch"):
        locate(Check("locate", change="rate"), make_search(Ruler(2)))
    with pytest.raises(SettingsError, match=r"locate=\['rate'\]: expected True, or some of lr"):
        resolve_settings({"locate": ["rate"]})


def test_an_audit_reports_them(options: dict[str, Any]) -> None:
    """After its checks, which they do not sway, in 80 columns."""
    result = audit(
        Ruler(3.5),
        **options,
        checks="trend",
        trend="decreasing",
        perturbations=["lr-x2"],
        locate=["lr", "batch"],
    )
    assert result.passed
    assert [verdict.check.id for verdict in result.verdicts][-2:] == ["locate-lr", "locate-batch"]
    assert "breaks at lr-x" in result["locate-lr"].reason
    text = str(result)
    assert "breaking points:" in text and "fresh seeds" in text
    assert max(map(len, text.splitlines())) <= 80
    assert result.to_dict()["checks"][-1]["evidence"]["points"]


def test_locating_is_off_by_default(options: dict[str, Any]) -> None:
    """And True stands for the axes that cost little."""
    assert resolve_settings(options).axes == ()
    everything = resolve_settings({**options, "locate": True})
    assert everything.axes == ("lr", "batch", "optimizer", "weight-decay", "init")
