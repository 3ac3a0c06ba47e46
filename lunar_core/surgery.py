"""Surgery: replace, insert and remove parts of a model that exists.

::

    model.replace("relu", "gelu")                               # by registry name
    model.replace("encoder.*.norm", lambda old: RMSNorm())      # by path; made anew for each place
    model.insert_after(Conv2D, "batch_norm2d")                  # by class
    model.remove(lambda path, module: isinstance(module, Dropout))

What is meant is said as :func:`~lunar_core.selecting.chosen_modules` takes it, what comes in its place as a registry
name, a configuration, a class, a module, or a function of the old module. Everything is made and checked before the
first change, and an error leaves the model as it was. A module that is shared is changed in all of its places, and what
replaces it is shared in the same way. Of a module and one inside of it, both chosen, the outer counts.

An optimizer keeps the parameters that it was made with: it steps those of a part that was taken out, without effect,
and does not know those of a new part. Make it after the surgery, or tell it: ``opt.add_group({"params": new.parameters()})``.
One that was made with ``model.parameters()`` and has not stepped yet sees the model as it is at its first step.

A component whose parts were made from its hyperparameters has no configuration any more after one of them was changed:
``lc.to_config`` says so instead of describing the model that it was. Containers, such as Sequential, keep theirs.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from .errors import HyperparameterError, StateError
from .module import Module, Parameter, _join
from .selecting import Selector, chosen_modules


class Change(NamedTuple):
    """One place that was touched: its dotted path before, and what stands there before and after, in words."""

    path: str
    before: str
    after: str


class Report(list[str]):
    """What was touched: the list of the dotted paths; printed, a line for each with what happened there.

    ``changes`` are the same as :class:`Change` records.
    """

    def __init__(self, action: str, changes: Sequence[Change]) -> None:
        super().__init__(change.path for change in changes)
        self.action = action
        self.changes = list(changes)

    def __repr__(self) -> str:
        wide = max((len(path) for path in self), default=0)
        lines = [f"{self.action}: {len(self)} place{'s' if len(self) != 1 else ''}"]
        for path, before, after in self.changes:
            shown = f"{before} -> {after}" if before and after else before or after
            lines.append(f"  {path:<{wide}}  {shown}")
        return "\n".join(lines)

    __str__ = __repr__


class Place(NamedTuple):
    """Where a module hangs: the ``keys`` that lead to it from ``owner``, first an attribute, then keys of containers."""

    owner: Module
    keys: tuple[Any, ...]
    path: str
    module: Module


def places(model: Module) -> Iterator[Place]:
    """Every place where a module hangs below ``model``, each once; a shared module has several."""
    for prefix, owner in list(model.named_modules()):
        for name, value in list(vars(owner).items()):
            for keys, module in _within((name,), value):
                yield Place(owner, keys, _join(prefix, ".".join(map(str, keys))), module)


def _within(keys: tuple[Any, ...], value: Any) -> Iterator[tuple[tuple[Any, ...], Module]]:
    if isinstance(value, Module):
        yield keys, value
    elif isinstance(value, (list, tuple, dict)):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _within((*keys, key), item)


def replace(model: Module, what: Selector, by: Any) -> Report:
    """Put ``by`` in the place of every part that ``what`` means; see the module's docstring and :class:`Report`.

    ``by`` is a registry name (of the kind of the part that it replaces, if there is one), a configuration, a class that
    is made without arguments, a module, or a function that gets the old module and gives the new one. A module stands
    in the first place itself and in further ones as copies of its own. What is new takes over the training mode, and,
    where it has parameters already, the device of the model.

    Raises StateError where ``what`` means nothing, naming what is near; nothing is changed by any error.
    """
    chosen = _places_of(model, what, "replace")
    new = _made(model, chosen, by, "replace")
    with _Undo(chosen):
        for place in chosen:
            _put(place, new[id(place.module)])
    return Report("replaced", [Change(p.path, _short(p.module), _short(new[id(p.module)])) for p in chosen])


def insert_after(model: Module, what: Selector, new: Any) -> Report:
    """Let ``new`` follow every part that ``what`` means.

    In a list of layers (Sequential, ModuleList, a Python list) it becomes the next item, and the items behind it move
    on, with their names. Anywhere else, the part becomes a Sequential of itself and ``new``. ``new`` is what ``by`` of
    :func:`replace` is; a function gets the part that it is to follow.
    """
    return _insert(model, what, new, 1, "insert_after")


def insert_before(model: Module, what: Selector, new: Any) -> Report:
    """Like :func:`insert_after`, with ``new`` before the part."""
    return _insert(model, what, new, 0, "insert_before")


def _insert(model: Module, what: Selector, new: Any, offset: int, action: str) -> Report:
    chosen = _places_of(model, what, action, nested=True)
    made = _made(model, chosen, new, action)
    changes = []
    wrapped: dict[int, Module] = {}
    with _Undo(chosen):
        # from the back, so that positions that are still to come stay what they are
        for place in reversed(chosen):
            part = made[id(place.module)]
            shown = _short(part)
            items = _items(place)
            if items is not None:
                items.insert(_position(place) + offset, part)
                where = f"{'before' if not offset else 'after'} {_short(place.module)}: {shown}"
            else:
                whole = wrapped.get(id(place.module))
                if whole is None:
                    pair = (part, place.module) if not offset else (place.module, part)
                    whole = wrapped[id(place.module)] = _sequence(pair)
                _put(place, whole)
                where = f"{_short(place.module)} -> {_short(whole)} with {shown}"
            changes.append(Change(place.path, "", where))
    return Report("inserted", changes[::-1])


def remove(model: Module, what: Selector) -> Report:
    """Take every part that ``what`` means out.

    An item of a list of layers or of a dict is deleted, and items behind it move up. What hangs on an attribute, which
    ``forward`` will ask for, becomes the layer ``identity``.
    """
    chosen = _places_of(model, what, "remove")
    changes = []
    with _Undo(chosen):
        for place in reversed(chosen):
            items = _items(place, deletable=True)
            if items is not None:
                del items[_position(place)]
                after = "taken out"
            else:
                nothing = _component("layer", "identity")
                nothing.training = place.module.training
                _put(place, nothing)
                after = _short(nothing)
            changes.append(Change(place.path, _short(place.module), after))
    return Report("removed", changes[::-1])


# -- places -----------------------------------------------------------------------------------------------------------


def _places_of(model: Module, what: Selector, action: str, nested: bool = False) -> list[Place]:
    """All places of the modules that are meant, in the order of the model; of nested ones the outer, unless ``nested``."""
    every = list(places(model))
    if not every:
        raise StateError(
            f"{action}: {type(model).__name__} has no parts", hint="a model itself is replaced by assigning another one"
        )
    chosen = chosen_modules([(place.path, place.module) for place in every], what, action)
    wanted = {id(module) for module in chosen.values()}
    inside = set() if nested else {id(m) for module in chosen.values() for m in module.modules()}
    return [place for place in every if id(place.module) in wanted and id(place.owner) not in inside]


def _items(place: Place, deletable: bool = False) -> Any:
    """The list that the place is an item of: a module that inserts and deletes as a list does, or a Python list."""
    if len(place.keys) == 1:
        owner: Any = place.owner
        if place.keys[0].isdigit() and callable(getattr(owner, "insert", None)) and hasattr(owner, "__delitem__"):
            return owner
        return owner if deletable and hasattr(owner, "__delitem__") and place.keys[0] in owner else None
    holder = vars(place.owner)[place.keys[0]]
    for key in place.keys[1:-1]:
        holder = holder[key]
    return holder if isinstance(holder, list) or (deletable and isinstance(holder, dict)) else None


def _position(place: Place) -> Any:
    key = place.keys[-1]
    return int(key) if len(place.keys) == 1 and key.isdigit() else key


def _put(place: Place, new: Module) -> None:
    """Hang ``new`` there; tuples on the way are made anew."""

    def put(container: Any, keys: tuple[Any, ...]) -> Any:
        if not keys:
            return new
        inner = put(container[keys[0]], keys[1:])
        if isinstance(container, tuple):
            items = list(container)
            items[keys[0]] = inner
            return type(container)._make(items) if hasattr(container, "_make") else type(container)(items)
        container[keys[0]] = inner
        return container

    name, *rest = place.keys
    value = vars(place.owner)[name]
    changed = put(value, tuple(rest))
    if changed is not value:
        setattr(place.owner, name, changed)


class _Undo:
    """Puts the owners of the places back as they were if the block fails, and marks them as changed if it does not."""

    def __init__(self, chosen: list[Place]) -> None:
        self.owners = {id(place.owner): place.owner for place in chosen}.values()

    def __enter__(self) -> None:
        self.before = [(owner, dict(vars(owner)), [_copies(v) for v in vars(owner).values()]) for owner in self.owners]

    def __exit__(self, kind: Any, error: Any, traceback: Any) -> None:
        if kind is None:
            for owner in self.owners:
                owner._changed = True
                owner._parts_changed()
            return
        for owner, attributes, containers in self.before:
            vars(owner).clear()
            vars(owner).update(attributes)
            for pairs in containers:
                for container, kept in pairs:
                    container.clear()
                    container.update(kept) if isinstance(container, dict) else container.extend(kept)


def _copies(value: Any) -> list[tuple[Any, Any]]:
    """The lists and dicts in an attribute with shallow copies of them."""
    if not isinstance(value, (list, tuple, dict)):
        return []
    own = [] if isinstance(value, tuple) else [(value, copy.copy(value))]
    return own + [pair for item in (value.values() if isinstance(value, dict) else value) for pair in _copies(item)]


# -- what is put in ---------------------------------------------------------------------------------------------------


def _made(model: Module, chosen: list[Place], by: Any, action: str) -> dict[int, Module]:
    """The new module for each old one, by the identity of the old one."""
    device = next((p.device for _, p in model._named_tensors(Parameter)), None)
    new: dict[int, Module] = {}
    for place in chosen:
        if id(place.module) in new:
            continue
        part = _new(by, place.module, action)
        if isinstance(by, Module):
            part = by if not new else copy.deepcopy(by)
        old = {id(m) for m in place.module.modules()}
        for module in part.modules():
            if id(module) not in old:
                module.training = place.module.training
        if device is not None and part.built:
            part.to(device)
        new[id(place.module)] = part
    return new


def _new(by: Any, old: Module, action: str) -> Module:
    if isinstance(by, str):
        made: Any = _component(str(getattr(old, "kind", "")), by)
    elif isinstance(by, Mapping):
        from .config import from_config

        made = from_config(by)
    elif isinstance(by, type) and issubclass(by, Module):
        made = by()
    elif isinstance(by, Module):
        made = by
    elif callable(by):
        made = by(old)
    else:
        made = by
    if not isinstance(made, Module):
        raise HyperparameterError(
            f"{action}: expected a module, got {made!r}",
            hint='a registry name, {"@layer": "dense", ...}, a class, a module, or a function of the old module',
        )
    return made


def _component(kind: str, name: str) -> Module:
    """The module of a registry name: of ``kind`` if it has one of that name, else of the first kind of modules that has."""
    from .plugins import registry

    kinds = dict.fromkeys([kind, "activation", "layer", "model"])
    found = next((k for k in kinds if k in registry.kinds() and name in registry.names(k)), kind or "layer")
    made = registry.create(found if found in kinds else "layer", name)
    assert isinstance(made, Module)
    return made


def _sequence(parts: tuple[Module, ...]) -> Module:
    """The parts one after the other. What chains layers is itself a layer, so the registry makes it."""
    from .plugins import registry

    whole = registry.create("layer", "sequential", *parts)
    whole.training = parts[0].training
    assert isinstance(whole, Module)
    return whole


def _short(module: Module) -> str:
    """A module's repr on one line."""
    label = module._label()
    inner = next(module.children(), None) is not None
    return f"{label.removesuffix('()')}(...)" if inner and label.endswith("()") else label
