"""Whether a measure follows test error over a ladder of tasks of different complexity."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from pytest_fragility import curves as statistics
from pytest_fragility.checks.check import Check
from pytest_fragility.checks.kind import LEVEL, SLOPE, TASKS, Kind, Section
from pytest_fragility.checks.quantities import Quantity
from pytest_fragility.checks.tolerances import Tolerances
from pytest_fragility.checks.verdicts import BROKEN, INCONCLUSIVE, KEPT, Evidence, Record, Verdict
from pytest_fragility.checks.wording import (
    MARK,
    Table,
    capitalized,
    indented,
    interval,
    sensitivity,
    signed,
)
from pytest_fragility.curves import resources
from pytest_fragility.errors import SettingsError

if TYPE_CHECKING:
    from pytest_fragility.curves import (
        Estimate,
        LadderCurves,
        LearningCurve,
        LearningCurves,
        Sensitivity,
    )

LINE = 80
COLUMN = 26
TASK_COLUMN = 29
SHORT = {KEPT: "kept", BROKEN: "BROKEN", INCONCLUSIVE: "inconclusive"}
SENSITIVITY = "1 follows test error, 0 is blind"
RANKS = "1: the tasks' order is the same; -1: the opposite"


@dataclass(frozen=True)
class RungEvidence(Evidence):
    """One task of a ladder.

    Parameters
    ----------
    task
        Its name.
    measure, error
        Slope, or level in decades, of the measure and of test error.
    measure_is_bent, error_is_bent
        Whether the learning curve is no power law, so that its slope is an average.
    """

    task: str
    measure: Estimate
    error: Estimate
    measure_is_bent: bool = False
    error_is_bent: bool = False


@dataclass(frozen=True)
class LadderEvidence(Evidence):
    """What a verdict over a ladder of tasks rests on.

    Parameters
    ----------
    rungs
        One per task.
    sensitivity
        By how much the measure's exponents or levels change where test error's change by one.
    allowed
        The range that the sensitivity must lie in.
    rank_agreement
        Kendall's tau of the measure's values and test error's over the tasks.
    rank_size
        The training set size at which ranks are compared.
    """

    rungs: tuple[RungEvidence, ...]
    sensitivity: Sensitivity
    allowed: tuple[float, float]
    rank_agreement: Estimate
    rank_size: int


class Ladder(Section):
    """The tasks with test error and the measure beside them, then a verdict on each kind."""

    title = "Over the ladder {ladder}"
    note = (
        "An honest measure's exponents and levels follow test error's from task to task: "
        "sensitivity 1 follows, 0 is blind."
    )
    has_verdicts = draws_tasks = True

    def lines(self, kinds: Sequence[Kind], records: Sequence[Record]) -> list[str]:
        """Return the tasks with the numbers of the first kind, and all verdicts."""
        by_id = {kind.id: kind for kind in (EXPONENTS, LEVELS)}
        lines = indented(f"over the ladder {records[0]['ladder']}:")
        shown = [record for record in records if record["evidence"]]
        if shown:
            lines += _rung_lines(shown[0], by_id[shown[0]["kind"]])
        lines += [_verdict_line(record, by_id[record["kind"]]) for record in records]
        return [*lines, f"  {_ranks(shown[0]['evidence'])}"] if shown else lines


class Complexity(Kind):
    """The measure's exponents, or its levels, follow test error's over a ladder of tasks."""

    asked_as = "complexity"
    asserts = "exponents and levels follow test error's over a ladder of tasks"
    rests_on = TASKS
    options = ("ladder", "exponent_tolerance", "least_sensitivity")
    needs: ClassVar = {
        resources.TASKS: "it compares tasks, of which there is but one with a baseline"
    }
    section = Ladder()

    def __init__(self, quantity: str, looks_at: str, base: str) -> None:
        self.id = f"{self.asked_as}-{quantity}"
        self.values = f"{quantity}s"
        self.looks_at = looks_at
        self.base = base

    def judge(self, check: Check, curves: LearningCurves, tolerances: Tolerances) -> Verdict:
        """Return whether the measure's exponents, or its levels, follow test error's.

        Its sensitivity must be at least what the tolerance says, and at most the inverse of that,
        with its whole interval. Test error's own values must differ with certainty between some two
        tasks: a ladder without rungs convicts nobody.

        Raises
        ------
        SettingsError
            If there is no ladder.
        """
        return self.judge_ladder(check, curves.ladder, tolerances)

    def judge_ladder(
        self, check: Check, ladder: LadderCurves | None, tolerances: Tolerances
    ) -> Verdict:
        """Return what `judge` does, of a ladder's curves alone."""
        if ladder is None:
            raise SettingsError(
                f"{check.id}: these curves have no ladder; ask for one with ladder=..."
            )
        if ladder.unfinished:
            task, reason = next(iter(ladder.unfinished.items()))
            return Verdict(check, INCONCLUSIVE, f"task {task} cannot be judged: {reason}")
        is_exponent, what = self.looks_at == SLOPE, self.values
        measure, error = ladder.exponents if is_exponent else ladder.levels
        shared = ladder.shared_errors[0 if is_exponent else 1]
        found = statistics.Sensitivity.from_samples(measure, error, ladder.alpha, shared)
        allowed = (tolerances.sensitivity, 1 / tolerances.sensitivity)
        evidence = LadderEvidence(
            _rungs(ladder, tolerances.exponent, is_exponent=is_exponent),
            found,
            allowed,
            ladder.rank_agreement,
            ladder.largest_size,
        )
        differences = statistics.pairwise_differences(error, ladder.alpha, shared)
        status = _status(differences, found, allowed)
        if status == INCONCLUSIVE:
            reason = (
                f"the {what}' sensitivity: the interval straddles the tolerance"
                if _differ(differences)
                else f"test error's {what} do not differ with certainty over this ladder"
            )
            needed = statistics.seeds_needed(
                found.seeds,
                lambda seeds: (
                    _status(
                        [difference.with_seeds(seeds) for difference in differences],
                        found.with_seeds(seeds),
                        allowed,
                    )
                    != INCONCLUSIVE
                ),
            )
            return Verdict(check, INCONCLUSIVE, reason, evidence, seeds_needed=needed)
        return Verdict(check, status, _reason(status, what, found, allowed), evidence)

    def subject(self, record: Record) -> str:
        """Return exponents or levels."""
        return self.values

    def under(self, record: Record) -> str:
        """Return over which ladder."""
        return f" over {record['ladder']}"

    def quantities(self, record: Record) -> dict[str, Quantity]:
        """Return the sensitivity."""
        found = record["evidence"].get("sensitivity")
        return {"sensitivity": Quantity.of(record, "sensitivity", found)} if found else {}

    def place(self, record: Record) -> str:
        """Return under which recipe all tasks were learned."""
        return f"baseline {record['baseline']}"

    def numbers(self, record: Record) -> list[str]:
        """Return the tasks, then both columns on one line, and how far one follows the other."""
        evidence = record["evidence"]
        low, high = evidence["allowed"]
        error, measure = (
            " -> ".join(f"{self.base}^{rung[whose]['mean']:+.2f}" for rung in evidence["rungs"])
            for whose in ("error", "measure")
        )
        texts = (
            f"test error {error}, {record['measure']} {measure}: "
            f"sensitivity {sensitivity(evidence['sensitivity'])}",
            f"({SENSITIVITY}; allowed {low:.2f} to {high:.2f})",
            f"{_ranks(evidence)} ({RANKS})",
        )
        told = [line for text in texts for line in indented(text, more="")]
        return [*_rung_lines(record, self), "", *told]

    def table(self, record: Record) -> Table:
        """Return a row for each task."""
        rows = [
            [rung["task"], interval(rung["measure"]), interval(rung["error"])]
            for rung in record["evidence"]["rungs"]
        ]
        return Table(["task", "measure", "test error"], rows)

    def texts(self, record: Record) -> list[str]:
        """Return how far the measure follows, by sensitivity and by ranks."""
        found = record["evidence"]
        low, high = found["allowed"]
        return [
            f"Sensitivity {sensitivity(found['sensitivity'])}, allowed {low:.2f} to {high:.2f} "
            f"({SENSITIVITY}).",
            f"{capitalized(_ranks(found))} ({RANKS}).",
        ]


def _rungs(
    ladder: LadderCurves, tolerance: float, *, is_exponent: bool
) -> tuple[RungEvidence, ...]:
    quantity = "slope" if is_exponent else "level"
    return tuple(
        RungEvidence(
            task,
            getattr(ladder.measure[task], quantity),
            getattr(error, quantity),
            measure_is_bent=is_exponent and _is_bent(ladder.measure[task], tolerance),
            error_is_bent=is_exponent and _is_bent(error, tolerance),
        )
        for task, error in ladder.error.items()
    )


def _is_bent(curve: LearningCurve, tolerance: float) -> bool:
    return bool(statistics.bent_parts(curve, tolerance=tolerance, alpha=curve.alpha))


def _differ(differences: list[Estimate]) -> bool:
    return any(difference.sign != 0 for difference in differences)


def _status(
    differences: list[Estimate], sensitivity: Sensitivity, allowed: tuple[float, float]
) -> str:
    least, most = allowed
    if not _differ(differences):
        return INCONCLUSIVE
    if least <= sensitivity.low and sensitivity.high <= most:
        return KEPT
    if sensitivity.high < least or sensitivity.low > most:
        return BROKEN
    return INCONCLUSIVE


def _reason(status: str, what: str, sensitivity: Sensitivity, allowed: tuple[float, float]) -> str:
    if status == KEPT:
        return f"the {what} follow test error's"
    if sensitivity.low > allowed[1]:
        return f"the {what} exaggerate test error's"
    if sensitivity.high < -statistics.ROUNDING:
        return f"the {what} move against test error's"
    return f"the {what} are blind to what changes test error's"


def _rung_lines(record: Record, kind: Complexity) -> list[str]:
    """Return the tasks with test error and the measure in two columns; 80 columns at most."""
    rungs = record["evidence"]["rungs"]
    width = min(max(len(rung["task"]) for rung in rungs) + 2, TASK_COLUMN)
    header = _row("", width, "test error", record["measure"])
    lines = [header if len(header) <= LINE else _row("", width, "test error", "measure")]
    for rung in rungs:
        values = [
            f"{kind.base}^{interval(rung[whose])}" + (MARK if rung[f"{whose}_is_bent"] else "")
            for whose in ("error", "measure")
        ]
        if len(rung["task"]) < width:
            lines.append(_row(rung["task"], width, *values))
        else:
            lines += [f"  {rung['task']}", _row("", width, *values)]
    return lines


def _row(task: str, width: int, error: str, measure: str) -> str:
    return f"  {task:<{width}}{error:<{COLUMN}}{measure}".rstrip()


def _ranks(evidence: Record) -> str:
    agreement = signed(evidence["rank_agreement"]["mean"])
    return f"ranks at n = {evidence['rank_size']} agree by {agreement}"


def _verdict_line(record: Record, kind: Complexity) -> str:
    text = f"  {kind.values + ':':<11}{SHORT[record['verdict']]}"
    if record["evidence"]:
        text += f", sensitivity {sensitivity(record['evidence']['sensitivity'])}"
    return f"{text}, {len(record['seeds'])} seeds" if record["looks"] else text


EXPONENTS = Complexity("exponent", SLOPE, base="n")
LEVELS = Complexity("level", LEVEL, base="10")
