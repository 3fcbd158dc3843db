"""Records some of whose parts are not known, as of networks trained elsewhere: asking raises."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, TypeVar

from pytest_fragility.errors import UndefinedMeasureError

Record = TypeVar("Record")


class WithUnknownParts:
    """Mixed into a dataclass that has a field `unknown`: by part, what to say where it is asked."""

    def __getattribute__(self, name: str) -> Any:
        if not name.startswith("_"):
            unknown: Mapping[str, str] = object.__getattribute__(self, "__dict__").get(
                "unknown", {}
            )
            if name in unknown:
                raise UndefinedMeasureError(unknown[name])
        return object.__getattribute__(self, name)


def replaced(record: Record, **changes: Any) -> Record:
    """Return a copy of a dataclass with some fields replaced; what is not known stays unknown."""
    own = vars(record)
    kept = {each.name: own[each.name] for each in fields(record) if each.init}  # type: ignore[arg-type]
    return type(record)(**{**kept, **changes})
