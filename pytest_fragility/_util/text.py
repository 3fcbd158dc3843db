"""Text that comes from elsewhere, made fit to be shown: in a message, a table, on a terminal."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any

from pytest_fragility.errors import printable

LONGEST_NAME = 200


def nearest(name: object, known: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"``-like text, or nothing where no known name is near."""
    if not isinstance(name, str) or len(name) > LONGEST_NAME:
        return ""
    near = difflib.get_close_matches(name, list(known), n=1)
    return f" (did you mean {near[0]!r}?)" if near else ""


LONGEST_VALUE = 200


def shown(value: Any, longest: int = LONGEST_VALUE) -> str:
    """Return a value's repr on one line, cut where it is long; it never raises."""
    try:
        text = repr(value)
    # an object of somebody else's, or a number with more digits than Python writes
    except Exception:
        return f"<{type(value).__name__} that cannot be shown>"
    return one_line(text.replace("\n", " "), longest)


def one_line(text: str, longest: int = LONGEST_VALUE) -> str:
    """Return a text on one line, its line breaks spelled out too, and cut where it is long."""
    text = printable(text).replace("\n", "\\n").replace("\t", "\\t")
    return text if len(text) <= longest else f"{text[: longest - 3]}..."


def error_text(error: BaseException) -> str:
    """Return an error's type and text; the type alone where it has no text, or fails to say it."""
    kind = type(error).__name__
    try:
        text = str(error)
    # an exception of somebody else's, whose own text raises
    except Exception:
        return f"{kind} (its text cannot be shown)"
    return f"{kind}: {text}" if text else kind


def first_sentence(error: BaseException) -> str:
    """Return the beginning of an error's text, or its type's name where it has none."""
    kind, _, text = error_text(error).partition(": ")
    return one_line(" ".join(text.split()).partition(". ")[0].rstrip(".")) or kind
