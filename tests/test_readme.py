"""The README's links lead somewhere, and what it names exists."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator

import pytest

from pytest_fragility import measures
from pytest_fragility.checks.registry import KINDS
from pytest_fragility.errors import FragilityError
from pytest_fragility.perturbations import AXES, get_perturbation
from pytest_fragility.recipes import ARCHITECTURES
from pytest_fragility.recipes.equivalences import NORMALIZATION_SCALE, SYMMETRY_NAMES
from pytest_fragility.settings import DEFAULTS, PROFILES
from pytest_fragility.symmetries import SYMMETRIES
from pytest_fragility.tasks import get_task
from pytest_fragility.tasks.ladders import LADDERS
from tests.in_turn import in_turn
from tests.readme_parts import (
    PROSE,
    README,
    ROOT,
    Block,
    anchors,
    blocks,
    links,
    names,
    section,
    table_below,
)

SET_UP = (
    "pip install -c tests/constraints.txt . && pytest --fragility examples",
    'pip install -c tests/constraints.txt ".[test]" && pytest -n 2',
)
FOLDERS = ("pytest_fragility", "tests", "examples")
FLAG = r"--fragility(?:-[a-z]+)*"


def exists(name: str, find: Callable[[str], object]) -> bool:
    """Return whether something is found by its name."""
    try:
        find(name)
    except FragilityError:
        return False
    return True


def commands() -> Iterator[list[str]]:
    """Yield the words of every pytest command, in blocks and in sentences."""
    lines = [line for block in blocks("sh") for line in block.text.splitlines()]
    lines += re.findall(r"`((?:pip install|pytest|python)\b[^`]*)`", re.sub(r"\n\s*", " ", PROSE))
    for line in lines:
        for command in line.split("&&"):
            words = shlex.split(command, comments=True)
            if words[:1] == ["pytest"]:
                yield words[1:]


def test_two_commands_set_everything_up() -> None:
    """Each on a line of its own, to be copied."""
    found = [line for block in blocks("sh") for line in block.text.splitlines()]
    assert all(command in found for command in SET_UP)


def test_every_link_leads_somewhere() -> None:
    """To a heading of this page, to a file of the repository, or out."""
    for link in links():
        if link.startswith("#"):
            assert link[1:] in anchors(), f"no heading for {link}"
        elif not link.startswith("https://"):
            assert (ROOT / link).exists(), link


def test_the_contents_list_every_section() -> None:
    """But the license; a section that nobody finds is not there."""
    contents = PROSE.partition("\n## ")[0]
    listed = set(re.findall(r"\]\(#([\w-]+)\)", contents))
    sections = re.findall(r"^## (.+)$", PROSE, re.MULTILINE)
    anchored = {re.sub(r"[^\w\- ]", "", name.lower()).replace(" ", "-") for name in sections}
    assert anchored - listed == {"license"}


def test_every_file_that_is_named_exists() -> None:
    """From the root, or from the package where the folder's name is that of one of its parts."""
    parts = [path.name for path in (ROOT / "pytest_fragility").iterdir() if path.is_dir()]
    named = set(re.findall(rf"`((?:{'|'.join([*FOLDERS, *parts])})/[\w./-]+)`", PROSE))
    assert len(named) > 15
    for name in named:
        assert any((base / name).exists() for base in (ROOT, ROOT / "pytest_fragility")), name


# of test cases, and no settings
JUNIT_PROPERTIES = {
    f"fragility_{name}"
    for name in ("check", "verdict", "exponent", "slope", "change", "sensitivity")
}


def test_every_option_exists(pytester: pytest.Pytester) -> None:
    """In commands, tables and sentences; commands are read as pytest would."""
    shown = pytester.runpytest_inprocess("--help").stdout.str()
    known = set(re.findall(FLAG, shown))
    for flag in re.findall(rf"{FLAG}\b", README):
        assert flag in known, flag
    for flag in {*re.findall(r"`(fragility_[a-z_]+)`", README)} - JUNIT_PROPERTIES:
        assert re.search(rf"^  {flag} \(", shown, re.MULTILINE), flag
    for command in commands():
        pytester.parseconfig(*command)


def test_every_path_in_a_command_exists() -> None:
    """Those of tests and examples."""
    paths = [word for words in commands() for word in words if word.startswith(FOLDERS)]
    files = [path for path in paths if ":" not in path]
    assert files
    for path in files:
        assert (ROOT / path).exists(), path


def test_every_module_that_is_run_exists() -> None:
    """By ``python -m``, from the root."""
    found = re.findall(r"`python -m ([\w.]+)`", PROSE)
    assert "tests.api_table" in found
    for module in found:
        assert (ROOT / f"{module.replace('.', '/')}.py").exists(), module


def test_measures_on_the_command_line_exist() -> None:
    """Those of this package."""
    found = re.findall(r"pytest_fragility\.measures:([\w.]+)", README)
    assert found
    for name in found:
        first, *rest = name.split(".")
        measure = getattr(measures, first)
        for part in rest:
            measure = getattr(measure, part)


# as checks= calls them, and what comes along with others
NAMED = tuple(dict.fromkeys(kind.asked_as or kind.id for kind in KINDS.values()))


@in_turn("kind", NAMED)
def test_every_check_has_a_row(kind: str) -> None:
    """Of what is asserted, or of what is located; no row is of another."""
    rows = table_below(section("## How each check is defined"), "| check | asserts")
    listed = {names(row[0])[0] for row in rows}
    assert kind in listed or kind == "locate"
    assert listed <= set(NAMED)


def test_the_tasks_of_the_table_exist() -> None:
    """And so does every operation, as a part of a name and as a function."""
    for row in table_below(section("## Tasks"), "| name | data |"):
        for name in names(row[0]):
            assert exists(name, get_task), name
    for row in table_below(section("## Tasks"), "| function | in a name |"):
        for operation in names(row[1]):
            assert exists(f"digits{operation}", get_task), operation


def test_the_ladders_of_the_table_exist() -> None:
    """All of them, and no other."""
    rows = table_below(section("## Ladders"), "| ladder | tasks |")
    listed = {name for row in rows for name in names(row[0]) if "(" not in name}
    assert listed == {*LADDERS, "none"}


def test_the_architectures_of_the_table_exist() -> None:
    """All of them, with their defaults."""
    rows = table_below(section("## Recipes and networks"), "| name | architecture |")
    listed = {names(row[0])[0]: names(row[1])[0] for row in rows}
    assert listed.keys() == ARCHITECTURES.keys()
    for name, shown in listed.items():
        kind = ARCHITECTURES[name]
        assert eval(shown, {kind.__name__: kind}) == kind()


def test_the_perturbations_of_the_table_exist() -> None:
    """Each on the axis of its row; every axis of the catalogue has a row."""
    rows = table_below(section("## Perturbations"), "| axis | names |")
    listed = {axis: names(row[1]) for row in rows for axis in names(row[0])}
    own = {axis for axis in AXES if axis not in listed}
    assert not own, own
    for axis, perturbations in listed.items():
        found = [get_perturbation(name) for name in perturbations]
        assert any(perturbation.axis == axis for perturbation in found), axis


@in_turn("profile", PROFILES)
def test_the_profiles_of_the_table(profile: str) -> None:
    """Sizes, seeds, perturbations and checkpoints."""
    chosen = PROFILES[profile]
    rows = table_below(section("## Settings"), "| profile | sizes |")
    (row,) = [row for row in rows if names(row[0]) == [profile]]
    assert row[1:] == [
        f"{chosen.sizes[0]} to {chosen.sizes[-1]}",
        str(chosen.seeds),
        str(len(chosen.perturbations)),
        str(len(chosen.checkpoints)),
    ]


@in_turn(
    "setting",
    [
        "exponent_tolerance",
        "spread_tolerance",
        "error_margin",
        "least_sensitivity",
        "invariance_tolerance",
    ],
)
def test_the_tolerances_of_the_table(setting: str) -> None:
    """With their defaults, and what these are as factors."""
    rows = table_below(section("## How to choose tolerances"), "| setting | default |")
    (row,) = [row for row in rows if names(row[0]) == [setting]]
    default = DEFAULTS[setting]
    assert row[1].startswith(f"{default:g}")
    factors = re.findall(r"\d\.\d\d\b", row[2])
    expected = {
        "exponent_tolerance": [2**default, (1024 / 32) ** default],
        "spread_tolerance": [10**default],
        "invariance_tolerance": [10**default],
    }
    assert factors == [f"{factor:.2f}" for factor in expected.get(setting, [])]


def test_the_symmetries_of_the_table_exist() -> None:
    """All but the one that perceptrons do not have."""
    rows = table_below(section("## Where the function stays the same"), "| symmetry |")
    listed = {row[0].partition(" ")[0]: row[0] for row in rows}
    assert {*listed, NORMALIZATION_SCALE} == set(SYMMETRY_NAMES)
    for name, cell in listed.items():
        assert cell == f"{name} ({SYMMETRIES[name].summary})"


def test_the_reference_measures_of_the_table_exist() -> None:
    """In the table of groups, and in that of audits."""
    text = section("## Reference measures")
    rows = table_below(text, "| group | measures")
    listed = [name for row in rows for name in names(row[1])]
    for name in listed:
        if not name.startswith("_") and "(" not in name:
            assert name in measures.__all__, name
    for row in table_below(text, "| measure | slope"):
        assert names(row[0])[0] in measures.__all__


def test_a_shown_audit_has_as_many_checks_as_it_says() -> None:
    """In the table of audits, what is kept, broken and inconclusive adds up to at most that."""
    text = section("## Reference measures")
    total = int(re.search(r"of (\d+) checks each", text)[1])  # type: ignore[index]
    for row in table_below(text, "| measure | slope"):
        counts = [int(cell) for cell in row[2:6] + row[8:12] if cell.isdigit()]
        sensitivities = sum("broken" in cell for cell in row[6:8])
        assert sum(counts) + sensitivities <= total, row


def test_every_block_says_its_language() -> None:
    """So that a test knows what to do with it."""
    assert README.count("```") == 2 * len([*all_blocks()])


def all_blocks() -> Iterator[Block]:
    """Yield the blocks of all languages that are in use."""
    for language in ("python", "sh", "text", "math", "yaml"):
        yield from blocks(language)
