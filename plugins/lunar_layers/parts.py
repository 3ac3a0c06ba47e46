"""Parts of a layer that a user may swap: by registry name, by an instance, or by a configuration."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from lunar_core.component import Component
from lunar_core.contracts.model import Template
from lunar_core.errors import HyperparameterError
from lunar_core.module import Module


def part(kind: str) -> Callable[[Any], Any]:
    """The converter of a field that holds a swappable part of ``kind``.

    A registry name stays a name, so that :func:`make_part` can give the new part the options of the layer around it; a
    module becomes a :class:`Template`, of which copies are used; a configuration ``{"@layer": name, ...}`` is built
    first; ``None`` stays ``None``.
    """

    def convert(value: Any) -> Any:
        if isinstance(value, Mapping):
            from lunar_core.config import from_config

            value = from_config(value)
        if value is None or isinstance(value, (str, Template)):
            return value
        if not isinstance(value, Module):
            raise HyperparameterError(
                f"expected a {kind}, its registry name or its configuration, got {value!r}",
                hint="make an instance of the class first" if isinstance(value, type) else None,
            )
        return Template(value)

    return convert


def make_part(kind: str, value: Any, **options: Any) -> Any:
    """A new part for what a field of :func:`part` holds: a copy of the template, or the component of that name.

    Of ``options`` the component gets those that it has fields for; a template keeps its own.
    """
    if isinstance(value, Template):
        return value()
    from lunar_core.plugins import registry

    cls = registry.get(kind, value)
    takes = cls.config_names() if isinstance(cls, type) and issubclass(cls, Component) else {}
    return cls(**{name: option for name, option in options.items() if name in takes})
