"""A run beside a baseline, in words; 79 columns at most but for long names."""

from __future__ import annotations

from collections.abc import Sequence

from pytest_fragility._util.text import one_line
from pytest_fragility.baselines import Comparison, Update
from pytest_fragility.checks.wording import counted, indented

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
    lines = [f"{counted(comparison.same, 'check')} as in baseline {name}"]
    for what, texts in parts.items():
        if texts:
            lines += [f"{counted(len(texts), 'check')} {what}:", *_listed(texts)]
    if comparison.better or comparison.changed or comparison.moved or comparison.new:
        lines.append(f"next: to take this over, run it again with --fragility-save={name}")
    return lines


def update_lines(name: str, path: str, update: Update) -> list[str]:
    """Return what was saved, and what was left as it was."""
    lines = [f"baseline {name}: {counted(update.saved, 'check')} saved in {path}"]
    if update.dropped:
        lines.append(f"{counted(len(update.dropped), 'check')} dropped, saved with other settings:")
        lines += _listed(update.dropped)
    if update.left:
        lines.append(
            f"{counted(len(update.left), 'check')} left, since they gave no verdict in this run:"
        )
        lines += _listed(update.left)
    return lines


def _listed(texts: Sequence[str]) -> list[str]:
    more = [f"and {len(texts) - MOST_SHOWN} more"] if len(texts) > MOST_SHOWN else []
    shown = [one_line(text, 400) for text in texts[:MOST_SHOWN]]
    return [line for text in [*shown, *more] for line in indented(text)]
