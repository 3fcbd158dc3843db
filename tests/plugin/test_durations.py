"""``--fragility-durations``: the section on where the time went."""

from __future__ import annotations

import re

import pytest

from tests.plugin.conftest import BASELINE_RUNS, Project
from tests.plugin.test_summary import summary

HEADLINE = "= fragility durations ="
PARTS = ["training", "measures", "statistics", "store", "report", "rest"]
# shown where another process held the store for long, as on a busy machine
WAITING = "waiting"
NETWORKS = 2 * BASELINE_RUNS


def section(output: str) -> list[str]:
    """Return the lines of the section; none where there is no such section."""
    lines = output.splitlines()
    starts = [index for index, line in enumerate(lines) if HEADLINE in line]
    if not starts:
        return []
    assert len(starts) == 1
    # under -q the last line of all has no rule
    ends = [
        index
        for index, line in enumerate(lines)
        if index > starts[0] and (line[:1] == "=" or " passed in " in line)
    ]
    found = lines[starts[0] + 1 : ends[0]]
    assert max(map(len, found)) <= 80
    return found


def parts(lines: list[str]) -> dict[str, tuple[float, float, str]]:
    """Return seconds, share and note by part."""
    rows = [re.fullmatch(r"  (\w+) +([\d.]+) +([\d.]+) %    (.+)", line) for line in lines]
    return {row[1]: (float(row[2]), float(row[3]), row[4]) for row in rows if row}


def measures(lines: list[str]) -> dict[str, float]:
    """Return the measures' seconds."""
    start = next(place for place, line in enumerate(lines) if "slowest measures" in line)
    return {line.split()[0]: float(line.split()[1]) for line in lines[start + 1 :]}


def total(lines: list[str]) -> float:
    """Return the seconds in all."""
    return float(lines[0].split()[0])


SLOW = (
    "import time\n"
    "def slow(network):\n"
    "    time.sleep(0.01)\n"
    "    return 1 / network.n\n"
    "@pytest.mark.fragility(slow, **SMALL)\n"
    "def test_slow(check): check()\n"
)


def test_parts_sum_to_the_whole(project: Project) -> None:
    """Seconds and shares add up; networks are counted; the slow measure shows."""
    project.write(
        SLOW
        + "@pytest.mark.fragility(falling, **SMALL)\n"
        + "def test_falling(check):\n    time.sleep(0.02)\n    check()\n"
    )
    lines = section(project.run("--fragility", "--fragility-durations").stdout.str())
    found = parts(lines)
    assert [part for part in found if part != WAITING] == PARTS
    assert sum(seconds for seconds, *_ in found.values()) == pytest.approx(total(lines), abs=0.05)
    assert sum(share for _, share, _ in found.values()) == pytest.approx(100, abs=0.5)
    assert found["training"][2] == f"trained {NETWORKS} networks"
    assert found["store"][2] == "read 0 networks"
    # each network once, those of the smallest size twice
    calls = NETWORKS + 3
    assert found["measures"][2] == f"{2 * calls} values"
    assert list(measures(lines)) == ["slow", "falling"]
    assert measures(lines)["slow"] >= 0.01 * calls - 0.005
    assert found["measures"][0] == pytest.approx(sum(measures(lines).values()), abs=0.02)
    # the tests' own work: seven checks that wait
    assert found["rest"][0] >= 0.02 * 7


def test_a_second_run_reads_the_store(project: Project) -> None:
    """What is trained already is read, which the section says."""
    project.audit("falling")
    project.run("--fragility")
    lines = section(project.run("--fragility", "--fragility-durations").stdout.str())
    assert parts(lines)["training"] == (0.0, 0.0, "trained 0 networks")
    assert parts(lines)["store"][2] == f"read {NETWORKS} networks"


def test_nobody_is_shown_what_was_not_asked_for(project: Project) -> None:
    """The section is there with the flag or its twin, whatever the verbosity, and only then."""
    project.audit("falling")
    assert not section(project.run("--fragility").stdout.str())
    quiet = project.run("--fragility", "--fragility-durations", "-q")
    assert section(quiet.stdout.str())
    assert not summary(quiet)
    project.pytester.makeini("[pytest]\nfragility_durations = true")
    assert section(project.run("--fragility").stdout.str())


def test_runs_without_audits_have_no_section(project: Project) -> None:
    """Nothing is shown where no network was trained, read or asked about."""
    project.write("def test_plain(): pass\n")
    assert not section(project.run("--fragility", "--fragility-durations").stdout.str())
    project.audit("falling")
    assert not section(project.run("--fragility-durations").stdout.str())


def test_a_failing_measure_is_counted(project: Project) -> None:
    """Errors leave the section as it is."""
    project.audit("raising")
    result = project.run("--fragility", "--fragility-durations")
    lines = section(result.stdout.str())
    assert result.ret == 1
    assert [part for part in parts(lines) if part != WAITING] == PARTS
    assert "raising" in measures(lines)


def test_an_audit_by_hand_is_counted_once(project: Project) -> None:
    """A test that calls ``audit`` is timed by the session as well, and the parts still sum up."""
    project.write(
        "from pytest_fragility import audit\n"
        "def test_by_hand():\n"
        "    result = audit(falling, **SMALL)\n"
        "    assert result.durations.parts['training'].networks == 18\n"
    )
    result = project.run("--fragility-durations")
    result.assert_outcomes(passed=1)
    lines = section(result.stdout.str())
    assert parts(lines)["training"][2] == f"trained {NETWORKS} networks"
    assert sum(seconds for seconds, *_ in parts(lines).values()) == pytest.approx(
        total(lines), abs=0.05
    )


def test_tracebacks_are_as_short_as_without(project: Project) -> None:
    """The stopwatch does not show in what a failing test prints."""
    project.audit("reversing")
    plain = project.run("--fragility").stdout.str()
    timed = project.run("--fragility", "--fragility-durations").stdout.str()
    for output in (plain, timed):
        assert "contextlib" not in output
        assert "durations.py" not in output


def test_workers_times_are_added_up(project: Project) -> None:
    """With pytest-xdist each network is trained once, and all workers' values are counted."""
    pytest.importorskip("xdist")
    project.write(SLOW)
    arguments = ("--fragility", "--fragility-durations", "-p", "no:hypothesispytest")
    finished = project.run_apart(*arguments, "-n2")
    assert finished.returncode == 0
    lines = section(finished.stdout)
    assert re.fullmatch(r"[\d.]+ worker seconds: 2 workers, added up", lines[0])
    found = parts(lines)
    assert [part for part in found if part != WAITING] == PARTS
    assert found["training"][2] == f"trained {NETWORKS} networks"
    seconds = sum(seconds for seconds, *_ in found.values())
    assert seconds == pytest.approx(total(lines), abs=0.05)
    # each worker asks about all networks that its checks need
    values = int(found["measures"][2].split()[0])
    assert values > NETWORKS + 3
    assert measures(lines)["slow"] >= 0.01 * values - 0.005


def test_a_worker_that_crashes_is_left_out(project: Project) -> None:
    """The time of a worker that ended early is missing, which the section says."""
    pytest.importorskip("xdist")
    project.audit("falling")
    project.write("import os\ndef test_crash(): os._exit(1)\n", "test_crash")
    arguments = ("--fragility", "--fragility-durations", "-p", "no:hypothesispytest")
    finished = project.run_apart(*arguments, "-n2")
    assert "1 worker that ended early" in "\n".join(section(finished.stdout))
