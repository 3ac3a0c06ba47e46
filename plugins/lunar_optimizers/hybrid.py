"""Different optimizers for different parameters."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Mapping
from typing import Any

import lunar_core as lc
from lunar_core.component import field
from lunar_core.contracts.optimizer import BaseOptimizer
from lunar_core.errors import HyperparameterError, NotBuiltError, StateError

from .entries import evaluated


class Hybrid(BaseOptimizer):
    """One optimizer for the parameters of each pattern, stepped together::

        Hybrid(model, {"blocks.*.weight": lambda p: Muon(p, lr=0.02)}, rest=lambda p: AdamW(p, lr=3e-4))

    ``params`` is a module, or an iterable of (name, parameter) pairs. ``rules`` maps glob patterns of names (a pattern
    also covers everything below it: ``"head"`` is ``"head.*"`` too) to what makes an optimizer from a list of (name,
    parameter) pairs: a class, a function, or a configuration, ``{"@optimizer": "muon", "lr": 0.02}``. ``rest``, if
    given, makes the one for all that no pattern covers. A model that is not built yet is walked at the first step.

    ``opt[pattern]`` is one of the optimizers, ``opt["rest"]`` the last; ``groups`` are all of their groups and ``lr``
    reads that of the first. Raises HyperparameterError for a parameter that two patterns or none cover, and a
    pattern that covers none.
    """

    params: Any = field(config=False)
    rules: dict[str, Any] = field(doc="what makes an optimizer, by glob pattern of the parameters' names")
    rest: Any = field(default=None, doc="what makes the optimizer of all other parameters")

    def __attrs_post_init__(self) -> None:
        if not self.rules:
            raise HyperparameterError("Hybrid: rules is empty", hint='Hybrid(model, {"*.weight": ...}, rest=...)')
        if "rest" in self.rules:
            raise HyperparameterError("Hybrid: 'rest' is no pattern", hint="Hybrid(model, rules, rest=...)")
        if callable(getattr(self.params, "named_parameters", None)):
            self._source = self.params
        else:
            self._source = list(self.params)
        self._made: dict[str, Any] | None = None

    def bind(self) -> None:
        """Divide the parameters. The first step or ``zero_grad`` does it by itself."""
        if self._made is not None:
            return
        source = self._source
        if not isinstance(source, list):
            source = list(source.named_parameters())
        found: dict[str, list[tuple[str, Any]]] = {name: [] for name in self.rules}
        others, seen = [], set()
        for item in source:
            if not (isinstance(item, tuple) and len(item) == 2 and isinstance(item[0], str)):
                raise HyperparameterError(
                    f"Hybrid needs the parameters' names, got {type(item).__name__}",
                    hint="Hybrid(model, ...) or Hybrid(model.named_parameters(), ...)",
                )
            name, parameter = item
            if id(parameter) in seen:
                continue
            seen.add(id(parameter))
            covering = [p for p in self.rules if fnmatch.fnmatchcase(name, p) or fnmatch.fnmatchcase(name, f"{p}.*")]
            if len(covering) > 1:
                raise HyperparameterError(f"Hybrid: {' and '.join(map(repr, covering))} both cover {name}")
            if covering:
                found[covering[0]].append(item)
            else:
                others.append(item)
        for pattern, pairs in found.items():
            if not pairs:
                some = ", ".join(sorted(name for name, _ in source)[:4])
                raise HyperparameterError(f"Hybrid: {pattern!r} covers no parameter", hint=f"names are like {some}")
        if others and self.rest is None:
            raise HyperparameterError(
                f"Hybrid: no pattern covers {others[0][0]}" + (f" and {len(others) - 1} more" if others[1:] else ""),
                hint="add a pattern, or rest=",
            )
        made = {pattern: self._make(self.rules[pattern], pairs) for pattern, pairs in found.items()}
        if others:
            made["rest"] = self._make(self.rest, others)
        self._made = made

    @staticmethod
    def _make(rule: Any, pairs: list[tuple[str, Any]]) -> Any:
        made = rule(pairs) if callable(rule) else lc.from_config(rule, pairs) if isinstance(rule, Mapping) else None
        if not all(hasattr(made, name) for name in ("step", "zero_grad", "groups", "state_dict")):
            raise HyperparameterError(
                f"Hybrid: a rule makes an optimizer, got {type(made if callable(rule) else rule).__name__}",
                hint='a class, a function of parameters, or {"@optimizer": "adamw", "lr": 3e-4}',
            )
        return made

    @property
    def parts(self) -> list[Any]:
        """The optimizers, in the order of the patterns."""
        self.bind()
        assert self._made is not None
        return list(self._made.values())

    def __getitem__(self, pattern: str) -> Any:
        self.bind()
        assert self._made is not None
        if pattern not in self._made:
            raise HyperparameterError(f"Hybrid: no part {pattern!r}", hint=f"it has {', '.join(self._made)}")
        return self._made[pattern]

    @property
    def groups(self) -> list[Any]:
        return [group for part in self.parts for group in part.groups]

    @property
    def lr(self) -> float:
        """The step size of the first group; each group has its own."""
        return self.groups[0].lr

    def zero_grad(self) -> None:
        """Forget all gradients."""
        try:
            self.bind()
        except NotBuiltError:
            return  # no parameters yet, so no gradients
        for part in self.parts:
            part.zero_grad()

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step of each optimizer. ``closure`` is called once and gives the result."""
        loss = evaluated(closure)
        for part in self.parts:
            part.step()
        return loss

    def eval(self) -> None:
        """Of those that keep averages, put them in the parameters' place."""
        for part in self.parts:
            getattr(part, "eval", lambda: None)()

    def train(self) -> None:
        """Take the averages out again."""
        for part in self.parts:
            getattr(part, "train", lambda: None)()

    def state_dict(self) -> dict[str, Any]:
        """``{"parts": {pattern: that optimizer's state}}``."""
        self.bind()
        assert self._made is not None
        return {"parts": {pattern: part.state_dict() for pattern, part in self._made.items()}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what :meth:`state_dict` gave; StateError if its patterns are others."""
        self.bind()
        assert self._made is not None
        given = state.get("parts") if isinstance(state, Mapping) else None
        if not isinstance(given, Mapping) or set(given) != set(self._made):
            got = sorted(given) if isinstance(given, Mapping) else type(state).__name__
            raise StateError(f"the state does not fit Hybrid: expected parts {sorted(self._made)}, got {got}")
        for pattern, part in self._made.items():
            part.load_state_dict(given[pattern])
