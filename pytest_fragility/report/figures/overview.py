"""Learning curves of all recipes at a glance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pytest_fragility.report.figures.colors import INK, SERIES
from pytest_fragility.report.figures.curves import DrawnCurve, common_limits
from pytest_fragility.report.figures.drawing import Picture, draw, logarithmic_sizes, scaled_values

SIZE = (370, 270)
FEW = 4
MARKERS = "osD^vPX"
DASHES = ("-", (0, (5, 1.5)), (0, (1.5, 1)), (0, (6, 1.5, 1.5, 1.5)))
LABEL_SPACING = 0.062
LONGEST_LABEL = 24


def draw_overview(
    name: str, title: str, quantity: str, curves: Mapping[str, DrawnCurve], emphasized: str
) -> Picture:
    """Return one quantity's curves, a line each; name and title are those of `draw`.

    Parameters
    ----------
    quantity
        What the axis says.
    curves
        By recipe, or by task.
    emphasized
        Which of them is drawn thick.
    """

    def paint(figure: Figure) -> None:
        axes = figure.add_subplot()
        limits = common_limits(list(curves.values()))
        first = next(iter(curves.values()))
        logarithmic_sizes(axes, first.sizes)
        scaled_values(axes, first.scale, *limits)
        axes.set_xlabel("n (training samples)")
        axes.set_ylabel(f"{quantity}, mean over seeds")
        looks = _looks(curves, emphasized)
        for each, curve in curves.items():
            color, marker, dashes = looks[each]
            thick = each == emphasized
            if thick or len(curves) <= FEW:
                axes.fill_between(curve.sizes, *curve.band, color=color, alpha=0.15, lw=0)
            axes.plot(
                curve.sizes,
                curve.means,
                color=color,
                marker=marker,
                linestyle=dashes,
                linewidth=2.6 if thick else 1.3,
                zorder=3 if thick else 2,
            )
        _label_ends(axes, curves, {each: look[0] for each, look in looks.items()})

    names = ", ".join(curves)
    return draw(name, title, f"Learning curves of {quantity}: {names}.", SIZE, paint)


def _looks(
    curves: Mapping[str, DrawnCurve], emphasized: str
) -> dict[str, tuple[str, str, str | tuple[int, tuple[float, ...]]]]:
    """Return colour, marker and line style of each curve: no two have all three in common."""
    others = [each for each in curves if each != emphasized]
    looks = {
        each: (
            SERIES[place % len(SERIES)],
            MARKERS[(place + 1) % len(MARKERS)],
            DASHES[(place // len(SERIES)) % len(DASHES)],
        )
        for place, each in enumerate(others)
    }
    return {emphasized: (INK, MARKERS[0], DASHES[0]), **looks}


def _label_ends(axes: Axes, curves: Mapping[str, DrawnCurve], colors: Mapping[str, str]) -> None:
    """Write each curve's name beside its end, apart from the others' where ends are close."""
    ends = {each: (curve.sizes[-1], curve.means[-1]) for each, curve in curves.items()}
    to_axes = (axes.transData + axes.transAxes.inverted()).transform
    heights = {each: float(to_axes(end)[1]) for each, end in ends.items()}
    ordered = sorted(curves, key=lambda each: heights[each])
    for each, height in zip(ordered, _apart([heights[each] for each in ordered]), strict=True):
        text = each if len(each) <= LONGEST_LABEL else f"{each[: LONGEST_LABEL - 1]}…"
        axes.annotate(
            text,
            ends[each],
            xytext=(1.05, height),
            textcoords="axes fraction",
            va="center",
            fontsize=8,
            arrowprops={"arrowstyle": "-", "color": colors[each], "lw": 0.6, "shrinkB": 3},
        )


def _apart(heights: Sequence[float]) -> list[float]:
    """Return ascending heights at least a label apart, as close to what they were as may be."""
    spacing = min(LABEL_SPACING, 1 / len(heights))
    # what is left after the spacing may not fall: neighbours that would are moved to their mean
    groups: list[list[float]] = []
    for place, height in enumerate(heights):
        group = [height - place * spacing]
        while groups and fmean(groups[-1]) > fmean(group):
            group = groups.pop() + group
        groups.append(group)
    highest = 1 - (len(heights) - 1) * spacing
    bases = [min(max(fmean(group), 0.0), highest) for group in groups for _ in group]
    return [base + place * spacing for place, base in enumerate(bases)]
