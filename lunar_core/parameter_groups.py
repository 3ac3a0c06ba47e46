"""Groups of parameters that share hyperparameters, and how an optimizer finds the parameters in what it was given."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from .autograd import Leaf
from .component import check_field
from .errors import HyperparameterError
from .flat import FlatBuffer
from .selecting import fits
from .suggest import did_you_mean
from .tensor import Tensor

_set = object.__setattr__


class Group:
    """Parameters that share hyperparameters, which are its attributes (``group.lr = 1e-3``) and its items.

    ``params`` and ``names`` list its parameters as soon as the model is built and the optimizer has walked them.
    """

    names: list[str]
    params: list[Any]
    buffers: list[FlatBuffer]
    frozen: list[tuple[str, Any]]
    given: frozenset[str]
    fixed: frozenset[str]
    schedule: Any

    def __init__(
        self,
        component: type,
        source: Any,
        values: dict[str, Any],
        pattern: str | None = None,
        resolved: bool = False,
        given: frozenset[str] = frozenset(),
        fixed: frozenset[str] = frozenset(),
        schedule: Any = None,
    ) -> None:
        _set(self, "component", component)
        _set(self, "given", given)  # hyperparameters that were said for this group
        _set(self, "fixed", fixed)  # those that the optimizer's attribute does not set: the masked weight decay
        _set(self, "schedule", schedule)  # a scheduler of its own, which keeps others away
        _set(self, "resolved", resolved)  # the source is a list of (name, parameter), which may be empty
        _set(self, "source", source)
        _set(self, "pattern", pattern)
        _set(self, "values", values)
        for name in ("names", "params", "buffers", "frozen"):
            _set(self, name, [])

    def __getattr__(self, name: str) -> Any:
        values = self.__dict__.get("values", {})
        if name in values:
            return values[name]
        raise AttributeError(f"a parameter group has {', '.join(values)} and params, but no {name!r}")

    def __setattr__(self, name: str, value: Any) -> None:
        self.values.update(checked(self.component, {name: value}, self.values))

    def __getitem__(self, name: str) -> Any:
        return getattr(self, name)

    def __setitem__(self, name: str, value: Any) -> None:
        setattr(self, name, value)

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={value!r}" for name, value in self.values.items())
        return f"Group({len(self.params)} parameters, {shown})"

    def lay_out(self) -> None:
        """Bring the parameters that are trained into flat buffers, one for each dtype and device."""
        kinds: dict[Any, list[tuple[str, Any]]] = {}
        frozen = []
        for name, parameter in zip(self.names, self.params):
            if parameter.requires_grad:
                kinds.setdefault((type(parameter.data), parameter.dtype, parameter.device), []).append(
                    (name, parameter)
                )
            else:
                frozen.append((name, parameter))
        _set(self, "frozen", frozen)
        _set(self, "buffers", [FlatBuffer(named) for named in kinds.values()])


def checked(component: type, changes: Mapping[str, Any], known: Iterable[str]) -> dict[str, Any]:
    """``changes`` as the component's fields would keep them; HyperparameterError for unknown names and bad values."""
    known = list(known)
    for name in changes:
        if name not in known:
            guess = did_you_mean(str(name), known)
            raise HyperparameterError(
                f"{component.__name__}: no hyperparameter {name!r}{'; ' + guess if guess else ''}",
                hint=f"a group takes {', '.join(known)}",
            )
    return {name: check_field(component, name, value) for name, value in changes.items()}


def make_groups(component: type, params: Any, values: dict[str, Any], overrides: Mapping[str, Any]) -> list[Group]:
    """The groups that ``params`` and ``overrides`` describe; what is lazy is not walked yet."""
    name = component.__name__
    given = isinstance(params, (list, tuple)) and bool(params) and all(isinstance(item, Mapping) for item in params)
    if not given:
        main = Group(component, source_of(component, params), values)
        return [main] + [
            Group(component, None, {**values, **checked(component, changes, values)}, pattern, given=frozenset(changes))
            for pattern, changes in overrides.items()
        ]
    if overrides:
        raise HyperparameterError(f"{name}: got groups and overrides", hint="put the overrides into the groups")
    return [make_group(component, item, values) for item in params]


def make_group(component: type, item: Mapping[str, Any], values: dict[str, Any]) -> Group:
    """A group from a dict with ``"params"`` and the hyperparameters that differ from ``values``."""
    if not isinstance(item, Mapping) or "params" not in item:
        got = list(item) if isinstance(item, Mapping) else item
        raise HyperparameterError(
            f"{component.__name__}: a group is a dict with 'params', got {got!r}",
            hint='{"params": model.head.parameters(), "lr": 1e-4}',
        )
    changes = {key: value for key, value in item.items() if key != "params"}
    source = item["params"]
    source = source_of(component, [source] if isinstance(source, Tensor) else source)
    return Group(component, source, {**values, **checked(component, changes, values)}, given=frozenset(changes))


def source_of(component: type, params: Any) -> Any:
    """What the parameters are taken from when they are needed. A generator, which lasts once, is walked now."""
    if callable(getattr(params, "named_parameters", None)):
        return params
    if isinstance(params, (Tensor, str, Mapping)) or not isinstance(params, Iterable):
        raise HyperparameterError(
            f"{component.__name__}: params has to be an iterable of parameters, got {type(params).__name__}",
            hint=f"{component.__name__}(model.parameters(), ...)",
        )
    source = list(params) if isinstance(params, (list, tuple, Iterator)) else params
    if isinstance(source, list) and not source:
        raise _no_parameters(component)
    if isinstance(source, list):
        for name, parameter in _named(source):
            _check_parameter(component.__name__, name, parameter)
    return source


def resolve(component: type, groups: Sequence[Group], no_decay: Any = None) -> list[Group]:
    """Walk the groups' sources: afterwards each group knows its parameters and their names.

    Returns further groups, for parameters that a model's ``train_with`` gives hyperparameters of their own, and for those
    that ``no_decay`` means. A parameter without a name is named by its number. One that a group lists twice, because
    modules share it, counts once. Nothing is changed when something is wrong: the same parameter or name in two places, a
    tensor that is not a leaf, a pattern without a match, a group without parameters.
    """
    owner = component.__name__
    found: list[list[tuple[str, Any]]] = [[] for _ in groups]
    options: dict[int, dict[str, Any]] = {}
    fresh = {id(group) for group in groups if not group.resolved}
    home: dict[int, int] = {}
    names: set[str] = set()
    for index, group in enumerate(groups):
        if group.pattern is not None:
            continue
        count = 0
        said = _options_of(group.source)
        for given, parameter in _named(group.source):
            if given in said:
                options[id(parameter)] = said[given]
            _check_parameter(owner, given, parameter)
            count += 1
            shown = given or f"of shape {parameter.shape}"
            if id(parameter) in home:
                if home[id(parameter)] != index:
                    raise HyperparameterError(f"{owner}: parameter {shown} is in two groups")
                continue
            home[id(parameter)] = index
            name = given if given is not None else str(len(home) - 1)
            if name in names:
                raise HyperparameterError(f"{owner}: two parameters are named {name!r}", hint="give them other names")
            names.add(name)
            target = next((i for i, g in enumerate(groups) if given is not None and _matches(g.pattern, given)), index)
            found[target].append((name, parameter))
        if not count and not group.resolved:
            raise _no_parameters(component)
    for group, pairs in zip(groups, found):
        if group.pattern is not None and not pairs:
            some = ", ".join(sorted(names)[:4])
            raise HyperparameterError(
                f"{owner}: no parameter matches the override {group.pattern!r}", hint=f"names are like {some}"
            )
    parts = _divided(component, groups, found, options, no_decay, fresh)
    for group, pairs in [*zip(groups, found), *parts]:
        _set(group, "names", [name for name, _ in pairs])
        _set(group, "params", [parameter for _, parameter in pairs])
        _set(group, "source", pairs)
        _set(group, "pattern", None)
        _set(group, "resolved", True)
    return [group for group, _ in parts]


def _divided(
    component: type,
    groups: Sequence[Group],
    found: list[list[tuple[str, Any]]],
    options: dict[int, dict[str, Any]],
    no_decay: Any,
    fresh: set[int],
) -> list[tuple[Group, list[tuple[str, Any]]]]:
    """Take those parameters out of ``found`` that need a group of their own; the new groups with them."""
    parts: dict[tuple[int, str, int], tuple[Group, list[tuple[str, Any]]]] = {}
    spared = _spared(component, [pair for g, pairs in zip(groups, found) if id(g) in fresh for pair in pairs], no_decay)
    for index, group in enumerate(groups):
        if id(group) not in fresh:
            continue
        kept = []
        for name, parameter in found[index]:
            said = options.get(id(parameter), {})
            changes = {key: value for key, value in _hyperparameters(said).items() if key not in group.given}
            if said.get("optimizer") is not None:
                raise HyperparameterError(
                    f"{component.__name__}: train_with gives {name} another optimizer, {said['optimizer']!r}",
                    hint="Hybrid(model, rest=...) or Trainer(model, optimizer=name or configuration) makes one for each",
                )
            fixed = frozenset[str]()
            if id(parameter) in spared and "weight_decay" not in changes and "weight_decay" not in group.given:
                changes["weight_decay"] = 0.0
                fixed = frozenset({"weight_decay"})
            schedule = said.get("schedule")
            if not changes and schedule is None:
                kept.append((name, parameter))
                continue
            key = (index, repr(sorted(changes.items())), id(schedule))
            if key not in parts:
                values = {**group.values, **checked(component, changes, group.values)}
                given = group.given | changes.keys()
                parts[key] = Group(component, None, values, given=given, fixed=fixed, schedule=schedule), []
            parts[key][1].append((name, parameter))
        found[index] = kept
    return list(parts.values())


def _spared(component: type, pairs: list[tuple[str, Any]], no_decay: Any) -> set[int]:
    """The identities of the parameters that weight decay leaves alone."""
    if no_decay is None:
        return set()
    if no_decay == "vectors":
        return {id(p) for _, p in pairs if p.ndim < 2}
    if callable(no_decay):
        return {id(p) for name, p in pairs if no_decay(name, p)}
    spared: set[int] = set()
    for pattern in no_decay:
        hits = {id(p) for name, p in pairs if fits(name, pattern)}
        if not hits:
            some = ", ".join(name for name, _ in pairs[:4])
            raise HyperparameterError(
                f"{component.__name__}: no_decay: no parameter matches {pattern!r}", hint=f"names are like {some}"
            )
        spared |= hits
    return spared


def _options_of(source: Any) -> dict[str, dict[str, Any]]:
    """What ``train_with`` said of the parameters of a source, by their names in it."""
    from .training_options import parameter_options

    if callable(getattr(source, "parameter_options", None)):  # parameters that somebody took out of a model
        return dict(source.parameter_options())
    model = getattr(source, "module", source)
    return parameter_options(model) if callable(getattr(model, "train_with", None)) else {}


def _hyperparameters(options: Mapping[str, Any]) -> dict[str, Any]:
    from .training_options import hyperparameters

    return hyperparameters(options)


def _matches(pattern: str | None, name: str) -> bool:
    return pattern is not None and fits(name, pattern)


def _named(source: Any) -> Iterator[tuple[str | None, Any]]:
    if callable(getattr(source, "named_parameters", None)):
        yield from source.named_parameters()
    elif callable(getattr(source, "named", None)):
        yield from source.named()
    else:
        for item in source:
            if isinstance(item, tuple) and len(item) == 2 and isinstance(item[0], str):
                yield item
            else:
                yield None, item


def _check_parameter(owner: str, name: str | None, parameter: Any) -> None:
    if not isinstance(parameter, Tensor):
        raise HyperparameterError(
            f"{owner}: expected parameters, got {type(parameter).__name__}{f' named {name!r}' if name else ''}",
            hint=f"{owner}(model.parameters(), ...)",
        )
    if parameter.node is not None and not isinstance(parameter.node, Leaf):
        raise HyperparameterError(
            f"{owner}: {name or 'a tensor'} of shape {parameter.shape} is the result of {parameter.node.name}, "
            "not a parameter"
        )


def _no_parameters(component: type) -> HyperparameterError:
    return HyperparameterError(
        f"{component.__name__} got no parameters",
        hint="does the model have any? a generator that was used has none left",
    )
