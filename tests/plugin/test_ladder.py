"""The complexity check over a ladder of tasks, as pytest runs it."""

from __future__ import annotations

import pytest

from pytest_fragility.checks.kind import PAIRS
from pytest_fragility.checks.registry import KINDS
from tests.plugin.conftest import ALL_CHECKS, BASELINE_RUNS, CHECKS, STANDARD_CHECKS, Project
from tests.plugin.test_summary import summary

IDS = ["complexity-exponent", "complexity-level"]

# two tasks whose test errors differ: three blobs far apart, and nothing but random labels
LADDERS = """
from pytest_fragility.measures import oracle_test_error
from pytest_fragility.tasks import Ladder, with_label_noise


def load_apart():
    generator = np.random.default_rng(1)
    labels = generator.integers(3, size=280)
    inputs = 3 * np.eye(3, 6)[labels] + generator.normal(size=(280, 6))
    return TaskData(inputs[:80], labels[:80], inputs[80:], labels[80:])


EASY = Task("apart", load_apart)
TASKS = [EASY, with_label_noise(EASY, 1.0)]
# three seeds of tiny networks scatter: half of the confidence decides
WITH_LADDER = {**SMALL, "checks": [*SMALL["checks"], "complexity"]}
UNEVEN = {**WITH_LADDER, "ladder": Ladder("sense-to-nonsense", TASKS), "alpha": 0.5}
NOISY = {**WITH_LADDER, "ladder": "label-noise"}
"""

SILENT = "**{name: value for name, value in SMALL.items() if name not in ('ladder', 'checks')}"


def write_audit(
    project: Project, measure: str, arguments: str = "**UNEVEN", decorator: str = ""
) -> None:
    """Write a test file that audits one measure over a ladder."""
    project.write(
        f"{LADDERS}\n{decorator}\n"
        f"@pytest.mark.fragility({measure}, {arguments})\ndef test_audit(check):\n    check()\n"
    )


def trained(project: Project) -> int:
    """Return how many times a task's baseline, all sizes and seeds, has been trained."""
    number, rest = divmod(len(project.stored()), BASELINE_RUNS)
    assert rest == 0
    return number


def check_ids(project: Project, *arguments: str) -> list[str]:
    """Return the ids of the collected checks."""
    return [node.partition("[")[2].rstrip("]") for node in project.ids("--fragility", *arguments)]


def test_the_checks_have_ids(project: Project) -> None:
    """They stand before the count of admissible perturbations, and can be selected."""
    write_audit(project, "falling", "**NOISY")
    assert check_ids(project) == [*CHECKS, *IDS, *STANDARD_CHECKS]
    assert check_ids(project, "-k", "complexity") == IDS
    assert check_ids(project, "-k", "complexity-level") == IDS[1:]
    assert check_ids(project, "test_audit.py::test_audit[complexity-exponent]") == IDS[:1]


def test_only_the_baseline_is_trained_on_the_ladder(project: Project) -> None:
    """The audit's own task is one of its three; perturbations' networks are not needed."""
    write_audit(project, "falling", "**NOISY")
    project.run("--fragility", "-k", "complexity")
    assert trained(project) == 3


def test_other_checks_train_no_ladder(project: Project) -> None:
    """The ladder's tasks come when its checks are selected, and the rest is read again."""
    write_audit(project, "falling", "**NOISY")
    project.run("--fragility", "-k", "trend")
    assert trained(project) == 2
    project.run("--fragility")
    assert trained(project) == 2 + 2


def test_a_failure_shows_both_columns(project: Project) -> None:
    """Test error beside the measure for every task, the sensitivity, and how to run it again."""
    write_audit(project, "falling")
    result = project.run("--fragility", "-k", "complexity-level")
    result.assert_outcomes(failed=1, deselected=8)
    result.stdout.fnmatch_lines(
        [
            "E *CheckBroken: falling: complexity-level BROKEN over sense-to-nonsense",
            "E *The levels are blind to what changes test error's.",
            "E * test error * falling",
            "E * apart  * 10^* 10^-1.51 [[]-1.51, -1.51[]]",
            "E * apart+label-noise-1 *10^* 10^-1.51 [[]-1.51, -1.51[]]",
            "E * test error 10^* -> 10^*, falling 10^-1.51 -> 10^-1.51: sensitivity*",
            "E *1 follows test error, 0 is blind; allowed 0.25 to 4.00*",
            "E * ranks at n = 64 agree by +0.00*",
            "E * 3 seeds, n = 16..64, baseline mlp 8,*",
            "E * Rerun: pytest --fragility 'test_audit.py::test_audit[[]complexity-level[]]'",
        ]
    )
    message = [line for line in result.outlines if line.startswith("E       ")]
    assert max(len(line.removeprefix("E       ")) for line in message) <= 80


def test_a_failure_of_exponents_shows_powers(project: Project) -> None:
    """As of n, with the measure's own."""
    write_audit(project, "falling")
    result = project.run("--fragility", "-k", "complexity-exponent")
    result.stdout.fnmatch_lines(
        [
            "E *CheckBroken: falling: complexity-exponent BROKEN over sense-to-nonsense",
            "E * apart  * n^* n^-1.00 [[]-1.00, -1.00[]]",
            "E *[[]complexity-exponent[]]'",
        ]
    )


def test_the_perfect_measure_passes(project: Project) -> None:
    """Test error follows itself."""
    write_audit(project, "oracle_test_error")
    project.run("--fragility", "-k", "complexity").assert_outcomes(passed=2, deselected=7)


def test_its_failures_can_be_expected(project: Project) -> None:
    """By a pattern for both kinds."""
    write_audit(project, "falling", "xfail={'complexity-*': 'looks at n alone'}, **UNEVEN")
    result = project.run("--fragility", "-rx", "-k", "complexity")
    result.assert_outcomes(xfailed=2, deselected=7)
    result.stdout.fnmatch_lines(["XFAIL *complexity-level[]] - looks at n alone*"])


def test_what_is_expected_must_be_checked(project: Project) -> None:
    """Without a ladder the pattern matches nothing, which is an error."""
    write_audit(project, "falling", "xfail={'complexity-*': 'looks at n alone'}, **SMALL")
    result = project.run("--fragility")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*'complexity-[*]' matches no check*"])


@pytest.mark.parametrize("by", ["flag", "ini"])
def test_the_ladder_can_be_switched_off(
    project: Project, by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the command line or in the configuration file, where the marker is silent."""
    # what a marker does not name are all kinds; the others need no ladder, and take longer
    for kind in KINDS.values():
        if kind.rests_on == PAIRS or kind.asked_as == "stopping":
            monkeypatch.setattr(type(kind), "is_default", False)
    write_audit(project, "falling", SILENT)
    assert check_ids(project, "-k", "complexity") == IDS
    if by == "ini":
        project.pytester.makeini("[pytest]\nfragility_ladder = none\n")
    arguments = ["--fragility-ladder", "none"] if by == "flag" else []
    assert check_ids(project, *arguments) == ALL_CHECKS
    project.run("--fragility", *arguments).assert_outcomes(passed=len(ALL_CHECKS))
    assert trained(project) == 2


def test_the_command_line_goes_before_the_configuration_file(project: Project) -> None:
    """And the rerun command repeats it."""
    write_audit(project, "falling", SILENT)
    project.pytester.makeini("[pytest]\nfragility_ladder = none\n")
    result = project.run("--fragility", "--fragility-ladder", "label-noise", "-k", "level")
    result.stdout.fnmatch_lines(
        ["E * Rerun: pytest --fragility --fragility-ladder=label-noise 'test_audit.py::*level[]]'"]
    )


def test_an_unknown_ladder_is_refused(project: Project) -> None:
    """With the nearest name that there is."""
    result = project.run("--fragility", "--fragility-ladder", "label-nois")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*ladder='label-nois' (did you mean 'label-noise'?)*"])


def test_a_ladder_can_be_a_list_of_own_tasks(project: Project) -> None:
    """The audit's own task need not be one of them."""
    write_audit(project, "falling", "**{**UNEVEN, 'ladder': TASKS}")
    records = project.records("-k", "complexity")
    assert [record["check"] for record in records] == IDS
    assert {record["ladder"] for record in records} == {"apart -> apart+label-noise-1"}
    for record in records:
        assert record["task"] == "blobs"
        assert [rung["task"] for rung in record["evidence"]["rungs"]] == [
            "apart",
            "apart+label-noise-1",
        ]


@pytest.mark.parametrize(
    ("decorator", "trains"),
    [
        ("@pytest.mark.skip(reason='not today')", False),
        ("@pytest.mark.skipif(True, reason='not today')", False),
        ("@pytest.mark.skipif(False, True, reason='not today')", False),
        ("@pytest.mark.skipif(False, reason='any day')", True),
        ("@pytest.mark.skipif('False', reason='any day')", True),
    ],
)
def test_nothing_is_trained_for_a_skipped_test(
    project: Project, decorator: str, trains: bool
) -> None:
    """Neither its own networks nor the ladder's, even where another test trains."""
    write_audit(project, "falling", "**NOISY", decorator)
    other = "{**SMALL, 'task': Task('other', load)}"
    (project.path / "test_other.py").write_text(
        "from audits import *\n"
        f"@pytest.mark.fragility(falling, **{other})\n"
        "def test_other(check): check()\n"
    )
    result = project.run("--fragility", "-k", "complexity or (test_other and trend-baseline)")
    outcomes = result.parseoutcomes()
    assert outcomes["passed"] == 1
    assert outcomes.get("skipped", 0) == (0 if trains else 2)
    # the other test's task has the same content, and so the same networks, under another name
    names = {path.name for path in project.stored()}
    alone = project.run(
        "--fragility", "-k", "test_other and trend-baseline", "--fragility-cache-dir", "x"
    )
    alone.assert_outcomes(passed=1, deselected=outcomes["deselected"] + 2)
    expected = {path.name for path in project.stored("x")}
    assert expected <= names
    assert (names > expected) == trains


def test_nothing_is_trained_where_all_is_skipped(project: Project) -> None:
    """No file of a network is left."""
    for decorator in ("@pytest.mark.skip", "@pytest.mark.skipif(True, reason='not today')"):
        write_audit(project, "falling", "**NOISY", decorator)
        result = project.run("--fragility")
        result.assert_outcomes(skipped=9)
        result.stdout.no_fnmatch_line("fragility: train*")
        assert not project.stored()


HAND_WRITTEN = """
from pytest_fragility import CheckBroken, SettingsError


@pytest.mark.fragility(**UNEVEN)
@pytest.mark.parametrize("quantity", ["exponent", "level"])
def test_follows(learning_curves, fragility, quantity):
    verdict = fragility.assert_complexity_kept(learning_curves(oracle_test_error), quantity)
    assert verdict.check.id == "complexity-" + quantity


@pytest.mark.fragility(**UNEVEN)
@pytest.mark.parametrize("quantity", ["exponent", "level"])
def test_is_blind(learning_curves, fragility, quantity):
    with pytest.raises(CheckBroken, match="complexity-" + quantity):
        fragility.assert_complexity_kept(learning_curves(falling), quantity)


@pytest.mark.fragility(**UNEVEN)
def test_tolerance(learning_curves, fragility):
    def third(network):
        return network.test_record.test_error ** 0.3

    from pytest_fragility.measures.measure import oracle
    curves = learning_curves(oracle(third))
    fragility.assert_complexity_kept(curves, "level")
    with pytest.raises(CheckBroken):
        fragility.assert_complexity_kept(curves, "level", least_sensitivity=0.4)


@pytest.mark.fragility(**UNEVEN)
def test_other_quantity(learning_curves, fragility):
    with pytest.raises(SettingsError, match="'trend': expected exponent or level"):
        fragility.assert_complexity_kept(learning_curves(falling), "trend")


@pytest.mark.fragility(**SMALL)
def test_no_ladder(learning_curves, fragility):
    with pytest.raises(SettingsError, match="no ladder"):
        fragility.assert_complexity_kept(learning_curves(falling))
"""


def test_hand_written_tests_assert_it_too(project: Project) -> None:
    """For exponents and levels, with a tolerance of their own, and nothing else."""
    project.write(LADDERS + HAND_WRITTEN)
    project.run("--fragility").assert_outcomes(passed=7)


def test_a_failing_assert_in_a_hand_written_test_fails_it(project: Project) -> None:
    """With the same message as the check's."""
    project.write(
        f"{LADDERS}\n"
        "@pytest.mark.fragility(**UNEVEN)\n"
        "def test_mine(learning_curves, fragility):\n"
        "    fragility.assert_complexity_kept(learning_curves(falling), 'level')\n"
    )
    result = project.run("--fragility")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["E *CheckBroken: falling: complexity-level BROKEN over sense*"])


def test_the_summary_has_the_ladder(project: Project) -> None:
    """Its tasks, and a line each for exponents and levels, in 80 columns."""
    write_audit(project, "falling")
    lines = summary(project.run("--fragility"))
    assert lines[0] == "falling on blobs: broken"
    assert "  over the ladder sense-to-nonsense:" in lines
    assert any(line.startswith("  exponents: BROKEN, sensitivity 0.00") for line in lines)
    assert any(line.startswith("  levels:    BROKEN, sensitivity 0.00") for line in lines)
    assert [line.split()[0] for line in lines if " n^" in line and "value" not in line] == [
        "apart",
        "apart+label-noise-1",
    ]
    assert max(map(len, lines)) <= 80


def test_the_summary_shows_what_was_selected(project: Project) -> None:
    """One of the two kinds alone has no line of the other."""
    write_audit(project, "falling")
    lines = summary(project.run("--fragility", "-k", "complexity-level"))
    assert any(line.startswith("  levels: ") for line in lines)
    assert not any(line.startswith("  exponents: ") for line in lines)
    lines = summary(project.run("--fragility", "-k", "trend"))
    assert not any("ladder" in line for line in lines)
