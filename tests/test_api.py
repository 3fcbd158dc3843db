"""What is public has a docstring that names every parameter, and a line in the README."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

from pytest_fragility import AuditResult, Family, Perturbation, Recipe, Task, TaskData
from pytest_fragility.auditing.assertions import FragilityAsserts
from pytest_fragility.measures import Measure, StackMeasure
from tests.api_table import MODULES, README, api_section, is_documented, parts_of, public_names

SECTIONS = ("Parameters", "Returns", "Yields", "Raises", "Warns", "Notes", "Examples")

PUBLIC = {
    f"{module}.{name}": public
    for module in MODULES
    for name, public in public_names(module).items()
}
DOCUMENTED = {name: public for name, public in PUBLIC.items() if is_documented(public)}


def methods(owner: type) -> Iterator[tuple[str, Callable[..., Any]]]:
    """Yield the public methods that a class has itself."""
    for name, value in vars(owner).items():
        if not name.startswith("_") and inspect.isfunction(value):
            yield f"{owner.__name__}.{name}", value


def parameters(public: Callable[..., Any]) -> set[str]:
    """Return the names in a signature, as a docstring spells them."""
    stars: dict[object, str] = {
        inspect.Parameter.VAR_POSITIONAL: "*",
        inspect.Parameter.VAR_KEYWORD: "**",
    }
    found = inspect.signature(public).parameters.values()
    return {f"{stars.get(each.kind, '')}{each.name}" for each in found if each.name != "self"}


def documented_parameters(public: Any) -> tuple[set[str], set[str]]:
    """Return the names in a docstring's section on parameters, and those without an explanation."""
    text = inspect.getdoc(public) or ""
    found = re.search(r"^Parameters\n-{10}\n(.*?)(?=^\w+\n-+\n|\Z)", text, re.DOTALL | re.MULTILINE)
    lines = found[1].splitlines() if found else []
    names: set[str] = set()
    unexplained: set[str] = set()
    for line, below in pairwise([*lines, ""]):
        if line and not line.startswith(" "):
            names |= {name.strip() for name in line.split(",")}
            unexplained |= set() if below.startswith("    ") else {line}
    return names, unexplained


def test_what_has_no_docstring_is_a_constant_or_an_alias() -> None:
    """A new public name is documented, or is one of these."""
    without = {name for name in PUBLIC if name not in DOCUMENTED}
    assert PUBLIC["pytest_fragility.measures.Measure"] is Measure
    constants = {"CONTROLS", "FITS", "LEAST_SQUARES", "MOST_SEEDS", "NOISE", "PARAMETER_COUNT"}
    constants |= {"ROUNDING", "TEST_ERROR", "Part"}
    expected = {f"pytest_fragility.curves.{name}" for name in constants}
    expected |= {"pytest_fragility.symmetries.SYMMETRIES", "pytest_fragility.measures.Measure"}
    assert without == expected


def wrong_with_text(public: Any) -> Iterator[str]:
    """Yield what a docstring lacks: a first line that a table can show, and NumPy's sections."""
    text = inspect.getdoc(public) or ""
    first, _, rest = text.partition("\n")
    if not first.endswith(".") or len(first) > 100 or (rest and not rest.startswith("\n")):
        yield f"its first line is no sentence of at most 100 characters: {first!r}"
    if unknown := set(re.findall(r"^(\w+)\n-{3,}$", text, re.MULTILINE)) - set(SECTIONS):
        yield f"unknown sections: {sorted(unknown)}"
    if isinstance(public, StackMeasure) and not (
        re.search(r"\bReads\b", text) and public.source and public.reads
    ):
        yield "it does not say what it reads, or where it comes from"


def wrong_with_parameters(public: Any) -> Iterator[str]:
    """Yield the parameters that are not documented, those that there are not, or not explained."""
    documented, unexplained = documented_parameters(public)
    if different := documented ^ parameters(public):
        yield f"parameters documented or in the signature alone: {sorted(different)}"
    if unexplained:
        yield f"parameters that are not explained: {sorted(unexplained)}"


def test_every_public_name_is_documented() -> None:
    """In one sentence, which is all that a table shows, and with sections that NumPy's style knows.

    Measures are called with one network, whatever they are computed from: they say what they read.
    """
    owners = (FragilityAsserts, AuditResult, Family, Perturbation, Recipe, Task, TaskData)
    asked = DOCUMENTED | {name: each for owner in owners for name, each in methods(owner)}
    wrong = [f"{name}: {each}" for name in sorted(asked) for each in wrong_with_text(asked[name])]
    assert not wrong, "\n".join(wrong)


def test_every_parameter_is_documented() -> None:
    """Each that the signature has, and no other; of the fixture `fragility`, its asserts' too."""
    asked = {name: each for name, each in DOCUMENTED.items() if not isinstance(each, StackMeasure)}
    asserts = dict(methods(FragilityAsserts))
    asked |= {name: asserts[name] for name in asserts if ".assert_" in name}
    assert len(asked) > 100
    wrong = [
        f"{name}: {each}" for name in sorted(asked) for each in wrong_with_parameters(asked[name])
    ]
    assert not wrong, "\n".join(wrong)


def test_the_readme_lists_what_is_public() -> None:
    """Word for word; ``python -m tests.api_table`` writes it anew."""
    _, section, _ = parts_of(README.read_text(encoding="utf-8"))
    assert section == api_section()
