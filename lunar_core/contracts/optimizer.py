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

``update`` names what it needs: the parameter ``p``, its gradient ``g``, the state arrays, hyperparameters by the names
of their fields, and ``step``, the number of this update (1 for the first). It returns the new ``p``, then the new
state arrays in the order of ``state``. It is a fused function (:mod:`lunar_core.fusion`): pure, elementwise, the same
on numbers and on arrays. Groups, flat memory, chunks, skipped parameters, half precision and state dicts are the base
class's. A state array that the rule leaves alone, as momentum does where ``momentum == 0``, is never made.

A rule over whole arrays says ``elementwise = False`` and gets each parameter by itself, in its shape.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from .. import optimizer_state
from ..autograd import note_write
from ..component import Component, field, fields, hyperparameter_error
from ..errors import HyperparameterError, NotBuiltError
from ..flat import Entry, FlatBuffer, Moved
from ..fusion import Fused, is_half
from ..modes import enable_grad
from ..optimizer_state import MASTER
from ..parameter_groups import Group, make_group, make_groups, resolve
from ..suggest import did_you_mean

_FLOAT32 = np.dtype(np.float32)
_OWN = ("params", "overrides", "no_decay", "master_weights")  # fields that are no hyperparameters of a group


class BaseOptimizer(Component):
    """Base of everything that steps: of update rules (:class:`Optimizer`) and of what is built around other optimizers.

    A subclass offers ``step(closure=None)``, ``zero_grad()``, ``groups``, ``state_dict()`` and ``load_state_dict(state)``.
    """

    kind: ClassVar[str] = "optimizer"

    #: What ``step`` needs: "gradients", which are there when it is called; "closure", a function that clears the
    #: gradients, computes the loss, calls ``backward`` and returns the loss; "loss", one that computes and returns the
    #: loss, without ``backward``; or something else that only a loop of its own can give. The Trainer gives the first three.
    needs: ClassVar[str] = "gradients"


class Optimizer(BaseOptimizer):
    """Base of optimizers; see the module's docstring for how to write one.

    ``params`` is an iterable of parameters or of (name, parameter) pairs, a module, or a list of groups: dicts with
    ``"params"`` and the hyperparameters that differ. ``model.parameters()`` of a model that is not built yet is fine:
    it is walked at the first step.

    ``overrides`` are hyperparameters by glob pattern of the parameters' names: ``{"*.bias": {"weight_decay": 0.0}}``.
    Each pattern makes a group of its own; a parameter goes to the first that matches.

    Every hyperparameter is an attribute, which may be changed at any time: ``opt.lr`` reads that of the first group,
    and setting it sets that of all groups; ``opt.groups[i].lr`` is that of one.

    ``no_decay`` says which parameters weight decay, of either kind, leaves alone: ``"vectors"`` those with fewer than two
    axes (biases, and the scales and shifts of norms), a tuple of globs those of these names, or a function of
    (name, parameter) those for which it is true. A ``weight_decay`` that a group, an override or ``train_with`` gives a
    parameter stands.

    A parameter without a gradient is left as it is by a step, its state and its count of updates too. float16 and
    bfloat16 parameters are updated in float32 and have float32 state. With ``master_weights`` their values are kept in
    float32 as well, so that updates smaller than their precision add up; the parameters are those values rounded. A
    value that is written from outside counts. The state dict holds them as the array ``master``, so a run goes on exactly.

    A model's options (:meth:`lunar_core.module.Module.train_with`) are followed where ``params`` is the model or its
    ``parameters()``; they make further groups when the parameters are first walked.

    Raises HyperparameterError for bad hyperparameters, no parameters, a parameter in two groups, a tensor that is not a
    leaf, or a pattern that matches nothing.
    """

    #: Names of the state arrays, which start at zero, or a dict from each name to the number that it starts with. With
    #: ``elementwise = False`` also to a function that makes it, in any shape, from the parameter's array.
    state: ClassVar[Sequence[str] | Mapping[str, Any]] = ()
    #: Numbers that ``update`` takes besides: a name to a function, in plain Python, of hyperparameters and ``step``.
    numbers: ClassVar[Mapping[str, Callable[..., float]]] = {}
    #: Whether ``update`` treats each element by itself.
    elementwise: ClassVar[bool] = True
    update: ClassVar[Callable[..., Any]]
    #: The parameter groups.
    groups: ClassVar[list[Group]]

    _rule: ClassVar[_Rule | None] = None

    params: Any = field(config=False)
    overrides: dict[str, Any] | None = field(
        default=None, kw_only=True, doc="hyperparameters by glob pattern of the parameters' names"
    )
    no_decay: Any = field(default=None, kw_only=True, doc='"vectors" or globs: what weight decay leaves alone')
    master_weights: bool = field(
        default=False, kw_only=True, doc="keep float16 and bfloat16 parameters in float32 beside them"
    )

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        rule = vars(cls).get("update")
        if rule is not None and not isinstance(rule, staticmethod):
            cls.update = staticmethod(rule)
        if hasattr(cls, "update"):
            cls._rule = _Rule(cls)

    def __attrs_post_init__(self) -> None:
        cls = type(self)
        if cls._rule is None and cls.step is Optimizer.step:
            raise HyperparameterError(f"{cls.__name__} defines no update(p, g, ...)")
        values = {name: self.__dict__.pop(name) for name in _hyperparameters(cls)}
        self._defaults = dict(values)
        self._bound = False
        self._waiting: dict[str, Any] | None = None
        self._dormant: dict[str, Any] = {}
        if self.no_decay is not None:
            self._check_no_decay(values)
        self.__dict__["groups"] = make_groups(cls, self.params, values, self.overrides or {})

    def _check_no_decay(self, values: Mapping[str, Any]) -> None:
        name = type(self).__name__
        if "weight_decay" not in values:
            raise HyperparameterError(f"{name} has no weight_decay, so no_decay means nothing")
        if isinstance(self.no_decay, list):
            self.no_decay = tuple(self.no_decay)
        globs = isinstance(self.no_decay, tuple) and all(isinstance(p, str) for p in self.no_decay)
        if not (self.no_decay == "vectors" or globs or callable(self.no_decay)):
            raise hyperparameter_error(
                self, "no_decay", self.no_decay, '"vectors", a tuple of globs, a function or None'
            )

    def __getattr__(self, name: str) -> Any:
        groups = self.__dict__.get("groups")
        if groups and name in groups[0].values:
            return groups[0].values[name]
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        groups = self.__dict__.get("groups")
        if groups and name in groups[0].values:
            self._defaults[name] = value = self.__dict__.pop(name)
            for group in groups:
                if name not in group.fixed:
                    group.values[name] = value

    # -- parameters --------------------------------------------------------------------------------------------------

    def add_group(self, group: Mapping[str, Any]) -> Group:
        """Add parameters with hyperparameters of their own: a dict with ``"params"`` and what differs."""
        new = make_group(type(self), group, self._defaults)
        more = [new]
        if self._bound:
            more += resolve(type(self), [*self.groups, new], self.no_decay)
            for group_ in more:
                self._lay_out(group_)
        self.groups.extend(more)
        return new

    def bind(self) -> None:
        """Walk the parameters and lay them out in memory. The first step or ``zero_grad`` does it by itself.

        Raises :class:`~lunar_core.errors.NotBuiltError` for a model whose sizes are not known yet.
        """
        if self._bound:
            return
        self.groups.extend(resolve(type(self), self.groups, self.no_decay))
        for group in self.groups:
            self._lay_out(group)
        self._bound = True
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            optimizer_state.put(self, waiting)

    def _lay_out(self, group: Group) -> None:
        group.lay_out()
        for buffer in group.buffers:
            if self.master_weights and is_half(buffer.dtype):
                self._make_state(buffer, MASTER)
            # Only the chunked NumPy runs can tell beforehand which state a rule touches.
            if not self.elementwise or buffer.xp is not np:
                for name in self.state:
                    self._make_state(buffer, name)

    def _make_state(self, buffer: FlatBuffer, name: str) -> None:
        """Make a state array that is not there yet."""
        if name == MASTER:
            if name not in buffer.state:
                buffer.add_state(name)[...] = buffer.data
            return
        start = self.state[name] if isinstance(self.state, Mapping) else 0.0
        if not callable(start):
            if name not in buffer.state:
                buffer.add_state(name, start)
            return
        for entry in buffer.entries:
            if name not in entry.own:
                entry.own[name] = start(entry.data)

    def _rebuild(self) -> None:
        """Lay out anew what changed its dtype, device or shape or began to be trained; the state comes along."""
        kept = optimizer_state.collect(self)
        for group in self.groups:
            self._lay_out(group)
        optimizer_state.put(self, kept)

    def zero_grad(self) -> None:
        """Forget all gradients. Nothing is filled: the next backward pass overwrites them."""
        if not self._bound:
            try:
                self.bind()
            except NotBuiltError:
                return  # no parameters yet, so no gradients
        for group in self.groups:
            for buffer in group.buffers:
                buffer.clear_gradients()
            for _, parameter in group.frozen:
                parameter.grad = None

    # -- the step ----------------------------------------------------------------------------------------------------

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update every parameter that has a gradient. ``closure``, if given, is called first and gives the result."""
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        if not self._bound:
            self.bind()
        try:
            work = self._gather()
        except Moved:
            self._rebuild()
            work = self._gather()
        with np.errstate(all="ignore"):
            for group, buffer, complete in work:
                if MASTER in buffer.state:
                    buffer.take_over(MASTER)
                if complete and buffer.step is not None and self.elementwise:
                    self._update(group, buffer, 0, buffer.size, buffer.step + 1)
                    buffer.step += 1
                elif not self._update_some(group, buffer):
                    continue
                if MASTER in buffer.state:
                    buffer.data[...] = buffer.state[MASTER]
                note_write(buffer.data)
        return loss

    def _gather(self) -> list[tuple[Group, FlatBuffer, bool]]:
        """Every buffer with its group, and whether all of its gradients are there."""
        work = []
        for group in self.groups:
            for _, parameter in group.frozen:
                if parameter.node is not None:
                    raise Moved
            for buffer in group.buffers:
                work.append((group, buffer, buffer.gather()))
        return work

    def _update_some(self, group: Group, buffer: FlatBuffer) -> bool:
        """Update those that have a gradient; stretches of neighbours that were updated equally often go together."""
        buffer.spread_step()
        runs = list(buffer.runs())
        for run in runs:
            if self.elementwise:
                self._update(group, buffer, run[0].start, run[-1].stop, run[0].step + 1)
            for entry in run:
                if not self.elementwise:
                    self._update_whole(group, buffer, entry)
                entry.step += 1
        buffer.join_steps()
        return bool(runs)

    def _update(self, group: Group, buffer: FlatBuffer, start: int, stop: int, step: int) -> None:
        """Apply an elementwise rule to a stretch of the vectors."""
        rule = self._rule
        assert rule is not None and rule.fused is not None
        values = buffer.arguments
        if values is None:
            values = buffer.arguments = rule.arguments(buffer)
        for position, name in rule.numbers:
            values[position] = group.values[name]
        if rule.step is not None:
            values[rule.step] = step
        for position, derive in rule.derived:
            values[position] = derive(group.values, step)
        if buffer.xp is not np:
            rule.fused.call(_part(values, start, stop, buffer.size))
            return
        plan, constants = rule.fused.lookup(values)
        if plan is not buffer.plan:
            for name in plan.touched.intersection(self.state):
                self._make_state(buffer, name)
                values[rule.names.index(name)] = buffer.state[name]
            buffer.plan = plan
        arrays = _part([values[i] for i in plan.inputs], start, stop, buffer.size)
        plan.runner(stop - start, arrays, constants)

    def _update_whole(self, group: Group, buffer: FlatBuffer, entry: Entry) -> None:
        """Apply a rule over whole arrays to one parameter."""
        rule = self._rule
        assert rule is not None
        p, g = entry.data, entry.grad
        target = buffer.state_view(entry, MASTER) if MASTER in buffer.state else p
        if is_half(p.dtype):
            p, g = target.astype(_FLOAT32), g.astype(_FLOAT32)
        states = {name: buffer.state_view(entry, name) for name in self.state}
        given = {"p": p, "g": g, "step": entry.step + 1, **group.values, **states}
        given.update({name: derive(group.values, entry.step + 1) for name, derive in rule.functions.items()})
        results = self.update(*[given[n] for n in rule.positional], **{n: given[n] for n in rule.keywords})
        results = results if isinstance(results, tuple) else (results,)
        if len(results) != 1 + len(states):
            raise HyperparameterError(
                f"{type(self).__name__}.update returned {len(results)} values, expected {', '.join(['p', *states])}"
            )
        for name, result in zip(states, results[1:]):
            if name in entry.own:
                entry.own[name] = result
            elif result is not states[name]:
                states[name][...] = result
        if results[0] is not target:
            target[...] = results[0]

    # -- state -------------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """``{"groups": [...], "state": {name: {"step": n, array name: array, ...}}}``.

        A group holds its hyperparameters, the names of its parameters (``"params"``) and of the state arrays in use
        (``"arrays"``). A parameter that came without a name goes by its number. The arrays are the live ones, in the
        parameters' shapes, not copies. Parameters that are frozen have no entry.
        """
        self.bind()
        return optimizer_state.state_dict(self)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what :meth:`state_dict` gave: arrays, counts and hyperparameters, exactly.

        Raises :class:`~lunar_core.errors.StateError` that names what is missing, unexpected or misshapen; nothing is
        changed then.
        """
        self.bind()
        optimizer_state.load(self, state)

    def __getstate__(self) -> dict[str, Any]:
        """For copies and transport between processes: the copy makes vectors of its own for its parameters."""
        kept = {k: v for k, v in self.__dict__.items() if k not in ("groups", "params", "_bound", "_waiting")}
        groups = [(g.source, dict(g.values), g.pattern, g.resolved, g.given, g.fixed, g.schedule) for g in self.groups]
        waiting = optimizer_state.collect(self, copy=True) if self._bound else self._waiting
        return {"kept": kept, "groups": groups, "waiting": waiting}

    def __setstate__(self, state: dict[str, Any]) -> None:
        groups = [Group(type(self), *group) for group in state["groups"]]
        self.__dict__.update(state["kept"])
        self.__dict__.update(groups=groups, params=groups[0].source, _bound=False, _waiting=state["waiting"])


class _Rule:
    """What a class's ``update`` asks for, decided when the class is defined."""

    def __init__(self, cls: type[Optimizer]) -> None:
        parameters = inspect.signature(cls.update).parameters
        hyperparameters = _hyperparameters(cls)
        self.names = tuple(parameters)
        self.state = tuple(cls.state)
        known = ["p", "g", *self.state, *hyperparameters, "step", *cls.numbers]
        for name in {*self.state, *hyperparameters, *cls.numbers}:
            if known.count(name) > 1 or name in (*_OWN, "groups", "state", "arrays", MASTER):
                raise HyperparameterError(f"{cls.__name__}: {name!r} has a meaning already; choose another name")
        for name in self.names:
            if name not in known:
                guess = did_you_mean(name, known)
                raise HyperparameterError(
                    f"{cls.__name__}.update asks for {name!r}, which it does not have{'; ' + guess if guess else ''}",
                    hint=f"it has {', '.join(known)}",
                )
        for name in ("p", "g", *self.state):
            if name not in self.names:
                raise HyperparameterError(f"{cls.__name__}.update has to take {name!r}, got {', '.join(self.names)}")
        keyword = inspect.Parameter.KEYWORD_ONLY
        self.positional = [n for n in self.names if parameters[n].kind is not keyword]
        self.keywords = [n for n in self.names if parameters[n].kind is keyword]
        self.numbers = [(i, name) for i, name in enumerate(self.names) if name in hyperparameters]
        self.step = self.names.index("step") if "step" in self.names else None
        self.functions = {name: _of_hyperparameters(function) for name, function in cls.numbers.items()}
        self.derived = [(i, self.functions[name]) for i, name in enumerate(self.names) if name in self.functions]
        self.fused: Fused | None = None
        if cls.elementwise:
            bad = [n for n in self.state if isinstance(cls.state, Mapping) and callable(cls.state[n])]
            if bad:
                raise HyperparameterError(
                    f"{cls.__name__}: the state {bad[0]!r} is made by a function", hint="that needs elementwise = False"
                )
            self.fused = Fused(cls.update, ("p", *self.state), f"{cls.__name__}.update")

    def arguments(self, buffer: FlatBuffer) -> list[Any]:
        """The arguments of ``update`` over a whole buffer, without the numbers; state that is not made is empty."""
        arrays = {"g": buffer.grad, **buffer.state, "p": buffer.state.get(MASTER, buffer.data)}
        nothing = np.empty(0, buffer.state_dtype)
        return [arrays.get(name, nothing) for name in self.names]


def _of_hyperparameters(function: Callable[..., float]) -> Callable[[Mapping[str, Any], int], float]:
    """``function`` as one of a group's values and the number of the update."""
    names = tuple(inspect.signature(function).parameters)
    return lambda values, step: function(*[step if name == "step" else values[name] for name in names])


def _part(values: list[Any], start: int, stop: int, size: int) -> list[Any]:
    """Stretches of the arrays among ``values``."""
    if stop - start == size:
        return values
    return [v[start:stop] if getattr(v, "shape", None) == (size,) else v for v in values]


def _hyperparameters(cls: type[Optimizer]) -> list[str]:
    return [a.name for a in fields(cls) if a.name not in _OWN]
