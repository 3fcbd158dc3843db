"""A search for what breaks a measure: it finds what breaks, and is seldom fooled."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy import stats

from pytest_fragility.auditing.growing_families import GrowingFamily
from pytest_fragility.auditing.search import FIRST_FRESH_SEED, SEARCHED_KINDS, Search
from pytest_fragility.checks.verdicts import BROKEN, INCONCLUSIVE, KEPT
from pytest_fragility.curves import LearningCurve, LearningCurves
from pytest_fragility.errors import BudgetError, SettingsError
from pytest_fragility.families.train import TrainingBudget
from pytest_fragility.measures.measure import Measure
from pytest_fragility.networks.trained_network import TrainedNetwork
from pytest_fragility.perturbations import BASELINE, Perturbation, get_perturbation
from pytest_fragility.recipes import SGD, Recipe, cross_entropy_below, fixed_steps
from pytest_fragility.settings import AuditSettings, resolve_settings
from pytest_fragility.tasks import Task
from tests.checks.test_judging import Lines, make_curves

LR_X2, LR_X4, LR_X10 = (get_perturbation(name) for name in ("lr-x2", "lr-x4", "lr-x10"))
BATCH = get_perturbation("batch-x2")
# tiny networks scatter: a margin that wide makes every change admissible, at every level
ANYTHING = 1e6

SEARCHES = 200
CHANGES = 10
ALPHA = 0.05
# A rate of alpha is seen above this once in a thousand times.
BOUND = float(stats.binom.ppf(0.999, SEARCHES, ALPHA)) / SEARCHES

MakeFamily = Callable[..., GrowingFamily]


@pytest.fixture
def make_family(blobs: Task, small_recipe: Recipe) -> MakeFamily:
    """Families of networks that train in a moment."""

    def make(**options: Any) -> GrowingFamily:
        plain = {
            "task": blobs,
            "recipe": small_recipe.replace(stopping=fixed_steps(3)),
            "sizes": (8, 16, 32),
            "seeds": 3,
            "device": "cpu",
            "cache_dir": None,
            "error_margin": ANYTHING,
            "ladder": "none",
        }
        return GrowingFamily(resolve_settings({**plain, **options}))

    return make


class Ruler:
    """n**-0.3, and n**+0.3 where a network breaks it; it counts what it is asked."""

    __name__ = "ruler"

    def __init__(self, breaks: Callable[[TrainedNetwork], bool]) -> None:
        self._breaks = breaks
        self.asked: list[tuple[str, int, int]] = []

    def __call__(self, network: TrainedNetwork) -> float:
        """Note where it was asked, and return a power of n."""
        self.asked.append((network.recipe_name, network.n, network.seed))
        return float(network.n ** (0.3 if self._breaks(network) else -0.3))


def is_fast(network: TrainedNetwork) -> bool:
    """Return whether the learning rate is at least four times the baseline's 0.1."""
    return network.recipe.optimizer.lr >= 0.4 * (1 - 1e-9)


def test_what_breaks_is_confirmed_on_fresh_seeds(make_family: MakeFamily) -> None:
    """With seeds that had no part in the search, and their curves to show."""
    family, ruler = make_family(), Ruler(is_fast)
    search = Search(ruler, family)
    finding = search.trial(LR_X4)
    assert (finding.status, finding.perturbation) == (BROKEN, LR_X4)
    assert search.breaks(LR_X4)
    assert [verdict.check.id for verdict in finding.verdicts] == [
        f"{kind}-lr-x4" for kind in SEARCHED_KINDS
    ]
    assert finding.confirmation is not None
    verdict, curves = finding.confirmation
    assert verdict.status == BROKEN and verdict.is_applicable
    assert verdict.check.perturbation == "lr-x4"
    assert curves.measure_name == "ruler"
    assert set(curves.recipes) == {BASELINE, "lr-x4"}
    assert min(curves.seeds) >= FIRST_FRESH_SEED == 1_000_000
    assert len(curves.seeds) >= len(family.settings.seeds)
    assert curves.measure["lr-x4"].slope.mean == pytest.approx(0.3)
    seeds = {seed for _, _, seed in ruler.asked}
    assert seeds == {0, 1, 2, *curves.seeds}


def test_what_does_not_break_is_not_confirmed(make_family: MakeFamily) -> None:
    """No fresh network is trained or measured for it."""
    ruler = Ruler(is_fast)
    search = Search(ruler, make_family())
    for perturbation in (LR_X2, BATCH, get_perturbation("lr-x3")):
        finding = search.trial(perturbation)
        assert finding.status == KEPT and not search.breaks(perturbation)
        assert (finding.confirmation, finding.alpha) == (None, None)
        assert {verdict.status for verdict in finding.verdicts} == {KEPT}
    assert {seed for _, _, seed in ruler.asked} == {0, 1, 2}


def test_a_finding_is_worked_out_once(make_family: MakeFamily) -> None:
    """The same object each time; the measure is not asked again, nor is a level spent."""
    ruler = Ruler(is_fast)
    search = Search(ruler, make_family())
    found = [search.trial(each) for each in (LR_X4, LR_X2)]
    asked = len(ruler.asked)
    assert len(set(ruler.asked)) == asked
    again = [search.trial(each) for each in (LR_X4, LR_X2)]
    assert all(one is other for one, other in zip(found, again, strict=True))
    assert search.breaks(LR_X4) and not search.breaks(LR_X2)
    assert len(ruler.asked) == asked


def test_luck_on_the_searchs_own_seeds_is_not_believed(make_family: MakeFamily) -> None:
    """A measure that breaks there and nowhere else is not reported, however clearly it does."""

    def is_lucky(network: TrainedNetwork) -> bool:
        return is_fast(network) and network.seed < FIRST_FRESH_SEED

    search = Search(Ruler(is_lucky), make_family())
    finding = search.trial(LR_X4)
    assert (finding.status, finding.confirmation) == (INCONCLUSIVE, None)
    assert BROKEN in {verdict.status for verdict in finding.verdicts}
    assert finding.alpha is not None and not search.breaks(LR_X4)


def test_what_fresh_seeds_alone_would_break_is_not_looked_for(make_family: MakeFamily) -> None:
    """They confirm, and search nothing."""
    search = Search(
        Ruler(lambda network: is_fast(network) and network.seed >= FIRST_FRESH_SEED), make_family()
    )
    assert search.trial(LR_X4).status == KEPT


def test_the_largest_smaller_change_that_withstands_is_named(make_family: MakeFamily) -> None:
    """Along the same direction; none where all break it, or where there is no smaller one."""
    search = Search(Ruler(is_fast), make_family())
    largest = search.largest_kept(LR_X10)
    assert largest is not None and largest.name == "lr-x3"
    assert search.largest_kept(LR_X2) is None
    every = Search(Ruler(lambda network: network.recipe_name != BASELINE), make_family())
    assert every.largest_kept(LR_X4) is None


@pytest.mark.parametrize("kind", SEARCHED_KINDS)
def test_only_the_kinds_asked_for_are_judged(make_family: MakeFamily, kind: str) -> None:
    """One alone has the whole level."""
    finding = Search(Ruler(is_fast), make_family(), kinds=(kind,), name="mine").trial(LR_X4)
    assert [verdict.check.kind for verdict in finding.verdicts] == [kind]
    assert finding.alpha in (None, ALPHA / 2)
    if finding.confirmation is not None:
        assert finding.confirmation[0].check.kind == kind
        assert finding.confirmation[1].measure_name == "mine"


def test_a_linear_scale_has_a_trend_alone(make_family: MakeFamily) -> None:
    """As in an audit."""

    def signed(network: TrainedNetwork) -> float:
        return math.log(network.n) * (1 if is_fast(network) else -1)

    search = Search(signed, make_family(scale="linear"))
    finding = search.trial(LR_X4)
    assert [verdict.check.kind for verdict in finding.verdicts] == ["trend"]
    assert finding.status == BROKEN and search.trial(LR_X2).status == KEPT


@pytest.mark.parametrize("kinds", [["exponent"], ["trend", "spread"]])
def test_a_check_that_the_scale_has_not_is_refused(
    make_family: MakeFamily, kinds: list[str]
) -> None:
    """An exponent on a linear scale would be nothing to judge, and seem to withstand."""
    with pytest.raises(SettingsError, match=rf"check '{kinds[-1]}' needs scale='log'.* trend"):
        Search(Ruler(is_fast), make_family(scale="linear"), kinds=kinds)


def test_a_change_that_is_not_small_convicts_nobody(make_family: MakeFamily) -> None:
    """Nor does it cost a level."""
    never = cross_entropy_below(1e-9, step_limit=1)
    unfinished = Perturbation("unfinished", lambda recipe: recipe.replace(stopping=never))
    search = Search(Ruler(lambda network: network.recipe_name != BASELINE), make_family())
    finding = search.trial(unfinished)
    assert (finding.status, finding.alpha) == (INCONCLUSIVE, None)
    assert not any(verdict.is_applicable for verdict in finding.verdicts)


def test_fresh_seeds_are_fresh_whatever_the_searchs_own(make_family: MakeFamily) -> None:
    """Luck on a seed must not confirm itself."""
    own = range(FIRST_FRESH_SEED, FIRST_FRESH_SEED + 3)
    finding = Search(Ruler(is_fast), make_family(seeds=own)).trial(LR_X4)
    assert finding.confirmation is not None
    assert not set(own) & set(finding.confirmation[1].seeds)


def test_a_training_that_diverges_ends_no_search(make_family: MakeFamily) -> None:
    """It is no small change, and a measure of nothing may be NaN."""
    huge = Perturbation("huge", lambda recipe: recipe.replace(optimizer=SGD(lr=1e30)))
    search = Search(lambda network: network.train_loss, make_family(), name="loss")
    assert search.trial(huge).status == INCONCLUSIVE


def test_fresh_networks_are_paid_from_the_same_budget(make_family: MakeFamily) -> None:
    """A search that cannot confirm says so, and does not report."""
    settings = make_family().settings
    runs = len(settings.sizes) * len(settings.seeds)
    search = Search(Ruler(is_fast), GrowingFamily(settings, budget=TrainingBudget(2 * runs)))
    with pytest.raises(BudgetError, match="are needed"):
        search.trial(LR_X4)


class SimulatedFamily(GrowingFamily):
    """Gives curves made by hand: a function of perturbation and seeds, and of no network."""

    def __init__(
        self, settings: AuditSettings, draw: Callable[[str, tuple[int, ...]], Lines]
    ) -> None:
        super().__init__(settings)
        self._draw = draw

    def with_seeds(self, seeds: Iterable[int]) -> SimulatedFamily:
        """Return the family of other seeds."""
        return SimulatedFamily(replace(self.settings, seeds=tuple(seeds)), self._draw)

    def curves(
        self,
        measure: Measure,
        *perturbations: Perturbation,
        alpha: float | None = None,
        name: str | None = None,
    ) -> LearningCurves:
        """Return power laws; test error does not move at all."""
        level = self.settings.alpha if alpha is None else alpha
        seeds = self.settings.seeds
        still = Lines(np.full(len(seeds), -0.3), np.full(len(seeds), -0.5))
        names = [BASELINE, *(each.name for each in perturbations)]
        curves = make_curves(
            {each: self._draw(each, seeds) for each in names}, dict.fromkeys(names, still)
        )

        def at_level(curve: LearningCurve) -> LearningCurve:
            return replace(curve, alpha=level)

        return replace(
            curves,
            alpha=level,
            seeds=seeds,
            measure={each: at_level(curve) for each, curve in curves.measure.items()},
            error={each: at_level(curve) for each, curve in curves.error.items()},
        )


def changes(number: int) -> list[Perturbation]:
    """Return so many perturbations of different names."""
    return [
        Perturbation(f"change-{place}", lambda recipe: recipe.replace(batch_size=3))
        for place in range(number)
    ]


def unused(network: TrainedNetwork) -> float:
    """Never be asked: curves are made by hand."""
    raise AssertionError("asked")


def simulated(draw: Callable[[str, tuple[int, ...]], Lines], **options: Any) -> SimulatedFamily:
    """Return a family of six seeds whose curves are drawn."""
    plain = {"sizes": (16, 32, 64, 128), "seeds": 6, "alpha": ALPHA, "ladder": "none"}
    return SimulatedFamily(resolve_settings({**plain, **options}), draw)


def always_broken(name: str, seeds: tuple[int, ...]) -> Lines:
    """Return lines that every change turns round, a little uncertain."""
    slope = -0.3 if name == BASELINE else 0.9
    scatter = 1e-3 * np.linspace(-1, 1, len(seeds))
    return Lines(slope + scatter, slope - scatter)


def test_levels_add_up_to_alpha() -> None:
    """The k-th confirmation has alpha / (k (k + 1)), shared by the checks to be confirmed."""
    search = Search(unused, simulated(always_broken))
    found = [search.trial(each) for each in changes(40)]
    assert {finding.status for finding in found} == {BROKEN}
    spent = 0.0
    for k, finding in enumerate(found, start=1):
        suspects = [verdict for verdict in finding.verdicts if verdict.status == BROKEN]
        assert len(suspects) == 3
        assert finding.alpha == pytest.approx(ALPHA / (k * (k + 1)) / 3)
        assert finding.confirmation is not None
        assert finding.confirmation[1].alpha == finding.alpha
        spent += 3 * (finding.alpha or 0.0)
    assert spent == pytest.approx(ALPHA * (1 - 1 / 41))
    assert spent < ALPHA


def test_findings_that_need_no_confirmation_spend_nothing() -> None:
    """However many came before."""

    def late(name: str, seeds: tuple[int, ...]) -> Lines:
        return always_broken(name if name == "change-9" else BASELINE, seeds)

    search = Search(unused, simulated(late))
    found = [search.trial(each) for each in changes(10)]
    assert [finding.status for finding in found] == [KEPT] * 9 + [BROKEN]
    assert found[-1].alpha == pytest.approx(ALPHA / 2 / 3)


def noise_of(search: int, deviation: float, mean: float) -> Callable[[str, tuple[int, ...]], Lines]:
    """Return a source of lines: each perturbation and set of seeds has its own noise."""

    def draw(name: str, seeds: tuple[int, ...]) -> Lines:
        place = hashlib.sha256(f"{search} {name} {seeds}".encode()).digest()
        generator = np.random.default_rng(int.from_bytes(place[:8], "big"))
        slopes, levels = deviation * generator.standard_normal((2, len(seeds)))
        return Lines(mean + slopes, levels)

    return draw


def fooled(mean: float, deviation: float, kinds: tuple[str, ...]) -> tuple[float, float]:
    """Return the share of searches with a confirmed breakage, and with a suspect, over noise.

    No tolerance is granted, so that every breakage is one of luck.
    """
    confirmed = suspected = 0
    for number in range(SEARCHES):
        family = simulated(
            noise_of(number, deviation, mean), exponent_tolerance=0, spread_tolerance=0
        )
        search = Search(unused, family, kinds=kinds)
        found = [search.trial(each) for each in changes(CHANGES)]
        confirmed += any(finding.status == BROKEN for finding in found)
        suspected += any(finding.alpha is not None for finding in found)
    return confirmed / SEARCHES, suspected / SEARCHES


@pytest.mark.parametrize(
    ("mean", "kinds"),
    [(-0.5, ("exponent",)), (0.0, SEARCHED_KINDS)],
    ids=["exponent", "all"],
)
def test_a_search_is_seldom_fooled(mean: float, kinds: tuple[str, ...]) -> None:
    """Over ten perturbations that change nothing, at a rate of alpha at most.

    Unconfirmed, a third of the searches or more would report something.
    """
    confirmed, suspected = fooled(mean, 0.05, kinds)
    assert confirmed <= BOUND
    assert suspected > 0.3


def test_a_search_still_finds_what_breaks() -> None:
    """What moves by ten times the noise is confirmed, however many came before."""

    def draw(name: str, seeds: tuple[int, ...]) -> Lines:
        plain = noise_of(0, 0.05, -0.5)(name, seeds)
        return plain if name == BASELINE else Lines(plain.slopes + 0.5, plain.levels)

    search = Search(unused, simulated(draw), kinds=("exponent",))
    assert all(search.breaks(each) for each in changes(8))
