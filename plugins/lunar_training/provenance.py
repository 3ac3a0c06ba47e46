"""Which components took part in a state, so that whoever loads it is told which package is missing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lunar_core.errors import LunarError, StateError
from lunar_core.module import Module


def provenance(parts: Mapping[str, Any]) -> list[dict[str, str]]:
    """Kind, name, distribution and version of each component among ``parts`` and in them, with the part's dotted name.

    What comes from no installed package (a class of a script, one registered by hand) is left out.
    """
    from lunar_core.plugins import registry
    from lunar_core.plugins.discovery import SESSION

    found: list[dict[str, str]] = []
    seen: set[tuple[str, ...]] = set()
    records: dict[type, Any] = {}
    for part, value in parts.items():
        for name, cls in dict.fromkeys(_classes(part, value)):
            if cls not in records:
                records[cls] = registry.component_of(cls)
            record = records[cls]
            if record is None or record.dist == SESSION:
                continue
            key = (name, record.kind, record.name, record.dist)
            if key not in seen:
                seen.add(key)
                found.append(
                    {
                        "part": name,
                        "kind": record.kind,
                        "name": record.name,
                        "dist": record.dist,
                        "version": record.version,
                    }
                )
    return found


def check(saved: Sequence[Any], parts: Mapping[str, Any], what: str) -> None:
    """Compare the components of a state with those that it is to be loaded into.

    Raises StateError where a package is missing, naming it, and where another component stands in a part's place.
    """
    from lunar_core.plugins import registry

    present = provenance(parts)
    here = {(c["kind"], c["name"], c["dist"]) for c in present}
    for entry in saved:
        if not isinstance(entry, Mapping) or not all(isinstance(entry.get(k), str) for k in _KEYS):
            raise StateError(f"{what}: the list of components is malformed")
        part, kind, name, dist, version = (entry[k] for k in _KEYS)
        if part.partition(".")[0] not in parts or (kind, name, dist) in here:
            continue
        try:
            registry.info(kind, f"{dist}/{name}")
        except LunarError:
            raise StateError(
                f"{what} was written with the {kind} {name!r} of {dist} {version}, which is not installed",
                hint=f"pip install {dist}=={version}",
            ) from None
        others = [c for c in present if c["part"] == part and c["kind"] == kind]
        if others and kind in ("optimizer", "scheduler", "loss", "metric"):
            raise StateError(
                f"{what} was written with the {kind} {name!r} of {dist}, but {part} is {others[0]['name']!r} of "
                f"{others[0]['dist']} here",
                hint="load it into the same kind of object, or begin anew",
            )


_KEYS = ("part", "kind", "name", "dist", "version")


def _classes(part: str, value: Any) -> Iterator[tuple[str, type]]:
    """The classes of what a part consists of, with the part's name."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _classes(f"{part}.{key}", item)
    elif isinstance(value, (list, tuple)):
        for i, item in enumerate(value):
            yield from _classes(f"{part}.{i}", item)
    elif isinstance(value, Module):
        for module in value.modules():
            yield part, type(module)
    elif value is not None and not isinstance(value, (bool, int, float, str, bytes)):
        yield part, type(value)
        held = vars(value) if hasattr(value, "__dict__") else {}
        # A wrapper's optimizer, a binding's scheduler, the parts of a hybrid.
        for name in ("optimizer", "scheduler"):
            if held.get(name) is not None:
                yield from _classes(part, held[name])
        if isinstance(held.get("_made"), Mapping):
            yield from _classes(part, held["_made"])
