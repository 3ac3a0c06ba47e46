"""Importing one component and checking that it is what its kind asks for. What goes wrong stays with the component."""

from __future__ import annotations

import importlib
import sys
from typing import Any

from ..component import PLUGIN_API, Component
from ..errors import PluginLoadError
from .discovery import ComponentPlugin, well_formed
from .groups import CONTRACTS

_contracts: dict[str, type] = {}


def load(component: ComponentPlugin) -> Any:
    """Import the component's target and check it.

    Raises PluginLoadError for whatever a plugin can do wrong, an exit of the interpreter included; only the user's own
    interrupt passes.
    """
    try:
        target = resolve(component)
        problem = fault(component.kind, target, component.module)
    except KeyboardInterrupt:
        raise
    except BaseException as cause:
        raise load_error(component, describe(cause)) from cause
    if problem:
        raise load_error(component, problem)
    return target


def resolve(component: ComponentPlugin) -> Any:
    """The object that the target names."""
    if not well_formed(component.value):
        raise ValueError(f"the entry point's target {component.value!r} does not read module:Class")
    module, _, attributes = component.value.partition(":")
    target: Any = importlib.import_module(module)
    for attribute in filter(None, attributes.split(".")):
        target = getattr(target, attribute)
    return target


def fault(kind: str, target: Any, module: str = "") -> str:
    """Why ``target`` cannot serve as a component of ``kind``; an empty string if it can."""
    if kind in ("model", "dataset"):
        if not callable(target):
            return f"a {kind} is a class or a function, this is {_article(type(target).__name__)}"
    elif kind in CONTRACTS:
        base = contract(kind)
        if not isinstance(target, type):
            return f"{kind} components are classes, this is {_article(type(target).__name__)}"
        if not issubclass(target, base):
            return f"{target.__qualname__} is not a subclass of {base.__module__}.{base.__qualname__}"
    return _api_fault(target, module)


def contract(kind: str) -> type:
    """The base class of a kind; ``Component`` for a kind that has no contract of its own."""
    base = _contracts.get(kind)
    if base is None:
        module, _, name = CONTRACTS[kind].partition(":")
        try:
            base = getattr(importlib.import_module(module), name)
        except ModuleNotFoundError as error:
            if error.name != module:
                raise
            base = Component
        _contracts[kind] = base
    return base


def load_error(component: ComponentPlugin, problem: str) -> PluginLoadError:
    """The error for using a component that cannot be used: which, of whom, why, and how to live without it."""
    error = PluginLoadError(
        f"{component.kind} {component.name!r} of {component.origin} cannot be used: {problem}",
        hint=f'switch it off with LUNAR_DISABLE_PLUGINS="{component.plugin_name}" or lunar --no-plugin '
        f"{component.plugin_name}, or ask its authors for a fix",
    )
    error.__dict__["plugin"] = component
    return error


def _api_fault(target: Any, module: str) -> str:
    """Why the version of the contracts that the plugin states does not fit; nothing stated counts as fitting."""
    stated = _stated_api(target, module)
    if stated is None:
        return ""
    if not (isinstance(stated, tuple) and len(stated) == 2 and all(type(part) is int for part in stated)):
        return f"its plugin API version must be a tuple (major, minor), got {stated!r}"
    if stated[0] == PLUGIN_API[0] and stated[1] <= PLUGIN_API[1]:
        return ""
    theirs, ours = (f"{major}.{minor}" for major, minor in (stated, PLUGIN_API))
    older = "an update of the plugin" if stated < PLUGIN_API else "a newer lunarlearn"
    return f"it is written for plugin API {theirs}, this is {ours}: it needs {older}"


def _stated_api(target: Any, module: str) -> Any:
    """``api`` on the class, where the plugin itself sets it, or ``PLUGIN_API`` on the object, its module or package."""
    for base in target.__mro__ if isinstance(target, type) else ():
        if "api" in vars(base) and issubclass(base, Component) and not base.__module__.startswith("lunar_core."):
            return vars(base)["api"]
    for holder in (target, sys.modules.get(module), sys.modules.get(module.partition(".")[0])):
        stated = getattr(holder, "PLUGIN_API", None)
        if stated is not None:
            return stated
    return None


def describe(cause: BaseException) -> str:
    """What went wrong, in a line."""
    if isinstance(cause, SystemExit):
        return f"its import tried to end the program (SystemExit: {cause.code})"
    if isinstance(cause, SyntaxError):
        return f"SyntaxError: {cause.msg} ({cause.filename}, line {cause.lineno})"
    return f"{type(cause).__name__}: {cause}"


def _article(noun: str) -> str:
    return f"{'an' if noun[:1].lower() in 'aeiou' else 'a'} {noun}"
