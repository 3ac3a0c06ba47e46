"""The whole examination: metadata, conflicts, loading, rehearsal, machine."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from lunar_core.plugins import PLUGIN_API, registry
from lunar_core.plugins.discovery import ComponentPlugin, normalize
from lunar_core.plugins.groups import FIRST_PARTY

from . import loading, metadata
from .problem import ERROR, WARNING, Problem


@dataclass(slots=True)
class Report:
    """What was found. ``sound`` is whether nothing is in error."""

    distributions: list[dict[str, Any]] = field(default_factory=list)
    components: list[dict[str, Any]] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    kernels: list[dict[str, Any]] = field(default_factory=list)
    devices: list[dict[str, Any]] = field(default_factory=list)

    @property
    def sound(self) -> bool:
        return not any(problem.level == ERROR for problem in self.problems)

    def as_dict(self) -> dict[str, Any]:
        return {
            "ok": self.sound,
            "python": platform.python_version(),
            "executable": sys.executable,
            "platform": platform.platform(),
            "plugin_api": ".".join(map(str, PLUGIN_API)),
            "distributions": self.distributions,
            "components": self.components,
            "problems": [problem.as_dict() for problem in self.problems],
            "kernels": self.kernels,
            "devices": self.devices,
        }


def examine(dists: Sequence[str] = (), *, seconds: float = 30.0, rehearse: bool = True) -> Report:
    """Examine every plugin that is installed and not switched off, or those of the distributions ``dists``.

    Each distribution's components are imported in a process of its own, in which each may take ``seconds``. With
    ``rehearse``, strangers' hook plugins go through a small training run there. Raises UnknownNameError for a
    distribution that has no component.
    """
    report = Report()
    installed, problems = metadata.distributions()
    wanted = {normalize(dist) for dist in dists}
    _check_names(wanted, {d.name for d in installed} | {p.dist for p in problems})
    chosen = [d for d in installed if not wanted or d.name in wanted]
    report.distributions = [d.as_dict() for d in chosen]
    report.problems += [p for p in problems if not wanted or p.dist in wanted]
    for distribution in chosen:
        report.problems += metadata.check(distribution)
    report.problems += _settings_problems()

    components = [c for c in registry.components() if not wanted or c.dist in wanted]
    names = {c.name for c in components}
    report.problems += [
        p
        for p in metadata.conflicts([c for c in registry.components() if c.name in names])
        if not wanted or p.dist in wanted
    ]
    usable = [c for c in components if c.status != "blocked"]
    workers = max(2, min(8, os.cpu_count() or 1))
    loaded = loading.load_all(usable, seconds, workers)
    for component in usable:
        report.problems += loading.loading_problems(component, loaded[component])
    hooked = [c for c in usable if rehearse and _is_rehearsed(c, loaded[c])]
    for component, row in loading.rehearse_all(hooked, seconds, workers).items():
        report.problems += loading.rehearsal_problems(component, row)
    report.components = [_row(c, loaded.get(c, {})) for c in components]
    machine = loading.machine(seconds)
    report.kernels, report.devices = machine.get("kernels", []), machine.get("devices", [])
    if machine["error"]:
        report.problems.append(Problem(ERROR, "machine", "", "kernels", machine["error"]))
    report.problems.sort(key=lambda p: (p.level != ERROR, p.dist, p.component))
    return report


def _is_rehearsed(component: ComponentPlugin, row: dict[str, Any]) -> bool:
    return component.kind == "plugin" and component.dist != FIRST_PARTY and not row["error"] and bool(row["hooks"])


def _row(component: ComponentPlugin, row: dict[str, Any]) -> dict[str, Any]:
    status = component.status
    if status != "blocked":
        status = "broken" if row.get("error") else "conflict" if component.address != component.name else "sound"
    return component.as_dict() | {
        "status": status,
        "seconds": round(row.get("seconds", 0.0), 4),
        "hooks": [hook for hook, _ in row.get("hooks", ())],
        "traceback": row.get("traceback", ""),
    }


def _check_names(wanted: set[str], known: set[str]) -> None:
    from lunar_core.errors import UnknownNameError
    from lunar_core.suggest import did_you_mean

    for name in sorted(wanted - known):
        guess = did_you_mean(name, known)
        raise UnknownNameError(
            f"no distribution {name!r} with plugins is installed" + (f"; {guess}" if guess else ""),
            hint=f"there are {', '.join(sorted(known))}",
        )


def _settings_problems() -> list[Problem]:
    """Rules and overrides of the user that mean nothing."""
    import warnings

    from lunar_core.errors import LunarError
    from lunar_core.plugins import Registry

    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        try:
            Registry().components()
        except LunarError as error:
            return [Problem(ERROR, "settings", "", "", str(error).replace("\n", "; "))]
    told = [str(w.message) for w in seen]
    return [
        Problem(WARNING, "settings", "", "", text) for text in told if "is not installed" in text or "entry" in text
    ]
