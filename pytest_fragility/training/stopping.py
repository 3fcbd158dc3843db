"""When stopping rules are looked at, and what they say."""

from __future__ import annotations

import math

from pytest_fragility.recipes import StoppingRule

FIRST_INTERVAL = 10
GROWTH = 1.05
LOSS_GATE = 2.0


def next_check(step: int) -> int:
    """Return the first step after `step` at which stopping rules are looked at.

    Every 10 steps at first, later 5 % further each time: a looked-at step costs a pass over all
    training samples, and the stopping time is known to 5 %. The steps are the same for all runs.
    """
    check = 0
    while check <= step:
        grown = math.ceil(check * GROWTH / FIRST_INTERVAL) * FIRST_INTERVAL
        check = max(check + FIRST_INTERVAL, grown)
    return check


def loss_gate(rule: StoppingRule) -> float:
    """Return up to which recent loss a pass over all training samples could meet the rule, in nats.

    A recent loss is the mean of the batch losses since the last check. A cross-entropy rule is left
    alone while this is more than twice its target; fixed steps need no pass.
    """
    if rule.kind == "steps":
        return -math.inf
    return math.inf if rule.kind == "accuracy" else LOSS_GATE * rule.target


def is_met(rule: StoppingRule, *, step: int, train_loss: float, train_error: float) -> bool:
    """Return whether the rule is met by a pass over all training samples after `step` steps."""
    if rule.kind == "steps":
        return step >= rule.step_limit
    if rule.kind == "accuracy":
        return train_error <= 1 - rule.target
    return train_loss < rule.target
