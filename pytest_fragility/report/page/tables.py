"""Tables as a page's template takes them."""

from __future__ import annotations

from collections.abc import Mapping

from pytest_fragility.checks.wording import LOG, Table
from pytest_fragility.report.figures.curves import DrawnCurve


def values_table(curves: Mapping[str, DrawnCurve]) -> Table:
    """Return means over seeds with their intervals, one row per curve and one column per n."""
    sizes = sorted({n for curve in curves.values() for n in curve.sizes})
    rows = []
    for name, curve in curves.items():
        low, high = curve.band
        cells = {
            n: f"{mean:.3g} [{low[place]:.3g}, {high[place]:.3g}]"
            for place, (n, mean) in enumerate(zip(curve.sizes, curve.means, strict=True))
        }
        rows.append([name, *(cells.get(n, "") for n in sizes)])
    scale = next(iter(curves.values())).scale
    first = "geometric mean" if scale == LOG else "mean"
    return Table([first, *(f"n = {n}" for n in sizes)], rows)
