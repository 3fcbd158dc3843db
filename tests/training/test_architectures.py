"""Networks of any architecture, trained in stacks, against a plain loop over ``torch.optim``."""

from __future__ import annotations

import pickle
import sys
import threading
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from pytest_fragility import measures
from pytest_fragility.errors import SettingsError, TrainingError
from pytest_fragility.networks.runs import Run
from pytest_fragility.networks.stacks import NetworkStack
from pytest_fragility.networks.trained_network import TrainedNetwork
from pytest_fragility.networks.transport import pack_runs
from pytest_fragility.recipes import (
    CNN,
    MLP,
    SGD,
    Adam,
    AdamW,
    Architecture,
    Factory,
    Optimizer,
    Recipe,
    ResNet,
    RMSprop,
    ViT,
    cross_entropy_below,
    fixed_steps,
)
from pytest_fragility.store import Store
from pytest_fragility.tasks import Task, TaskData
from pytest_fragility.training.memory import train_within_memory
from pytest_fragility.training.stacked_forms import OneAtATimeWarning, stacked_form
from pytest_fragility.training.trainer import InOneProcessWarning, find_trajectories, train
from pytest_fragility.training.trajectories import next_check
from tests.reference_training import CPU, assert_like_alone, train_all, train_alone
from tests.sample_architectures import BUILT_IN, OWN, UNMAPPED, Encoder, with_layer

pytestmark = pytest.mark.usefixtures("one_thread")
OPTIMIZERS: dict[str, Optimizer] = {
    "sgd": SGD(lr=0.1, weight_decay=0.01),
    "momentum": SGD(lr=0.02, momentum=0.9, nesterov=True),
    "adam": Adam(lr=0.01),
    "adamw": AdamW(lr=0.01),
    # a larger rate makes small residual networks chaotic, so that rounding grows
    "rmsprop": RMSprop(lr=0.0005),
}
MAPPED = {**BUILT_IN, **OWN}
ALL = {**MAPPED, **{name: factory for name, (factory, _) in UNMAPPED.items()}}
NAMES_OF_UNMAPPED = {factory.name for factory, _ in UNMAPPED.values()}


def make_images() -> Task:
    """Return 4 x 4 images of four classes: 80 to train on, 30 to test on."""

    def load() -> TaskData:
        generator = np.random.default_rng(0)
        centres = generator.normal(size=(4, 1, 4, 4))
        labels = np.concatenate([np.arange(4), generator.integers(4, size=106)])
        images = centres[labels] + generator.normal(size=(110, 1, 4, 4))
        return TaskData(
            images[:80], labels[:80], images[80:], labels[80:], allow_missing_classes=True
        )

    return Task("images", load)


IMAGES = make_images()


@pytest.mark.parametrize("architecture", ALL)
def test_steps_equal_the_plain_way(architecture: str) -> None:
    """In float64 to 1e-10 under every optimizer, beside neighbours of other sizes and seeds.

    In float32, where rounding grows, within rounding for some steps.
    """
    recipe = Recipe(
        architecture=ALL[architecture],
        batch_size=8,
        precision="float64",
        stopping=fixed_steps(50),
    )
    runs = [
        Run(IMAGES, n, recipe.replace(optimizer=optimizer), seed)
        for optimizer, n, seed in zip(
            OPTIMIZERS.values(), (20, 33, 20, 12, 33), (0, 0, 1, 2, 3), strict=True
        )
    ]
    single = recipe.replace(precision="float32", stopping=fixed_steps(5))
    runs += [Run(IMAGES, 20, single, seed) for seed in range(2)]
    for trained in train_all(runs):
        network = assert_like_alone(trained)
        data = trained.run.task.data
        inputs = torch.from_numpy(data.test_inputs).to(getattr(torch, trained.run.recipe.precision))
        with torch.no_grad():
            predicted = network.eval()(inputs).argmax(dim=1)
        mistaken = predicted != torch.from_numpy(data.test_labels)
        assert (trained.mistaken != mistaken).sum() <= (trained.run.recipe == single)


def test_what_vmap_takes_is_mapped() -> None:
    """Without a warning."""
    for architecture in MAPPED:
        form = stacked_form(Recipe(architecture=MAPPED[architecture]), IMAGES.data)
        written_out = {"mlp": "perceptron", "cnn": "convolutional"}
        assert (form.kind, form.reason) == (written_out.get(architecture, "mapped"), "")


def test_what_vmap_does_not_take_is_told() -> None:
    """The warning names the architecture, the module and the reason; once, not for each network."""
    for architecture in UNMAPPED:
        factory, message = UNMAPPED[architecture]
        recipe = Recipe(architecture=factory, stopping=fixed_steps(2))
        runs = [Run(IMAGES, 20, recipe, seed) for seed in range(3)]
        with pytest.warns(OneAtATimeWarning, match=message) as caught:
            assert sum(map(len, train(runs, CPU))) == 3
        assert len(caught) == 1
        assert str(factory) in str(caught[0].message)


mixtures = st.lists(
    st.tuples(
        st.sampled_from(list(OPTIMIZERS.values())),
        st.sampled_from([12, 20, 33]),
        st.integers(0, 2),
        st.integers(1, 30),
    ),
    min_size=2,
    max_size=6,
)


@pytest.mark.parametrize("architecture", ["cnn", "resnet-batch", "vit-dropout", "noise"])
@settings(max_examples=5, deadline=None)
@given(mixture=mixtures, limit=st.integers(1, 4))
def test_neighbours_and_stack_sizes_change_nothing(
    architecture: str, mixture: list[tuple[Optimizer, int, int, int]], limit: int
) -> None:
    """Any mixture of optimizers, sizes, seeds and ends; cut into stacks of any size."""
    runs = [
        Run(
            IMAGES,
            n,
            Recipe(
                architecture=ALL[architecture],
                optimizer=optimizer,
                batch_size=8,
                precision="float64",
                stopping=fixed_steps(steps),
            ),
            seed,
        )
        for optimizer, n, seed, steps in mixture
    ]
    trajectories = find_trajectories(sorted(runs, key=lambda run: repr(run.recipe.optimizer)))
    for begin in range(0, len(trajectories), limit):
        for batch in train_within_memory(trajectories[begin : begin + limit], CPU):
            for trained in batch:
                assert_like_alone(trained)


def test_batches_with_dropout_do_not_decide_when_to_look() -> None:
    """Where batches are harder than the samples without dropout, every check takes a full pass."""
    factory = Factory(lambda: with_layer(nn.Dropout(0.9)))
    recipe = Recipe(
        architecture=factory, optimizer=Adam(lr=0.02), stopping=cross_entropy_below(0.5)
    )
    (trained,) = train_all([Run(IMAGES, 20, recipe, 0)])
    assert trained.record.reached_target
    checks = [0]
    while checks[-1] < trained.record.steps:
        checks.append(next_check(checks[-1]))
    losses = []
    for steps in checks[-2:]:
        network, _ = train_alone(trained.run, steps=steps)
        record = TrainedNetwork.build(trained, "baseline", CPU)
        with torch.no_grad():
            logits = network.eval()(record.inputs)
            losses.append(float(nn.functional.cross_entropy(logits, record.labels)))
    assert losses[0] >= 0.5 > losses[1]


def test_running_statistics_reach_the_measure_and_the_store(tmp_path: Path) -> None:
    """A measure's network has the statistics that training left, its initial one none yet."""
    recipe = Recipe(architecture=ResNet(width=3), stopping=fixed_steps(20))
    (trained,) = train_all([Run(IMAGES, 20, recipe, 0)])
    store = Store(tmp_path)
    store.save(trained, "ab" * 32)
    loaded = store.load(trained.run, "ab" * 32)
    assert loaded is not None
    for each in (trained, loaded):
        network = TrainedNetwork.build(each, "baseline", CPU)
        statistics = network.model.get_buffer("1.running_mean")
        assert statistics.abs().sum() > 0
        torch.testing.assert_close(statistics, trained.state.buffers["1.running_mean"])
        assert not network.initial_model.get_buffer("1.running_mean").any()
        assert int(network.model.get_buffer("1.num_batches_tracked")) == 20
        with torch.no_grad():
            error = (network.model(network.inputs).argmax(1) != network.labels).double().mean()
        assert float(error) == pytest.approx(network.train_error)


@pytest.mark.parametrize("architecture", ["cnn", "resnet-batch", "encoder", "recurrent"])
def test_measures_read_stacks_as_they_read_each(architecture: str) -> None:
    """Losses' gradients and margins of all seeds at once, also where vmap does not take them."""
    recipe = Recipe(architecture=ALL[architecture], stopping=fixed_steps(60))
    runs = [Run(IMAGES, 40, recipe, seed) for seed in (0, 1)]
    stack = NetworkStack.of_runs(train_all(runs), CPU, {})
    networks = [TrainedNetwork.build(one, "baseline", CPU) for one in train_all(runs)]
    # the ascent to the sharpest place is in float32
    for measure, rounding in (
        (measures.gradient_norm, 1e-6),
        (measures.worst_case_sharpness, 1e-5),
    ):
        together = measure.over_stack(stack)
        alone = [float(measure(network)) for network in networks]
        np.testing.assert_allclose(together, alone, rtol=rounding)
    with torch.no_grad():
        losses = [
            float(nn.functional.cross_entropy(network.model(network.inputs), network.labels))
            for network in networks
        ]
    assert losses == pytest.approx(list(stack.train_losses), rel=1e-4)


def test_a_factory_starts_from_its_own_weights() -> None:
    """As built, another draw for each seed, the same under every recipe; torch's state is kept."""
    factory = Factory(lambda: nn.Sequential(nn.Flatten(), nn.Linear(16, 4)))
    before = torch.get_rng_state()
    runs = [
        Run(IMAGES, 20, Recipe(architecture=factory, optimizer=each, stopping=fixed_steps(1)), s)
        for each in (SGD(), Adam())
        for s in (0, 1)
    ]
    starts = [one.initial_weights["1.weight"] for one in train_all(runs)]
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(starts[0], starts[2]) and torch.equal(starts[1], starts[3])
    assert not torch.equal(starts[0], starts[1])
    # nn.Linear's own draw is uniform below 1 / sqrt(fan_in)
    assert 0.2 < float(starts[0].abs().max()) <= 0.25


def test_a_factorys_layers_can_be_drawn_by_the_recipe() -> None:
    """He's variance, biases zero; a normalization starts as it is built."""
    factory = Factory(lambda: with_layer(nn.BatchNorm1d(8)))
    recipe = Recipe(architecture=factory, initialization="he-normal", stopping=fixed_steps(1))
    (trained,) = train_all([Run(IMAGES, 20, recipe, 0)])
    start = trained.initial_weights
    assert float(start["1.weight"].std()) == pytest.approx((2 / 16) ** 0.5, rel=0.25)
    assert not start["4.bias"].any()
    assert bool((start["2.weight"] == 1).all())


def test_a_factory_of_a_test_file_is_sent_to_worker_processes() -> None:
    """Functions, lambdas and classes alike, by their code: nobody imports tests elsewhere."""
    from pytest_fragility.networks.transport import pack_runs
    from pytest_fragility.parallel.local_processes import Worker
    from pytest_fragility.training.distribution import train_order

    worker = Worker()
    try:
        for factory in (Factory(Encoder), OWN["dropout"]):
            run = Run(IMAGES, 20, Recipe(architecture=factory, stopping=fixed_steps(3)), 0)
            assert b"with_layer" in pack_runs([[run]]) or b"Encoder" in pack_runs([[run]])
            ((parcel,),) = worker.perform(train_order, "cpu", pack_runs([[run]]))
            found = parcel.unpack(run)
            (expected,) = train_all([run])
            torch.testing.assert_close(found.weights, expected.weights, rtol=0, atol=0)
    finally:
        worker.dismiss()


def test_equal_factories_of_two_test_files_are_sent_both() -> None:
    """Neither module can be imported where they arrive."""
    recipes = []
    for place in range(2):
        module = types.ModuleType(f"user_tests_{place}")
        sys.modules[module.__name__] = module
        exec(
            "from torch import nn\ndef build(): return nn.Flatten(), nn.Linear(4, 2)", vars(module)
        )
        recipes.append(Recipe(architecture=module.build, batch_size=place + 1))
    assert recipes[0].architecture == recipes[1].architecture
    packed = pack_runs([[Run(IMAGES, 20, recipe, 0) for recipe in recipes]])
    for place in range(2):
        del sys.modules[f"user_tests_{place}"]
    ((first, second),) = pickle.loads(packed)
    assert first.recipe == second.recipe.replace(batch_size=1)


def test_what_cannot_be_sent_is_trained_in_this_process() -> None:
    """With a warning that gives the reason."""
    lock = threading.Lock()

    def build() -> nn.Module:
        with lock:
            return with_layer(nn.Tanh())

    recipe = Recipe(architecture=Factory(build, version="1"), stopping=fixed_steps(2))
    with pytest.warns(InOneProcessWarning, match=r"build cannot be sent .*lock"):
        assert sum(map(len, train([Run(IMAGES, 20, recipe, s) for s in range(2)], CPU))) == 2


class Wrong(nn.Module):
    """Has no place for these inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(7, 4)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Map inputs (batch, 7) to outputs."""
        return self.layer(inputs)


def test_networks_that_do_not_fit_the_data_are_named() -> None:
    """Before anything is trained."""
    for architecture, error, message in [
        (Wrong, TrainingError, r"Wrong: its network fails on inputs of shape \(1, 4, 4\).*mat1"),
        (
            lambda: nn.Sequential(nn.Flatten(), nn.Linear(16, 3)),
            TrainingError,
            r"returned shape \(8, 3\); expected logits of shape \(8, 4\)",
        ),
        (lambda: 3, SettingsError, "returned int; expected a torch"),
        (lambda: nn.Sequential(nn.Flatten()), SettingsError, "no parameter to train"),
        (ViT(patch=3), SettingsError, r"images of 4 x 4 pixels; .* multiples of the patch, 3"),
    ]:
        recipe = Recipe(architecture=architecture, stopping=fixed_steps(2))
        with pytest.raises(error, match=message):
            train_all([Run(IMAGES, 20, recipe, 0)])


def test_flat_inputs_of_square_length_are_images() -> None:
    """As digits are; others are an error."""
    for architecture in [CNN(), ResNet(), ViT()]:
        recipe = Recipe(architecture=architecture)

        def reshaped(*shape: int) -> TaskData:
            inputs, labels = np.resize(IMAGES.data.train_inputs, (40, *shape)), np.arange(40) % 4
            return TaskData(inputs, labels, inputs, labels)

        expected = stacked_form(recipe, IMAGES.data).kind
        assert expected != "one at a time"
        for shape in ((16,), (4, 4)):
            assert stacked_form(recipe, reshaped(*shape)).kind == expected
        with pytest.raises(SettingsError, match=r"inputs of shape \(15,\) are no images"):
            stacked_form(recipe, reshaped(15))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("mlp", MLP()),
        ("cnn", CNN()),
        ("resnet", ResNet()),
        ("vit", ViT()),
    ],
)
def test_architectures_have_names(name: str, expected: Architecture) -> None:
    """A recipe takes the name for the architecture with its defaults."""
    assert Recipe(architecture=name).architecture == expected  # type: ignore[arg-type]


def test_memory_that_runs_out_halves_the_stack(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is left goes on in halves, and ends as it would have; one network is an error."""
    from pytest_fragility.training import memory
    from pytest_fragility.training.training_loop import Shard

    class Small(Shard):
        most = 2

        def _take_steps(self, start: int, stop: int) -> None:
            if len(self._trajectories) > self.most and start > 0:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
            super()._take_steps(start, stop)

    recipe = Recipe(architecture=CNN(channels=(3,)), stopping=fixed_steps(12))
    runs = [Run(IMAGES, 20, recipe, seed) for seed in range(5)]
    expected = {one.run: one for one in train_all(runs)}
    monkeypatch.setattr(memory, "Shard", Small)
    found = [one for batch in train_within_memory(find_trajectories(runs), CPU) for one in batch]
    assert len(found) == 5
    for one in found:
        torch.testing.assert_close(one.weights, expected[one.run].weights, rtol=1e-5, atol=1e-6)
    monkeypatch.setattr(Small, "most", 0)
    with pytest.raises(TrainingError, match="too little memory to train task images, n=20"):
        list(train_within_memory(find_trajectories(runs), CPU))
