"""What the catalogue's perturbations do to a recipe."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from pytest_fragility.errors import SettingsError
from pytest_fragility.perturbations.perturbation import Change
from pytest_fragility.recipes import (
    SGD,
    Adam,
    AdamW,
    Optimizer,
    Recipe,
    Schedule,
    cross_entropy_below,
    full_train_accuracy,
)


def replacing(**fields: Any) -> Change:
    """Replace fields of the recipe."""
    return lambda recipe: recipe.replace(**fields)


def scale_lr(factor: float) -> Change:
    """Multiply the learning rate."""

    def change(recipe: Recipe) -> Recipe:
        optimizer = recipe.optimizer
        return recipe.replace(optimizer=dataclasses.replace(optimizer, lr=optimizer.lr * factor))

    return change


def scale_batch(factor: float) -> Change:
    """Multiply the batch size; what is less than 1 is an error."""

    def change(recipe: Recipe) -> Recipe:
        size = recipe.batch_size * factor
        if size < 1:
            raise SettingsError(
                f"batch size {recipe.batch_size} x {factor:g}: expected a batch of at least 1"
            )
        return recipe.replace(batch_size=round(size))

    return change


def scale_initialization(factor: float) -> Change:
    """Multiply the initial weights."""
    return lambda recipe: recipe.replace(initialization_scale=recipe.initialization_scale * factor)


def scale_width(factor: float) -> Change:
    """Multiply the width of every hidden layer; less than 3 is an error."""
    return lambda recipe: recipe.replace(architecture=recipe.architecture.with_width(factor))


def change_depth(layers: int) -> Change:
    """Repeat the last hidden layer so many times more, or take so many away; one stays."""

    def change(recipe: Recipe) -> Recipe:
        architecture = recipe.architecture
        changed = architecture.with_depth(layers)
        if layers < -1 and changed == architecture.with_depth(layers + 1):
            raise SettingsError(f"{-layers} fewer hidden layers: {architecture} has not so many")
        return recipe.replace(architecture=changed)

    return change


def use_momentum(momentum: float, *, nesterov: bool = False) -> Change:
    """Train by SGD with momentum at the same effective learning rate, lr / (1 - momentum)."""

    def change(recipe: Recipe) -> Recipe:
        # another optimizer's rate means nothing here
        own = recipe.optimizer if isinstance(recipe.optimizer, SGD) else SGD()
        lr = own.lr
        if momentum != own.momentum:
            lr *= (1 - momentum) / (1 - own.momentum)
        optimizer = dataclasses.replace(own, lr=lr, momentum=momentum, nesterov=nesterov)
        return recipe.replace(optimizer=optimizer)

    return change


def decay_weights(coefficient: float) -> Change:
    """Decay weights as the optimizer does by default."""

    def change(recipe: Recipe) -> Recipe:
        optimizer = dataclasses.replace(recipe.optimizer, weight_decay=coefficient)
        return recipe.replace(optimizer=optimizer)

    return change


def decay_weights_decoupled(coefficient: float) -> Change:
    """Shrink the weights themselves, apart from the gradient."""

    def change(recipe: Recipe) -> Recipe:
        optimizer = recipe.optimizer
        if isinstance(optimizer, SGD):
            decayed: Optimizer = dataclasses.replace(
                optimizer, weight_decay=coefficient, decoupled=True
            )
        elif isinstance(optimizer, Adam):
            decayed = AdamW(
                lr=optimizer.lr,
                betas=optimizer.betas,
                eps=optimizer.eps,
                weight_decay=coefficient,
            )
        else:
            raise SettingsError(
                f"decoupled weight decay: {optimizer.kind} has no such form; use SGD or Adam"
            )
        return recipe.replace(optimizer=decayed)

    return change


def schedule(make: Callable[[int], Schedule], steps: int) -> Change:
    """Change the learning rate from step to step; a warm-up that there is stays."""
    made = make(steps)
    return lambda recipe: recipe.replace(schedule=made.with_warmup(recipe.schedule.warmup))


def warm_up(steps: int) -> Change:
    """Let the learning rate grow from zero in the first steps."""
    return lambda recipe: recipe.replace(schedule=recipe.schedule.with_warmup(steps))


def stop_at_full_accuracy(recipe: Recipe) -> Recipe:
    """Stop once every training sample is classified as labelled."""
    rule = full_train_accuracy(step_limit=recipe.stopping.step_limit)
    return recipe.replace(stopping=rule.with_overtime(recipe.stopping.overtime))


def stop_at_loss(target: float) -> Change:
    """Stop once the train cross-entropy is below a target."""

    def change(recipe: Recipe) -> Recipe:
        rule = cross_entropy_below(target, step_limit=recipe.stopping.step_limit)
        return recipe.replace(stopping=rule.with_overtime(recipe.stopping.overtime))

    return change


def scale_target(factor: float) -> Change:
    """Multiply the target cross-entropy, where there is one."""

    def change(recipe: Recipe) -> Recipe:
        stopping = recipe.stopping
        if stopping.kind != "cross_entropy":
            return recipe
        target = stopping.target * factor
        return recipe.replace(stopping=dataclasses.replace(stopping, target=target))

    return change


def train_past(times: float) -> Change:
    """Go on, past the stopping rule, for so many times the steps."""
    return lambda recipe: recipe.replace(stopping=recipe.stopping.with_overtime(times))
