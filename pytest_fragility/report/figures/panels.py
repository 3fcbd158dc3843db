"""Learning curves of each recipe beside the baseline's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pytest_fragility.perturbations import BASELINE
from pytest_fragility.report.figures.colors import INK, MUTED, VERDICT_COLORS
from pytest_fragility.report.figures.curves import DrawnCurve
from pytest_fragility.report.figures.drawing import (
    Picture,
    laid_out,
    logarithmic_sizes,
    picture_of,
    scaled_values,
    styled,
)

SIZE = (300, 270)
# of the measure's axes and of test error's
HEIGHTS = (5, 3)
WIDTH, BASELINE_WIDTH = 1.5, 2.8
DASHED, DOTTED = (0, (4, 2)), (0, (1, 2))


@dataclass(frozen=True)
class FittedCurve:
    """One quantity's curve under one recipe, with its fitted slope.

    Parameters
    ----------
    curve
        The curve.
    slope
        None where no check has one.
    is_bent
        Whether the curve is no power law.
    """

    curve: DrawnCurve
    slope: float | None = None
    is_bent: bool = False


@dataclass(frozen=True)
class RecipeCurves:
    """One recipe's curves.

    Parameters
    ----------
    curves
        By quantity: the measure, and test error.
    verdict
        The worst of the recipe's checks; None where it has none.
    """

    curves: Mapping[str, FittedCurve]
    verdict: str | None = None


class Panels:
    """Draws recipes' curves beside the baseline's: the measure's above, test error's below.

    Axes, their places and the baseline's curves are the same in all of them, and made once.

    Parameters
    ----------
    baseline
        The baseline's curves.
    limits
        Of the axes of values, the same for all panels, by quantity.
    measure
        Its name.
    """

    def __init__(
        self,
        baseline: RecipeCurves,
        limits: Mapping[str, tuple[float, float]],
        measure: str,
    ) -> None:
        self._baseline = baseline
        self._limits = limits
        self._measure = measure
        self._figures: dict[tuple[str, ...], Figure] = {}

    def draw(self, name: str, recipe: str, perturbed: RecipeCurves) -> Picture:
        """Return a recipe's panel.

        Parameters
        ----------
        name
            Unlike that of every other figure of the page.
        recipe
            Its name.
        perturbed
            Its curves, with a quantity in common with the baseline's; these themselves where the
            recipe is the baseline.
        """
        quantities = tuple(each for each in self._baseline.curves if each in perturbed.curves)
        with styled():
            figure = self._figure_of(quantities)
            added: list[Artist] = []
            if recipe != BASELINE:
                color = VERDICT_COLORS.get(perturbed.verdict or "", MUTED)
                for axes, quantity in zip(figure.axes, quantities, strict=True):
                    added += _draw_curve(axes, perturbed.curves[quantity], color, "D", WIDTH)
            title = recipe if recipe != BASELINE else f"{BASELINE} alone"
            picture = picture_of(figure, name, title, self._description(recipe, perturbed))
        for artist in added:
            artist.remove()
        return picture

    def _figure_of(self, quantities: tuple[str, ...]) -> Figure:
        """Return axes with the baseline's curves, made once."""
        if quantities not in self._figures:
            self._figures[quantities] = laid_out(
                SIZE, lambda figure: self._paint(figure, quantities)
            )
        return self._figures[quantities]

    def _paint(self, figure: Figure, quantities: tuple[str, ...]) -> None:
        grid = figure.add_gridspec(len(quantities), 1, height_ratios=HEIGHTS[: len(quantities)])
        axes: Axes | None = None
        for place, quantity in enumerate(quantities):
            fitted = self._baseline.curves[quantity]
            axes = figure.add_subplot(grid[place], sharex=axes)
            logarithmic_sizes(axes, fitted.curve.sizes)
            scaled_values(axes, fitted.curve.scale, *self._limits[quantity])
            axes.set_ylabel(quantity)
            is_last = place == len(quantities) - 1
            axes.tick_params(labelbottom=is_last)
            axes.set_xlabel("n (training samples)" if is_last else "")
            _draw_curve(axes, fitted, INK, "o", BASELINE_WIDTH)

    def _description(self, recipe: str, perturbed: RecipeCurves) -> str:
        shown = {BASELINE: self._baseline, recipe: perturbed}
        slopes = [
            f"{quantity} under {each} {fitted.slope:+.2f}"
            for each, curves in shown.items()
            for quantity, fitted in curves.curves.items()
            if fitted.slope is not None
        ]
        beside = "" if recipe == BASELINE else " beside the baseline's"
        return (
            f"Learning curves of {self._measure} and of test error under {recipe}{beside}; slopes: "
            f"{', '.join(slopes) or 'unknown'}."
        )


def _draw_curve(
    axes: Axes, fitted: FittedCurve, color: str, marker: str, width: float
) -> list[Artist]:
    """Draw a curve with its band, its networks and its fitted line, and return these."""
    curve = fitted.curve
    drawn: list[Artist] = [
        axes.fill_between(curve.sizes, *curve.band, color=color, alpha=0.18, lw=0),
        *axes.plot(
            *curve.points, color=color, marker=marker, linestyle="", markersize=2.4, alpha=0.6
        ),
        *axes.plot(curve.sizes, curve.means, color=color, linewidth=width),
    ]
    if fitted.slope is not None:
        dashes = DOTTED if fitted.is_bent else DASHED
        line = curve.line(fitted.slope)
        drawn += axes.plot(curve.sizes, line, color=color, linestyle=dashes, linewidth=0.9)
    return drawn
