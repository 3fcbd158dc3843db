"""Rows of a file that contradict each other: two of one network, or two test sets of one task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from pytest_fragility._util.text import shown
from pytest_fragility.families.observations import Observation
from pytest_fragility.families.selection import FullPlace
from pytest_fragility.rows.rows import Problems

# in the place of a number that a row should have
NOT_READ = -1


def note_repeats(networks: Sequence[Observation], problems: Problems) -> None:
    """Note, once, that rows are of a network that an earlier row is of.

    One of them counts, and nobody can know which.
    """
    rows: dict[FullPlace, list[int]] = {}
    for row, each in enumerate(networks):
        if each.recipe and NOT_READ not in (each.n, each.seed):
            rows.setdefault(each.place, []).append(row)
    repeated = {place: own for place, own in rows.items() if len(own) > 1}
    if not repeated:
        return
    place, (first, second, *_) = min(repeated.items(), key=lambda item: item[1][1])
    task, recipe, n, seed = place
    text = f"task {task}, recipe {recipe}, n={n}, seed {seed} stands in {networks[first].where} too"
    where = networks[second].where
    count = sum(len(own) - 1 for own in repeated.values())
    groups = [[networks[row].cells for row in own] for own in repeated.values()]
    if count == 1:
        problems.add(where, f"{text}; keep one of them")
    elif all(row == group[0] for group in groups for row in group):
        problems.add(
            where,
            f"{text}, and {count} of {len(networks)} rows are of a network of another row, with "
            "the same values: the table probably holds its rows twice; keep each once",
        )
    else:
        column = _counting(groups)
        told = f" ({shown(column)} counts them)" if column else ""
        problems.add(
            where,
            f"{text}, and {count} of {len(networks)} rows are of a network of another row; an "
            f"epoch column was probably flattened{told}: keep one row for each network, such as "
            "that of the last epoch",
        )


def note_several_test_sets(networks: Sequence[Observation], problems: Problems) -> None:
    """Note where the rows of a task were tested on numbers of samples that differ."""
    first: dict[str, tuple[str, int]] = {}
    noted = set()
    for each in networks:
        if each.counted is None or each.task in noted:
            continue
        size = each.counted.size
        where, own = first.setdefault(each.task, (each.where, size))
        if size != own:
            noted.add(each.task)
            problems.add(
                each.where,
                f"test_size={size or 'nothing'}, and {own or 'nothing'} in {where}; "
                f"expected one test set for task {each.task}",
            )


def _counting(groups: Sequence[Sequence[Mapping[str, Any]]]) -> str | None:
    """Return the column whose whole numbers go up, or down, in each group; None without one."""
    for column in groups[0][0]:
        series = [[row.get(column) for row in group] for group in groups]
        if all(_is_counted(values) for values in series):
            return column
    return None


def _is_counted(values: Sequence[Any]) -> bool:
    if not all(isinstance(value, int | float) and value == value // 1 for value in values):
        return False
    ascending = list(values) if values[0] < values[-1] else list(values)[::-1]
    return all(before < after for before, after in pairwise(ascending))
