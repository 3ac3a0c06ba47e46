"""Which parts of a model are meant: by registry name, by dotted path, by class or by a function."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from .errors import HyperparameterError, StateError
from .suggest import did_you_mean

if TYPE_CHECKING:
    from .module import Module, Parameter


def fits(name: str, pattern: str) -> bool:
    """Whether a glob means a dotted name, or a module that the name lies below: ``"head"`` is ``"head.*"`` too."""
    return fnmatch.fnmatchcase(name, pattern) or fnmatch.fnmatchcase(name, f"{pattern}.*")


def plain_class(module: Module) -> type:
    """The class of a module; of one with a parametrized parameter, the class that it had before."""
    return getattr(type(module), "__lunar_plain__", type(module))


def registry_names(module: Module) -> tuple[str, ...]:
    """The names by which the registry knows a module's class: bare and with its distribution."""
    from .plugins import registry

    record = registry.component_of(plain_class(module))
    return () if record is None else tuple(dict.fromkeys((record.name, record.address, record.qualified)))


def chosen_modules(named: Iterable[tuple[str, Module]], what: Any, action: str) -> dict[str, Module]:
    """Those of ``named`` (path, module) that ``what`` means, by path; StateError where it means none.

    ``what`` is a registry name, a glob over paths, a class (its subclasses too), a function of (path, module), or a
    tuple or list of such. A string that is a registry name of one part and the path of another, or the name of two
    components of different kinds, is refused.
    """
    named = list(named)
    if isinstance(what, (tuple, list)):
        found: dict[str, Module] = {}
        for one in what:
            found.update(chosen_modules(named, one, action))
        return {path: module for path, module in named if path in found}
    if isinstance(what, str):
        return _by_string(named, what, action)
    if isinstance(what, type):
        hits = {path: module for path, module in named if isinstance(module, what)}
        said = what.__name__
    elif callable(what):
        hits = {path: module for path, module in named if what(path, module)}
        said = getattr(what, "__name__", repr(what))
    else:
        raise HyperparameterError(
            f"{action}: what is meant is said by a name, a path, a class or a function, got {what!r}",
            hint='"relu", "encoder.*.norm", lc.layers.Dense, or lambda path, module: ...',
        )
    if not hits:
        raise StateError(f"{action}: no part of the model is chosen by {said}", hint=_there(named))
    return hits


def _by_string(named: list[tuple[str, Module]], text: str, action: str) -> dict[str, Module]:
    by_path = {path: module for path, module in named if path and fnmatch.fnmatchcase(path, text)}
    by_name = {path: module for path, module in named if text in registry_names(module)}
    if by_path and by_name.keys() - by_path.keys():
        raise StateError(
            f"{action}: {text!r} is the path of a part and the registry name of {len(by_name)}",
            hint="give a class, such as lc.layers.Dense, or a function: lambda path, module: ...",
        )
    kinds = {getattr(module, "kind", "") for module in by_name.values()}
    if not by_path and len(kinds) > 1:
        raise StateError(
            f"{action}: {text!r} is the name of components of the kinds {' and '.join(sorted(kinds))} in this model",
            hint=f"give the class, such as lc.{sorted(kinds)[0]}s[{text!r}]",
        )
    if not (by_path or by_name):
        known = [path for path, _ in named if path]
        known += [name for name in dict.fromkeys(n for _, m in named for n in registry_names(m)[:1]) if name]
        guess = did_you_mean(text, known)
        raise StateError(
            f"{action}: {text!r} is no path and no registry name of any part of the model"
            + (f"; {guess}" if guess else ""),
            hint=_there(named),
        )
    return by_path or by_name


def chosen_parameters(model: Module, what: Any, action: str) -> dict[str, Parameter]:
    """Parameters by name: those that a glob names or that lie below what it names, of the modules that
    :func:`chosen_modules` chooses by registry name or class, or that a function of (name, parameter) says."""
    named = dict(model.named_parameters())
    if isinstance(what, str):
        hits = {name: p for name, p in named.items() if fits(name, what)}
        if hits:
            return hits
        of_name = {path: m for path, m in model.named_modules() if what in registry_names(m)}
        if not of_name:
            guess = did_you_mean(what, [*named, *(path for path, _ in model.named_modules() if path)])
            some = ", ".join(list(named)[:4])
            raise StateError(
                f"{action}: no parameter matches {what!r}" + (f"; {guess}" if guess else ""),
                hint=f"names are like {some}",
            )
        modules: Mapping[str, Module] = chosen_modules(of_name.items(), what, action)
    elif callable(what) and not isinstance(what, type):
        hits = {name: p for name, p in named.items() if what(name, p)}
        if not hits:
            raise StateError(
                f"{action}: no parameter is chosen by {getattr(what, '__name__', repr(what))}",
                hint="the function is called with the name of a parameter and the parameter",
            )
        return hits
    else:
        modules = chosen_modules(model.named_modules(), what, action)
    below = {id(p) for module in modules.values() for p in module.parameters()}
    hits = {name: p for name, p in named.items() if id(p) in below}
    if not hits:
        raise StateError(f"{action}: {', '.join(map(repr, modules))} has no parameters")
    return hits


def _there(named: list[tuple[str, Module]]) -> str:
    shown = [f"{path} ({plain_class(module).__name__})" for path, module in named if path]
    return (
        f"the model has {', '.join(shown[:6])}{', ...' if len(shown) > 6 else ''}"
        if shown
        else "the model has no parts"
    )


Selector = str | type | Callable[[str, Any], bool] | tuple[Any, ...] | list[Any]
