"""Names that users give: to tasks, ladders, measures, perturbations and architectures."""

from __future__ import annotations

from typing import Any

from pytest_fragility._util.text import shown

LONGEST_NAME = 200


def require_name(name: Any, what: str, error: type[Exception]) -> None:
    """Raise where a name cannot stand in a table, a test id or on a terminal.

    Parameters
    ----------
    name
        The name.
    what
        What has it, for the message: ``task``.
    error
        What to raise.
    """
    if isinstance(name, str) and 0 < len(name) <= LONGEST_NAME and name.isprintable():
        return
    length = f" of {len(name):,} characters" if isinstance(name, str) else ""
    raise error(
        f"{what} name {shown(name, 60)}{length}: expected 1 to {LONGEST_NAME} printable characters "
        "on one line"
    )
