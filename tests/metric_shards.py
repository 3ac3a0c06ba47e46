"""Feeds one data set to a metric in uneven batches, divided over workers that are merged afterwards."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np


def part(value: Any, a: int, b: int) -> Any:
    return None if value is None else value[a:b]


def sharded(metric: Any, pred: Any, target: Any, weight: Any = None, seed: int = 0) -> Any:
    """``metric`` over the data in random uneven batches by several workers, one of which goes through a state dict."""
    rng = np.random.default_rng(seed)
    count = len(pred)
    cuts = np.sort(rng.integers(0, count + 1, rng.integers(0, 7)))
    workers = 3
    team = [copy.deepcopy(metric) for _ in range(workers)]
    for member in team:
        member.reset()
    for k, (a, b) in enumerate(zip([0, *cuts], [*cuts, count])):
        team[k % workers].update(part(pred, a, b), part(target, a, b), part(weight, a, b))
    restored = copy.deepcopy(metric)
    restored.reset()
    restored.load_state_dict(team[-1].state_dict())
    for member in (*team[1:-1], restored):
        team[0].merge(member)
    return team[0].compute()


def at_once(metric: Any, pred: Any, target: Any, weight: Any = None) -> Any:
    metric.reset()
    metric.update(pred, target, weight)
    return metric.compute()
