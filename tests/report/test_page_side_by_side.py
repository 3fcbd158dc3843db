"""Pages that workers help to make: the same page, whoever makes what."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from pytest_fragility.parallel.failures import LostWorkerWarning
from pytest_fragility.parallel.local_processes import Worker, idle_workers
from pytest_fragility.report.documents import Document, document
from pytest_fragility.report.page import render_page
from tests.sample_documents import KEEPING, sample_audit, sample_curves

pytest.importorskip("jinja2")
pytest.importorskip("matplotlib")

from pytest_fragility.report.page import rendering as side_by_side

AUDITS = 3


@pytest.fixture(scope="module")
def shown() -> Document:
    """A document of several small audits."""
    names = [f"steady {number}" for number in range(AUDITS)]
    return document(
        [sample_audit(sample_curves(KEEPING, name), name, kinds=["trend"]) for name in names]
    )


@pytest.fixture(scope="module")
def alone(shown: Document) -> str:
    """Its page, made in this process."""
    idle_workers.dismiss()
    return render_page(shown)


@pytest.fixture
def worker(alone: str) -> Iterator[Worker]:
    """A worker that waits."""
    idle_workers.dismiss()
    worker = Worker()
    idle_workers.give_back(worker)
    yield worker
    idle_workers.dismiss()


def test_a_worker_that_waits_takes_part(
    shown: Document, alone: str, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page is the same, byte for byte, and the worker waits again."""
    has_helped, section_of = threading.Event(), side_by_side.section_of
    asked: list[int] = []
    perform = Worker.perform

    def noted(self: Worker, work: Any, *arguments: Any) -> Iterator[Any]:
        asked.append(arguments[1])
        yield from perform(self, work, *arguments)
        has_helped.set()

    def patient(audit: Document, number: int) -> Any:
        assert has_helped.wait(60)
        return section_of(audit, number)

    monkeypatch.setattr(Worker, "perform", noted)
    monkeypatch.setattr(side_by_side, "section_of", patient)
    assert render_page(shown) == alone
    assert asked
    assert idle_workers.take_waiting() is worker
    worker.dismiss()


def test_what_a_lost_worker_had_is_made_here(
    shown: Document, alone: str, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A warning says so, and the page is the same."""
    perform = Worker.perform

    def lost(self: Worker, *arguments: Any) -> Iterator[Any]:
        self.kill()
        yield from perform(self, *arguments)

    monkeypatch.setattr(Worker, "perform", lost)
    with pytest.warns(LostWorkerWarning, match="ended early"):
        assert render_page(shown) == alone
    assert not idle_workers.is_any


def test_an_interruption_ends_the_workers(
    shown: Document, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody waits for what they have begun."""
    has_begun, perform = threading.Event(), Worker.perform

    def noted(self: Worker, *arguments: Any) -> Iterator[Any]:
        has_begun.set()
        yield from perform(self, *arguments)

    def interrupted(audit: Document, number: int) -> Any:
        assert has_begun.wait(60)
        raise KeyboardInterrupt

    monkeypatch.setattr(Worker, "perform", noted)
    monkeypatch.setattr(side_by_side, "section_of", interrupted)
    with pytest.raises(KeyboardInterrupt):
        render_page(shown)
    assert not worker.is_alive
    assert not idle_workers.is_any


def test_no_worker_is_started(shown: Document, alone: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where none waits, this process makes all of it."""
    idle_workers.dismiss()
    monkeypatch.setattr(Worker, "__init__", lambda self: pytest.fail("a worker was started"))
    assert render_page(shown) == alone
