"""What is public has a docstring that names every parameter, and a line in the README."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import pytest

from pytest_fragility import AuditResult, Family, Perturbation, Recipe, Task, TaskData
from pytest_fragility.auditing.assertions import FragilityAsserts
from pytest_fragility.measures import Measure, StackMeasure
from tests.api_table import MODULES, README, api_section, is_documented, parts_of, public_names
from tests.tables import each

SECTIONS = ("Parameters", "Returns", "Yields", "Raises", "Warns", "Notes", "Examples")

PUBLIC = {
    f"{module}.{name}": public
    for module in MODULES
    for name, public in public_names(module).items()
}
DOCUMENTED = {name: public for name, public in PUBLIC.items() if is_documented(public)}
# called with one network, whatever they are computed from: their docstrings say what they read
MEASURES = {name for name, public in DOCUMENTED.items() if isinstance(public, StackMeasure)}


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


def documented_parameters(public: Any) -> set[str]:
    """Return the names in a docstring's section on parameters, which have to be explained."""
    text = inspect.getdoc(public) or ""
    found = re.search(r"^Parameters\n-{10}\n(.*?)(?=^\w+\n-+\n|\Z)", text, re.DOTALL | re.MULTILINE)
    lines = found[1].splitlines() if found else []
    names: set[str] = set()
    for line, below in pairwise([*lines, ""]):
        if line and not line.startswith(" "):
            assert below.startswith("    "), f"{line} is not explained"
            names |= {name.strip() for name in line.split(",")}
    return names


def test_what_has_no_docstring_is_a_constant_or_an_alias() -> None:
    """A new public name is documented, or is one of these."""
    without = {name for name in PUBLIC if name not in DOCUMENTED}
    assert PUBLIC["pytest_fragility.measures.Measure"] is Measure
    constants = {"CONTROLS", "FITS", "LEAST_SQUARES", "MOST_SEEDS", "NOISE", "PARAMETER_COUNT"}
    constants |= {"ROUNDING", "TEST_ERROR", "Part"}
    expected = {f"pytest_fragility.curves.{name}" for name in constants}
    expected |= {"pytest_fragility.symmetries.SYMMETRIES", "pytest_fragility.measures.Measure"}
    assert without == expected


@each("name", sorted(DOCUMENTED))
def test_every_public_name_has_a_first_line(name: str) -> None:
    """One sentence, which is all that a table shows, and sections that NumPy's style knows."""
    text = inspect.getdoc(DOCUMENTED[name]) or ""
    first, _, rest = text.partition("\n")
    assert first.endswith(".") and len(first) <= 100
    assert not rest or rest.startswith("\n")
    assert set(re.findall(r"^(\w+)\n-{3,}$", text, re.MULTILINE)) <= set(SECTIONS)


@each("name", sorted(DOCUMENTED.keys() - MEASURES))
def test_every_parameter_is_documented(name: str) -> None:
    """Each that the signature has, and no other."""
    assert documented_parameters(DOCUMENTED[name]) == parameters(DOCUMENTED[name])


@each("name", sorted(MEASURES))
def test_every_reference_measure_says_what_it_reads(name: str) -> None:
    """In words, and for the audit."""
    measure = DOCUMENTED[name]
    text = inspect.getdoc(measure) or ""
    assert re.search(r"\bReads\b", text)
    assert measure.source and measure.reads


@each(
    ("name", "method"),
    [
        pytest.param(name, method, id=name)
        for owner in (FragilityAsserts, AuditResult, Family, Perturbation, Recipe, Task, TaskData)
        for name, method in methods(owner)
    ],
)
def test_methods_that_tests_call_are_documented(name: str, method: Callable[..., Any]) -> None:
    """Each says what it does; those of the fixture `fragility` name their parameters."""
    assert inspect.getdoc(method)
    if name.startswith("FragilityAsserts.assert_"):
        assert documented_parameters(method) == parameters(method)


def test_the_readme_lists_what_is_public() -> None:
    """Word for word; ``python -m tests.api_table`` writes it anew."""
    _, section, _ = parts_of(README.read_text(encoding="utf-8"))
    assert section == api_section()
