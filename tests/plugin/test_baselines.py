"""``--fragility-save`` and ``--fragility-compare``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.plugin.conftest import ALL_CHECKS, Project
from tests.plugin.test_command_line_measure import bare  # noqa: F401

USAGE = pytest.ExitCode.USAGE_ERROR
AUDIT = "test_audit.py::test_audit"
# what is saved: agreement asserts nothing
SAVED_CHECKS = [check for check in ALL_CHECKS if check != "agreement"]
SAVE, COMPARE = "--fragility-save=main", "--fragility-compare=main"


def path_of(project: Project) -> Path:
    """Return the file of the baseline."""
    return project.path / "fragility_baselines" / "main.json"


def audits(project: Project) -> dict[str, Any]:
    """Return what the baseline holds."""
    found: dict[str, Any] = json.loads(path_of(project).read_text(encoding="utf-8"))["audits"]
    return found


def edit(project: Project, check: str, **changes: Any) -> None:
    """Change what the baseline holds of a check of the audit."""
    found = audits(project)
    found[AUDIT]["checks"][check] |= changes
    path_of(project).write_text(json.dumps({"format": 1, "audits": found}), encoding="utf-8")


def section(result: pytest.RunResult) -> str:
    """Return what is said about the baseline, on one line."""
    text = result.stdout.str().partition("= fragility baseline =")[2].partition("\n===")[0]
    return " ".join(text.strip("= \n").split())


@pytest.fixture
def saved(project: Project) -> Project:
    """A project with a baseline of a measure of which three checks are broken."""
    project.audit("reversing")
    project.run("--fragility", SAVE).assert_outcomes(passed=4, failed=3)
    return project


def test_what_is_saved(saved: Project) -> None:
    """Verdicts, exponents and settings, one line for each check; nothing of machine or versions."""
    audit = audits(saved)[AUDIT]
    assert sorted(audit["checks"]) == sorted(SAVED_CHECKS)
    assert audit["measure"] == "reversing"
    assert audit["checks"]["trend-adam"] == {
        "verdict": "broken",
        "exponent": -3.0,
        "interval": [-3.0, -3.0],
        "change": "sgd lr=0.05 -> adam lr=0.001",
    }
    settings = audit["settings"]
    assert (settings["task"], settings["seeds"]) == ("blobs", [0, 1, 2])
    assert settings["tolerances"]["margin"] == 10
    text = path_of(saved).read_text(encoding="utf-8")
    assert '        "controls": {"verdict": "kept"},\n' in text
    assert "torch" not in text and "cpu" not in text


def test_saving_again_changes_nothing(saved: Project) -> None:
    """The same audit gives the same bytes."""
    before = path_of(saved).read_bytes()
    result = saved.run("--fragility", SAVE)
    assert path_of(saved).read_bytes() == before
    assert section(result) == "baseline main: 6 checks saved in fragility_baselines/main.json"


def test_what_is_as_it_was_is_no_failure(saved: Project) -> None:
    """Broken checks that were broken are expected failures, with the baseline as reason."""
    result = saved.run("--fragility", COMPARE, "-rx")
    result.assert_outcomes(passed=4, xfailed=3)
    assert result.ret == 0
    result.stdout.fnmatch_lines(["XFAIL *trend-adam[]] - as in baseline main: broken*"])
    assert section(result) == "6 checks as in baseline main"
    # nothing is left to look at
    assert "next:" not in result.stdout.str()


def test_what_got_worse_fails(saved: Project) -> None:
    """The message quotes both states, and the check's own message follows."""
    edit(saved, "trend-adam", verdict="kept", exponent=1.0, interval=[0.9, 1.1])
    edit(saved, "exponent-adam", verdict="inconclusive")
    result = saved.run("--fragility", COMPARE)
    result.assert_outcomes(passed=4, xfailed=1, failed=2)
    result.stdout.fnmatch_lines(
        [
            "*CheckBroken: trend-adam was kept (exponent +1 [[]+0.9, +1.1[]]) in baseline main, "
            "and is BROKEN (exponent -3 [[]-3, -3[]])*",
            "*reversing: trend BROKEN under adam*",
            "*exponent-adam was inconclusive * in baseline main, and is BROKEN *",
        ]
    )
    # a rerun is compared as well
    result.stdout.fnmatch_lines(["*Rerun: pytest --fragility --fragility-compare=main *"])
    assert "2 checks worse: test_audit.py::test_audit[trend-adam] was kept" in section(result)
    assert "--fragility-save" not in section(result)


def test_kept_and_now_inconclusive_is_worse(project: Project) -> None:
    """What was shown is not shown any more."""
    project.audit("falling")
    project.run("--fragility", SAVE)
    project.audit("noise")
    result = project.run("--fragility", COMPARE, "-k", "exponent-adam")
    result.assert_outcomes(failed=1, deselected=6)
    result.stdout.fnmatch_lines(["*CheckInconclusive: exponent-adam was kept *"])


def test_what_got_better_passes(saved: Project) -> None:
    """It is listed, with the command that saves it; half of the way passes too."""
    saved.audit("falling")
    result = saved.run("--fragility", COMPARE)
    result.assert_outcomes(passed=7)
    assert "3 checks better: test_audit.py::test_audit[trend-adam] was BROKEN" in section(result)
    assert section(result).endswith("run it again with --fragility-save=main")
    saved.audit("noise")
    result = saved.run("--fragility", COMPARE, "-k", "exponent-adam", "-rx")
    result.assert_outcomes(xfailed=1, deselected=6)
    result.stdout.fnmatch_lines(["XFAIL * - better than in baseline main: broken*"])


def test_new_checks_are_judged_as_ever(saved: Project) -> None:
    """A check that the baseline does not have fails where it is broken, and is listed."""
    found = audits(saved)
    del found[AUDIT]["checks"]["trend-adam"]
    path_of(saved).write_text(json.dumps({"format": 1, "audits": found}), encoding="utf-8")
    result = saved.run("--fragility", COMPARE)
    result.assert_outcomes(passed=4, xfailed=2, failed=1)
    assert "1 check new: test_audit.py::test_audit[trend-adam] is BROKEN" in section(result)


def test_missing_checks_are_listed(saved: Project) -> None:
    """Those that did not run fail nothing."""
    result = saved.run("--fragility", COMPARE, "-k", "trend-adam")
    assert result.ret == 0
    assert "5 checks missing, since they did not run" in section(result)


def test_moved_exponents_are_listed(saved: Project) -> None:
    """Intervals that do not overlap under the same verdict fail nothing."""
    edit(saved, "trend-adam", exponent=-2.5, interval=[-2.6, -2.4])
    edit(saved, "exponent-adam", interval=[-4.001, -4.001])
    result = saved.run("--fragility", COMPARE)
    assert result.ret == 0
    moved = section(result).partition("1 check moved under the same verdict: ")[2]
    assert moved.startswith(
        "test_audit.py::test_audit[trend-adam] was BROKEN (exponent -2.5 [-2.6, -2.4])"
    )


def test_errors_always_fail(saved: Project) -> None:
    """A measure that raises is no broken check; saving leaves what was there."""
    saved.audit("raising")
    before = path_of(saved).read_bytes()
    result = saved.run("--fragility", COMPARE, SAVE)
    counts = result.parseoutcomes()
    # controls ask the measure nothing, and perturbations neither
    assert counts["failed"] == len(ALL_CHECKS) - counts["passed"] and "xfailed" not in counts
    after = audits(saved)[AUDIT]["checks"]
    assert after == json.loads(before)["audits"][AUDIT]["checks"]
    assert "4 checks left, since they gave no verdict in this run" in section(result)


def test_controls_are_never_excused(saved: Project) -> None:
    """Where they misbehave no verdict can be trusted, whatever was saved."""
    saved.audit("reversing", "**{**SMALL, 'exponent_tolerance': 9, 'spread_tolerance': 9}")
    saved.run("--fragility", SAVE).assert_outcomes(passed=5, failed=2)
    assert audits(saved)[AUDIT]["checks"]["controls"]["verdict"] == "broken"
    saved.run("--fragility", COMPARE).assert_outcomes(passed=5, failed=1, xfailed=1)


def test_other_settings_are_an_error(saved: Project) -> None:
    """Nothing is trained or compared; the message says which, then and now."""
    stored = saved.stored()
    saved.audit("reversing", "**{**SMALL, 'sizes': (16, 64), 'exponent_tolerance': 0.2}")
    result = saved.run("--fragility", COMPARE)
    result.assert_outcomes(failed=6, passed=1)
    result.stdout.fnmatch_lines(
        [
            "*SettingsError: baseline main was saved with other settings: sizes [[]16, 32, 64[]] "
            "then, [[]16, 64[]] now; tolerance exponent 0.1 then, 0.2 now. Ask for the same*"
        ]
    )
    failures = result.stdout.str().partition("= FAILURES =")[2]
    assert "pytest_fragility/" not in failures
    assert saved.stored() == stored


def test_another_change_of_the_same_name_is_an_error(saved: Project) -> None:
    """Where a perturbation was another one, its checks alone cannot be compared."""
    edit(saved, "trend-adam", change="sgd lr=0.05 -> adam lr=0.5")
    result = saved.run("--fragility", COMPARE, "-k", "trend")
    result.assert_outcomes(failed=1, passed=1, deselected=5)
    result.stdout.fnmatch_lines(["*adam sgd lr=0.05 -> adam lr=0.5 then, sgd lr=0.05 -> adam *"])


def test_a_selection_updates_what_it_ran(saved: Project) -> None:
    """The other checks stay, and other audits too; it says so."""
    edit(saved, "trend-adam", verdict="kept")
    edit(saved, "spread-adam", verdict="kept")
    result = saved.run("--fragility", SAVE, "-k", "trend-adam")
    checks = audits(saved)[AUDIT]["checks"]
    assert checks["trend-adam"]["verdict"] == "broken"
    assert checks["spread-adam"]["verdict"] == "kept"
    assert "1 check saved" in section(result) and "5 checks left" in section(result)


def test_other_settings_drop_what_was_saved(saved: Project) -> None:
    """An audit has one set of settings: what it had with others cannot be compared any more."""
    saved.audit("reversing", "**{**SMALL, 'sizes': (16, 64)}")
    result = saved.run("--fragility", SAVE, "-k", "trend-adam")
    assert list(audits(saved)[AUDIT]["checks"]) == ["trend-adam"]
    assert "5 checks dropped, saved with other settings" in section(result)


def test_expected_failures_of_a_marker_go_first(saved: Project) -> None:
    """What a marker expects keeps its own reason, and is strict as ever."""
    saved.audit("reversing", "xfail={'trend-adam': 'my reason'}, **SMALL")
    result = saved.run("--fragility", COMPARE, "-rx", "-k", "trend-adam")
    result.stdout.fnmatch_lines(["XFAIL *trend-adam[]] - my reason*"])


def test_a_check_that_does_not_apply(project: Project) -> None:
    """It is skipped as ever; where it was kept, the change is listed."""
    project.audit("falling", "**{**SMALL, 'perturbations': ['adam', UNFINISHED]}")
    project.run("--fragility", SAVE)
    entry = audits(project)[AUDIT]["checks"]["trend-unfinished"]
    assert entry["verdict"] == "not applicable"
    edit(project, "trend-unfinished", verdict="kept")
    result = project.run("--fragility", COMPARE)
    result.assert_outcomes(passed=7, skipped=3)
    assert "1 check changed: test_audit.py::test_audit[trend-unfinished] was" in section(result)


def test_seeds_in_looks(project: Project) -> None:
    """Audits that train seeds as they are needed are kept with their looks."""
    project.audit("reversing", "**{**SMALL, 'seeds': 'auto'}")
    project.run("--fragility", SAVE)
    assert audits(project)[AUDIT]["settings"]["looks"] == [5, 8, 13, 21]
    project.run("--fragility", COMPARE).assert_outcomes(passed=4, xfailed=3)


def test_parameters_of_ones_own(project: Project) -> None:
    """Each case of a test has a place of its own."""
    project.write(
        "@pytest.mark.parametrize('value', ['a', 'b\\x1b'])\n"
        "@pytest.mark.fragility(falling, **SMALL)\n"
        "def test_audit(check, value): check()\n"
    )
    project.run("--fragility", SAVE, "-k", "trend-baseline")
    assert len(audits(project)[AUDIT]["checks"]) == 2
    result = project.run("--fragility", COMPARE, "-k", "trend-baseline")
    assert section(result) == "2 checks as in baseline main"


def test_measures_of_the_command_line(bare: Project) -> None:  # noqa: F811
    """They are kept by the measure's place."""
    measure = "--fragility-measure=audits:reversing"
    bare.run("--fragility", measure, SAVE, "-k", "trend")
    assert list(audits(bare)) == ["measure audits:reversing"]
    bare.run("--fragility", measure, COMPARE, "-k", "trend").assert_outcomes(
        passed=1, xfailed=1, deselected=5
    )


@pytest.mark.parametrize("name", ["", "../up", "/etc/x", "a/b", ".hidden", "-x", "a\nb", "x" * 101])
@pytest.mark.parametrize("option", ["save", "compare"])
def test_names_stay_in_the_folder(project: Project, option: str, name: str) -> None:
    """What could lead elsewhere, or is no name, is a usage error."""
    project.audit("falling")
    result = project.run("--fragility", f"--fragility-{option}={name}")
    assert result.ret == USAGE
    assert "fragility: baseline '" in result.stderr.str()
    assert not (project.path / "fragility_baselines").exists()


def test_a_missing_baseline_is_a_usage_error(project: Project) -> None:
    """The message names the file, and the command that saves one."""
    project.audit("falling")
    result = project.run("--fragility", COMPARE)
    assert result.ret == USAGE
    assert f"no baseline {path_of(project)}: save one with pytest" in result.stderr.str()
    assert "--fragility --fragility-save=main" in result.stderr.str()


DAMAGED = [
    ("", "JSONDecodeError"),
    ("<<<<<<< HEAD\n", "JSONDecodeError"),
    ("[" * 100_000, "RecursionError"),
    ("[]", "expected an object"),
    ('{"format": 2, "audits": {}}', "format 2: expected 1"),
    ('{"format": 1}', "audits: expected an object"),
    ('{"format": 1, "audits": {"a": 5}}', "audits, 'a': expected an object"),
    ("verdict", "'trend-adam', verdict 'fine': expected kept, inconclusive, broken or not"),
    ("interval", "'trend-adam', interval [1, 'x']: expected two numbers"),
    ("exponent", "'trend-adam', exponent nan: expected a number"),
]


@pytest.mark.parametrize(("text", "reason"), DAMAGED)
@pytest.mark.parametrize("option", [SAVE, COMPARE])
def test_a_damaged_baseline_is_a_usage_error(
    project: Project, option: str, text: str, reason: str
) -> None:
    """The file is left as it is; the message says where it is wrong."""
    project.audit("falling")
    path_of(project).parent.mkdir()
    if text in ("verdict", "interval", "exponent"):
        wrong = {"verdict": "fine", "interval": [1, "x"], "exponent": float("nan")}
        entry = {"verdict": "kept", "exponent": 1.0, "interval": [1.0, 1.0], text: wrong[text]}
        audit = {
            "measure": "m",
            "settings": {"tolerances": {}},
            "checks": {"trend-adam": entry},
        }
        text = json.dumps({"format": 1, "audits": {"a": audit}})
    path_of(project).write_text(text)
    result = project.run("--fragility", option)
    assert result.ret == USAGE
    assert "main.json is no baseline" in result.stderr.str()
    assert reason in result.stderr.str()
    assert path_of(project).read_text() == text


def test_another_folder(project: Project) -> None:
    """An option or the configuration file names it, relative to the rootdir."""
    project.audit("falling")
    project.pytester.makeini("[pytest]\nfragility_baselines = of_ini\n")
    project.run("--fragility", SAVE, "-k", "trend")
    project.run("--fragility", SAVE, "--fragility-baselines=of/flag", "-k", "trend")
    assert (project.path / "of_ini" / "main.json").is_file()
    assert (project.path / "of" / "flag" / "main.json").is_file()
    assert not path_of(project).exists()


def test_a_folder_that_cannot_be_written_fails_the_run(project: Project) -> None:
    """The checks pass, and the exit status says that something is wrong; under -q too."""
    project.audit("falling")
    (project.path / "fragility_baselines").write_text("")
    result = project.run("--fragility", SAVE, "-q", "-k", "trend")
    result.assert_outcomes(passed=2, deselected=5)
    assert result.ret == 1
    result.stdout.fnmatch_lines(
        ["fragility: cannot save baseline fragility_baselines/main.json: *"]
    )


def test_runs_without_audits_save_nothing(project: Project) -> None:
    """Nothing is written where no check ran, or none was to run."""
    project.write("def test_plain(): pass\n")
    result = project.run("--fragility", SAVE)
    assert section(result) == "baseline main: nothing to save, since no check ran"
    for option in (SAVE, COMPARE):
        result = project.run(option)
        assert result.ret == USAGE
        assert "needs --fragility, which runs audits" in result.stderr.str()
    assert not path_of(project).exists()


def test_quiet_runs_say_nothing(saved: Project) -> None:
    """``-q`` leaves the section out."""
    result = saved.run("--fragility", COMPARE, SAVE, "-q")
    assert result.ret == 0
    assert "baseline" not in result.stdout.str()
