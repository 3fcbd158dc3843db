"""One stack of networks, trained together until each has met its stopping rule."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

from pytest_fragility.networks import build_network, initial_weights
from pytest_fragility.runs import Run, TrainedRun, TrainingRecord
from pytest_fragility.tasks.task import Task
from pytest_fragility.training.optimizers import StackedOptimizer, optimizer_group
from pytest_fragility.training.sampling import SampleOrder, training_subset
from pytest_fragility.training.stacking import Tensors, stack_network
from pytest_fragility.training.stopping import is_met, is_worth_checking, next_check

EVALUATION_SAMPLES = 1 << 16
ALIGNMENT = 16


@dataclass(frozen=True)
class Evaluation:
    """Losses and mistakes of a stack of networks on one set each: tensors of shape (K,)."""

    loss: torch.Tensor
    mistakes: torch.Tensor


class Shard:
    """A stack of networks with one architecture and one batch size.

    Parameters
    ----------
    runs
        What to train. Networks that share an `optimizer_group` must stand together.
    batch_size
        Samples per step, the same for all.
    device
        Where to train.
    """

    def __init__(self, runs: Sequence[Run], batch_size: int, device: torch.device) -> None:
        self._device = device
        self._batch_size = batch_size
        self._pools = _Pools([run.task for run in runs], device)
        first = runs[0]
        self._network = build_network(
            first.recipe.architecture, first.task.data.input_shape, self._pools.classes
        )
        self._stacked = stack_network(self._network)
        self._runs = list(runs)
        self._initial = [
            initial_weights(self._network, scale=run.recipe.initialization_scale, seed=run.seed)
            for run in runs
        ]
        self._shapes = [weight.shape for weight in self._initial[0].values()]
        self._weights = torch.stack([_row(weights) for weights in self._initial]).to(device)
        self._gradients = torch.zeros_like(self._weights)
        self._loss_sums = torch.zeros(len(runs), dtype=torch.float32, device=device)
        self._subsets = [
            self._pools.rows(run.task, training_subset(run.task.data, run.n, run.seed))
            for run in runs
        ]
        self._orders = _Orders(runs)
        self._groups = _make_groups(self._runs, self._weights)

    def train(self) -> Iterator[list[TrainedRun]]:
        """Train to the end, yielding runs as they finish, each once."""
        step = last_check = 0
        while self._runs:
            check = next_check(step)
            until = min(check, *(run.recipe.stopping.step_limit for run in self._runs))
            self._take_steps(step, until)
            step = until
            recent_loss: list[float] = (self._loss_sums / (step - last_check)).tolist()
            finished = self._finished(step, recent_loss, is_check=step == check)
            if step == check:
                last_check = step
                self._loss_sums.zero_()
            if finished:
                yield list(finished.values())
                self._drop(sorted(finished))

    def _take_steps(self, start: int, stop: int) -> None:
        """Train from one step to another, adding up batch losses on the way."""
        weights, gradients = self._parts(self._weights), self._parts(self._gradients)
        inputs, labels = self._pools.train_inputs, self._pools.train_labels
        for rows in self._batches(start, stop):
            batch = inputs.index_select(0, rows.flatten()).view(*rows.shape, *inputs.shape[1:])
            losses = self._stacked.losses(weights, batch, labels[rows], gradients)
            self._loss_sums += losses
            for begin, end, optimizer in self._groups:
                optimizer.step(self._weights[begin:end], self._gradients[begin:end])

    def _batches(self, start: int, stop: int) -> torch.Tensor:
        """Return rows of the pool: shape (steps, K, batch), int64."""
        count = (stop - start) * self._batch_size
        rows = np.empty((len(self._runs), count), dtype=np.int64)
        for index, run in enumerate(self._runs):
            positions = self._orders.take(run, start * self._batch_size, count)
            np.take(self._subsets[index], positions, out=rows[index])
        shape = (len(self._runs), stop - start, self._batch_size)
        return torch.from_numpy(rows).to(self._device).view(shape).transpose(0, 1).contiguous()

    def _finished(
        self, step: int, recent_loss: list[float], *, is_check: bool
    ) -> dict[int, TrainedRun]:
        """Return the networks that end at this step, by their place in the stack.

        Between checks only those end that are at their step limit, so that no network is looked
        at because a neighbour is.
        """
        at_limit = {i for i, run in enumerate(self._runs) if step >= run.recipe.stopping.step_limit}
        to_check = set(range(len(self._runs))) if is_check else at_limit
        diverged = {i for i in to_check if not np.isfinite(recent_loss[i])}
        promising = {
            i for i in to_check if is_worth_checking(self._runs[i].recipe.stopping, recent_loss[i])
        }
        train = self._evaluate_train(sorted(at_limit | diverged | promising))
        ended = {}
        for i, (loss, error) in train.items():
            rule = self._runs[i].recipe.stopping
            met = is_met(rule, step=step, train_loss=loss, train_error=error)
            is_lost = i in diverged or not np.isfinite(loss)
            if met or is_lost or i in at_limit:
                ended[i] = (met and not is_lost, is_lost, loss, error)
        mistakes = self._count_test_mistakes(sorted(ended))
        return {
            i: self._trained(i, TrainingRecord(step, *outcome, *mistakes[i]))
            for i, outcome in ended.items()
        }

    def _trained(self, index: int, record: TrainingRecord) -> TrainedRun:
        parts = self._parts(self._weights[index : index + 1].to("cpu"))
        weights = {
            name: part[0].clone() for name, part in zip(self._initial[index], parts, strict=True)
        }
        return TrainedRun(self._runs[index], weights, self._initial[index], record)

    def _evaluate_train(self, indices: list[int]) -> dict[int, tuple[float, float]]:
        """Return mean loss and error over all training samples of some networks."""
        by_size: defaultdict[int, list[int]] = defaultdict(list)
        for index in indices:
            by_size[self._runs[index].n].append(index)
        results = {}
        for n, members in by_size.items():
            rows = torch.from_numpy(np.stack([self._subsets[i] for i in members])).to(self._device)
            evaluation = self._evaluate(
                members, rows, self._pools.train_inputs, self._pools.train_labels
            )
            losses, mistakes = evaluation.loss.tolist(), evaluation.mistakes.tolist()
            for place, index in enumerate(members):
                results[index] = (losses[place], mistakes[place] / n)
        return results

    def _count_test_mistakes(self, indices: list[int]) -> dict[int, tuple[int, int]]:
        """Return test mistakes and test size of some networks."""
        by_task: defaultdict[int, list[int]] = defaultdict(list)
        for index in indices:
            by_task[self._pools.place(self._runs[index].task)].append(index)
        results = {}
        for place, members in by_task.items():
            test = self._pools.test_rows(place).expand(len(members), -1)
            evaluation = self._evaluate(
                members, test, self._pools.test_inputs, self._pools.test_labels
            )
            for index, mistakes in zip(members, evaluation.mistakes.tolist(), strict=True):
                results[index] = (int(mistakes), test.shape[1])
        return results

    @torch.no_grad()
    def _evaluate(
        self, members: list[int], rows: torch.Tensor, inputs: torch.Tensor, labels: torch.Tensor
    ) -> Evaluation:
        chosen = torch.tensor(members, device=self._device)
        weights = self._parts(self._weights.index_select(0, chosen))
        loss = torch.zeros(len(members), device=self._device, dtype=torch.float64)
        mistakes = torch.zeros(len(members), device=self._device, dtype=torch.int64)
        for part in torch.split(rows, max(1, EVALUATION_SAMPLES // len(members)), dim=1):
            logits = self._stacked.logits(weights, inputs[part])
            target = labels[part]
            losses = functional.cross_entropy(
                logits.flatten(0, 1), target.flatten(), reduction="none"
            )
            loss += losses.view(target.shape).sum(dim=1, dtype=torch.float64)
            mistakes += (logits.argmax(dim=2) != target).sum(dim=1)
        return Evaluation(loss / rows.shape[1], mistakes)

    def _drop(self, indices: list[int]) -> None:
        """Compact the stack: the networks at `indices` leave it."""
        gone = set(indices)
        keep = [i for i in range(len(self._runs)) if i not in gone]
        rows = torch.tensor(keep, dtype=torch.int64, device=self._device)
        self._weights = self._weights.index_select(0, rows)
        self._gradients = torch.zeros_like(self._weights)
        self._loss_sums = self._loss_sums.index_select(0, rows)
        self._groups = _compact_groups(self._groups, keep, self._device)
        self._runs = [self._runs[i] for i in keep]
        self._initial = [self._initial[i] for i in keep]
        self._subsets = [self._subsets[i] for i in keep]

    def _parts(self, rows: torch.Tensor) -> Tensors:
        """Return the parameters in rows of shape (K, P) as views of shape (K, *shape)."""
        sizes = [_aligned(shape.numel()) for shape in self._shapes]
        parts = torch.split(rows, sizes, dim=1)
        return [
            part[:, : shape.numel()].view(-1, *shape)
            for part, shape in zip(parts, self._shapes, strict=True)
        ]


def _aligned(count: int) -> int:
    """Return `count` floats rounded up to whole cache lines.

    Matrix products choose their instructions by the alignment of what they read: with every
    parameter of every network aligned alike, a network's result does not depend on its place.
    """
    return -(-count // ALIGNMENT) * ALIGNMENT


def _row(weights: dict[str, torch.Tensor]) -> torch.Tensor:
    """Return all parameters of a network one behind the other, each padded with zeros."""
    parts = [weight.flatten() for weight in weights.values()]
    return torch.cat([functional.pad(part, (0, _aligned(len(part)) - len(part))) for part in parts])


Group = tuple[int, int, StackedOptimizer]


def _make_groups(runs: Sequence[Run], weights: torch.Tensor) -> list[Group]:
    """Return one optimizer for each stretch of the stack that can be updated together."""
    groups: list[Group] = []
    begin = 0
    keys = [optimizer_group(run.recipe.optimizer) for run in runs]
    for end in range(1, len(runs) + 1):
        if end == len(runs) or keys[end] != keys[begin]:
            optimizers = [run.recipe.optimizer for run in runs[begin:end]]
            groups.append((begin, end, StackedOptimizer(optimizers, weights[begin:end])))
            begin = end
    return groups


def _compact_groups(groups: list[Group], keep: list[int], device: torch.device) -> list[Group]:
    compacted: list[Group] = []
    place = 0
    for begin, end, optimizer in groups:
        rows = [i - begin for i in keep if begin <= i < end]
        if rows:
            optimizer.keep(torch.tensor(rows, dtype=torch.int64, device=device))
            compacted.append((place, place + len(rows), optimizer))
            place += len(rows)
    return compacted


class _Pools:
    """The data of all tasks of a shard, one behind the other on the device."""

    def __init__(self, tasks: Sequence[Task], device: torch.device) -> None:
        self._tasks = list({id(task): task for task in tasks}.values())
        self._device = device
        data = [task.data for task in self._tasks]
        self.classes = max(part.classes for part in data)
        self.train_inputs = _concatenate([part.train_inputs for part in data], device)
        self.train_labels = _concatenate([part.train_labels for part in data], device)
        self.test_inputs = _concatenate([part.test_inputs for part in data], device)
        self.test_labels = _concatenate([part.test_labels for part in data], device)
        self._train_offsets = np.cumsum([0, *(len(part.train_labels) for part in data)])
        self._test_offsets = np.cumsum([0, *(len(part.test_labels) for part in data)])

    def place(self, task: Task) -> int:
        return next(i for i, known in enumerate(self._tasks) if known is task)

    def rows(self, task: Task, subset: np.ndarray) -> np.ndarray:
        rows: np.ndarray = subset + self._train_offsets[self.place(task)]
        return rows

    def test_rows(self, place: int) -> torch.Tensor:
        begin, end = self._test_offsets[place : place + 2]
        return torch.arange(int(begin), int(end), device=self._device)


def _concatenate(arrays: list[np.ndarray], device: torch.device) -> torch.Tensor:
    return torch.from_numpy(np.concatenate(arrays)).to(device)


class _Orders:
    """Sample orders, shared between the runs that they are the same for."""

    def __init__(self, runs: Sequence[Run]) -> None:
        self._orders = {(run.n, run.seed): SampleOrder(run.n, run.seed) for run in runs}
        self._taken: tuple[int, int] = (-1, -1)
        self._cache: dict[tuple[int, int], np.ndarray] = {}

    def take(self, run: Run, start: int, count: int) -> np.ndarray:
        if self._taken != (start, count):
            self._taken = (start, count)
            self._cache = {}
        key = (run.n, run.seed)
        if key not in self._cache:
            self._cache[key] = self._orders[key].take(start, count)
        return self._cache[key]
