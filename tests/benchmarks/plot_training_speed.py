"""Draw the figures of ``test_training_speed.py``: seconds per network against family size.

Run with ``python tests/benchmarks/plot_training_speed.py [figures.json] [plot.svg]``.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib import pyplot as plt

FIGURES = Path(".benchmarks/training_speed.json")
PLOT = Path("training_speed.svg")

# legible on white and on black
INK = "#808080"
COLOURS = {
    "loop over torch.optim": "#a07050",
    "joblib, one process for each core": "#c08000",
    "torch.func.vmap(grad)": "#8060d0",
    "jax.vmap, jit, lax.scan": "#20a050",
    "pytest-fragility": "#e03050",
    "floor: the batched products alone": "#3080e0",
    "floor: arithmetic at the rate of large products": "#3080e0",
}


def draw(rows: list[dict[str, Any]]) -> plt.Figure:
    """Return a figure with one panel for each case and one line for each way."""
    cases = list(dict.fromkeys(row["case"] for row in rows))
    figure, panels = plt.subplots(
        1, len(cases), figsize=(4.2 * len(cases), 4.2), squeeze=False, layout="constrained"
    )
    for case, panel in zip(cases, panels[0], strict=True):
        _draw_case(panel, case, [row for row in rows if row["case"] == case])
    panels[0][0].set_ylabel("seconds per network")
    handles, labels = panels[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
    return figure


def _draw_case(panel: plt.Axes, case: str, rows: list[dict[str, Any]]) -> None:
    for way, colour in COLOURS.items():
        found = [row for row in rows if row["way"] == way]
        if found:
            is_floor, is_own = way.startswith("floor"), way == "pytest-fragility"
            panel.plot(
                [row["networks"] for row in found],
                [row["seconds_per_network"] for row in found],
                label=way,
                color=colour,
                linestyle=(":" if "arithmetic" in way else "--") if is_floor else "-",
                marker=None if is_floor else "o",
                markersize=4,
                linewidth=2.5 if is_own else 1.5,
            )
    sizes = sorted({row["networks"] for row in rows})
    panel.set_xscale("log", base=2)
    panel.set_yscale("log")
    panel.set_xticks(sizes, labels=[str(size) for size in sizes])
    panel.minorticks_off()
    panel.set_xlabel("networks in the family")
    panel.set_title(f"{case}, {rows[0]['steps']} steps", fontsize="medium")
    panel.grid(visible=True, alpha=0.3)


def main(figures: Path = FIGURES, plot: Path = PLOT) -> None:
    """Read the figures and write the plot."""
    rows = json.loads(figures.read_text())["rows"]
    settings = {
        **{f"{part}.color": INK for part in ("text", "xtick", "ytick", "grid")},
        "axes.labelcolor": INK,
        "axes.edgecolor": INK,
        "axes.titlecolor": INK,
        # the same figures give the same file
        "svg.hashsalt": "pytest-fragility",
    }
    with mpl.rc_context(settings):
        draw(rows).savefig(plot, transparent=True, metadata={"Date": None, "Creator": None})
    print(plot)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
