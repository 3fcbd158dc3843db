"""The figures of one audit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count

from pytest_fragility.checks.curve_data import MEASURE, TEST_ERROR
from pytest_fragility.checks.kind import LEVEL, SLOPE
from pytest_fragility.checks.registry import kind_of
from pytest_fragility.checks.verdicts import INADMISSIBLE, Record, worst
from pytest_fragility.checks.wording import LOG, Table
from pytest_fragility.perturbations import BASELINE
from pytest_fragility.report.documents import Document
from pytest_fragility.report.figures.curves import DrawnCurve, common_limits
from pytest_fragility.report.figures.drawing import Picture
from pytest_fragility.report.figures.forest import Legend, Row, draw_forest
from pytest_fragility.report.figures.ladder import draw_ladder
from pytest_fragility.report.figures.overview import draw_overview
from pytest_fragility.report.figures.panels import FittedCurve, Panels, RecipeCurves
from pytest_fragility.report.page.grid import slopes_of
from pytest_fragility.report.page.tables import values_table

CHANGE = Legend("change of the slope", "change", "change beyond test error's")
SLOPES = Legend("slope (exponent = -slope)", "measure", "test error")
LEVELS = Legend("change of log10(value) at the middle n, decades", "change", CHANGE.other)

Curves = dict[str, DrawnCurve]


@dataclass
class Pictures:
    """What an audit's section shows, in groups.

    Parameters
    ----------
    overview
        All recipes at a glance: the measure, and test error beside it.
    panels
        One per recipe.
    values
        The numbers of both: title and table.
    slopes, spread
        Forest plots.
    ladder, tasks
        Ladder plots, and learning curves over the ladder's tasks.
    """

    overview: list[Picture] = field(default_factory=list)
    panels: list[Picture] = field(default_factory=list)
    values: list[tuple[str, Table]] = field(default_factory=list)
    slopes: list[Picture] = field(default_factory=list)
    spread: list[Picture] = field(default_factory=list)
    ladder: list[Picture] = field(default_factory=list)
    tasks: list[Picture] = field(default_factory=list)


def pictures_of(audit: Document, records: Sequence[Record], prefix: str) -> Pictures:
    """Return all figures of an audit.

    Parameters
    ----------
    audit
        Of a document.
    records
        Its checks.
    prefix
        With which the names of its figures begin, unlike those of other audits.
    """
    names = (f"{prefix}f{number}" for number in count())
    measure = _curves(audit, MEASURE, task=audit["task"])
    error = _curves(audit, TEST_ERROR, task=audit["task"])
    pictures = Pictures()
    for title, quantity, curves in (
        (audit["measure"], MEASURE, measure),
        (TEST_ERROR, TEST_ERROR, error),
    ):
        if curves:
            pictures.overview.append(draw_overview(next(names), title, quantity, curves, BASELINE))
            pictures.values.append((title, values_table(curves)))
    judged = [record for record in records if kind_of(record).compares_recipes]
    pictures.panels = list(_panels(audit, judged, measure, error, names))
    pictures.slopes = list(_slopes(judged, names))
    pictures.spread = list(
        _changes("Changes of the value at the middle n", judged, LEVEL, LEVELS, names)
    )
    on_ladder = [record for record in records if "rungs" in record["evidence"]]
    pictures.ladder = list(_ladder(on_ladder, names))
    pictures.tasks = list(_tasks(audit, on_ladder, names))
    return pictures


def _curves(audit: Document, quantity: str, task: str) -> Curves:
    scale = audit["scale"] if quantity == MEASURE else LOG
    found = {
        curve["recipe"]: DrawnCurve(curve, scale, audit["alpha"])
        for curve in audit["curves"]
        if curve["quantity"] == quantity and curve["task"] == task
    }
    return {name: found[name] for name in sorted(found, key=lambda each: each != BASELINE)}


def _panels(
    audit: Document,
    judged: Sequence[Record],
    measure: Curves,
    error: Curves,
    names: Iterator[str],
) -> Iterator[Picture]:
    limits = {
        quantity: common_limits(list(curves.values()))
        for quantity, curves in ((MEASURE, measure), (TEST_ERROR, error))
        if curves
    }
    recipes = {
        name: _recipe_curves(name, judged, measure, error)
        for name in dict.fromkeys([*measure, *error])
    }
    baseline = recipes.get(BASELINE, RecipeCurves({}))
    perturbed = {name: curves for name, curves in recipes.items() if name != BASELINE}
    panels = Panels(baseline, limits, audit["measure"])
    for name, curves in (perturbed or recipes).items():
        if set(curves.curves) & set(baseline.curves):
            yield panels.draw(next(names), name, curves)


def _recipe_curves(
    name: str, judged: Sequence[Record], measure: Curves, error: Curves
) -> RecipeCurves:
    own = [r for r in judged if r["perturbation"] == name and r["applicable"]]
    record, side = slopes_of(name, judged) or ({"evidence": {}}, "")
    evidence = record["evidence"]
    is_bent = side in evidence.get("bent", [])
    curves = {}
    if name in measure:
        curves[MEASURE] = FittedCurve(measure[name], _mean(evidence.get(side)), is_bent)
    if name in error:
        curves[TEST_ERROR] = FittedCurve(error[name], _mean(evidence.get(f"error_{side}")))
    return RecipeCurves(curves, worst([record["verdict"] for record in own]) if own else None)


def _mean(estimate: dict[str, float] | None) -> float | None:
    return estimate["mean"] if estimate else None


def _slopes(judged: Sequence[Record], names: Iterator[str]) -> Iterator[Picture]:
    rows = []
    for name in dict.fromkeys([BASELINE, *(record["perturbation"] for record in judged)]):
        found = slopes_of(name, judged)
        if found is not None:
            record, side = found
            evidence = record["evidence"]
            own = {r["verdict"] for r in judged if r["perturbation"] == name and r["applicable"]}
            verdict = worst(own) if own and name != BASELINE else None
            rows.append(Row(name, evidence[side], evidence[f"error_{side}"], verdict))
    if rows:
        yield draw_forest(next(names), "Slopes of the learning curves", rows, SLOPES)
    title = "Changes of the slope, and the tolerance"
    yield from _changes(title, judged, SLOPE, CHANGE, names)


def _changes(
    title: str, judged: Sequence[Record], looks_at: str, legend: Legend, names: Iterator[str]
) -> Iterator[Picture]:
    """Yield a plot of one record per perturbation that has a change with its tolerance."""
    records: dict[str, Record] = {}
    for record in judged:
        is_shown = record["admissibility"] != INADMISSIBLE and "allowed" in record["evidence"]
        if is_shown and kind_of(record).looks_at == looks_at:
            records.setdefault(record["perturbation"], record)
    rows = [
        Row(
            record["perturbation"],
            record["evidence"]["change"],
            record["evidence"]["beyond"],
            # a checkpoint's own verdict is also that of the sign
            record["evidence"].get("exponent", record["verdict"]),
        )
        for record in records.values()
    ]
    if rows:
        band = next(iter(records.values()))["evidence"]["allowed"]
        yield draw_forest(next(names), title, rows, legend, (band[0], band[1]))


def _ladder(records: Sequence[Record], names: Iterator[str]) -> Iterator[Picture]:
    for record in records:
        is_exponent = kind_of(record).looks_at == SLOPE
        title = f"{'Exponents' if is_exponent else 'Levels'} over the tasks"
        what = "slope" if is_exponent else "level, log10"
        yield draw_ladder(next(names), title, what, record["evidence"], record["verdict"])


def _tasks(audit: Document, records: Sequence[Record], names: Iterator[str]) -> Iterator[Picture]:
    if not records:
        return
    tasks = [rung["task"] for rung in records[0]["evidence"]["rungs"]]
    for title, quantity in ((audit["measure"], MEASURE), (TEST_ERROR, TEST_ERROR)):
        found = {task: _curves(audit, quantity, task).get(BASELINE) for task in tasks}
        curves = {task: curve for task, curve in found.items() if curve is not None}
        if curves:
            yield draw_overview(next(names), title, quantity, curves, audit["task"])
