"""A run beside a baseline, in words; 79 columns at most but for long names."""

from __future__ import annotations

from collections.abc import Sequence

from pytest_fragility._util.text import one_line
from pytest_fragility.baselines import Comparison, Update
from pytest_fragility.checks.wording import indented

MOST_SHOWN = 10


def comparison_lines(name: str, comparison: Comparison) -> list[str]:
    """Return what differs from a baseline, the worst first, and what to do about it."""
    parts = {
        "worse": comparison.worse,
        "better": comparison.better,
        "changed": comparison.changed,
        "moved under the same verdict": comparison.moved,
        "new": comparison.new,
        "missing, since they did not run or ended in an error": comparison.missing,
    }
    lines = [f"{_checks(comparison.same)} as in baseline {name}"]
    for what, texts in parts.items():
        if texts:
            lines += [f"{_checks(len(texts))} {what}:", *_listed(texts)]
    if comparison.better or comparison.changed or comparison.moved or comparison.new:
        lines.append(f"next: to take this over, run it again with --fragility-save={name}")
    return lines


def update_lines(name: str, path: str, update: Update) -> list[str]:
    """Return what was saved, and what was left as it was."""
    lines = [f"baseline {name}: {_checks(update.saved)} saved in {path}"]
    if update.dropped:
        lines.append(f"{_checks(len(update.dropped))} dropped, saved with other settings:")
        lines += _listed(update.dropped)
    if update.left:
        lines.append(f"{_checks(len(update.left))} left, since they gave no verdict in this run:")
        lines += _listed(update.left)
    return lines


def _listed(texts: Sequence[str]) -> list[str]:
    more = [f"and {len(texts) - MOST_SHOWN} more"] if len(texts) > MOST_SHOWN else []
    shown = [one_line(text, 400) for text in texts[:MOST_SHOWN]]
    return [line for text in [*shown, *more] for line in indented(text)]


def _checks(count: int) -> str:
    return f"{count} check" if count == 1 else f"{count} checks"
