"""A run beside a baseline: what got worse, and what else is new."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pytest_fragility.baselines.baseline_entries import (
    Baseline,
    Entry,
    differences,
    entries_of,
    entry_of,
)
from pytest_fragility.checks.check import Check
from pytest_fragility.checks.registry import kind_of
from pytest_fragility.checks.verdicts import BROKEN, INCONCLUSIVE, KEPT
from pytest_fragility.errors import SettingsError

if TYPE_CHECKING:
    from pytest_fragility.checks.verdicts import Record


# the larger, the worse; a check that does not apply has no rank
RANKS = {KEPT: 0, INCONCLUSIVE: 1, BROKEN: 2}
# the last digit of what a baseline holds
LAST_DIGIT = 0.001


@dataclass(frozen=True)
class Expectation:
    """What a baseline holds of one check, or that it holds nothing.

    Parameters
    ----------
    name
        The baseline's.
    entry
        None where it holds nothing.
    """

    name: str
    entry: Entry | None

    @classmethod
    def of(
        cls,
        name: str,
        baseline: Baseline,
        *,
        audit: str,
        case: str,
        check: Check,
        settings: dict[str, Any],
        change: str,
    ) -> Expectation:
        """Return what a baseline holds of a check that was asked for with these settings.

        Parameters
        ----------
        name, baseline
            The baseline, and what it is called.
        audit, case
            Where the baseline has the check.
        check
            What is asked.
        settings
            From `audited_settings`.
        change
            What the check's recipe changes.

        Raises
        ------
        SettingsError
            If it was saved with other settings: nothing could be compared.
        """
        saved = baseline.get(audit, {"checks": {}})
        entry = saved["checks"].get(case)
        if entry is not None:
            differ = differences(saved["settings"], settings, check.kind)
            if entry.get("change", "") != change:
                differ.append(
                    f"{check.perturbation} {entry.get('change', 'unchanged')} then, "
                    f"{change or 'unchanged'} now"
                )
            if differ:
                raise SettingsError(
                    f"baseline {name} was saved with other settings: {'; '.join(differ)}. Ask for "
                    f"the same, or save it again with --fragility-save={name}"
                )
        return cls(name, entry)

    def excuse(self, record: Record) -> str | None:
        """Return why a check that is not kept is no failure: it was as bad. None where it is one.

        Controls that misbehave are never excused: they say that no verdict can be trusted.
        """
        verdict = self.entry["verdict"] if self.entry else ""
        was, rank = RANKS.get(verdict), RANKS[record["verdict"]]
        if not was or not rank or rank > was or not kind_of(record).is_excusable:
            return None
        how = "as" if rank == was else "better than"
        return f"{how} in baseline {self.name}: {verdict}"

    def worsening(self, record: Record) -> str:
        """Return one sentence on a check that got worse; empty where it did not."""
        was = RANKS.get(self.entry["verdict"]) if self.entry else None
        if self.entry is None or was is None or RANKS[record["verdict"]] <= was:
            return ""
        now = entry_of(record)
        return (
            f"{record['check']} was {_told(self.entry)} in baseline {self.name}, and is "
            f"{_told(now)}"
        )


@dataclass
class Comparison:
    """What differs between a run and a baseline, one text each.

    Parameters
    ----------
    worse, better
        By verdict.
    changed
        Checks that have come to apply, or do not apply any more.
    moved
        Under the same verdict: intervals that do not overlap.
    new
        Checks that the baseline does not have.
    missing
        Checks of the baseline that the run does not have.
    same
        How many are as they were.
    """

    worse: list[str] = field(default_factory=list)
    better: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    moved: list[str] = field(default_factory=list)
    new: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    same: int = 0


def compare(baseline: Baseline, records: Iterable[Record]) -> Comparison:
    """Return what differs between a run's records and a baseline."""
    found = entries_of(records)
    comparison = Comparison()
    for audit, now in found.items():
        then = baseline.get(audit, {"checks": {}})["checks"]
        for case, entry in now["checks"].items():
            _note(comparison, f"{audit}[{case}]", then.get(case), entry)
    comparison.missing += [
        f"{audit}[{case}]"
        for audit, then in baseline.items()
        for case in then["checks"]
        if case not in found.get(audit, {"checks": {}})["checks"]
    ]
    return comparison


def _note(comparison: Comparison, name: str, then: Entry | None, now: Entry) -> None:
    if then is None:
        comparison.new.append(f"{name} is {_told(now)}")
        return
    was, rank = RANKS.get(then["verdict"]), RANKS.get(now["verdict"])
    text = f"{name} was {_told(then)}, is {_told(now)}"
    if was == rank:
        if _is_apart(then, now):
            comparison.moved.append(text)
        else:
            comparison.same += 1
    elif was is None or rank is None:
        comparison.changed.append(text)
    else:
        (comparison.worse if rank > was else comparison.better).append(text)


def _is_apart(then: Entry, now: Entry) -> bool:
    """Return whether two intervals do not overlap, which rounding alone cannot do."""
    ends = [*then.get("interval", [None]), *now.get("interval", [None])]
    if None in ends:
        return False
    low, high, low_now, high_now = ends
    gap = max(low_now - high, low - high_now)
    return bool(round(gap, 9) > LAST_DIGIT)


def _told(entry: Entry) -> str:
    """Return a verdict with its number, such as ``BROKEN (exponent -0.483 [-0.502, -0.466])``."""
    verdict = entry["verdict"].upper() if entry["verdict"] == BROKEN else entry["verdict"]
    name = next((key for key in entry if key not in ("verdict", "change", "interval")), None)
    if name is None:
        return str(verdict)
    value, low, high = (
        "?" if each is None else f"{each:+g}" for each in (entry[name], *entry["interval"])
    )
    return f"{verdict} ({name.replace('_', ' ')} {value} [{low}, {high}])"
