"""Nested tuples, lists and dicts of tensors: what functions that are transformed may take and give."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def tree_map(function: Callable[..., Any], tree: Any, *others: Any) -> Any:
    """``tree`` with each leaf replaced by ``function(leaf, *leaves of the others)``; the others have the same structure."""
    if isinstance(tree, dict):
        return {key: tree_map(function, value, *[other[key] for other in others]) for key, value in tree.items()}
    if isinstance(tree, (list, tuple)):
        made = [tree_map(function, value, *[other[i] for other in others]) for i, value in enumerate(tree)]
        return type(tree)(*made) if hasattr(tree, "_fields") else type(tree)(made)
    return function(tree, *others)


def tree_leaves(tree: Any) -> list[Any]:
    """The leaves in order."""
    if isinstance(tree, dict):
        tree = list(tree.values())
    if isinstance(tree, (list, tuple)):
        return [leaf for value in tree for leaf in tree_leaves(value)]
    return [tree]
