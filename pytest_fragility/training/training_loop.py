"""One stack of networks, trained together until each has met its stopping rule."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np
import torch

from pytest_fragility._util.seeds import derive_seed
from pytest_fragility.networks import InitialStates, NetworkState, build_network
from pytest_fragility.networks.runs import Run, TrainedRun, TrainingRecord
from pytest_fragility.tasks.sampling import SampleOrder, training_subset
from pytest_fragility.training.buffers import Carried
from pytest_fragility.training.cuda_streams import cuda_recording, sent
from pytest_fragility.training.gradients import Tensors, aligned_stack, inputs_first, rows_of
from pytest_fragility.training.minibatches import Pools, order_of
from pytest_fragility.training.stacked_forms import (
    ONE_AT_A_TIME,
    PERCEPTRON,
    StackedForm,
    stacked_form,
)
from pytest_fragility.training.stacked_optimizers import StackedOptimizer, optimizer_group, sinks_of
from pytest_fragility.training.steps import (
    CAPACITY,
    Group,
    PlainSteps,
    RecordedSteps,
    Recording,
    StackStep,
    stretches,
)
from pytest_fragility.training.trajectories import Trajectory, next_check
from pytest_fragility.training.vmapped import trained_names

# of all networks together: what a layer puts out for more would fall out of a CPU's caches
CPU_EVALUATION_SAMPLES = 1 << 13
# batches are drawn ahead for so many steps: each time costs a pass over all networks
DRAWN_STEPS = 256
EVALUATION_BYTES = 1 << 28
# between two moments at which a training can be stopped; recorded steps fill their tables
STEPS_AT_A_TIME = 16
# of a stack whose steps are recorded: to record them anew costs as much as many steps
SHARE_TO_COMPACT = 0.25


class Shard:
    """A stack of networks with one architecture, batch size, precision and label smoothing.

    Parameters
    ----------
    trajectories
        What to train. Networks that share an `optimizer_group` must stand together.
    device
        Where to train.
    recording
        How a step is recorded that is played for every batch; None takes what the device has.
    """

    def __init__(
        self,
        trajectories: Sequence[Trajectory],
        device: torch.device,
        recording: Recording | None = None,
    ) -> None:
        self._device = device
        self._trajectories = list(trajectories)
        runs = [trajectory.first for trajectory in trajectories]
        first, recipe = runs[0], runs[0].recipe
        self._batch_size = min(recipe.batch_size, first.n)
        self._pools = Pools([run.task for run in runs], device, getattr(torch, recipe.precision))
        shape, classes = first.task.data.input_shape, self._pools.classes
        network = build_network(recipe.architecture, shape, classes)
        self._trained_names = trained_names(network)
        self._initial = _initial_states(network, runs, shape, classes)
        self._form = stacked_form(recipe, first.task.data)
        network.to(device, self._pools.dtype)
        self._stacked = self._form.stack(network, label_smoothing=recipe.label_smoothing)
        rows = [[state.weights[name] for name in self._trained_names] for state in self._initial]
        self._weights = [aligned_stack(values, device) for values in zip(*rows, strict=True)]
        if self._form.kind == PERCEPTRON:
            # nothing goes back through the first layer
            self._weights[0] = inputs_first(self._weights[0])
        seeds = [derive_seed("dropout", run.n, run.seed) for run in runs]
        self._carried = Carried.of_states(self._initial, self._trained_names, seeds, device)
        self._loss_sums = self._weights[0].new_zeros(len(runs))
        self._subsets = _subsets_of(runs, self._pools)
        self._orders = {order: SampleOrder(*order) for order in map(order_of, runs)}
        self._drawn_from = self._drawn_until = 0
        self._drawn = torch.empty(0, dtype=torch.int64, device=device)
        self._optimizers = [
            StackedOptimizer([run.recipe for run in runs[begin:end]], self._weights_of(begin, end))
            for begin, end in self._stretches()
        ]
        self._recording = recording or _recording_for(device, self._form)
        self._steps_at_a_time = CAPACITY if self._recording else STEPS_AT_A_TIME
        self._steps: PlainSteps | RecordedSteps | None = None

    @property
    def _runs(self) -> list[Run]:
        """One run of each network's trajectory."""
        return [trajectory.first for trajectory in self._trajectories]

    def train(self) -> Iterator[list[TrainedRun]]:
        """Train to the end, yielding runs as they finish, each once.

        Where it can be stopped and none has finished, it yields an empty list.
        """
        step = last_check = 0
        while any(not each.is_done for each in self._trajectories):
            check = next_check(step)
            limits = [each.next_limit for each in self._trajectories if not each.is_done]
            until = min(check, *limits)
            while step < until:
                ahead = min(until, self._next_stop(step))
                self._take_steps(step, ahead)
                step = ahead
                if step < until:
                    yield []
            recent_loss: list[float] = (self._loss_sums / (step - last_check)).tolist()
            finished = self._finished(step, recent_loss, is_check=step == check)
            if step == check:
                last_check = step
                self._loss_sums.zero_()
            yield finished
            if finished:
                self._compact()

    def _next_stop(self, step: int) -> int:
        """Return up to where steps are taken at a time: all of their batches are drawn together."""
        drawn_until = self._drawn_until if step < self._drawn_until else step + DRAWN_STEPS
        return min(drawn_until, step + self._steps_at_a_time)

    def _take_steps(self, start: int, stop: int) -> None:
        """Train from one step to another, adding up batch losses on the way."""
        if self._steps is None:
            step = self._bound_step()
            self._steps = (
                RecordedSteps(step, self._recording) if self._recording else PlainSteps(step)
            )
        self._steps.take(self._batches(start, stop), start)

    def _bound_step(self) -> StackStep:
        scale = torch.ones_like(self._loss_sums)
        groups = [
            Group(optimizer, self._weights_of(begin, end), scale[begin:end])
            for optimizer, (begin, end) in zip(self._optimizers, self._stretches(), strict=True)
        ]
        sinks = sinks_of([(group.optimizer, group.weights) for group in groups])
        losses = self._stacked.bind(self._weights, sinks, scale, self._carried)
        pools = self._pools
        return StackStep(
            losses, groups, pools.train_inputs, pools.train_labels, self._carried, self._loss_sums
        )

    def _stretches(self) -> Iterator[tuple[int, int]]:
        """Yield where networks begin and end that one optimizer updates."""
        return stretches([optimizer_group(run.recipe) for run in self._runs])

    def _weights_of(self, begin: int, end: int) -> Tensors:
        return [weight[begin:end] for weight in self._weights]

    def _batches(self, start: int, stop: int) -> torch.Tensor:
        """Return rows of the pool: shape (steps, K, batch), int64."""
        if stop > self._drawn_until:
            self._drawn_from, self._drawn_until = start, max(stop, start + DRAWN_STEPS)
            self._drawn = self._draw(start, self._drawn_until)
        return self._drawn[start - self._drawn_from : stop - self._drawn_from]

    def _draw(self, start: int, stop: int) -> torch.Tensor:
        """Return the same as `_batches`; recipes share what they see, which is sent once."""
        count, runs = (stop - start) * self._batch_size, self._runs
        seen = [(self._pools.place(run.task), *order_of(run)) for run in runs]
        members = dict(zip(seen, range(len(runs)), strict=True))
        orders = {order_of(runs[index]) for index in members.values()}
        begin = start * self._batch_size
        positions = {order: self._orders[order].take(begin, count) for order in orders}
        rows = np.empty((len(members), count), dtype=np.int64)
        for row, index in zip(rows, members.values(), strict=True):
            # NumPy fills a copy first where it has to raise
            np.take(self._subsets[index], positions[order_of(runs[index])], out=row, mode="clip")
        drawn = sent(torch.from_numpy(rows), self._device)
        if len(members) < len(runs):
            places = {key: place for place, key in enumerate(members)}
            which = sent(torch.tensor([places[key] for key in seen]), self._device)
            drawn = drawn.index_select(0, which)
        # to choose among networks that stand side by side takes 30 times as long
        return drawn.view(len(runs), stop - start, self._batch_size).transpose(0, 1).contiguous()

    def _finished(self, step: int, recent_loss: list[float], *, is_check: bool) -> list[TrainedRun]:
        """Return the runs that end at this step, and take them off their trajectories."""
        looked_at = {
            i: pending
            for i, (trajectory, loss) in enumerate(
                zip(self._trajectories, self._hints(recent_loss), strict=True)
            )
            if (pending := trajectory.to_look_at(step, loss, is_check=is_check))
        }
        ended = {}
        for i, (loss, error) in self._evaluate_train(list(looked_at)).items():
            is_lost = not np.isfinite(loss) or (is_check and not np.isfinite(recent_loss[i]))
            endings = self._trajectories[i].ends(
                looked_at[i], step, train_loss=loss, train_error=error, lost=is_lost
            )
            if endings:
                ended[i] = (endings, is_lost, loss, error)
        mistaken = self._find_test_mistakes(sorted(ended))
        states = self._states(list(mistaken))
        return [
            # several runs may end on one trajectory, and share no memory all the same
            TrainedRun(
                ending,
                states[i].copy(),
                self._initial[i].copy(),
                TrainingRecord(step, reached, is_lost, loss, error, int(mask.sum()), len(mask)),
                mask.clone(),
            )
            for i, mask in mistaken.items()
            for endings, is_lost, loss, error in [ended[i]]
            for ending, reached in endings
        ]

    def _hints(self, recent_loss: list[float]) -> list[float]:
        """Return what recent losses say of those in eval mode: nothing where dropout is on."""
        if self._form.is_same_in_training:
            return recent_loss
        return [0.0 if math.isfinite(loss) else loss for loss in recent_loss]

    def _states(self, indices: list[int]) -> dict[int, NetworkState]:
        """Return views of what some networks have become, fetched from the device together."""
        if not indices:
            return {}
        rows = torch.tensor(indices, device=self._device)
        weights = [weight.index_select(0, rows).cpu() for weight in self._weights]
        found = dict(zip(self._trained_names, weights, strict=True))
        found |= {name: each.cpu() for name, each in self._carried.rows(rows).tensors.items()}
        like = self._initial[indices[0]]
        return {
            index: NetworkState(
                {name: found[name][place] for name in like.weights},
                {name: found[name][place] for name in like.buffers},
            )
            for place, index in enumerate(indices)
        }

    def _evaluate_train(self, indices: list[int]) -> dict[int, tuple[float, float]]:
        """Return mean loss and error over all training samples of some networks."""
        by_size: defaultdict[int, list[int]] = defaultdict(list)
        for index in indices:
            by_size[self._trajectories[index].first.n].append(index)
        results = {}
        for n, members in by_size.items():
            rows = torch.from_numpy(np.stack([self._subsets[i] for i in members])).to(self._device)
            losses, mistakes = self._losses_and_mistakes(members, rows)
            for place, index in enumerate(members):
                results[index] = (losses[place] / n, mistakes[place] / n)
        return results

    @torch.no_grad()
    def _find_test_mistakes(self, indices: list[int]) -> dict[int, torch.Tensor]:
        """Return which test samples some networks mistake: bool, shape (test samples,) each."""
        by_task: defaultdict[int, list[int]] = defaultdict(list)
        for index in indices:
            by_task[self._pools.place(self._trajectories[index].first.task)].append(index)
        results: dict[int, torch.Tensor] = {}
        for place, members in by_task.items():
            logits_of, mistaken = self._logits_of(members), []
            for rows in self._in_parts(self._pools.test_rows(place), len(members)):
                inputs = self._pools.test_inputs.index_select(0, rows)
                logits = logits_of(inputs.expand(len(members), *inputs.shape))
                mistaken.append(logits.argmax(dim=2) != self._pools.test_labels[rows])
            results |= dict(zip(members, torch.cat(mistaken, dim=1).cpu(), strict=True))
        return results

    @torch.no_grad()
    def _losses_and_mistakes(
        self, members: list[int], rows: torch.Tensor
    ) -> tuple[list[float], list[int]]:
        """Return each network's sum of cross-entropies, and mistakes, over the rows of its own."""
        loss = torch.zeros(len(members), device=self._device, dtype=torch.float64)
        mistakes = torch.zeros(len(members), device=self._device, dtype=torch.int64)
        pools, logits_of = self._pools, self._logits_of(members)
        for part in self._in_parts(rows, len(members)):
            chosen = part.flatten()
            shape = (*part.shape, *pools.train_inputs.shape[1:])
            logits = logits_of(pools.train_inputs.index_select(0, chosen).view(shape))
            target = pools.train_labels.index_select(0, chosen).view(part.shape)
            # over few classes that stand next to each other it takes nine times as long
            logs = logits.mT.contiguous().log_softmax(dim=1)
            loss -= logs.gather(1, target.unsqueeze(1)).sum(dim=(1, 2), dtype=torch.float64)
            mistakes += (logits.argmax(dim=2) != target).sum(dim=1)
        return loss.tolist(), mistakes.tolist()

    def _in_parts(self, rows: torch.Tensor, networks: int) -> Sequence[torch.Tensor]:
        """Return samples along the last dimension in as many as each network takes at once."""
        return torch.split(rows, self._samples_at_once(networks), dim=-1)

    def _logits_of(self, members: list[int]) -> Callable[[torch.Tensor], torch.Tensor]:
        """Return what maps inputs (networks, samples, *shape) to the logits of some networks."""
        chosen = torch.tensor(members, device=self._device)
        weights = [rows_of(weight, chosen) for weight in self._weights]
        return partial(self._stacked.logits, weights, self._carried.rows(chosen))

    def _samples_at_once(self, networks: int) -> int:
        """Return how many samples each network is evaluated on together."""
        samples = EVALUATION_BYTES // max(1, self._form.sample_bytes)
        if self._device.type == "cpu":
            samples = min(CPU_EVALUATION_SAMPLES, samples)
        return max(1, samples // networks)

    def _compact(self) -> None:
        """Have networks that are done leave the stack; where steps are recorded, not for a few."""
        keep = [i for i, each in enumerate(self._trajectories) if not each.is_done]
        gone = len(self._trajectories) - len(keep)
        least = len(self._trajectories) * (SHARE_TO_COMPACT if self._recording else 0)
        if not keep or gone == 0 or gone < least:
            return
        rows = torch.tensor(keep, dtype=torch.int64, device=self._device)
        optimizers = []
        for optimizer, (begin, end) in zip(self._optimizers, self._stretches(), strict=True):
            if own := [i - begin for i in keep if begin <= i < end]:
                optimizer.keep(torch.tensor(own, dtype=torch.int64, device=self._device))
                optimizers.append(optimizer)
        self._optimizers = optimizers
        self._weights = [rows_of(weight, rows) for weight in self._weights]
        self._carried = self._carried.rows(rows)
        self._loss_sums = self._loss_sums.index_select(0, rows)
        self._drawn = self._drawn.index_select(1, rows)
        self._trajectories = [self._trajectories[i] for i in keep]
        self._initial = [self._initial[i] for i in keep]
        self._subsets = [self._subsets[i] for i in keep]
        self._steps = None


def _subsets_of(runs: Sequence[Run], pools: Pools) -> list[np.ndarray]:
    """Return where each run's samples stand in the pools: one array for all runs that share it."""
    found: dict[tuple[int, int, int], np.ndarray] = {}
    subsets = []
    for run in runs:
        key = (pools.place(run.task), run.n, run.seed)
        if key not in found:
            rows = training_subset(run.task.data, run.n, run.seed)
            found[key] = pools.rows(run.task, rows)
        subsets.append(found[key])
    return subsets


def _initial_states(
    network: torch.nn.Module, runs: Sequence[Run], input_shape: tuple[int, ...], classes: int
) -> list[NetworkState]:
    """Return where runs of one architecture start: the same object for all that start alike."""
    starts = [
        (run.seed, run.recipe.initialization, run.recipe.initialization_scale) for run in runs
    ]
    drawing = InitialStates(network, input_shape=input_shape, classes=classes)
    states = {
        start: drawing.draw(run.recipe, run.seed)
        for start, run in dict(zip(starts, runs, strict=True)).items()
    }
    return [states[start] for start in starts]


def _recording_for(device: torch.device, form: StackedForm) -> Recording | None:
    # what is passed through one at a time asks the device for values
    is_recorded = device.type == "cuda" and form.kind != ONE_AT_A_TIME
    return partial(cuda_recording, device=device) if is_recorded else None
