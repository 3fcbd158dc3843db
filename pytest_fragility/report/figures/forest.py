"""Forest plots: estimates with their intervals, one row each, and the band they should lie in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.figure import Figure

from pytest_fragility.checks.wording import interval
from pytest_fragility.report.figures.colors import BAND, INK, MUTED, VERDICT_COLORS
from pytest_fragility.report.figures.drawing import Picture, draw, signed_axis

WIDTH, ROW, FRAME = 370, 16, 78
OFFSET = 0.17
FILLED, HOLLOW = "o", "D"
LONGEST_LABEL = 28
Numbers = dict[str, float]


@dataclass(frozen=True)
class Row:
    """One row of a forest plot.

    Parameters
    ----------
    name
        At its left.
    estimate
        Mean, low and high; the filled point.
    other
        The same of what it is compared with; the hollow point.
    verdict
        Gives the colour; None for the baseline's.
    """

    name: str
    estimate: Numbers
    other: Numbers | None = None
    verdict: str | None = None


@dataclass(frozen=True)
class Legend:
    """What the axis and the two points of each row are."""

    axis: str
    estimate: str
    other: str


def draw_forest(
    name: str,
    title: str,
    rows: Sequence[Row],
    legend: Legend,
    band: tuple[float, float] | None = None,
) -> Picture:
    """Return a forest plot, its first row on top; name and title are those of `draw`.

    Parameters
    ----------
    rows
        At least one.
    legend
        What they are.
    band
        What the tolerance allows.
    """

    def paint(figure: Figure) -> None:
        axes = figure.add_subplot()
        if band is not None:
            axes.axvspan(*band, color=BAND, alpha=0.35, lw=0, label="tolerance")
        axes.axvline(0, color=MUTED, linewidth=0.9)
        for label, style, color in (
            (legend.estimate, FILLED, INK),
            (legend.other, HOLLOW, MUTED),
        ):
            axes.errorbar([], [], xerr=[], fmt=style, color=color, label=label, **_looks(style))
        for place, row in enumerate(rows):
            color = VERDICT_COLORS.get(row.verdict or "", INK)
            for sign, (estimate, style) in enumerate(((row.estimate, FILLED), (row.other, HOLLOW))):
                if estimate is None:
                    continue
                axes.errorbar(
                    estimate["mean"],
                    place + (2 * sign - 1) * OFFSET,
                    xerr=[
                        [estimate["mean"] - estimate["low"]],
                        [estimate["high"] - estimate["mean"]],
                    ],
                    fmt=style,
                    color=color if style == FILLED else MUTED,
                    **_looks(style),
                )
        axes.set_yticks(range(len(rows)), [_cut(row.name) for row in rows])
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.grid(axis="y", visible=False)
        signed_axis(axes)
        axes.set_xlabel(legend.axis)
        figure.legend(loc="outside upper left", ncols=3, frameon=False, fontsize=8)

    found = "; ".join(f"{row.name} {interval(row.estimate)}" for row in rows)
    allowed = f" Allowed: {band[0]:+.2g} to {band[1]:+.2g}." if band else ""
    description = f"{title}. {legend.estimate}: {found}.{allowed}"
    return draw(name, title, description, (WIDTH, FRAME + ROW * len(rows)), paint)


def _looks(style: str) -> dict[str, Any]:
    if style == FILLED:
        return {"markersize": 4.5, "elinewidth": 1.6}
    return {"markersize": 3.2, "elinewidth": 0.9, "markerfacecolor": "none"}


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST_LABEL else f"{text[: LONGEST_LABEL - 1]}…"
