"""Whether a measure follows test error over a ladder of tasks of different complexity."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_fragility import curves as statistics
from pytest_fragility.checks.check import COMPLEXITY_EXPONENT, Check
from pytest_fragility.checks.tolerances import Tolerances
from pytest_fragility.checks.verdicts import BROKEN, INCONCLUSIVE, KEPT, Record, Verdict, _plain
from pytest_fragility.checks.wording import MARK, indented, interval, sensitivity
from pytest_fragility.errors import SettingsError

if TYPE_CHECKING:
    from pytest_fragility.checks.check import Check
    from pytest_fragility.curves import Estimate, LadderCurves, LearningCurve, Sensitivity


def judge_complexity(check: Check, ladder: LadderCurves | None, tolerances: Tolerances) -> Verdict:
    """Return whether the measure's exponents, or its levels, follow test error's.

    Its sensitivity must be at least what the tolerance says, and at most the inverse of that, with
    its whole interval. Test error's own values must differ with certainty between some two tasks:
    a ladder without rungs convicts nobody.

    Parameters
    ----------
    check
        Of exponents or of levels.
    ladder
        The curves.
    tolerances
        Give the least sensitivity.

    Raises
    ------
    SettingsError
        If there is no ladder.
    """
    if ladder is None:
        raise SettingsError(f"{check.id}: these curves have no ladder; ask for one with ladder=...")
    if ladder.unfinished:
        task, reason = next(iter(ladder.unfinished.items()))
        return Verdict(check, INCONCLUSIVE, f"task {task} cannot be judged: {reason}")
    is_exponent = check.kind == COMPLEXITY_EXPONENT
    what = "exponents" if is_exponent else "levels"
    measure, error = ladder.exponents if is_exponent else ladder.levels
    shared = ladder.shared_errors[0 if is_exponent else 1]
    sensitivity = statistics.Sensitivity.from_samples(measure, error, ladder.alpha, shared)
    allowed = (tolerances.sensitivity, 1 / tolerances.sensitivity)
    evidence = LadderEvidence(
        _rungs(ladder, tolerances.exponent, is_exponent=is_exponent),
        sensitivity,
        allowed,
        ladder.rank_agreement,
        ladder.largest_size,
    )
    differences = statistics.pairwise_differences(error, ladder.alpha, shared)
    status = _status(differences, sensitivity, allowed)
    if status == INCONCLUSIVE:
        reason = (
            f"the {what}' sensitivity: the interval straddles the tolerance"
            if _differ(differences)
            else f"test error's {what} do not differ with certainty over this ladder"
        )
        needed = statistics.seeds_needed(
            sensitivity.seeds,
            lambda seeds: (
                _status(
                    [difference.with_seeds(seeds) for difference in differences],
                    sensitivity.with_seeds(seeds),
                    allowed,
                )
                != INCONCLUSIVE
            ),
        )
        return Verdict(check, INCONCLUSIVE, reason, evidence, seeds_needed=needed)
    return Verdict(check, status, _reason(status, what, sensitivity, allowed), evidence)


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


LINE = 80
COLUMN = 26
TASK_COLUMN = 29
SHORT = {KEPT: "kept", BROKEN: "BROKEN", INCONCLUSIVE: "inconclusive"}


def ladder_lines(records: Sequence[Record]) -> list[str]:
    """Return the table's part about a ladder: its tasks, then a verdict each on both kinds."""
    lines = indented(f"over the ladder {records[0]['ladder']}:")
    shown = [record for record in records if record["evidence"]]
    if shown:
        lines += rung_lines(shown[0])
    lines += [_verdict_line(record) for record in records]
    return [*lines, f"  {_ranks(shown[0]['evidence'])}"] if shown else lines


def rung_lines(record: Record) -> list[str]:
    """Return the tasks with test error and the measure in two columns; 80 columns at most."""
    rungs = record["evidence"]["rungs"]
    width = min(max(len(rung["task"]) for rung in rungs) + 2, TASK_COLUMN)
    header = _row("", width, "test error", record["measure"])
    lines = [header if len(header) <= LINE else _row("", width, "test error", "measure")]
    form = _power if record["kind"] == COMPLEXITY_EXPONENT else _level
    for rung in rungs:
        values = [
            form(rung[whose]) + (MARK if rung[f"{whose}_is_bent"] else "")
            for whose in ("error", "measure")
        ]
        if len(rung["task"]) < width:
            lines.append(_row(rung["task"], width, *values))
        else:
            lines += [f"  {rung['task']}", _row("", width, *values)]
    return lines


def _row(task: str, width: int, error: str, measure: str) -> str:
    return f"  {task:<{width}}{error:<{COLUMN}}{measure}".rstrip()


def sensitivity_lines(record: Record) -> list[str]:
    """Return both columns on one line, how far one follows the other, and what ranks say."""
    evidence = record["evidence"]
    low, high = evidence["allowed"]
    sign = "n^" if record["kind"] == COMPLEXITY_EXPONENT else "10^"
    error, measure = (
        " -> ".join(f"{sign}{rung[whose]['mean']:+.2f}" for rung in evidence["rungs"])
        for whose in ("error", "measure")
    )
    return [
        *indented(
            f"test error {error}, {record['measure']} {measure}: "
            f"sensitivity {sensitivity(evidence['sensitivity'])}",
            more="",
        ),
        *indented(f"(1 follows test error, 0 is blind; allowed {low:.2f} to {high:.2f})", more=""),
        *indented(
            f"{_ranks(evidence)} (1: the tasks' order is the same; -1: the opposite)", more=""
        ),
    ]


def _ranks(evidence: Record) -> str:
    agreement = evidence["rank_agreement"]["mean"]
    return f"ranks at n = {evidence['rank_size']} agree by {round(agreement, 2) + 0.0:+.2f}"


def _level(estimate: dict[str, float]) -> str:
    """Return a level in decades, such as ``10^-0.57 [-0.60, -0.55]``."""
    return f"10^{interval(estimate)}"


def _power(estimate: dict[str, float]) -> str:
    return f"n^{interval(estimate)}"


def _verdict_line(record: Record) -> str:
    what = "exponents" if record["kind"] == COMPLEXITY_EXPONENT else "levels"
    text = f"  {what + ':':<11}{SHORT[record['verdict']]}"
    if record["evidence"]:
        text += f", sensitivity {sensitivity(record['evidence']['sensitivity'])}"
    return f"{text}, {len(record['seeds'])} seeds" if record["looks"] else text


@dataclass(frozen=True)
class RungEvidence:
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

    def to_dict(self) -> dict[str, Any]:
        """Return the rung as plain JSON types."""
        return _plain(self)


@dataclass(frozen=True)
class LadderEvidence:
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

    def to_dict(self) -> dict[str, Any]:
        """Return the evidence as plain JSON types."""
        return {
            "rungs": [rung.to_dict() for rung in self.rungs],
            "sensitivity": self.sensitivity.to_dict(),
            "allowed": list(self.allowed),
            "rank_agreement": self.rank_agreement.to_dict(),
            "rank_size": self.rank_size,
        }
