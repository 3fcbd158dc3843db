"""Verdicts as assertions: what the generated checks and hand-written tests both use."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pytest_fragility._util.text import nearest
from pytest_fragility.auditing.finding import assert_kept
from pytest_fragility.auditing.growing_families import FamilySource, GrowingFamily
from pytest_fragility.auditing.search import Search
from pytest_fragility.checks.check import Check
from pytest_fragility.checks.records import check_record
from pytest_fragility.checks.verdicts import KEPT, Verdict
from pytest_fragility.errors import (
    CheckBroken,
    SettingsError,
)
from pytest_fragility.measures.measure import Measure, measure_name
from pytest_fragility.perturbations import (
    BASELINE,
    Perturbation,
    along_axis,
    changes_recipe,
    get_perturbation,
)
from pytest_fragility.report.failure_message import withstanding_message
from pytest_fragility.settings import AuditSettings

if TYPE_CHECKING:
    from pytest_fragility.curves import LearningCurves


def _require_recipe(curves: LearningCurves, name: str) -> None:
    if name not in curves.recipes:
        raise SettingsError(
            f"no perturbation {name!r}{nearest(name, curves.recipes)}; these curves have "
            f"{', '.join(curves.recipes)}"
        )


def known_of_smaller(search: Search, perturbation: Perturbation) -> list[str]:
    """Return sentences on what smaller changes do."""
    parts = perturbation.single_changes
    if len(parts) > 1:
        alone = {part.name: search.breaks(part) for part in parts}
        return [
            f"{name} alone {'breaks it too' if is_broken else 'does not break it'}"
            for name, is_broken in alone.items()
        ]
    kept = search.largest_kept(perturbation)
    if kept is not None:
        status = search.trial(kept).status
        how = "keeps it" if status == KEPT else "does not break it"
        return [f"The largest smaller change on this axis, {kept.name}, {how}"]
    return [f"No smaller change than {perturbation.name} is in the catalogue, or all break it"]


class FragilityAsserts:
    """The session's settings, and the asserts that the checks use.

    Parameters
    ----------
    settings
        Of the session; each assert can be told another tolerance.
    families
        Where networks are trained on demand, for `assert_withstands`; made from the settings where
        it is not given.
    settings_now
        Returns the settings of the running test, for `assert_withstands`; the session's where it
        is not given.
    """

    def __init__(
        self,
        settings: AuditSettings,
        families: FamilySource | None = None,
        settings_now: Callable[[], AuditSettings] | None = None,
    ) -> None:
        self.settings = settings
        self.tolerances = settings.tolerances
        self._families = families or FamilySource()
        self._settings_now = settings_now or (lambda: settings)
        self._searches: dict[Hashable, Search] = {}

    def __repr__(self) -> str:
        return "fragility"

    def assert_trend_kept(
        self, curves: LearningCurves, perturbation: str = BASELINE, *, trend: str | None = None
    ) -> Verdict:
        """Assert that the slope keeps its sign under a perturbation.

        For the baseline: that it has the sign of test error's, or the one that `trend` names.

        Parameters
        ----------
        curves
            With the perturbation among their recipes.
        perturbation
            A name; the baseline where none is given.
        trend
            ``error``, ``increasing`` or ``decreasing``, in place of the session's.

        Raises
        ------
        AuditFailure
            If it does not, or the seeds do not decide.
        """
        __tracebackhide__ = True
        _require_recipe(curves, perturbation)
        return self._assert(Check("trend", perturbation), curves, trend=trend)

    def assert_exponent_kept(
        self, curves: LearningCurves, perturbation: str, *, tolerance: float | None = None
    ) -> Verdict:
        """Assert that the exponent stays within tolerance of the baseline's.

        Parameters
        ----------
        curves
            With the perturbation among their recipes.
        perturbation
            A name.
        tolerance
            In place of the session's.

        Raises
        ------
        AuditFailure
            If it does not, or the seeds do not decide.
        """
        __tracebackhide__ = True
        return self._assert_change("exponent", curves, perturbation, tolerance)

    def assert_spread_kept(
        self, curves: LearningCurves, perturbation: str, *, tolerance: float | None = None
    ) -> Verdict:
        """Assert that the value at fixed n stays within tolerance, in decades.

        Parameters
        ----------
        curves
            With the perturbation among their recipes.
        perturbation
            A name.
        tolerance
            In place of the session's.

        Raises
        ------
        AuditFailure
            If it does not, or the seeds do not decide.
        """
        __tracebackhide__ = True
        return self._assert_change("spread", curves, perturbation, tolerance)

    def assert_complexity_kept(
        self,
        curves: LearningCurves,
        quantity: str = "exponent",
        *,
        least_sensitivity: float | None = None,
    ) -> Verdict:
        """Assert that exponents, or levels, follow test error's over the ladder.

        Parameters
        ----------
        curves
            With a ladder.
        quantity
            ``exponent`` or ``level``.
        least_sensitivity
            In place of the session's.

        Raises
        ------
        AuditFailure
            If they do not, or the seeds do not decide.
        """
        __tracebackhide__ = True
        if quantity not in ("exponent", "level"):
            raise SettingsError(f"quantity {quantity!r}: expected exponent or level")
        return self._assert(Check(f"complexity-{quantity}"), curves, sensitivity=least_sensitivity)

    def assert_stopping_kept(
        self, curves: LearningCurves, checkpoint: str, *, tolerance: float | None = None
    ) -> Verdict:
        """Assert that sign and exponent stay as they are where the training stops elsewhere.

        Parameters
        ----------
        curves
            With the checkpoint among their recipes.
        checkpoint
            A perturbation's name, such as ``past-x2``.
        tolerance
            Of the exponent, in place of the session's.

        Raises
        ------
        AuditFailure
            If they do not, or the seeds do not decide.
        """
        __tracebackhide__ = True
        return self._assert_change("stopping", curves, checkpoint, tolerance)

    def assert_symmetry_kept(
        self, curves: LearningCurves, symmetry: str, *, tolerance: float | None = None
    ) -> Verdict:
        """Assert that the value stays as it is under a symmetry, such as ``permutation``.

        Parameters
        ----------
        curves
            Over a family with networks of the same function.
        symmetry
            Such as ``permutation``.
        tolerance
            In decades, in place of the session's.

        Raises
        ------
        AuditFailure
            If it does not, or the symmetry does not apply.
        """
        __tracebackhide__ = True
        return self._assert_invariance("symmetry", curves, symmetry, tolerance)

    def assert_equivalence_kept(
        self, curves: LearningCurves, equivalence: str, *, tolerance: float | None = None
    ) -> Verdict:
        """Assert that two trainings with the same function give the same value.

        Parameters
        ----------
        curves
            Over a family with networks of the same function.
        equivalence
            Such as ``exponential-rate``.
        tolerance
            In decades, in place of the session's.

        Raises
        ------
        AuditFailure
            If they do not, or the measure is not defined there.
        """
        __tracebackhide__ = True
        return self._assert_invariance("equivalence", curves, equivalence, tolerance)

    def assert_withstands(
        self,
        measure: Measure,
        perturbation: Perturbation | str,
        *,
        checks: Sequence[str] | None = None,
        name: str | None = None,
    ) -> None:
        """Assert that no check of a measure is broken under a perturbation; for property tests.

        Networks are trained on demand, with the settings of the test's marker. A breakage is
        raised only where fresh seeds confirm it, at a level that is shared out over all
        confirmations, since a search over many perturbations finds some that break by luck. What
        is inconclusive, or no small change, passes: nothing was found, and nothing is certified.

        Parameters
        ----------
        measure
            A function of one `TrainedNetwork`.
        perturbation
            The change, or its name.
        checks
            Of ``trend``, ``exponent`` and ``spread``; all by default.
        name
            What the message calls the measure; its ``__name__`` by default.

        Raises
        ------
        CheckBroken
            If fresh seeds confirm a breakage; the message names the largest smaller change on the
            same axis that is kept.
        BudgetError
            If more networks would be trained than the budget has left.
        SettingsError
            If the measure is another object at each call.
        """
        __tracebackhide__ = True
        chosen = get_perturbation(perturbation) if isinstance(perturbation, str) else perturbation
        search = self._search(measure, tuple(checks or ()), name)
        self.train_ahead(each for part in chosen.single_changes for each in along_axis(part))
        trial = search.trial(chosen)
        if trial.confirmation is None:
            return
        verdict, curves = trial.confirmation
        message = withstanding_message(
            check_record(curves, verdict),
            alpha=trial.alpha or 0.0,
            smaller=known_of_smaller(search, chosen),
            code=chosen.code or None,
        )
        raise CheckBroken(message, verdict)

    def _search(
        self,
        measure: Measure,
        checks: tuple[str, ...],
        name: str | None,
    ) -> Search:
        """Return the search for this measure, the same one each time."""
        family = self._family_now()
        called = measure_name(measure, name)
        # what a test defines anew at each example has its code in common
        place = called, family, checks, getattr(measure, "__code__", type(measure))
        if place not in self._searches:
            self._searches[place] = Search(measure, family, kinds=checks or None, name=called)
        if self._searches[place].measure is not measure:
            raise SettingsError(
                f"measure {called}: another one of this name was asked about in this test. Define "
                "it outside of the test, so that the search remembers what it has seen; or tell "
                "the two apart with name='...'"
            )
        return self._searches[place]

    def train_ahead(self, perturbations: Iterable[Perturbation]) -> None:
        """Train the running test's family under all perturbations that change its baseline."""
        family = self._family_now()
        baseline = family.settings.recipe
        family.grow([each for each in perturbations if changes_recipe(each, baseline)])

    def _family_now(self) -> GrowingFamily:
        """Return the family with the settings of the running test."""
        return self._families.family_of(self._settings_now())

    def _assert_change(
        self, kind: str, curves: LearningCurves, perturbation: str, tolerance: float | None
    ) -> Verdict:
        __tracebackhide__ = True
        _require_recipe(curves, perturbation)
        if perturbation == BASELINE:
            raise SettingsError("the baseline cannot be compared with itself; name a perturbation")
        check = Check(kind, perturbation)
        return self._assert(check, curves, exponent=tolerance, spread=tolerance)

    def _assert_invariance(
        self, kind: str, curves: LearningCurves, change: str, tolerance: float | None
    ) -> Verdict:
        __tracebackhide__ = True
        check = Check(kind, change=change)
        if check.id not in curves.invariances:
            raise SettingsError(
                f"no {kind} {change!r}{nearest(check.id, curves.invariances)}; these curves have "
                f"{', '.join(curves.invariances)}"
            )
        return self._assert(check, curves, invariance=tolerance)

    def _assert(self, check: Check, curves: LearningCurves, **tolerances: Any) -> Verdict:
        """Assert that a check is kept, with tolerances in the place of the session's."""
        __tracebackhide__ = True
        given = {name: value for name, value in tolerances.items() if value is not None}
        return assert_kept(check, curves, replace(self.tolerances, **given))
