"""Optimizer: hyperparameters, the names of its state arrays, and the update rule of one element.

That is all that an optimizer's author writes::

    class Momentum(Optimizer):
        lr: float = field(default=0.1, validator=non_negative)
        beta: float = field(default=0.9, validator=in_range(0, 1))
        state = ("m",)

        @staticmethod
        def update(p, g, m, *, lr, beta):
            m = beta * m + g
            return p - lr * m, m

``update`` names what it needs: the parameter ``p``, its gradient ``g``, the state arrays, hyperparameters by the names of
their fields, and ``step``, the number of this update (1 for the first). It returns the new ``p``, then the new state
arrays in the order of ``state``. It is a fused function (:mod:`lunar_core.fused`): pure, elementwise, the same on numbers
and on arrays. Groups, flat memory, chunks, skipped parameters, half precision and state dicts are the base class's.

A rule over whole arrays says ``elementwise = False`` and gets each parameter by itself, in its shape.
"""

from __future__ import annotations

import fnmatch
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from .. import backend
from ..autograd import Leaf, note_write
from ..component import Component, check_field, field, fields, hyperparameter_error
from ..errors import HyperparameterError, NotBuiltError, StateError
from ..flat import Entry, FlatBuffer, Moved
from ..fused import Fused
from ..fused_program import is_half
from ..modes import enable_grad
from ..suggest import did_you_mean
from ..tensor import Tensor

_FLOAT32 = np.dtype(np.float32)


class Group:
    """Parameters that share hyperparameters, which are its attributes (``group.lr = 1e-3``) and its items.

    ``params`` is the list of its parameters and ``names`` their names, once the model is built.
    """

    def __init__(self, owner: Optimizer, source: Any, values: dict[str, Any]) -> None:
        _set(self, "_owner", type(owner))
        _set(self, "_source", source)
        _set(self, "_values", values)
        _set(self, "_frozen", [])
        _set(self, "names", [])
        _set(self, "params", [])
        _set(self, "buffers", [])

    def __getattr__(self, name: str) -> Any:
        values = self.__dict__.get("_values", {})
        if name in values:
            return values[name]
        raise AttributeError(f"a parameter group has {', '.join(values)} and params, not {name!r}")

    def __setattr__(self, name: str, value: Any) -> None:
        values = self._values
        if name not in values:
            guess = did_you_mean(name, values)
            raise HyperparameterError(
                f"{self._owner.__name__}: no hyperparameter {name!r}{'; ' + guess if guess else ''}",
                hint=f"a group has {', '.join(values)}",
            )
        values[name] = check_field(self._owner, name, value)

    def __getitem__(self, name: str) -> Any:
        return self.params if name == "params" else getattr(self, name)

    def __setitem__(self, name: str, value: Any) -> None:
        setattr(self, name, value)

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={value!r}" for name, value in self._values.items())
        return f"Group({len(self.params)} parameters, {shown})"


_set = object.__setattr__


class Optimizer(Component):
    """Base of optimizers; see the module's docstring.

    ``params``: an iterable of parameters, one of (name, parameter) pairs, a module, or a list of groups, each a dict with
    ``"params"`` and the hyperparameters that differ. ``model.parameters()`` of a model that is not built yet is fine: it
    is walked at the first step.

    ``overrides``: hyperparameters by glob pattern of the parameters' names, the first match counts:
    ``overrides={"*.bias": {"weight_decay": 0.0}}``. Each pattern makes a group of its own.

    Every hyperparameter is an attribute: reading it gives the first group's, setting it sets that of all groups.

    Raises HyperparameterError for no parameters, a parameter in two groups, a tensor that is not a leaf, a pattern that
    matches nothing.
    """

    kind: ClassVar[str] = "optimizer"

    #: Names of the state arrays, which start at zero; or a dict from each name to the number that it is filled with. For
    #: ``elementwise = False`` also to a function of the parameter's array that makes it, in any shape.
    state: ClassVar[Sequence[str] | Mapping[str, Any]] = ()
    #: Whether ``update`` treats each element by itself.
    elementwise: ClassVar[bool] = True
    update: ClassVar[Callable[..., Any]]
    _rule: ClassVar[Fused]

    params: Any = field(config=False)
    overrides: dict[str, dict[str, Any]] | None = field(
        default=None, kw_only=True, doc="hyperparameters by pattern of the parameters' names"
    )

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        rule = vars(cls).get("update")
        if rule is None:
            if "state" in vars(cls) and hasattr(cls, "_rule"):
                cls._rule = _checked_rule(cls, cls.update)
            return
        if not isinstance(rule, staticmethod):
            cls.update = staticmethod(rule)
        cls._rule = _checked_rule(cls, cls.update)

    def __attrs_post_init__(self) -> None:
        if not hasattr(type(self), "_rule"):
            raise HyperparameterError(f"{type(self).__name__} defines no update(p, g, ...)")
        values = self._values()
        _set(self, "_bound", False)
        _set(self, "_waiting", None)
        _set(self, "groups", [])
        params = self.params
        if callable(getattr(params, "named_parameters", None)):
            params = _NamedParameters(params)
        elif isinstance(params, (Tensor, str, Mapping)) or not isinstance(params, Iterable):
            raise HyperparameterError(
                f"{type(self).__name__}: params has to be an iterable of parameters, got {type(params).__name__}",
                hint=f"{type(self).__name__}(model.parameters(), ...)",
            )
        elif not isinstance(params, (list, tuple)) and iter(params) is params:
            params = list(params)  # a generator is walked once
        _set(self, "params", params)
        if isinstance(params, (list, tuple)) and params and all(isinstance(item, Mapping) for item in params):
            if self.overrides:
                raise HyperparameterError(
                    f"{type(self).__name__}: groups and overrides were given", hint="put the overrides into the groups"
                )
            for item in params:
                self.add_group(item)
            return
        if isinstance(params, (list, tuple)) and not params:
            raise self._no_parameters()
        self.groups.append(Group(self, params, values))
        for pattern, changes in (self.overrides or {}).items():
            self.groups.append(Group(self, pattern, {**values, **self._checked(changes)}))

    def _values(self) -> dict[str, Any]:
        return {a.name: getattr(self, a.name) for a in _hyperparameters(type(self))}

    def _checked(self, changes: Mapping[str, Any]) -> dict[str, Any]:
        known = [a.name for a in _hyperparameters(type(self))]
        for name in changes:
            if name not in known:
                guess = did_you_mean(str(name), known)
                raise HyperparameterError(
                    f"{type(self).__name__}: no hyperparameter {name!r}{'; ' + guess if guess else ''}",
                    hint=f"{type(self).__name__} takes {', '.join(known)}",
                )
        return {name: check_field(type(self), name, value) for name, value in changes.items()}

    def _no_parameters(self) -> HyperparameterError:
        return HyperparameterError(
            f"{type(self).__name__} got no parameters", hint="does the model have any? an exhausted generator has none"
        )

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        for group in self.__dict__.get("groups", ()):
            if name in group._values:
                group._values[name] = self.__dict__[name]

    def __getattribute__(self, name: str) -> Any:
        value = _get(self, name)
        if type(value) is float or name in _get(self, "__dict__"):
            groups = _get(self, "__dict__").get("groups")
            if groups and name in groups[0]._values:
                return groups[0]._values[name]
        return value

    # -- parameters --------------------------------------------------------------------------------------------------

    def add_group(self, group: Mapping[str, Any]) -> None:
        """Add parameters with hyperparameters of their own: a dict with ``"params"`` and what differs."""
        changes = dict(group)
        if "params" not in changes:
            raise HyperparameterError(f'{type(self).__name__}: a group needs "params", got {", ".join(changes)}')
        source = changes.pop("params")
        if isinstance(source, Tensor):
            source = [source]
        elif callable(getattr(source, "named_parameters", None)):
            source = _NamedParameters(source)
        elif iter(source) is source:
            source = list(source)
        if isinstance(source, (list, tuple)) and not source:
            raise self._no_parameters()
        new = Group(self, source, {**self._values(), **self._checked(changes)})
        if self._bound:
            self._resolve([*self.groups, new], keep=len(self.groups))
        self.groups.append(new)
        if self._bound:
            self._fill(new)

    def bind(self) -> None:
        """Walk the parameters and lay them out in memory; the first step or ``zero_grad`` does it.

        Raises :class:`~lunar_core.errors.NotBuiltError` for a model whose sizes are not known yet.
        """
        if self._bound:
            return
        self._resolve(self.groups)
        for group in self.groups:
            self._fill(group)
        _set(self, "_bound", True)
        waiting, self.__dict__["_waiting"] = self._waiting, None
        if waiting is not None:
            self._put_state(waiting)

    def _resolve(self, groups: list[Group], keep: int = 0) -> None:
        """Find the parameters and names of the groups from ``keep`` on."""
        patterns = {group._source: group for group in groups if isinstance(group._source, str)}
        found: dict[int, list[tuple[str | None, Any]]] = {id(g): list(zip(g.names, g.params)) for g in groups[:keep]}
        seen = {id(p): index for index, g in enumerate(groups[:keep]) for p in g.params}
        for index, group in enumerate(groups):
            if index < keep or isinstance(group._source, str):
                continue
            pairs = found[id(group)] = []
            for name, parameter in _named(group._source):
                self._check_parameter(name, parameter)
                if seen.setdefault(id(parameter), index) != index:
                    raise HyperparameterError(
                        f"{type(self).__name__}: parameter {name or 'of shape ' + str(parameter.shape)} is in groups "
                        f"{seen[id(parameter)]} and {index}"
                    )
                if not any(parameter is p for p in (q for _, q in pairs)) if len(pairs) < 8 else id(parameter) not in {id(q) for _, q in pairs}:
                    pairs.append((name, parameter))
