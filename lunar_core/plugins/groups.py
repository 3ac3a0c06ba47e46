"""The kinds of component: which entry-point group holds each, and which contract its classes derive from."""

from __future__ import annotations

FIRST_PARTY = "lunarlearn"
"""The distribution whose components keep their bare names when a stranger takes the same."""

GROUPS: dict[str, str] = {
    "layer": "lunar.layers",
    "activation": "lunar.activations",
    "initializer": "lunar.initializers",
    "loss": "lunar.losses",
    "metric": "lunar.metrics",
    "optimizer": "lunar.optimizers",
    "scheduler": "lunar.schedulers",
    "regularizer": "lunar.regularizers",
    "parametrization": "lunar.parametrizations",
    "gradient_processor": "lunar.gradient_processors",
    "callback": "lunar.callbacks",
    "finetuning": "lunar.finetuning",
    "model": "lunar.models",
    "dataset": "lunar.datasets",
    "transform": "lunar.transforms",
    "tokenizer": "lunar.tokenizers",
    "kernel": "lunar.kernels",
    "logger": "lunar.loggers",
    "launcher": "lunar.launchers",
    "command": "lunar.commands",
    "plugin": "lunar.plugins",
}
"""Entry-point group of each kind. ``plugin`` is for modules or objects that only implement hooks."""

KINDS: dict[str, str] = {group: kind for kind, group in GROUPS.items()}
"""Kind of each entry-point group."""

CONTRACTS: dict[str, str] = {
    kind: f"lunar_core.contracts.{kind}:{''.join(word.title() for word in kind.split('_'))}"
    for kind in GROUPS
    if kind not in ("command", "kernel", "plugin", "model", "dataset")
}
CONTRACTS["optimizer"] = "lunar_core.contracts.optimizer:BaseOptimizer"  # rules, and what wraps other optimizers
"""Base class of each kind as ``module:Class``, imported when the first component of the kind is loaded."""

NAMESPACES: dict[str, str] = {
    group.removeprefix("lunar."): kind for kind, group in GROUPS.items() if kind not in ("plugin", "kernel")
}
"""Attribute of ``lunar_core`` to kind. Kernels are dispatched, not named by users, and ``lunar_core.plugins`` is the
plugin manager."""

INCLUDES: dict[str, str] = {"layer": "activation"}
"""A namespace that also shows the components of another kind: an activation is a layer, so ``layers.ReLU`` is there."""


def prefix(kind: str) -> str:
    """``"optimizers"`` for ``"optimizer"``: the first part of a component's plugin name, ``optimizers.adam``."""
    return GROUPS[kind].removeprefix("lunar.")


def kind_of(word: str) -> str | None:
    """The kind that ``"optimizer"``, ``"optimizers"`` or ``"lunar.optimizers"`` means."""
    if word in GROUPS:
        return word
    return KINDS.get(word) or KINDS.get(f"lunar.{word}")
