"""Different optimizers for different parameters."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import lunar_core as lc
from lunar_core.component import field
from lunar_core.contracts.optimizer import BaseOptimizer
from lunar_core.errors import HyperparameterError, NotBuiltError, StateError
from lunar_core.selecting import fits
from lunar_core.training_options import parameter_options

from .entries import evaluated, needs


class Hybrid(BaseOptimizer):
    """One optimizer for the parameters of each pattern, stepped together::

        Hybrid(model, {"blocks.*.weight": lambda p: Muon(p, lr=0.02)}, rest=lambda p: AdamW(p, lr=3e-4))

    ``params`` is a module, or an iterable of (name, parameter) pairs. ``rules`` maps glob patterns of names (a pattern
    also covers everything below it: ``"head"`` is ``"head.*"`` too) to what makes an optimizer from a list of (name,
    parameter) pairs: a class, a function, a name, or a configuration, ``{"optimizer": "muon", "lr": 0.02}`` (or
    ``"@optimizer"``). ``rest``, if
    given, makes the one for all that no pattern covers. A model that is not built yet is walked at the first step.

    Without ``rules`` they are what the model was told by ``train_with(pattern, optimizer=...)``, one part for each
    optimizer, with the hyperparameters that were given beside it; ``rest`` then makes the optimizer of the others, which
    follow the model's options as well::

        Hybrid(model, rest=lambda p: AdamW(p, lr=3e-4))

    ``opt[pattern]`` is one of the optimizers, ``opt["rest"]`` the last; ``groups`` are all of their groups and ``lr``
    reads that of the first. Raises HyperparameterError for a parameter that two patterns or none cover, and a
    pattern that covers none.
    """

    params: Any = field(config=False)
    rules: dict[str, Any] | None = field(
        default=None, doc="what makes an optimizer, by glob pattern of the parameters' names; None: the model's options"
    )
    rest: Any = field(default=None, doc="what makes the optimizer of all other parameters")

    def __attrs_post_init__(self) -> None:
        if self.rules is None and not hasattr(self.params, "train_with"):
            raise HyperparameterError("Hybrid: without rules params is the model", hint="Hybrid(model, rest=...)")
        if self.rules is not None and not self.rules:
            raise HyperparameterError("Hybrid: rules is empty", hint='Hybrid(model, {"*.weight": ...}, rest=...)')
        if self.rules is not None and "rest" in self.rules:
            raise HyperparameterError("Hybrid: 'rest' is no pattern", hint="Hybrid(model, rules, rest=...)")
        if callable(getattr(self.params, "named_parameters", None)):
            self._source = self.params
        else:
            self._source = list(self.params)
        self._made: dict[str, Any] | None = None

    def config(self) -> dict[str, Any]:
        # An optimizer's own configuration would be built, without parameters, wherever it is read.
        rules = None if self.rules is None else {pattern: _unmarked(rule) for pattern, rule in self.rules.items()}
        return {**super().config(), "rules": rules, "rest": _unmarked(self.rest)}

    def bind(self) -> None:
        """Divide the parameters. The first step or ``zero_grad`` does it by itself."""
        if self._made is not None:
            return
        source = self._source
        if not isinstance(source, list):
            source = list(source.named_parameters())
        made = self._by_options(source) if self.rules is None else self._by_patterns(self.rules, source)
        for part in made.values():
            getattr(part, "bind", lambda: None)()
        self._made = made

    def _by_options(self, source: list[tuple[str, Any]]) -> dict[str, Any]:
        """A part for each optimizer that the model's options name, and the rest."""
        said = parameter_options(self.params)
        parts: dict[int, tuple[Any, list[tuple[str, Any]]]] = {}
        others = []
        for name, parameter in source:
            rule = said.get(name, {}).get("optimizer")
            if rule is None:
                others.append((name, parameter))
            else:
                parts.setdefault(id(rule), (rule, []))[1].append((name, parameter))
        if others and self.rest is None:
            raise HyperparameterError(
                f"Hybrid: the model's options give no optimizer for {others[0][0]}", hint="Hybrid(model, rest=...)"
            )
        made: dict[str, Any] = {}
        for rule, pairs in [*parts.values(), *([(self.rest, others)] if others else [])]:
            part = self._make(rule, Told(pairs, {n: {**o, "optimizer": None} for n, o in said.items()}))
            name = "rest" if pairs is others else _name(rule)
            while name in made:
                name += "_"
            made[name] = part
        return made

    def _by_patterns(self, rules: dict[str, Any], source: list[tuple[str, Any]]) -> dict[str, Any]:
        found: dict[str, list[tuple[str, Any]]] = {name: [] for name in rules}
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
            covering = [p for p in rules if fits(name, p)]
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
        made = {pattern: self._make(rules[pattern], pairs) for pattern, pairs in found.items()}
        if others:
            made["rest"] = self._make(self.rest, others)
        return made

    @staticmethod
    def _make(rule: Any, pairs: Any) -> Any:
        if isinstance(rule, str):
            rule = {"optimizer": rule}
        if isinstance(rule, Mapping) and "optimizer" in rule:
            rule = {f"@{key}" if key == "optimizer" else key: value for key, value in rule.items()}
        made = rule(pairs) if callable(rule) else lc.from_config(rule, pairs) if isinstance(rule, Mapping) else None
        if not all(hasattr(made, name) for name in ("step", "zero_grad", "groups", "state_dict")):
            raise HyperparameterError(
                f"Hybrid: a rule makes an optimizer, got {type(made if callable(rule) else rule).__name__}",
                hint='a class, a function of parameters, a name, or {"@optimizer": "adamw", "lr": 3e-4}',
            )
        if needs(made) != "gradients":
            raise HyperparameterError(
                f"Hybrid: {type(made).__name__} steps by a {needs(made)}, the parts of a Hybrid by gradients"
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

    @property
    def averaged(self) -> bool:
        """Whether averages are in the place of some parameters."""
        return any(getattr(part, "averaged", False) for part in self.parts)

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


class Told:
    """Some of a model's parameters with their names, and what the model's options say of them."""

    def __init__(self, pairs: list[tuple[str, Any]], options: dict[str, dict[str, Any]]) -> None:
        self.pairs = pairs
        self.options = options

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        return iter(self.pairs)

    def named(self) -> Iterator[tuple[str, Any]]:
        return iter(self.pairs)

    def parameter_options(self) -> dict[str, dict[str, Any]]:
        """As :func:`lunar_core.training_options.parameter_options` gives them for a model."""
        return self.options


def _unmarked(rule: Any) -> Any:
    """A rule that is a configuration, with ``"optimizer"`` for ``"@optimizer"``."""
    return {key.lstrip("@"): value for key, value in rule.items()} if isinstance(rule, Mapping) else rule


def _name(rule: Any) -> str:
    """What a part is called: the registry name, or that of the class or function."""
    if isinstance(rule, str):
        return rule
    return str(
        rule.get("optimizer", rule.get("@optimizer", "part"))
        if isinstance(rule, Mapping)
        else getattr(rule, "__name__", "part")
    ).lower()
