"""How the controls of an audit were judged, in words."""

from __future__ import annotations

from pytest_fragility.checks.records import Record
from pytest_fragility.checks.wording import indented


def control_sentences(record: Record) -> list[str]:
    """Return one sentence for each control, without a full stop."""
    return [
        f"{control['name']} should be {control['expected']}, and is {control['found']}"
        if control["misbehaves"]
        else f"{control['name']} is {control['expected']}, as it should be"
        for control in record["evidence"]["controls"]
    ]


def control_lines(record: Record) -> list[str]:
    """Return what `control_sentences` does, as indented lines."""
    return [line for sentence in control_sentences(record) for line in indented(sentence)]


def controls_note(record: Record) -> str:
    """Return what a table says of controls that behave."""
    names = ", ".join(control["name"] for control in record["evidence"]["controls"])
    return f"controls behave ({names})"


ADVICE = (
    "What this audit says of any measure means nothing before its controls behave. Test error is "
    "broken where the error margin lets too large changes pass; noise is kept where tolerances are "
    "too wide, and broken where runs that are compared do not belong together"
)
