"""What every kind of check says of itself: what it asserts, needs, finds and tells people."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from pytest_fragility.checks.check import Check, Needs
from pytest_fragility.checks.provenance import level_of, seeds_option, values_from
from pytest_fragility.checks.quantities import Quantity
from pytest_fragility.checks.tolerances import Tolerances
from pytest_fragility.checks.verdicts import (
    BROKEN,
    INADMISSIBLE,
    INCONCLUSIVE,
    KEPT,
    Record,
    SlopeEvidence,
    Verdict,
)
from pytest_fragility.checks.wording import Table
from pytest_fragility.errors import AuditFailure, CheckBroken, CheckInconclusive
from pytest_fragility.perturbations import BASELINE

if TYPE_CHECKING:
    from pytest_fragility.curves import LearningCurves

# what a verdict is about
MEASURE, AUDIT, NOTHING = "measure", "audit", "nothing"
# what it rests on
RECIPES, TASKS, PAIRS, SEARCH = "recipes", "tasks", "pairs", "search"
# what of a learning curve it looks at
SLOPE, LEVEL = "slope", "level"


@dataclass(frozen=True)
class Asked:
    """What an audit's checks are planned from.

    Parameters
    ----------
    kinds
        As ``checks=`` names them.
    perturbations
        Names.
    stops
        Names of those that change nothing but where the training stops.
    axes
        Along which breaking points are located.
    """

    kinds: tuple[str, ...]
    perturbations: tuple[str, ...]
    stops: tuple[str, ...]
    axes: tuple[str, ...]
    # whether any kind looks at perturbations, and whether any rests on learning curves
    with_perturbations: bool
    with_curves: bool


class Section:
    """A part of a report: what checks of one kind, or of a few, say together.

    Attributes
    ----------
    title, note
        Stand above it on the page; a title may name fields of a record, and is empty where the page
        has another place for it.
    has_verdicts
        Whether the page tells each check's verdict and reason above the numbers.
    draws_tasks
        Whether the page shows the ladder's tasks with their figures there.
    """

    title = note = ""
    has_verdicts = False
    draws_tasks = False

    def shows(self, record: Record) -> bool:
        """Return whether a check has a place in it."""
        return True

    def lines(self, kinds: Sequence[Kind], records: Sequence[Record]) -> list[str]:
        """Return the terminal's lines; 80 columns at most.

        Parameters
        ----------
        kinds
            All that have this section.
        records
            Those of the audit's that have a place in it.
        """
        raise NotImplementedError

    def tables(self, records: Sequence[Record]) -> list[Table]:
        """Return what the page shows of the same records."""
        return []

    def changes(self, records: Sequence[Record]) -> list[tuple[Record, str, str]]:
        """Return what the page shows with a verdict each: what was changed, and a number."""
        return []


class Kind:
    """A kind of check. Each is one file, and has a line in `pytest_fragility.checks.registry`.

    Attributes
    ----------
    id
        In the ids of its checks, and in records.
    asked_as
        In ``checks=``; empty for what comes along with others.
    asserts
        What it demands, in a few words.
    about
        ``measure``, ``audit`` (whether that can be trusted), or ``nothing``: it asserts nothing.
    rests_on
        ``recipes``: learning curves under these. ``tasks``: such curves over a ladder. ``pairs``:
        networks with the same function. ``search``: trainings that depend on what was found.
    looks_at
        Of learning curves: ``slope`` or ``level``; empty for another thing, or none.
    compares_recipes
        Whether each of its checks compares one recipe with the baseline.
    of_any_recipe
        Whether it can be asked about any recipe, so that a search can look for one that breaks it.
    over_perturbations
        Whether it looks at the perturbations that an audit asks for.
    is_default, on_linear
        Whether it is made where ``checks=`` is not given, and where the scale is linear.
    counts_admissible
        Whether its verdict is that of each perturbation's admissibility, and of nothing else.
    is_excusable
        Whether it may fail as it did in a saved baseline.
    options
        Settings that would be of no use without it, or others that name them.
    needs
        What it cannot do without, and what is said where there is none.
    section
        Where reports tell of it, besides the evidence; None for nowhere.
    """

    id: str
    asked_as = ""
    asserts = ""
    about = MEASURE
    rests_on = RECIPES
    looks_at = ""
    compares_recipes = False
    of_any_recipe = False
    over_perturbations = False
    is_default = True
    on_linear = False
    counts_admissible = False
    is_excusable = True
    options: Collection[str] = ()
    needs: ClassVar[Mapping[str, str]] = {}
    section: Section | None = None

    def plan(self, asked: Asked) -> list[Check]:
        """Return its checks in an audit."""
        return self.checks(asked) if self.asked_as in asked.kinds else []

    def checks(self, asked: Asked) -> list[Check]:
        """Return its checks where it is asked for."""
        return [Check(self.id)]

    def networks(self, check: Check) -> Needs:
        """Return which networks a check needs."""
        return Needs(frozenset(check.recipes), with_ladder=self.rests_on == TASKS)

    def judge(self, check: Check, curves: LearningCurves, tolerances: Tolerances) -> Verdict:
        """Return the verdict of one check; inconclusive where the baseline has no curve."""
        if BASELINE in curves.unfinished:
            reason = f"the baseline itself cannot be judged: {curves.unfinished[BASELINE]}"
            return self.inconclusive(check, reason)
        for recipe in (BASELINE, check.perturbation):
            if recipe in curves.incomplete:
                reason = f"{recipe} cannot be judged: {curves.incomplete[recipe]}"
                return self.inconclusive(check, reason)
        return self.judge_curves(check, curves, tolerances)

    def judge_curves(self, check: Check, curves: LearningCurves, tolerances: Tolerances) -> Verdict:
        """Return the verdict of one check, of which the baseline's curve is known."""
        raise NotImplementedError

    def inconclusive(self, check: Check, reason: str) -> Verdict:
        """Return the verdict of a check without numbers."""
        return Verdict(check, INCONCLUSIVE, reason, applies=self.about != NOTHING)

    def slopes(self, verdict: Verdict) -> SlopeEvidence | None:
        """Return the numbers of the learning curves that a verdict rests on, if it does."""
        return None

    def error(self, verdict: Verdict) -> type[AuditFailure]:
        """Return what is raised where a check is not kept."""
        return CheckBroken if verdict.status == BROKEN else CheckInconclusive

    def subject(self, record: Record) -> str:
        """Return what a check is about: a perturbation's name, a symmetry's, or what it is."""
        subject: str = record["change"] or record["perturbation"]
        return subject

    def quantities(self, record: Record) -> dict[str, Quantity]:
        """Return a check's numbers, by what JUnit XML calls them."""
        return {}

    def quantity(self, record: Record) -> Quantity | None:
        """Return the number that a verdict rests on; None where it rests on no single one."""
        return next(iter(self.quantities(record).values()), None)

    def headline(self, record: Record) -> str:
        """Return check, verdict and change, as they stand behind the measure's name."""
        verdict = record["verdict"].upper() if record["verdict"] == BROKEN else record["verdict"]
        return f"{record['kind']} {verdict}{self.under(record)}"

    def under(self, record: Record) -> str:
        """Return under which change, such as `` under adam``; empty for the baseline."""
        name = record["perturbation"]
        return "" if name == BASELINE else f" under {name}"

    def numbers(self, record: Record) -> list[str]:
        """Return the lines of a failure's message that give the numbers of the evidence."""
        return []

    def test_error(self, record: Record) -> list[str]:
        """Return the lines of a failure's message that say what test error did."""
        return []

    def place(self, record: Record) -> str:
        """Return where a verdict was reached, such as ``task digits``."""
        return f"task {record['task']}"

    def basis(self, record: Record) -> str:
        """Return what a verdict rests on: seeds, sizes, place and level."""
        unpaired = ", unpaired (Welch's t)" if record.get("unpaired") else ""
        return (
            f"{len(record['seeds'])} seeds, n = {record['sizes'][0]}..{record['sizes'][-1]}, "
            f"{self.place(record)}, {level_of(record, ' over seeds')}{unpaired}"
            f"{values_from(record)}"
        )

    def certainty(self, record: Record) -> str:
        """Return what a verdict rests on, and what would decide it; without a full stop."""
        basis = self.basis(record)
        if record["verdict"] in (BROKEN, KEPT) or (
            not record["evidence"] and record["admissibility"] != INADMISSIBLE
        ):
            return basis
        if record["admissibility"] == INADMISSIBLE:
            return f"{basis}. Leave {record['perturbation']} out, or choose a smaller change"
        needed = record["seeds_needed"]
        if needed is None:
            return f"{basis}. More than 200 seeds would be needed to decide, if any number does"
        option = seeds_option(record, needed)
        return f"{basis}. About {needed} seeds would probably decide ({option})"

    def note(self, record: Record) -> str:
        """Return what stands below the terminal's table where a check is kept; mostly nothing."""
        return ""

    def table(self, record: Record) -> Table | None:
        """Return the numbers of a check's evidence, for the page: by default, its section's."""
        return next(iter(self.section.tables([record]) if self.section else []), None)

    def texts(self, record: Record) -> list[str]:
        """Return what else the page says of the evidence, one or two sentences each."""
        return []
