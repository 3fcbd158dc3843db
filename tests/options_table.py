"""The README's table of options, from the table that the package reads.

``python -m tests.options_table`` writes it anew; a test compares the two.
"""

from __future__ import annotations

import re
from pathlib import Path

from pytest_fragility.settings.option import CALL, FLAG, INI, MARK, Option
from pytest_fragility.settings.options import OPTIONS

README = Path(__file__).parents[1] / "README.md"
HEADER = (
    "| marker and `audit()` | command line | ini | default | |\n| --- | --- | --- | --- | --- |\n"
)
TABLE = re.compile(re.escape(HEADER) + r"(?:\|.*\n)*")


def options_table() -> str:
    """Return the table."""
    return HEADER + "".join(f"| {' | '.join(_cells(option))} |\n" for option in OPTIONS)


def _cells(option: Option) -> tuple[str, ...]:
    name = f"`{option.name}`" if {CALL, MARK} & set(option.on) else ""
    if name and MARK not in option.on:
        name += " (not on the marker)"
    elif name and CALL not in option.on:
        name += " (of the marker alone)"
    default = option.default_in_words or ("off" if option.is_switch else "none")
    value = option.shown_value or ",".join(option.choices)
    return (
        name,
        f"`{option.flag}{value and '='}{value}`" if FLAG in option.on else "",
        f"`{option.key}`" if INI in option.on else "",
        f"`{default}`" if isinstance(option.default, str) else default,
        option.help,
    )


def main() -> None:
    """Write the README's table."""
    text = README.read_text(encoding="utf-8")
    assert len(TABLE.findall(text)) == 1
    README.write_text(TABLE.sub(lambda _: options_table(), text), encoding="utf-8")


if __name__ == "__main__":
    main()
