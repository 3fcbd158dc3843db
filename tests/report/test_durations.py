"""Where the time goes: what counts as what, and how it is shown."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from pytest_fragility import MLP, Recipe, Task, audit, fixed_steps
from pytest_fragility._util.stopwatch import (
    MEASURES,
    REPORT,
    REST,
    STATISTICS,
    STORE,
    TRAINING,
    WAITING,
    Durations,
    Spent,
    Stopwatch,
    spent_on,
    timing,
)
from pytest_fragility.report.durations import durations_table


class Clock:
    """A clock that stands still until it is told otherwise."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now

    def passes(self, seconds: float) -> None:
        """Let some time pass."""
        self.now += seconds


@pytest.fixture
def clock() -> Clock:
    """A clock."""
    return Clock()


def seconds(durations: Durations) -> dict[str, float]:
    """Return the seconds of each part."""
    return {part: spent.seconds for part, spent in durations.parts.items()}


def test_an_inner_part_does_not_count_in_the_outer_one(clock: Clock) -> None:
    """Each second counts once, for the innermost part; what is in none, for the rest."""
    stopwatch = Stopwatch(clock)
    clock.passes(1)
    with stopwatch.spent_on(STATISTICS):
        clock.passes(2)
        with stopwatch.spent_on(MEASURES, "norm", 3):
            clock.passes(4)
            with stopwatch.spent_on(STORE):
                clock.passes(8)
            clock.passes(16)
        clock.passes(32)
    clock.passes(64)
    durations = stopwatch.durations
    assert seconds(durations) == {MEASURES: 20, STATISTICS: 34, STORE: 8, REST: 65}
    assert durations.seconds == 127
    assert durations.measures == {"norm": Spent(20, 3)}


def test_a_part_may_stand_in_itself(clock: Clock) -> None:
    """No second of a part within the same part is counted twice."""
    stopwatch = Stopwatch(clock)
    with stopwatch.spent_on(REPORT):
        clock.passes(1)
        with stopwatch.spent_on(REPORT):
            clock.passes(2)
    assert seconds(stopwatch.durations) == {REPORT: 3, REST: 0}


def test_what_is_asked_in_between_ends_nothing(clock: Clock) -> None:
    """The seconds so far include those of a part that goes on."""
    stopwatch = Stopwatch(clock)
    with stopwatch.spent_on(TRAINING) as spent:
        clock.passes(5)
        assert seconds(stopwatch.durations) == {TRAINING: 5, REST: 0}
        clock.passes(1)
        spent.networks += 7
    assert stopwatch.durations.parts[TRAINING] == Spent(6, 7)


def test_a_part_that_fails_has_taken_its_time(clock: Clock) -> None:
    """An exception ends the part and goes on."""
    stopwatch = Stopwatch(clock)

    @stopwatch.spent_on(MEASURES, "norm")
    def fail() -> None:
        clock.passes(3)
        raise ValueError("no measure today")

    with pytest.raises(ValueError, match="today"):
        fail()
    clock.passes(4)
    assert seconds(stopwatch.durations) == {MEASURES: 3, REST: 4}


def test_measures_are_told_apart_and_the_slowest_comes_first(clock: Clock) -> None:
    """Seconds and networks are added up by name; the part has those of all measures."""
    stopwatch = Stopwatch(clock)
    for name, took in (("norm", 1), ("bound", 5), ("norm", 2)):
        with stopwatch.spent_on(MEASURES, name, 6):
            clock.passes(took)
    durations = stopwatch.durations
    assert list(durations.measures.items()) == [("bound", Spent(5, 6)), ("norm", Spent(3, 12))]
    assert durations.parts[MEASURES] == Spent(8, 18)


def test_times_of_processes_add_up(clock: Clock) -> None:
    """What processes send is what they had, and the sum has all places of both."""
    first, second = Stopwatch(clock), Stopwatch(clock)
    with first.spent_on(MEASURES, "norm", 1), second.spent_on(MEASURES, "norm", 2):
        clock.passes(1)
    with second.spent_on(WAITING):
        clock.passes(8)
    sent = [Durations.from_rows(each.durations.to_rows()) for each in (first, second)]
    assert sent == [first.durations, second.durations]
    together = sent[0] + sent[1]
    assert together.measures == {"norm": Spent(2, 3)}
    assert seconds(together) == {MEASURES: 2, WAITING: 8, REST: 8}
    assert together.seconds == sent[0].seconds + sent[1].seconds == 18
    assert seconds(together.without(REST)) == {MEASURES: 2, WAITING: 8}


def test_another_stopwatch_is_taken_over(clock: Clock) -> None:
    """Its parts are counted as such, once, and its rest goes to what surrounds it."""
    outer = Stopwatch(clock)
    with outer.spent_on(STATISTICS):
        clock.passes(1)
        assert outer.durations.seconds == 1
        inner = Stopwatch(clock)
        with inner.spent_on(MEASURES, "norm", 2):
            clock.passes(2)
        clock.passes(4)
        outer.take_over(inner.durations)
        clock.passes(8)
    assert seconds(outer.durations) == {MEASURES: 2, STATISTICS: 13, REST: 0}
    assert outer.durations.measures == {"norm": Spent(2, 2)}


def test_nobody_listens_by_default() -> None:
    """Without a stopwatch nothing is counted, and the work is done all the same."""
    with spent_on(TRAINING) as spent:
        spent.networks += 1
    with timing() as stopwatch:
        pass
    assert list(stopwatch.durations.parts) == [REST]


def test_functions_are_decorated() -> None:
    """A decorated function is counted at each call, by the stopwatch that runs then."""

    @spent_on(REPORT)
    def report(text: str) -> str:
        return text + "!"

    with timing() as first:
        assert report("a") == "a!"
    with timing() as second:
        assert report("b") == "b!"
        assert report("c") == "c!"
    assert REPORT in first.durations.parts
    assert REPORT in second.durations.parts


def test_timing_within_timing_counts_once() -> None:
    """The outer one has what the inner one has, and goes on afterwards."""
    with timing() as outer:
        with timing() as inner:
            with spent_on(MEASURES, "norm", 2):
                pass
            found = inner.durations
        with spent_on(STORE, networks=5):
            pass
    assert outer.durations.measures["norm"] == found.measures["norm"]
    assert outer.durations.parts[STORE].networks == 5
    assert STORE not in inner.durations.parts


def test_other_threads_are_not_counted() -> None:
    """What goes on beside takes no time of its own: only who has asked is timed."""

    def work() -> None:
        with spent_on(TRAINING):
            pass

    with timing() as stopwatch:
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    assert TRAINING not in stopwatch.durations.parts


def falling(network: object) -> float:
    """Fall with n."""
    return 1 / network.n  # type: ignore[attr-defined, no-any-return]


def small_audit(task: Task, folder: Path, **options: object) -> Durations:
    """Return where the time of a small audit went."""
    settings = {
        "task": task,
        "recipe": Recipe(architecture=MLP(hidden=(8,)), stopping=fixed_steps(30)),
        "sizes": (16, 32, 64),
        "seeds": 3,
        "perturbations": ["adam"],
        "checks": ["trend", "exponent", "spread"],
        "ladder": "none",
        "cache_dir": folder,
    }
    return audit(falling, **{**settings, **options}).durations  # type: ignore[arg-type]


def test_an_audit_says_where_its_time_went(blobs: Task, tmp_path: Path) -> None:
    """Networks are trained the first time and read the second; the measure's values are counted."""
    with timing() as stopwatch:
        durations = small_audit(blobs, tmp_path)
    assert durations.parts[TRAINING].networks == 18
    assert durations.parts[TRAINING].seconds > 0
    assert durations.parts[STORE].networks == 0
    assert durations.measures["falling"].networks == 18
    assert durations.parts[STATISTICS].seconds > 0
    assert sum(seconds(durations).values()) == pytest.approx(durations.seconds)
    assert stopwatch.durations.parts[TRAINING] == durations.parts[TRAINING]
    assert stopwatch.durations.seconds >= durations.seconds

    again = small_audit(blobs, tmp_path)
    assert TRAINING not in again.parts
    assert again.parts[STORE].networks == 18


def test_symmetries_ask_the_measure(blobs: Task, tmp_path: Path) -> None:
    """What is asked about networks with the same function counts as the measure's."""
    plain = small_audit(blobs, tmp_path)
    more = small_audit(blobs, tmp_path, checks=["trend", "symmetry"])
    assert more.measures["falling"].networks > plain.measures["falling"].networks


def test_looks_are_counted(blobs: Task, tmp_path: Path) -> None:
    """Seeds that are trained as they are needed are counted like all others."""
    durations = small_audit(blobs, tmp_path, seeds="auto")
    trained = durations.parts[TRAINING].networks
    assert trained >= 2 * 3 * 5
    assert durations.parts[STATISTICS].seconds > 0


def table(durations: Durations, **options: int) -> list[str]:
    """Return the lines of a table, no longer than 80 columns."""
    lines = durations_table(durations, **options).splitlines()
    assert max(map(len, lines)) <= 80
    return lines


def test_the_table_has_seconds_and_shares() -> None:
    """One line a part, with what it was spent on; nothing where nobody waited."""
    durations = Durations(
        {
            (REST, ""): Spent(1.0),
            (TRAINING, ""): Spent(5.0, 548),
            (STORE, ""): Spent(0.5, 1),
            (WAITING, ""): Spent(0.001),
            (MEASURES, "norm"): Spent(3.0, 600),
            (MEASURES, "bound"): Spent(0.499, 10),
        }
    )
    lines = table(durations)
    assert lines[0] == "10.00 seconds in all"
    assert [" ".join(line.split()) for line in lines[1:8]] == [
        "seconds share",
        "training 5.00 50.0 % trained 548 networks",
        "measures 3.50 35.0 % 610 values",
        "statistics 0.00 0.0 % curves, intervals, verdicts",
        "store 0.50 5.0 % read 1 network",
        "report 0.00 0.0 % records, messages, tables",
        "rest 1.00 10.0 % imports, data, the tests' own work",
    ]
    assert [line.split() for line in lines[9:]] == [
        ["slowest", "measures", "seconds", "seconds", "per", "network"],
        ["norm", "3.00", "0.00500"],
        ["bound", "0.50", "0.04990"],
    ]


def test_workers_and_waiting_are_said() -> None:
    """Times of several processes are called worker seconds."""
    durations = Durations({(WAITING, ""): Spent(2.0), (REST, ""): Spent(1.0)})
    lines = table(durations, workers=2, lost=1)
    assert lines[:2] == [
        "3.00 worker seconds: 2 workers, added up",
        "  without 1 worker that ended early",
    ]
    assert any(line.split()[:2] == ["waiting", "2.00"] for line in lines)
    assert not any("slowest" in line for line in lines)


def test_ten_measures_are_shown_and_long_names_are_broken() -> None:
    """Names that are too long for their column have lines of their own."""
    long_name = "pac_bayes_magnitude_initialization_as_published.bound_form"
    durations = Durations(
        {(MEASURES, f"measure_{place}"): Spent(place, 1) for place in range(12)}
        | {(MEASURES, long_name): Spent(20.0, 2), (MEASURES, "x" * 200): Spent(19.0, 2)}
    )
    lines = table(durations)
    start = next(place for place, line in enumerate(lines) if "slowest" in line) + 1
    assert lines[start].strip() == long_name
    assert lines[start + 1].split() == ["20.00", "10.00000"]
    shown = [line.split()[0] for line in lines if line.strip().startswith("measure_")]
    assert shown == [f"measure_{place}" for place in range(11, 3, -1)]


def test_an_empty_table() -> None:
    """No time at all is no division by zero."""
    assert table(Durations())[0] == "0.00 seconds in all"


def test_importing_it_imports_nothing_heavy() -> None:
    """Neither torch nor NumPy."""
    code = (
        "import sys, pytest_fragility._util.stopwatch\n"
        "print([name for name in ('torch', 'numpy', 'pytest') if name in sys.modules])"
    )
    shown = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    ).stdout
    assert shown.strip() == "[]"
