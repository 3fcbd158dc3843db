"""A search for changes that break a measure, which believes nothing that luck could have found.

Whoever looks at many perturbations finds one that seems to break any measure. So a breakage is
believed only where fresh seeds, which had no part in the search, show it again; and the chance of
being fooled is shared out over all such confirmations of a search.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from pytest_fragility.auditing.growing_families import GrowingFamily
from pytest_fragility.checks.check import Check
from pytest_fragility.checks.registry import KINDS, judge
from pytest_fragility.checks.verdicts import BROKEN, INCONCLUSIVE, KEPT, Verdict
from pytest_fragility.curves import LearningCurves
from pytest_fragility.errors import SettingsError
from pytest_fragility.measures.measure import Measure
from pytest_fragility.perturbations import Perturbation, smaller_changes

SEARCHED_KINDS = tuple(kind.id for kind in KINDS.values() if kind.of_any_recipe)
# far from the seeds that people name
FIRST_FRESH_SEED = 1_000_000
# a confirmation has a small share of alpha, which takes more seeds to decide
FRESH_FOR_EACH = 2


@dataclass(frozen=True)
class Trial:
    """What a search found out about one perturbation.

    Parameters
    ----------
    perturbation
        The change.
    status
        ``broken`` where fresh seeds confirm it, ``kept`` where every check is kept, else
        ``inconclusive``.
    verdicts
        On the search's own seeds, one for each kind of check.
    confirmation
        What fresh seeds said, with their curves; None where nothing was to be confirmed.
    alpha
        The level at which it was confirmed.
    """

    perturbation: Perturbation
    status: str
    verdicts: tuple[Verdict, ...]
    confirmation: tuple[Verdict, LearningCurves] | None = None
    alpha: float | None = None


class Search:
    """Judges one measure under one perturbation after the other.

    Parameters
    ----------
    measure
        A function of one `TrainedNetwork`.
    family
        Where networks are trained.
    kinds
        Kinds of checks, of ``trend``, ``exponent`` and ``spread``; None for all that the scale of
        the family's settings has.
    name
        What messages call the measure; its ``__name__`` by default.

    Raises
    ------
    SettingsError
        If a kind is none of these, or needs another scale.
    """

    def __init__(
        self,
        measure: Measure,
        family: GrowingFamily,
        *,
        kinds: Sequence[str] | None = None,
        name: str | None = None,
    ) -> None:
        self.measure = measure
        self._name = name
        self.family = family
        is_linear = family.settings.scale == "linear"
        possible = [kind for kind in SEARCHED_KINDS if not is_linear or KINDS[kind].on_linear]
        self._kinds = possible if kinds is None else list(kinds)
        for kind in self._kinds:
            if kind not in SEARCHED_KINDS:
                raise SettingsError(
                    f"unknown check {kind!r}: a search makes {', '.join(SEARCHED_KINDS)}"
                )
            if kind not in possible:
                raise SettingsError(
                    f"check {kind!r} needs scale='log'; on a linear scale a search makes "
                    f"{', '.join(possible)}"
                )
        own = family.settings.seeds
        first = max(FIRST_FRESH_SEED, max(own) + 1)
        self._fresh = family.with_seeds(range(first, first + FRESH_FOR_EACH * len(own)))
        self._known: dict[Hashable, Trial] = {}
        self._verdicts: dict[Hashable, tuple[Verdict, ...]] = {}
        self._confirmations = 0

    def trial(self, perturbation: Perturbation) -> Trial:
        """Return whether a perturbation breaks the measure; the same answer each time."""
        place = self._place(perturbation)
        if place not in self._known:
            self._known[place] = self._find(perturbation)
        return self._known[place]

    def curves(self, perturbation: Perturbation) -> LearningCurves:
        """Return the measure's curves on the search's own seeds."""
        return self.family.curves(self.measure, perturbation, name=self._name)

    def suspects(self, perturbation: Perturbation) -> bool:
        """Return whether a perturbation breaks the measure on the search's own seeds."""
        return bool(self._suspects(self._judged(perturbation)))

    def breaks(self, perturbation: Perturbation) -> bool:
        """Return whether a perturbation breaks the measure, confirmed on fresh seeds."""
        return self.trial(perturbation).status == BROKEN

    def largest_kept(self, perturbation: Perturbation) -> Perturbation | None:
        """Return the largest smaller change on the same axis that does not break the measure.

        None where every smaller one that the catalogue has breaks it, or where there is none.
        """
        baseline = self.family.settings.recipe
        smaller = [each for each in smaller_changes(perturbation) if each(baseline) != baseline]
        return next((each for each in smaller if not self.breaks(each)), None)

    def _find(self, perturbation: Perturbation) -> Trial:
        verdicts = self._judged(perturbation)
        suspects = self._suspects(verdicts)
        if suspects:
            return self._confirm(perturbation, verdicts, suspects)
        is_kept = bool(verdicts) and all(verdict.status == KEPT for verdict in verdicts)
        return Trial(perturbation, KEPT if is_kept else INCONCLUSIVE, verdicts)

    def _judged(self, perturbation: Perturbation) -> tuple[Verdict, ...]:
        """Return the verdicts on the search's own seeds."""
        place = self._place(perturbation)
        if place not in self._verdicts:
            curves = self.curves(perturbation)
            tolerances = self.family.settings.tolerances
            self._verdicts[place] = tuple(
                judge(Check(kind, perturbation.name), curves, tolerances) for kind in self._kinds
            )
        return self._verdicts[place]

    def _place(self, perturbation: Perturbation) -> Hashable:
        """Return what a change is known by: two of one name are not the same."""
        return perturbation.name, perturbation(self.family.settings.recipe)

    def _suspects(self, verdicts: Sequence[Verdict]) -> list[Check]:
        return [v.check for v in verdicts if v.status == BROKEN and v.is_applicable]

    def _confirm(
        self, perturbation: Perturbation, verdicts: tuple[Verdict, ...], suspects: list[Check]
    ) -> Trial:
        alpha = self._next_level() / len(suspects)
        curves = self._fresh.curves(self.measure, perturbation, alpha=alpha, name=self._name)
        tolerances = self.family.settings.tolerances
        for check in suspects:
            again = judge(check, curves, tolerances)
            if again.status == BROKEN and again.is_applicable:
                return Trial(perturbation, BROKEN, verdicts, (again, curves), alpha)
        return Trial(perturbation, INCONCLUSIVE, verdicts, None, alpha)

    def _next_level(self) -> float:
        """Return the level of the next confirmation: the levels of all add up to alpha.

        The k-th gets alpha / (k (k + 1)).
        """
        self._confirmations += 1
        return self.family.settings.alpha / (self._confirmations * (self._confirmations + 1))
