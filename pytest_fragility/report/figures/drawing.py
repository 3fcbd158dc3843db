"""How every figure is set up, and becomes text that a page holds."""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import matplotlib.style
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import (
    FixedLocator,
    FuncFormatter,
    LogLocator,
    MaxNLocator,
    NullFormatter,
    NullLocator,
)

from pytest_fragility.report.figures.colors import FAINT, INK, MUTED
from pytest_fragility.report.figures.svg import inline_svg

POINTS_PER_INCH = 72
WIDE_RANGE = 1.5
MOST_DECADES = 5
STYLE = {
    "axes.edgecolor": MUTED,
    "axes.facecolor": "none",
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.grid.which": "major",
    "axes.labelcolor": INK,
    "axes.labelsize": 8.5,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlecolor": INK,
    "axes.titlelocation": "left",
    "axes.titlesize": 9,
    "figure.facecolor": "none",
    # comes with matplotlib, so that the layout is the same on all machines
    "font.family": "DejaVu Sans",
    "font.size": 8.5,
    "grid.color": FAINT,
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.3,
    "lines.markersize": 3.5,
    "svg.fonttype": "none",
    "svg.hashsalt": "pytest-fragility",
    "text.color": INK,
    # a name with dollars is no formula
    "text.parse_math": False,
    "xtick.color": MUTED,
    "xtick.labelcolor": INK,
    "xtick.labelsize": 8,
    "ytick.color": MUTED,
    "ytick.labelcolor": INK,
    "ytick.labelsize": 8,
}


@dataclass(frozen=True)
class Picture:
    """A figure on a page.

    Parameters
    ----------
    title
        Above it.
    description
        What it shows, in words, for those who do not see it.
    svg
        The drawing.
    """

    title: str
    description: str
    svg: Markup


def draw(
    name: str,
    title: str,
    description: str,
    size: tuple[float, float],
    paint: Callable[[Figure], None],
) -> Picture:
    """Return a figure.

    Parameters
    ----------
    name
        Unlike that of every other figure of the page.
    title, description
        For the page.
    size
        Width and height in points.
    paint
        Draws on the figure.
    """
    with styled():
        return picture_of(laid_out(size, paint), name, title, description)


def laid_out(size: tuple[float, float], paint: Callable[[Figure], None]) -> Figure:
    """Return a figure whose parts have found their places, where all is `styled`.

    Parameters
    ----------
    size
        Width and height in points.
    paint
        Draws on the figure.
    """
    layout = ConstrainedLayoutEngine()
    figure = Figure(
        figsize=(size[0] / POINTS_PER_INCH, size[1] / POINTS_PER_INCH),
        dpi=POINTS_PER_INCH,
        layout=layout,
    )
    FigureCanvasSVG(figure)
    paint(figure)
    layout.execute(figure)
    # to find them again, matplotlib would draw all of it twice
    figure.set_layout_engine(None)
    return figure


def picture_of(figure: Figure, name: str, title: str, description: str) -> Picture:
    """Return what a figure shows now, where all is `styled`; see `draw`."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    return Picture(title, description, Markup(inline_svg(buffer.getvalue(), name, description)))


def logarithmic_sizes(axes: Axes, sizes: Sequence[int]) -> None:
    """Give axes a logarithmic axis of training set sizes, with some of them as ticks."""
    axes.set_xscale("log")
    step = math.ceil(len(sizes) / 6)
    axes.xaxis.set_major_locator(FixedLocator(list(sizes[::step])))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda n, _: f"{n:.0f}"))
    axes.xaxis.set_minor_locator(NullLocator())


def scaled_values(axes: Axes, scale: str, low: float, high: float) -> None:
    """Give axes an axis of values between two ends, logarithmic or linear."""
    axes.set_yscale(scale)
    axes.set_ylim(low, high)
    if scale == "log":
        decades = math.log10(high / low)
        subs = (1.0,) if decades > MOST_DECADES else (1.0, 3.0) if decades > WIDE_RANGE else _FINE
        axes.yaxis.set_major_locator(LogLocator(subs=subs, numticks=8))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_minor_formatter(NullFormatter())
    else:
        axes.yaxis.set_major_locator(MaxNLocator(6))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.4g}"))


def signed_axis(axes: Axes) -> None:
    """Give axes a linear axis of signed numbers below."""
    axes.xaxis.set_major_locator(MaxNLocator(6))
    axes.xaxis.set_major_formatter(
        FuncFormatter(lambda value, _: f"{round(value, 10) + 0.0:+.3g}" if value else "0")
    )


_FINE = (1.0, 1.5, 2.0, 3.0, 5.0, 7.0)


@contextmanager
def styled() -> Iterator[None]:
    """Have figures look as those of a page."""
    with matplotlib.style.context(["default", STYLE]), warnings.catch_warnings():
        # the browser's fonts have what DejaVu Sans does not
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        yield
