"""The README's section on the API: one line for each public name, from its docstring.

``python -m tests.api_table`` writes it anew; a test compares the two.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from pytest_fragility.measures import StackMeasure

README = Path(__file__).parents[1] / "README.md"
HEADING = "\n## API\n"
MODULES = tuple(
    f"pytest_fragility{part}"
    for part in ("", ".measures", ".tasks", ".symmetries", ".strategies", ".curves")
)
INTRODUCTION = """
What there is to import, with the first line of its docstring; `help(name)` shows the rest.
`python -m tests.api_table` makes these tables.
"""


def is_documented(public: Any) -> bool:
    """Return whether an object has a docstring of its own, as aliases and numbers have not."""
    # in Python 3.10, list[int] says that it is a class
    is_class = issubclass(type(public), type)
    return is_class or inspect.isfunction(public) or isinstance(public, StackMeasure)


def public_names(module: str) -> dict[str, Any]:
    """Return what a module has to offer, by name."""
    loaded = import_module(module)
    return {name: getattr(loaded, name) for name in loaded.__all__}


def summary(public: Any) -> str:
    """Return the first line of a docstring, as Markdown has it in a table."""
    line = (inspect.getdoc(public) or "").partition("\n")[0]
    return re.sub(r"``(.+?)``", r"`\1`", line).replace("|", r"\|")


def api_section() -> str:
    """Return the section, without its heading."""
    listed: set[int] = set()
    return "\n".join([INTRODUCTION, *(_module_table(module, listed) for module in MODULES)])


def _module_table(module: str, listed: set[int]) -> str:
    rows = "\n".join(_rows(module, listed))
    summary_line = f"<summary><code>{module}</code></summary>"
    return f"<details>\n{summary_line}\n\n| name | |\n| --- | --- |\n{rows}\n\n</details>\n"


def _rows(module: str, listed: set[int]) -> Iterator[str]:
    """Yield the rows of a module; what one above it offers too has its row there."""
    for name, public in public_names(module).items():
        if is_documented(public) and id(public) not in listed:
            listed.add(id(public))
            yield f"| `{name}` | {summary(public)} |"


def parts_of(readme: str) -> tuple[str, str, str]:
    """Return what stands before the section, the section, and what stands behind it."""
    before, after = readme.split(HEADING)
    section, heading, rest = after.partition("\n## ")
    return before + HEADING, section, heading + rest


def main() -> None:
    """Write the section anew."""
    before, _, after = parts_of(README.read_text(encoding="utf-8"))
    README.write_text(before + api_section() + after, encoding="utf-8")


if __name__ == "__main__":
    main()
