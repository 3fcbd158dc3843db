"""The ladder plot: the measure's exponents, or levels, against test error's."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from pytest_fragility.checks.wording import interval, sensitivity
from pytest_fragility.report.figures.colors import BAND, INK, MUTED, VERDICT_COLORS
from pytest_fragility.report.figures.drawing import Picture, draw, signed_axis

SIZE = (360, 270)
MARGIN = 0.12


def draw_ladder(
    name: str, title: str, what: str, evidence: dict[str, Any], verdict: str
) -> Picture:
    """Return one point per task, the line of the sensitivity, and the slopes that are allowed.

    Name and title are those of `draw`.

    Parameters
    ----------
    what
        Of what the axes tell: slopes, or levels in decades.
    evidence
        Of the check.
    verdict
        Gives the line's colour.
    """
    rungs = evidence["rungs"]

    def paint(figure: Figure) -> None:
        axes = figure.add_subplot()
        errors = np.array([rung["error"]["mean"] for rung in rungs])
        values = np.array([rung["measure"]["mean"] for rung in rungs])
        ends = [rung["error"][end] for rung in rungs for end in ("low", "high")]
        spread = max(ends) - min(ends) or 1.0
        span = np.array([min(ends) - MARGIN * spread, max(ends) + MARGIN * spread])
        _draw_allowed(axes, span, (errors.mean(), values.mean()), evidence["allowed"])
        slope = evidence["sensitivity"]["mean"]
        if slope is not None:
            line = values.mean() + slope * (span - errors.mean())
            axes.plot(span, line, color=VERDICT_COLORS[verdict], label=f"sensitivity {slope:.2f}")
        axes.errorbar(
            errors,
            values,
            xerr=_arms(rungs, "error"),
            yerr=_arms(rungs, "measure"),
            fmt="o",
            color=INK,
            elinewidth=1,
            markersize=4.5,
        )
        axes.set_xlim(*span)
        heights = [rung["measure"][end] for rung in rungs for end in ("low", "high")]
        room = 0.35 * (max(heights) - min(heights) or 1.0)
        axes.set_ylim(min(heights) - room, max(heights) + room)
        for place, rung in enumerate(rungs, 1):
            axes.annotate(
                str(place),
                (rung["error"]["mean"], rung["measure"]["mean"]),
                xytext=(5, 5),
                textcoords="offset points",
                fontweight="bold",
            )
        signed_axis(axes)
        axes.yaxis.set_major_locator(MaxNLocator(6))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:+.3g}"))
        axes.set_xlabel(f"test error's {what}")
        axes.set_ylabel(f"measure's {what}")
        figure.legend(loc="outside upper left", ncols=3, frameon=False, fontsize=8)

    tasks = "; ".join(
        f"{place} {rung['task']}: test error {interval(rung['error'])}, "
        f"measure {interval(rung['measure'])}"
        for place, rung in enumerate(rungs, 1)
    )
    description = f"{title}. {tasks}. Sensitivity {sensitivity(evidence['sensitivity'])}."
    return draw(name, title, description, SIZE, paint)


def _draw_allowed(
    axes: Axes, span: Any, center: tuple[float, float], allowed: tuple[float, float]
) -> None:
    fine = np.array([span[0], center[0], span[1]])
    low, high = (center[1] + slope * (fine - center[0]) for slope in allowed)
    axes.fill_between(fine, low, high, color=BAND, alpha=0.35, lw=0, label="allowed")
    axes.plot(
        span,
        center[1] + (span - center[0]),
        color=MUTED,
        linestyle=(0, (2, 2)),
        linewidth=0.9,
        label="follows test error (1)",
    )


def _arms(rungs: list[dict[str, Any]], whose: str) -> list[list[float]]:
    means, lows, highs = (
        [rung[whose][which] for rung in rungs] for which in ("mean", "low", "high")
    )
    return [
        [mean - low for mean, low in zip(means, lows, strict=True)],
        [high - mean for mean, high in zip(means, highs, strict=True)],
    ]
