"""``lunar_core.layers`` and its siblings: the registry under the names that are pleasant to type."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..errors import PluginConflictError, UnknownNameError
from ..suggest import did_you_mean
from .groups import FIRST_PARTY, INCLUDES, NAMESPACES
from .registry import Registry, registry


class UnknownAttributeError(UnknownNameError, AttributeError):
    """A namespace has no component of that class name."""


class Namespace:
    """The components of a kind. Attribute = class name, ``layers.Conv2D``; item = registry name, ``layers["conv2d"]``.

    Listing and completion read the entry points' text; a component is imported when it is got.
    """

    __slots__ = ("_included", "_kind", "_registry")

    def __init__(self, kind: str, source: Registry = registry) -> None:
        self._kind = kind
        self._registry = source
        self._included = Namespace(INCLUDES[kind], source) if kind in INCLUDES else None

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # copy, pickle and notebooks probe for these; none of them is a component
            raise AttributeError(f"{self!r} has no attribute {name!r}")
        classes = self._registry.classes(self._kind)
        candidates = classes.get(name, [])
        if not candidates:
            if self._included is not None and name in dir(self._included):
                return getattr(self._included, name)
            guess = did_you_mean(name, classes)
            if not guess:
                by_item = {c.address: n for n, same in classes.items() for c in same}
                guess = f"did you mean {by_item[name]!r}?" if name in by_item else ""
            raise UnknownAttributeError(f"there is no {self._kind} class {name!r}" + (f"; {guess}" if guess else ""))
        # Aliases of one class share its target; else whoever has a bare name goes before who has not.
        first = [c for c in candidates if c.status != "conflict" and c.address == c.name] or candidates
        own = [c for c in first if c.dist == FIRST_PARTY] or first
        if len({c.value for c in own}) > 1:
            raise PluginConflictError(
                f"{self._kind} class {name!r} is provided by {' and by '.join(c.origin for c in own)}",
                hint="use one of " + ", ".join(f"[{c.address!r}]" for c in own),
            )
        return self._registry.get(self._kind, own[0].address)

    def __getitem__(self, name: str) -> Any:
        if self._included is not None and name not in self._registry.names(self._kind) and name in self._included:
            return self._included[name]
        return self._registry.get(self._kind, name)

    def __contains__(self, name: object) -> bool:
        return name in self._names()

    def __iter__(self) -> Iterator[str]:
        return iter(self._names())

    def __len__(self) -> int:
        return len(self._names())

    def __dir__(self) -> list[str]:
        return sorted(
            {*self._registry.classes(self._kind), *(dir(self._included) if self._included is not None else ())}
        )

    def _names(self) -> list[str]:
        own = self._registry.names(self._kind)
        return own if self._included is None else sorted({*own, *self._included})

    _ipython_key_completions_ = _names

    def __repr__(self) -> str:
        return f"<namespace of {self._kind} components>"


_made: dict[str, Namespace] = {}


def namespace(name: str) -> Namespace:
    """The namespace ``lunar_core.<name>``, also by its kind: ``"layers"`` or ``"layer"``. Raises UnknownNameError."""
    kind = NAMESPACES.get(name, name)
    if kind not in NAMESPACES.values():
        guess = did_you_mean(name, NAMESPACES)
        raise UnknownNameError(f"there is no namespace {name!r}" + (f"; {guess}" if guess else ""))
    return _made.setdefault(kind, Namespace(kind))
