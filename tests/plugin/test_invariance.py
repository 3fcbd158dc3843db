"""Checks on networks with the same function, symmetries and equivalences, as pytest runs them."""

from __future__ import annotations

import json
import re
import shlex
from xml.etree import ElementTree

import pytest

from pytest_fragility.recipes.equivalences import EQUIVALENCES, STEPS, SYMMETRY_NAMES
from tests.plugin.conftest import BASELINE_RUNS, STANDARD_CHECKS, Project
from tests.plugin.test_reports import require_plain
from tests.plugin.test_summary import summary

SYMMETRY_IDS = [f"symmetry-{name}" for name in SYMMETRY_NAMES]
EQUIVALENCE_IDS = [f"equivalence-{name}" for name in EQUIVALENCES]
EQUIVALENT_RUNS = 8  # two pairs of trainings, two seeds each

MEASURES = """
import torch
from pytest_fragility import SGD
from pytest_fragility.errors import UndefinedMeasureError
from pytest_fragility.measures.measure import unclaimed

SAME = {**SMALL, "checks": ["symmetry", "equivalence"]}


def squared_norm(network):
    weights = [each.detach().double() for each in network.model.parameters()]
    # a classifier that is not trained is the same after every training
    fixed = torch.nn.LayerNorm in map(type, network.model.modules())
    return sum(float(each.square().sum()) for each in weights[: -1 if fixed else None])


def random_norm(network):
    return squared_norm(network) * float(1 + torch.rand(1, generator=network.rng))


@unclaimed("logit-shift")
def size_of_logits(network):
    return float(network.model(network.inputs).detach().abs().mean())


def undefined(network):
    if torch.nn.LayerNorm in map(type, network.model.modules()):
        raise UndefinedMeasureError("there are no biases")
    return 1.0


def constant(network):
    return 3.0
"""


def write_audit(project: Project, measure: str, arguments: str = "**SAME") -> None:
    """Write a test file that audits one measure on networks with the same function."""
    project.write(
        f"{MEASURES}\n"
        f"@pytest.mark.fragility({measure}, {arguments})\ndef test_audit(check):\n    check()\n"
    )


def check_ids(project: Project, *arguments: str) -> list[str]:
    """Return the ids of the collected checks."""
    return [node.partition("[")[2].rstrip("]") for node in project.ids("--fragility", *arguments)]


def test_there_is_one_for_each_change(project: Project) -> None:
    """They can be selected by kind and by change."""
    write_audit(project, "constant")
    assert check_ids(project) == [*SYMMETRY_IDS, *EQUIVALENCE_IDS]
    assert check_ids(project, "-k", "symmetry") == SYMMETRY_IDS
    assert check_ids(project, "-k", "permutation or rescaling") == SYMMETRY_IDS[:3]
    assert check_ids(project, "-k", "equivalence") == EQUIVALENCE_IDS
    assert check_ids(project, f"test_audit.py::test_audit[{EQUIVALENCE_IDS[0]}]") == [
        EQUIVALENCE_IDS[0]
    ]


def test_they_are_checked_by_default(project: Project) -> None:
    """After the other kinds, before the count of admissible perturbations."""
    write_audit(project, "constant", "**{**SMALL, 'checks': None, 'checkpoints': ['past-x2']}")
    assert check_ids(project)[4:] == [
        "stopping-past-x2",
        *SYMMETRY_IDS,
        *EQUIVALENCE_IDS,
        *STANDARD_CHECKS,
    ]


def test_no_perturbation_is_trained(project: Project) -> None:
    """The baseline gives networks and test error; both arms of equivalences have two seeds."""
    write_audit(project, "constant")
    result = project.run("--fragility", "-k", "equivalence")
    result.assert_outcomes(passed=2, deselected=8)
    runs = BASELINE_RUNS + EQUIVALENT_RUNS
    result.stdout.fnmatch_lines([f"fragility: training {runs} networks"])
    assert len(project.stored()) == runs


def test_a_failure_shows_values_and_factor(project: Project, shared_cache: str) -> None:
    """Before and after, how far they are apart, what is allowed, and how to run it again."""
    write_audit(project, "squared_norm")
    result = project.run("--fragility", shared_cache, "-k", "layer-rescaling")
    result.assert_outcomes(failed=1, deselected=9)
    result.stdout.fnmatch_lines(
        [
            "*CheckBroken: squared_norm: symmetry BROKEN under layer-rescaling",
            "*The network has the same function, and the measure another value.",
            "E * before  *",
            "E * after   *",
            "E * change  x *, allowed x 0.955 to x 1.047",
            "E *(layer-rescaling: one layer x 4, the next / 4; n=32, seed ?)",
            "E *task blobs; the two networks have the same function*",
            "*Rerun: pytest --fragility *test_audit.py::test_audit[[]symmetry-layer-rescaling[]]'",
        ]
    )
    numbers = re.findall(r"(?:before|after|change  x) +([\d.]+)", result.stdout.str())
    before, after, factor = map(float, numbers[:3])
    assert factor == pytest.approx(after / before, rel=0.01)
    assert factor > 1.05
    assert "pytest_fragility/" not in result.stdout.str().partition("= FAILURES =")[2]
    line = next(line for line in result.outlines if "Rerun: " in line)
    again = project.run(*shlex.split(line.partition("Rerun: pytest")[2]))
    again.assert_outcomes(failed=1)


def test_what_is_not_claimed_is_skipped(project: Project, shared_cache: str) -> None:
    """With the reason; all other symmetries are checked."""
    write_audit(project, "size_of_logits")
    result = project.run("--fragility", shared_cache, "-rs", "-k", "symmetry")
    result.assert_outcomes(passed=7, skipped=1, deselected=2)
    result.stdout.fnmatch_lines(["SKIPPED*the measure does not claim logit-shift"])
    lines = summary(result)
    assert "size_of_logits on blobs: kept" in lines
    assert any("does not apply: symmetry-logit-shift" in line for line in lines)


def test_where_a_measure_is_undefined_is_skipped(project: Project, shared_cache: str) -> None:
    """On the scale-invariant network it may refuse, and says why."""
    write_audit(project, "undefined")
    result = project.run("--fragility", shared_cache, "-rs")
    result.assert_outcomes(passed=7, skipped=3)
    result.stdout.fnmatch_lines(["SKIPPED*the measure is not defined there: there are no biases"])
    records = project.records(shared_cache, "-k", "equivalence")
    assert [(record["applicable"], record["evidence"]) for record in records] == [(False, {})] * 2


def test_nothing_that_applies_is_not_kept(project: Project, shared_cache: str) -> None:
    """Where every check is skipped, nothing was found."""
    write_audit(project, "undefined")
    result = project.run("--fragility", shared_cache, "-k", "equivalence")
    result.assert_outcomes(skipped=2, deselected=8)
    assert "undefined on blobs: inconclusive" in summary(result)


def test_a_constant_passes(project: Project, shared_cache: str) -> None:
    """What looks at no weights does not notice, on either scale."""
    write_audit(project, "constant")
    project.run("--fragility", shared_cache).assert_outcomes(passed=10)
    linear = "**{**SAME, 'scale': 'linear'}, name='minus'"
    write_audit(project, "lambda network: -3.0", linear)
    project.run("--fragility", shared_cache).assert_outcomes(passed=10)


def test_a_norm_moves_by_the_identitys_factor(project: Project, shared_cache: str) -> None:
    """Four times the weights, and weights that decay has shrunk at every step."""
    write_audit(project, "squared_norm")
    exponential, initialization = project.records(shared_cache, "-k", "equivalence")
    factors = {"exponential-rate": 0.99 ** (-2 * STEPS), "initialization-rate": 16}
    for record in (exponential, initialization):
        assert record["verdict"] == "broken"
        evidence = record["evidence"]
        factor = evidence["after"] / evidence["before"]
        assert factor == pytest.approx(factors[record["change"]], rel=1e-4)
        assert 10 ** evidence["change"]["mean"] == pytest.approx(factor, rel=1e-4)


def test_the_tolerance_can_be_chosen(project: Project, shared_cache: str) -> None:
    """In decades: 1.3 are more than a factor of 16, and less than one of 400."""
    write_audit(project, "squared_norm", "invariance_tolerance=1.3, **SAME")
    result = project.run("--fragility", shared_cache, "-k", "equivalence")
    result.assert_outcomes(passed=1, failed=1, deselected=8)
    result.stdout.fnmatch_lines(["*change  x 416, allowed x 0.0501 to x 20"])


def test_a_linear_scale_has_relative_changes(project: Project, shared_cache: str) -> None:
    """In percent."""
    write_audit(project, "squared_norm", "**{**SAME, 'scale': 'linear'}")
    result = project.run("--fragility", shared_cache, "-k", "logit-shift")
    result.assert_outcomes(failed=1, deselected=9)
    result.stdout.fnmatch_lines(["*change  +* %, allowed -2 % to +2 %"])


def test_a_random_measure_has_intervals_over_draws(project: Project, shared_cache: str) -> None:
    """The same numbers are drawn on both networks."""
    write_audit(project, "random_norm")
    result = project.run("--fragility", shared_cache, "-k", "permutation or initialization-rate")
    result.assert_outcomes(passed=1, failed=1, deselected=8)
    result.stdout.fnmatch_lines(
        ["*change  x 16 [[]16, 16[]], allowed *", "*means of 16 draws*", "*intervals over draws.*"]
    )


def test_failures_can_be_expected(project: Project, shared_cache: str) -> None:
    """By a pattern for a kind."""
    write_audit(project, "squared_norm", "xfail={'symmetry-*': 'reads weights'}, **SAME")
    result = project.run("--fragility", shared_cache, "-rx", "-k", "rescaling or neurons")
    result.assert_outcomes(xfailed=5, deselected=5)
    result.stdout.fnmatch_lines(["XFAIL *symmetry-dead-neurons[]] - reads weights*"])


def test_the_summary_has_every_change(project: Project, shared_cache: str) -> None:
    """One line each with the factor and the verdict, in 80 columns."""
    write_audit(project, "squared_norm", f"name='{'n' * 60}', **SAME")
    lines = summary(project.run("--fragility", shared_cache))
    start = lines.index("  where the function stays the same:") + 1
    rows = [line.split() for line in lines[start : start + 10]]
    assert [row[0] for row in rows] == [*SYMMETRY_IDS, *EQUIVALENCE_IDS]
    assert rows[2] == ["symmetry-permutation", "x", "1.000", "kept"]
    assert rows[9] == ["equivalence-initialization-rate", "x", "16", "BROKEN"]
    assert max(map(len, lines)) <= 80


def test_junit_xml_is_plain_json(project: Project, shared_cache: str) -> None:
    """Whatever the outcome: kept, broken or skipped, with points and with intervals."""
    for measure, selection in (
        ("squared_norm", "permutation or logit-shift"),
        ("random_norm", "permutation or logit-shift"),
        ("size_of_logits", "logit-shift"),
        ("undefined", "equivalence"),
    ):
        write_audit(project, measure)
        project.run("--fragility", shared_cache, "--junitxml=report.xml", "-k", selection)
        cases = ElementTree.parse(project.path / "report.xml").getroot().iter("property")
        texts = [str(case.get("value")) for case in cases if case.get("name") == "fragility"]
        assert texts
        for text in texts:
            assert "NaN" not in text and "Infinity" not in text
            record = json.loads(text)
            require_plain(record)
            assert record["check"] == f"{record['kind']}-{record['change']}"
            assert record["applicable"] == bool(record["evidence"])


def test_a_baseline_that_diverged_is_no_crash(project: Project) -> None:
    """Its networks have no function that could stay the same: symmetries do not apply."""
    recipe = "SMALL['recipe'].replace(optimizer=SGD(lr=1e20))"
    write_audit(project, "constant", f"**{{**SAME, 'recipe': {recipe}}}")
    result = project.run("--fragility", "-rs", "-k", "permutation")
    result.assert_outcomes(skipped=1, deselected=9)
    result.stdout.fnmatch_lines(["SKIPPED*diverged*"])
