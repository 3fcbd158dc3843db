"""Colours that a page decides about: dark, light or printed.

matplotlib knows colours, no CSS variables. So it draws in stand-ins, and each of them becomes a
variable.
"""

from __future__ import annotations

from pytest_fragility.checks.verdicts import BROKEN, INCONCLUSIVE, KEPT

INK, MUTED, FAINT, BAND = "#010101", "#010102", "#010103", "#010104"
VERDICT_COLORS = {KEPT: "#010105", BROKEN: "#010106", INCONCLUSIVE: "#010107"}
# after the baseline, which is drawn in ink: Okabe and Ito's colours, told apart by everybody
SERIES = ("#010111", "#010112", "#010113", "#010114", "#010115", "#010116")
VARIABLES = {
    INK: "var(--ink)",
    MUTED: "var(--muted)",
    FAINT: "var(--faint)",
    BAND: "var(--band)",
    **{color: f"var(--{verdict})" for verdict, color in VERDICT_COLORS.items()},
    **{color: f"var(--series-{place})" for place, color in enumerate(SERIES, 1)},
}
