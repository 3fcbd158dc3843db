"""How audits run: networks are trained, a measure is asked about them, checks are judged.

A call of `audit` and a session of pytest both add their requests to an engine and ask it what
became of each check. What all requests need is then trained together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

from pytest_fragility.auditing.finding import Failure, Finding
from pytest_fragility.auditing.from_settings import Trainer, curves_for_audit, plan_of, train_plans
from pytest_fragility.auditing.result import AuditResult
from pytest_fragility.auditing.staged_seeds import StagedAudit
from pytest_fragility.checks.check import Check, Needs
from pytest_fragility.checks.kind import SEARCH
from pytest_fragility.checks.registry import kind_of, needs_of_all
from pytest_fragility.errors import FragilityError

if TYPE_CHECKING:
    from pytest_fragility.auditing.growing_families import FamilySource
    from pytest_fragility.auditing.search import Search
    from pytest_fragility.curves import LearningCurves
    from pytest_fragility.families.family import Family
    from pytest_fragility.families.plan import FamilyPlan
    from pytest_fragility.measures.measure import Measure
    from pytest_fragility.settings import AuditSettings

# a measure, or a table's column, and what reports call it
Loaded = tuple["Measure | str", "str | None"]


@dataclass(frozen=True)
class Request:
    """One audit of one measure, by a call, a marker or the command line.

    Parameters
    ----------
    key
        What it is called.
    settings
        What is asked.
    load
        Returns the measure, or a table's column, and its name: a measure that the command line
        names is imported when it is asked about.
    checks
        Those that are asked for.
    needs
        Networks that are trained whatever the checks look at: all of a call's, and those that a
        test of one's own design looks at. None where the checks' own are enough.
    """

    key: str
    settings: AuditSettings
    load: Callable[[], Loaded]
    checks: tuple[Check, ...] = ()
    needs: Needs | None = None

    def joined(self, other: Request) -> Request:
        """Return one request for what both ask for."""
        needs = [each.needs for each in (self, other) if each.needs]
        return replace(
            self,
            checks=tuple(dict.fromkeys((*self.checks, *other.checks))),
            needs=needs[0] | needs[-1] if needs else None,
        )

    def way_of(self, check: Check) -> type[AtOnce] | type[StagedAudit]:
        """Return how a check is judged; a search along an axis stands on networks trained at once.

        The only place that asks which.
        """
        is_staged = self.settings.looks and kind_of(check).rests_on != SEARCH
        return StagedAudit if is_staged else AtOnce

    def checks_of(self, way: type) -> list[Check]:
        """Return the checks that are judged in one way."""
        return [check for check in self.checks if self.way_of(check) is way]

    def trains(self, way: type) -> bool:
        """Return whether networks are trained for it in one way."""
        for_tests = way is AtOnce and self.needs is not None
        return self.settings.given is None and (for_tests or bool(self.checks_of(way)))


class Strategy(Protocol):
    """One way to judge checks of an audit: how many rounds of training it takes, and which."""

    @property
    def is_open(self) -> bool:
        """Whether networks are to be trained before checks are judged."""

    def plan(self) -> FamilyPlan:
        """Return what the next round of training is to give."""

    def take(self, family: Family) -> None:
        """Take what was trained."""

    def finding(self, check: Check) -> Finding:
        """Return what became of a check."""


class AtOnce:
    """Judges checks on networks that are trained in one go, or on what exists already.

    Parameters
    ----------
    request
        With all that is asked for.
    ahead
        As `learning_curves` takes it.
    """

    def __init__(self, request: Request, *, ahead: bool) -> None:
        self._request = request
        self._ahead = ahead
        self.family: Family | None = None

    @property
    def is_open(self) -> bool:
        """Whether networks are to be trained."""
        return self.family is None and self._request.settings.given is None

    def plan(self) -> FamilyPlan:
        """Return what the checks need, and what else the request asks for."""
        needs = needs_of_all(self._request.checks_of(AtOnce))
        return plan_of(self._request.settings, needs | (self._request.needs or Needs()))

    def take(self, family: Family) -> None:
        """Keep what was trained."""
        self.family = family

    @cached_property
    def curves(self) -> LearningCurves:
        """The measure's learning curves."""
        settings = self._request.settings
        measure, name = self._request.load()
        family = self.family if settings.given is None else settings.given
        assert family is not None
        return curves_for_audit(measure, family, settings, name=name, ahead=self._ahead)

    def finding(self, check: Check) -> Finding:
        """Judge a check."""
        __tracebackhide__ = True
        return Finding.of(check, self.curves, self._request.settings.tolerances)


WAYS: tuple[type, ...] = (AtOnce, StagedAudit)


class Engine:
    """All audits of a call or of a session: what they need together is trained together.

    Parameters
    ----------
    train
        Trains families.
    layers
        Options that `families` take where a request does not say; the first source first.
    shares_checks
        Whether other processes judge some of the checks: no curves are worked out ahead then, and
        looks are taken one audit at a time, since each process would ask all measures about all
        networks.
    """

    def __init__(
        self,
        train: Trainer = train_plans,
        layers: Sequence[Mapping[str, Any]] = (),
        *,
        shares_checks: bool = False,
    ) -> None:
        self._train = train
        self._layers = layers
        self._shares_checks = shares_checks
        self._together = True
        self._requests: dict[str, Request] = {}
        self._strategies: dict[tuple[str, type], Strategy] = {}
        self._failures: dict[tuple[str, type], Failure] = {}
        self._searches: dict[str, Search] = {}

    def add(self, request: Request) -> None:
        """Note what is asked for; nothing is trained, and no torch is imported.

        Several requests of one key are one audit: each adds its checks and needs.
        """
        known = self._requests.get(request.key)
        joined = known.joined(request) if known else request
        if joined != known:
            self._requests[request.key] = joined
            for way in WAYS:
                # what is asked for late is trained anew, or read from the store
                self._strategies.pop((request.key, way), None)

    @property
    def trains(self) -> bool:
        """Whether networks are trained for what is asked for."""
        return any(request.trains(way) for request in self._requests.values() for way in WAYS)

    @cached_property
    def families(self) -> FamilySource:
        """Where networks are trained on demand, within one budget for all."""
        from pytest_fragility.auditing.growing_families import FamilySource

        return FamilySource(*self._layers, train=self._train)

    def family(self, key: str) -> Family:
        """Return the networks of an audit; the first call trains what all requests need."""
        family = self._at_once(key).family
        assert family is not None
        return family

    def curves(self, key: str) -> LearningCurves:
        """Return the learning curves of an audit's measure, on networks that are trained at once.

        The measure is asked about them when a curve is first asked for.
        """
        return self._at_once(key).curves

    def finding(self, key: str, check: Check) -> Finding:
        """Return what became of a check.

        Raises
        ------
        FragilityError
            If there is nothing to judge it on: networks cannot be trained, or there is no measure.
        """
        __tracebackhide__ = True
        if kind_of(check).rests_on == SEARCH:
            return self._located(key, check)
        return self._settled(key, self._requests[key].way_of(check)).finding(check)

    def result(self, key: str) -> AuditResult:
        """Return what became of all checks of an audit.

        Raises
        ------
        FragilityError
            If no verdict is left that looks at the measure: what kept the first check from one.
        """
        checks = self._requests[key].checks
        return AuditResult.of([self.finding(key, check) for check in checks])

    def _located(self, key: str, check: Check) -> Finding:
        """Search along one axis."""
        from pytest_fragility.auditing.bisection import locate
        from pytest_fragility.auditing.search import Search

        curves = self.curves(key)
        if key not in self._searches:
            request = self._requests[key]
            measure, name = request.load()
            assert not isinstance(measure, str)
            family = self.families.family_of(request.settings)
            self._searches[key] = Search(measure, family, name=name)
        try:
            return Finding(check, curves, locate(check, self._searches[key]))
        except FragilityError as error:
            return Finding.without_verdict(check, curves, error)

    def _at_once(self, key: str) -> AtOnce:
        strategy = self._settled(key, AtOnce)
        assert isinstance(strategy, AtOnce)
        return strategy

    def _settled(self, key: str, way: type) -> Strategy:
        """Return an audit's strategy once it has its networks; the first call trains for all.

        Where that fails, each audit is trained for itself, so that one that cannot be does not
        take the others along; its error is raised again for each of its tests.
        """
        __tracebackhide__ = True
        if (key, way) in self._failures:
            raise self._failures[key, way].again()
        wanted = self._strategy(key, way)
        if not wanted.is_open:
            return wanted
        is_alone = not self._together or (self._shares_checks and way is StagedAudit)
        waiting = [each for each in self._requests if each == key or self._waits(each, way)]
        keys = [key] if is_alone else waiting
        try:
            self._train_for({each: self._strategy(each, way) for each in keys})
        except Exception as error:
            if keys == [key]:
                self._failures[key, way] = Failure(error, error.__traceback__)
                raise
            self._together = False
            for each in keys:
                if (each, way) in self._strategies and self._strategies[each, way].is_open:
                    del self._strategies[each, way]
            return self._settled(key, way)
        return wanted

    def _waits(self, key: str, way: type) -> bool:
        """Return whether networks are yet to be trained for an audit."""
        strategy = self._strategies.get((key, way))
        is_open = strategy is None or strategy.is_open
        return self._requests[key].trains(way) and is_open and (key, way) not in self._failures

    def _strategy(self, key: str, way: type) -> Strategy:
        if (key, way) not in self._strategies:
            request = self._requests[key]
            self._strategies[key, way] = (
                AtOnce(request, ahead=not self._shares_checks)
                if way is AtOnce
                else StagedAudit(*request.load(), request.settings, request.checks_of(way))
            )
        return self._strategies[key, way]

    def _train_for(self, strategies: Mapping[str, Strategy]) -> None:
        """Train what audits need, round by round: those of one device and store together."""
        settings = {key: self._requests[key].settings for key in strategies}
        places = {key: (each.device, each.cache_dir) for key, each in settings.items()}
        for place in sorted(set(places.values()), key=str):
            here = [key for key in strategies if places[key] == place]
            while waiting := [strategies[key] for key in here if strategies[key].is_open]:
                plans = [strategy.plan() for strategy in waiting]
                families = self._train(plans, settings[here[0]])
                for strategy, family in zip(waiting, families, strict=True):
                    strategy.take(family)
