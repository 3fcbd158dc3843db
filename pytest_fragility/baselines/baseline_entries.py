"""What a baseline holds of an audit, and how a run's records become part of one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from pytest_fragility.checks.kind import NOTHING, TASKS
from pytest_fragility.checks.records import verdict_of
from pytest_fragility.checks.registry import KINDS, kind_of
from pytest_fragility.checks.wording import recipe_change
from pytest_fragility.perturbations import BASELINE

if TYPE_CHECKING:
    from pytest_fragility.checks.verdicts import Record
    from pytest_fragility.settings import AuditSettings


Entry = dict[str, Any]
Baseline = dict[str, dict[str, Any]]


def audited_settings(settings: AuditSettings) -> dict[str, Any]:
    """Return what decides an audit's verdicts but the measure, as plain JSON types."""
    looks = {"looks": list(settings.looks)} if settings.looks else {"seeds": list(settings.seeds)}
    return {
        "task": settings.task.name,
        "recipe": settings.descriptions[BASELINE],
        "ladder": settings.ladder_name,
        "sizes": list(settings.sizes),
        **looks,
        "alpha": settings.alpha,
        "scale": settings.scale,
        "fit": settings.fit,
        "tolerances": asdict(settings.tolerances),
    }


def entry_of(record: Record) -> Entry:
    """Return what a baseline holds of a check: its verdict, and the number that it rests on."""
    entry: Entry = {"verdict": verdict_of(record)}
    change = recipe_change(record["baseline"], record["recipe"])
    if change:
        entry["change"] = change
    quantity = kind_of(record).quantity(record)
    if quantity:
        entry[quantity.name] = quantity.value
        entry["interval"] = [quantity.low, quantity.high]
    return entry


def entries_of(records: Iterable[Record]) -> Baseline:
    """Return a run's records as a baseline of their own; the last one of a check counts."""
    found: Baseline = {}
    for record in records:
        if kind_of(record).about != NOTHING and "test" in record:
            test = record["test"]
            audit = found.setdefault(
                test["audit"],
                {"measure": record["measure"], "settings": record["settings"], "checks": {}},
            )
            audit["checks"][test["case"]] = entry_of(record)
    return found


def differences(
    then: Mapping[str, Any], now: Mapping[str, Any], kind: str | None = None
) -> list[str]:
    """Return which settings are others than those of a baseline, one text each.

    Parameters
    ----------
    then, now
        From `audited_settings`.
    kind
        Of the check; the ladder counts for those that look at it, and for None.
    """
    names = [name for name in dict.fromkeys([*then, *now]) if name != "tolerances"]
    if kind is not None and KINDS[kind].rests_on != TASKS:
        names.remove("ladder")
    pairs = {name: (then.get(name), now.get(name)) for name in names}
    tolerances = dict.fromkeys([*then["tolerances"], *now["tolerances"]])
    pairs |= {
        f"tolerance {name}": (then["tolerances"].get(name), now["tolerances"].get(name))
        for name in tolerances
    }
    return [f"{name} {old} then, {new} now" for name, (old, new) in pairs.items() if old != new]


@dataclass(frozen=True)
class Update:
    """What saving did.

    Parameters
    ----------
    baseline
        To be written.
    saved
        How many checks the run gave.
    left
        Checks of the baseline that the run did not give, and that stay as they were.
    dropped
        Those that were saved with other settings than their audit's now, and are gone.
    """

    baseline: Baseline
    saved: int
    left: tuple[str, ...]
    dropped: tuple[str, ...]


def update(baseline: Baseline, records: Iterable[Record]) -> Update:
    """Return a baseline with a run's checks in the place of those that it had."""
    found = entries_of(records)
    left: list[str] = []
    dropped: list[str] = []
    updated = dict(baseline)
    for audit, now in found.items():
        updated[audit] = now
    for audit, then in baseline.items():
        now = found.get(audit, then)
        others = [
            case for case in then["checks"] if audit not in found or case not in now["checks"]
        ]
        is_comparable = now is then or not differences(then["settings"], now["settings"])
        (left if is_comparable else dropped).extend(f"{audit}[{case}]" for case in others)
        if is_comparable:
            updated[audit] = {**now, "checks": {**then["checks"], **now["checks"]}}
    saved = sum(len(audit["checks"]) for audit in found.values())
    return Update(updated, saved, tuple(left), tuple(dropped))
