"""Which components are installed, read from the metadata of the installed distributions. Nothing is imported."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from .groups import GROUPS, KINDS, prefix

SESSION = "<session>"
"""Stands for the distribution of what ``registry.register`` added."""

_TARGET = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*(:[^\W\d]\w*(\.[^\W\d]\w*)*)?")


class PluginWarning(UserWarning):
    """Something about an installed plugin that the user should know and the program can live with."""


class ComponentPlugin:
    """One component of the catalogue: a line of an entry-point table, and what became of it.

    ``status`` is ``"available"`` (not imported yet), ``"loaded"``, ``"broken"`` (``error`` says why), ``"blocked"``
    (``reason`` says by whom) or ``"conflict"``: others claim the name, so it goes by ``address``, ``dist/name``, only.
    """

    __slots__ = (
        "__weakref__", "address", "dist", "error", "kind", "name", "object", "reason", "status", "value", "version",
    )  # fmt: skip

    def __init__(self, kind: str, name: str, value: str, dist: str, version: str) -> None:
        self.kind = kind
        self.name = name
        self.value = value
        self.dist = dist
        self.version = version
        self.status = "available"
        self.error: Exception | None = None
        self.reason = ""
        self.address = name
        self.object: Any = None

    @property
    def target(self) -> str:
        """``module:Class``, as in the entry point."""
        return self.value

    @property
    def module(self) -> str:
        return self.value.partition(":")[0]

    @property
    def class_name(self) -> str:
        """The last part of the target: the attribute under which a namespace offers the component."""
        return self.value.rpartition(":")[2].rpartition(".")[2]

    @property
    def plugin_name(self) -> str:
        """The name on the plugin manager: ``optimizers.adam``, or ``optimizers.dist/adam`` where that is contested."""
        return f"{prefix(self.kind)}.{self.address}"

    @property
    def qualified(self) -> str:
        """``dist/name``, which means this component whatever else is installed."""
        return self.name if self.dist == SESSION else f"{self.dist}/{self.name}"

    @property
    def origin(self) -> str:
        """``lunar-lion 0.1.0 (lunar_lion:Lion)``, for messages."""
        return f"{self.dist} {self.version} ({self.value})".replace("  ", " ")

    @property
    def traceback(self) -> str:
        """The traceback of what broke the component; empty if nothing did."""
        import traceback

        cause = getattr(self.error, "__cause__", None) or self.error
        return "".join(traceback.format_exception(cause)) if cause is not None else ""

    def as_dict(self) -> dict[str, str]:
        """Plain data: kind, name, target, dist, version, status."""
        return {k: getattr(self, k) for k in ("kind", "name", "target", "dist", "version", "status")}

    def __repr__(self) -> str:
        return f"<{self.kind} {self.address!r} of {self.origin}: {self.status}>"


def normalize(dist: str) -> str:
    """The canonical form of a distribution's name (PEP 503)."""
    return re.sub(r"[-_.]+", "-", dist).lower()


def discover(path: list[str] | None = None) -> tuple[list[ComponentPlugin], list[str]]:
    """Every component on ``path`` (``sys.path`` by default), sorted by distribution and name, and what was wrong.

    A distribution that an earlier path entry shadows contributes nothing. One whose metadata cannot be read is left
    out with a line about it.
    """
    # Imported here: it costs more than the rest of this package, and `import lunar_core` does not need it.
    from importlib import metadata

    found: dict[tuple[str, str, str], ComponentPlugin] = {}
    problems: list[str] = []
    seen: set[str] = set()
    distributions = metadata.distributions() if path is None else metadata.distributions(path=path)
    for distribution in distributions:
        try:
            name = _name(distribution)
            if name in seen:
                continue
            seen.add(name)
            text = distribution.read_text("entry_points.txt") or ""
            if "lunar." not in text:
                continue
            version = str(distribution.metadata["Version"] or "")
            lines = list(entry_points(text.splitlines()))
        except Exception as error:  # any file of any installed package: unreadable, truncated, of wrong encoding
            problems.append(f"the metadata of {distribution} cannot be read: {type(error).__name__}: {error}")
            continue
        ours = any(group in KINDS for group, _, _ in lines)
        for group, entry, value in lines:
            kind = KINDS.get(group)
            if kind is not None:
                found.setdefault((name, kind, entry), ComponentPlugin(kind, entry, value, name, version))
            elif group.startswith("lunar."):
                problems += _unknown_group(name, version, group, entry, ours)
    return sorted(found.values(), key=lambda c: (c.dist, c.name, c.kind)), problems


def entry_points(lines: Iterable[str]) -> Iterator[tuple[str, str, str]]:
    """``(group, name, target)`` of each line of an ``entry_points.txt``; the extras of a target are dropped."""
    group = ""
    for line in lines:
        line = line.strip()
        if not line or line[0] in "#;":
            continue
        if line[0] == "[" and line[-1] == "]":
            group = line[1:-1].strip()
        else:
            name, _, value = line.partition("=")
            yield group, name.strip(), value.partition("[")[0].strip()


def well_formed(target: str) -> bool:
    """Whether ``target`` reads ``module`` or ``module:attribute``."""
    return _TARGET.fullmatch(target) is not None


def _name(distribution: Any) -> str:
    # importlib.metadata's own way to the name without parsing METADATA, which for 400 distributions would be most of
    # the time that discovery takes.
    name = getattr(distribution, "_normalized_name", None) or distribution.metadata["Name"]
    if not name:
        raise ValueError("it has no name")
    return normalize(name)


def _unknown_group(dist: str, version: str, group: str, entry: str, ours: bool) -> list[str]:
    """What to say of a group that does not exist: nothing where the package means another program's ``lunar``."""
    from ..suggest import did_you_mean

    guess = did_you_mean(group, GROUPS.values(), limit=1)
    problem = f"{dist} {version} puts {entry!r} into the group {group!r}, which does not exist"
    return [f"{problem}; {guess}" if guess else problem] if guess or ours else []
