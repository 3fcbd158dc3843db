"""Options on the command line and their twins in configuration files."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.plugin.conftest import BASELINE_RUNS, Project

NAMES = [
    *("profile", "device", "cache_dir", "seeds", "alpha", "task", "perturbations", "measure"),
    *("ladder", "checkpoints", "budget"),
]

SHOW_SETTINGS = """
def test_show(fragility):
    s = fragility.settings
    print("seeds:", len(s.seeds))
    print("alpha:", s.alpha)
    print("profile:", s.profile)
    print("device:", s.device)
    print("cache_dir:", s.cache_dir.name)
    print("task:", s.task.name)
    print("perturbations:", ",".join(s.perturbations))
    print("ladder:", s.ladder.name if s.ladder else "none")
    print("checkpoints:", ",".join(s.checkpoints))
    print("budget:", s.budget)
"""

# option, default, ini value, command line value
LAYERS = [
    ("seeds", "6", "5", "7"),
    ("alpha", "0.05", "0.1", "0.2"),
    ("profile", "standard", "thorough", "quick"),
    ("device", "auto", "cuda", "cpu"),
    ("cache_dir", ".fragility_cache", "of_ini", "of_flag"),
    ("task", "digits+label-noise-0.2", "digits", "digits+label-noise-0.1"),
    ("perturbations", None, "adam, momentum", "rmsprop"),
    ("ladder", "digits-label-noise", "teacher-depth", "none"),
    ("checkpoints", "stop-accuracy,stop-loss-0.01,past-x2,past-x4", "past-x2, past-x8", "past-x4"),
    ("budget", "5000", "0", "20"),
]


def shown_settings(project: Project, *arguments: str) -> dict[str, str]:
    """Return the settings of a run, as a test sees them."""
    project.write(SHOW_SETTINGS, "test_show")
    result = project.run("--fragility", "-s", "test_show.py", *arguments)
    result.assert_outcomes(passed=1)
    names = "|".join(name for name, *_ in LAYERS)
    return dict(re.findall(rf"^(?:test_show\.py )?({names}): (\S*)$", result.stdout.str(), re.M))


def test_help_shows_options_and_twins(project: Project) -> None:
    """``--help`` has one group for the options, and lists every ini twin."""
    text = project.run("--help").stdout.str()
    group = text.partition("fragility of generalization measures:")[2].partition("\n\n")[0]
    twins = text.replace(group, "")
    assert re.search(r"--fragility\s", group)
    assert re.search(r"^  fragility \(bool\)", twins, re.M)
    for name in NAMES:
        assert f"--fragility-{name.replace('_', '-')}" in group
        assert re.search(rf"^  fragility_{name} \(", twins, re.M)


def test_defaults(project: Project) -> None:
    """Without options the defaults hold, and the profile's perturbations."""
    shown = shown_settings(project)
    assert {name: shown[name] for name, default, *_ in LAYERS if default} == {
        name: default for name, default, *_ in LAYERS if default
    }
    assert len(shown["perturbations"].split(",")) == 9


def test_ini_goes_before_defaults(project: Project) -> None:
    """Every option can be set in the configuration file."""
    lines = [f"fragility_{name} = {ini}" for name, _, ini, _ in LAYERS]
    project.pytester.makeini("\n".join(["[pytest]", *lines]))
    shown = shown_settings(project)
    assert shown == {name: ini.replace(" ", "") for name, _, ini, _ in LAYERS}


def test_pyproject_toml_works_as_well(project: Project) -> None:
    """``pyproject.toml`` sets options and switches audits on."""
    project.pytester.makepyprojecttoml(
        "[tool.pytest.ini_options]\n"
        "fragility = true\nfragility_seeds = 3\nfragility_perturbations = 'adam'\n"
    )
    project.write("def test_on(fragility):\n    assert len(fragility.settings.seeds) == 3\n")
    result = project.run()
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["fragility: profile standard, 3 seeds, device auto*"])


def test_command_line_goes_before_ini(project: Project) -> None:
    """Every option on the command line overrides its twin."""
    lines = [f"fragility_{name} = {ini}" for name, _, ini, _ in LAYERS]
    project.pytester.makeini("\n".join(["[pytest]", *lines]))
    flags = [f"--fragility-{name.replace('_', '-')}={flag}" for name, *_, flag in LAYERS]
    assert shown_settings(project, *flags) == {name: flag for name, *_, flag in LAYERS}


def test_marker_goes_before_command_line(project: Project) -> None:
    """What a marker asks for is what is audited, whatever the command line says."""
    project.audit("falling", "alpha=0.2, device='cpu', cache_dir='of_marker', **SMALL")
    records = project.records(
        "--fragility-seeds=4",
        "--fragility-alpha=0.1",
        "--fragility-device=cuda:99",
        "--fragility-cache-dir=of_flag",
        "--fragility-task=digits",
        "--fragility-perturbations=momentum,rmsprop",
        "--fragility-profile=quick",
    )
    assert [record["perturbation"] for record in records] == [
        "baseline",
        *["adam"] * 3,
        *["baseline"] * 3,
    ]
    seen = {(len(r["seeds"]), r["alpha"], r["device"], r["task"]) for r in records}
    assert seen == {(3, 0.2, "cpu", "blobs")}
    assert len(project.stored("of_marker")) == 2 * BASELINE_RUNS
    assert not project.stored("of_flag")


def test_marker_takes_what_it_leaves_out_from_the_command_line(project: Project) -> None:
    """An argument that a marker does not give comes from the command line."""
    project.audit("falling", "**{**SMALL, 'seeds': None, 'perturbations': None}")
    records = project.records("--fragility-seeds=2", "--fragility-perturbations=rmsprop,adam")
    assert {tuple(record["seeds"]) for record in records} == {(0, 1)}
    perturbations = dict.fromkeys(record["perturbation"] for record in records)
    assert list(perturbations) == ["baseline", "rmsprop", "adam"]


def test_cache_dir_is_relative_to_the_rootdir(project: Project) -> None:
    """The folder of trained networks lies at the rootdir, wherever pytest is started."""
    project.audit("falling")
    project.pytester.makeini("[pytest]")
    (project.path / "below").mkdir()
    project.pytester.chdir()
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.chdir(project.path / "below")
        result = project.run("--fragility", "--fragility-cache-dir=kept", "..", "-k", "baseline")
    result.assert_outcomes(passed=1, deselected=6)
    assert len(project.stored("kept")) == BASELINE_RUNS
    assert not list((project.path / "below").iterdir())


def test_ini_switches_audits_on(project: Project) -> None:
    """``fragility = true`` stands for --fragility."""
    project.audit("falling")
    project.pytester.makeini("[pytest]\nfragility = true")
    project.run("-k", "baseline").assert_outcomes(passed=1, deselected=6)


def test_header_is_silent_without_audits(project: Project) -> None:
    """The report's header mentions the plugin only where audits are to run."""
    project.audit("falling")
    line = "fragility: profile *"
    project.run().stdout.no_fnmatch_line(line)
    result = project.run("--fragility", "--collect-only", "--fragility-seeds=3")
    result.stdout.fnmatch_lines(["fragility: profile standard, 3 seeds, device auto, alpha 0.05*"])


UNUSABLE = [
    ("--fragility-seeds=1", "*expected at least two seeds*"),
    ("--fragility-seeds=some", "*seeds='some': expected a number, a list of numbers, auto*"),
    ("--fragility-seeds=auto-4", "*seeds='auto-4': expected * auto-N with N the*5 or more*"),
    ("--fragility-fit=theilsen", "*fit='theilsen' (did you mean 'theil-sen'?)*"),
    ("--fragility-alpha=1.5", "*alpha=1.5: expected a number between 0 and 1*"),
    ("--fragility-alpha=nan", "*alpha=nan: expected a number between 0 and 1*"),
    ("--fragility-profile=quik", "*profile='quik' (did you mean 'quick'?)*"),
    ("--fragility-task=digit", "*unknown task 'digit': expected one of digits*"),
    ("--fragility-task=digits+label-noise-2", "*label noise 2.0: expected a fraction*"),
    ("--fragility-perturbations=adm", "*unknown perturbation 'adm': did you mean 'adam'?*"),
    ("--fragility-perturbations=adam,adam", "*perturbation 'adam' is given twice*"),
    ("--fragility-budget=-1", "*budget=-1: expected a number of networks, zero or more*"),
    ("--fragility-budget=much", "*--fragility-budget: invalid int value: 'much'*"),
    ("--fragility-checkpoints=past", "*unknown perturbation 'past'*"),
    ("--fragility-checkpoints=lr-x3", "*'lr-x3' changes more than where the training stops*"),
    ("--fragility-sizes=16", "*unrecognized arguments: --fragility-sizes=16*"),
]
UNUSABLE_IN_FILES = [
    ("alpha", "2", "*alpha=2.0: expected a number between 0 and 1*"),
    ("profile", "quik", "*profile='quik' (did you mean 'quick'?)*"),
    ("seeds", "some", "*'some'*"),
]


def test_unusable_values_are_usage_errors(project: Project) -> None:
    """A value that cannot be used ends the run before it begins, and is named."""
    project.write("def test_plain(): pass\n")
    for option, message in UNUSABLE:
        result = project.run("--fragility", option)
        assert result.ret == pytest.ExitCode.USAGE_ERROR, option
        result.stderr.fnmatch_lines([message])
        result.stdout.no_fnmatch_line("*INTERNALERROR*")
    for name, value, message in UNUSABLE_IN_FILES:
        project.pytester.makeini(f"[pytest]\nfragility_{name} = {value}")
        result = project.run("--fragility")
        assert result.ret == pytest.ExitCode.USAGE_ERROR, name
        result.stderr.fnmatch_lines([message])


def test_an_unknown_device_fails_the_tests_by_name(project: Project) -> None:
    """A device that is not there is named where networks are needed."""
    arguments: dict[str, Any] = {"failed": 1, "deselected": 6}
    project.audit("falling")
    result = project.run("--fragility", "--fragility-device=cuda:99", "-k", "baseline")
    result.assert_outcomes(**arguments)
    result.stdout.fnmatch_lines(["*device 'cuda:99': this machine has * CUDA devices*"])
