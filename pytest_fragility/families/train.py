"""Planned families trained, or read from a store: each run once, within a budget."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING

from pytest_fragility._util.stopwatch import STORE, TRAINING, WAITING, spent_on
from pytest_fragility.errors import BudgetError, FragilityError, TaskError
from pytest_fragility.families.family import Family
from pytest_fragility.families.plan import FamilyPlan
from pytest_fragility.networks.runs import Run, TrainedRun
from pytest_fragility.networks.stack_cache import StacksOfRuns
from pytest_fragility.recipes import Factory

if TYPE_CHECKING:
    import torch

    from pytest_fragility.parallel.futures import Executors
    from pytest_fragility.store import Store
    from pytest_fragility.tasks.task import Task


Progress = Callable[[int, int, float], None]


def train_families(
    plans: Sequence[FamilyPlan],
    *,
    device: torch.device,
    store: Store | None = None,
    progress: Progress | None = None,
    budget: TrainingBudget | None = None,
    executors: Executors | None = None,
) -> list[Family]:
    """Return the planned families, each run trained once or read from the store.

    Parameters
    ----------
    plans
        The grids; runs that stand in several are trained once.
    device
        Where to train.
    store
        Where trained runs are kept; None keeps nothing.
    progress
        Called as ``progress(runs done, runs to train, share of the work done)`` while training.
    budget
        Charged with what is to be trained; None has no limit.
    executors
        Who else may train, and measure; None has all done on this machine.

    Raises
    ------
    SettingsError
        If an architecture's function is no longer what it was when its code was read.
    TaskError
        If a pool is too small for the sizes asked, or two tasks of a plan have one name.
    BudgetError
        If more would be trained than the budget has left.
    StoreError
        If a trained run cannot be written.
    """
    from pytest_fragility.training.trainer import training_environment

    for plan in plans:
        _require_one_task_of_a_name(plan)
    lost = [_lost_rungs(plan) for plan in plans]
    parts = [
        part
        for plan, missing in zip(plans, lost, strict=True)
        for part in plan.parts
        if part not in plan.rungs or part.task.name not in missing
    ]
    for factory in _factories(parts):
        factory.require_unchanged()
    environment = training_environment(device)
    _require_subsets(run for part in parts for run in part.runs.values())
    keys = {run: run.key(environment) for part in parts for run in part.runs.values()}
    runs = {key: run for run, key in keys.items()}
    trained = _load(runs, store)
    if len(trained) < len(runs):
        trained |= _train_missing(runs, trained, device, store, progress, budget, executors)
    # audits that ask for the same networks share what measures work out of them
    stacks = StacksOfRuns(device)

    def family(plan: FamilyPlan, missing: Mapping[str, str]) -> Family:
        rungs = [family(rung, {}) for rung in plan.rungs if rung.task.name not in missing]
        return Family(
            plan,
            {
                place: replace(trained[keys[run]], run=run, key=keys[run])
                for place, run in plan.runs.items()
            },
            device,
            rungs,
            family(plan.equivalents, {}) if plan.equivalents else None,
            executors,
            stacks=stacks,
            lost_rungs=missing,
        )

    return [family(plan, missing) for plan, missing in zip(plans, lost, strict=True)]


def _factories(plans: Sequence[FamilyPlan]) -> list[Factory]:
    """Return the functions that networks will be made by, each once."""
    found: list[Factory] = []
    for architecture in (r.architecture for plan in plans for r in plan.recipes.values()):
        if isinstance(architecture, Factory) and not any(f is architecture for f in found):
            found.append(architecture)
    return found


def _require_one_task_of_a_name(plan: FamilyPlan) -> None:
    """Raise where networks, curves and tables of two tasks would be known by one name."""
    own = plan.task
    for task in plan.ladder.tasks if plan.ladder else ():
        if task.name == own.name and task.data.fingerprint != own.data.fingerprint:
            raise TaskError(
                f"task {task.name!r} of the ladder is called as the audited one, and has other "
                "data; give one of them another name"
            )


def _lost_rungs(plan: FamilyPlan) -> dict[str, str]:
    """Return why tasks of a plan's ladder cannot be learned, by name.

    They keep the ladder from being judged, and nothing else.
    """
    lost = {}
    for rung in plan.rungs:
        # the audit's own task is needed for all
        if rung.task is plan.task:
            continue
        try:
            _require_subsets(rung.runs.values())
            next(iter(rung.runs.values())).build_network()
        except FragilityError as error:
            lost[rung.task.name] = str(error)
    return lost


def _require_subsets(runs: Iterable[Run]) -> None:
    """Raise where a pool cannot give the subsets asked for, before anything is trained."""
    from pytest_fragility.tasks.sampling import training_subset

    smallest: dict[tuple[Task, int], int] = {}
    for run in runs:
        pool_size = len(run.task.data.train_labels)
        if run.n > pool_size:
            raise TaskError(
                f"size {run.n}: the training pool of task {run.task.name!r} has only {pool_size} "
                "samples; ask for smaller sizes"
            )
        place = (run.task, run.seed)
        smallest[place] = min(run.n, smallest.get(place, run.n))
    for (task, seed), n in smallest.items():
        try:
            # subsets are nested: what the smallest one has, all have
            training_subset(task.data, n, seed)
        except TaskError as error:
            raise TaskError(f"task {task.name!r}: {error}") from None


def _load(runs: dict[str, Run], store: Store | None) -> dict[str, TrainedRun]:
    if store is None:
        return {}
    with spent_on(STORE) as spent:
        loaded = {key: store.load(run, key) for key, run in runs.items()}
        found = {key: trained for key, trained in loaded.items() if trained is not None}
        spent.networks += len(found)
    return found


def _train_missing(
    runs: dict[str, Run],
    known: dict[str, TrainedRun],
    device: torch.device,
    store: Store | None,
    progress: Progress | None,
    budget: TrainingBudget | None,
    executors: Executors | None,
) -> dict[str, TrainedRun]:
    from pytest_fragility.training.trainer import train

    keys = {run: key for key, run in runs.items()}
    with ExitStack() as stack:
        if store:
            # until no other process trains for this store
            with spent_on(WAITING):
                stack.enter_context(store.lock())
        missing = {key: run for key, run in runs.items() if key not in known}
        found = _load(missing, store)
        missing = {key: run for key, run in missing.items() if key not in found}
        if budget:
            budget.spend(len(missing))
        report = _Reporter(list(missing.values()), progress)
        with spent_on(TRAINING) as spent:
            for batch in train(list(missing.values()), device, executors):
                spent.networks += len(batch)
                with spent_on(STORE):
                    for trained in batch:
                        key = keys[trained.run]
                        found[key] = trained
                        if store:
                            store.save(trained, key)
                report.finished([trained.run for trained in batch])
    return found


class _Reporter:
    """Counts finished runs, and their share of the work: a run takes about n times as long."""

    def __init__(self, runs: Sequence[Run], progress: Progress | None) -> None:
        self._progress = progress
        self._total, self._work = len(runs), sum(run.n for run in runs)
        self._done, self._work_done = 0, 0
        self._tell()

    def finished(self, runs: Sequence[Run]) -> None:
        self._done += len(runs)
        self._work_done += sum(run.n for run in runs)
        self._tell()

    def _tell(self) -> None:
        if self._progress and self._total:
            self._progress(self._done, self._total, self._work_done / self._work)


class TrainingBudget:
    """Counts networks that are trained on demand, and stops before a limit is passed.

    What a store has is free; the limit that it is within counts them too.
    """

    def __init__(self, networks: int, within: TrainingBudget | None = None) -> None:
        self.networks = networks
        self._within = within
        self.spent = 0

    def spend(self, networks: int) -> None:
        """Count networks that are about to be trained.

        Raises
        ------
        BudgetError
            If more would be trained than the budget has left; none of them is.
        """
        enough = max(2 * self.networks, self.spent + networks)
        if self.spent + networks > self.networks:
            raise BudgetError(
                f"training on demand has used {self.spent} of its budget of {self.networks} "
                f"networks, and {networks} more are needed; raise the budget "
                f"(--fragility-budget={enough}), ask for fewer examples, sizes or "
                "seeds, or run again: what is trained already comes from the store"
            )
        if self._within:
            self._within.spend(networks)
        self.spent += networks
