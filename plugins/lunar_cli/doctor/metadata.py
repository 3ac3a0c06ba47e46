"""What the metadata of the installed plugin distributions tells: nothing is imported here."""

from __future__ import annotations

import json
import sys
import tomllib
import urllib.parse
import urllib.request
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from lunar_core.plugins.discovery import ComponentPlugin, entry_points, normalize
from lunar_core.plugins.groups import KINDS, prefix

from .problem import ERROR, WARNING, Problem


@dataclass(slots=True)
class Distribution:
    """An installed distribution that announces components."""

    name: str
    version: str
    location: str
    editable: str = ""  # the folder that an editable install points at
    lines: list[tuple[str, str, str]] = field(default_factory=list)  # group, name, target
    source: Any = None

    def as_dict(self) -> dict[str, Any]:
        return {"dist": self.name, "version": self.version, "location": self.location, "editable": self.editable}


def distributions() -> tuple[list[Distribution], list[Problem]]:
    """Those with entry points in a ``lunar.`` group, and what is wrong with the metadata of any."""
    found: dict[str, Distribution] = {}
    problems: list[Problem] = []
    for source in metadata.distributions():
        location = _location(source)
        try:
            text = source.read_text("entry_points.txt") or ""
        except Exception as error:
            problems.append(
                _corrupt(source, location, f"entry_points.txt cannot be read: {type(error).__name__}: {error}")
            )
            continue
        if "lunar." not in text:
            continue
        try:
            name, version = normalize(source.metadata["Name"]), str(source.metadata["Version"] or "")
        except Exception as error:
            problems.append(_corrupt(source, location, f"its METADATA cannot be read: {type(error).__name__}: {error}"))
            continue
        lines = [line for line in entry_points(text.splitlines()) if line[0].startswith("lunar.")]
        this = Distribution(name, version, location, _editable(source), lines, source)
        first = found.setdefault(name, this)
        if first is not this:
            problems.append(
                Problem(
                    WARNING, "shadowed", name, "",
                    f"{name} {version} in {location} is shadowed by {name} {first.version} in {first.location}",
                    f"remove one of them: pip uninstall {name}",
                )
            )  # fmt: skip
        elif not version:
            problems.append(_corrupt(source, location, "its METADATA has no version"))
    return sorted(found.values(), key=lambda d: d.name), problems


def check(distribution: Distribution) -> Iterator[Problem]:
    """What is wrong with one distribution: its entry points, its requirements, an editable install that is stale."""
    yield from _entry_points(distribution)
    yield from _requirements(distribution)
    yield from _staleness(distribution)


def conflicts(components: list[ComponentPlugin]) -> Iterator[Problem]:
    """Names that several distributions claim, once for each claimant that does not have it."""
    by_name: dict[tuple[str, str], list[ComponentPlugin]] = {}
    for component in components:
        if component.status != "blocked":
            by_name.setdefault((component.kind, component.name), []).append(component)
    for (kind, name), namesakes in by_name.items():
        owner = next((c for c in namesakes if c.address == c.name), None)
        for component in namesakes:
            if component is owner or len(namesakes) < 2:
                continue
            if owner is not None:
                cause = f"the bare name {name!r} means the {kind} of {owner.dist}"
            else:
                others = " and ".join(c.dist for c in namesakes if c is not component)
                cause = f"{others} has {_article(kind)} of the same name, so the bare name {name!r} means neither"
            yield Problem(
                WARNING, "conflict", component.dist, f"{prefix(kind)}.{name}", cause,
                f'write {component.qualified!r}, or choose: [tool.lunar.override] "{prefix(kind)}.{name}" = '
                f'"{component.dist}"',
            )  # fmt: skip


def _entry_points(distribution: Distribution) -> Iterator[Problem]:
    from lunar_core.plugins.discovery import well_formed
    from lunar_core.plugins.groups import GROUPS
    from lunar_core.suggest import did_you_mean

    counts = Counter((group, name) for group, name, _ in distribution.lines)
    for (group, name), count in counts.items():
        where = f"{group.removeprefix('lunar.')}.{name}"
        if count > 1:
            targets = " and ".join(t for g, n, t in distribution.lines if (g, n) == (group, name))
            yield Problem(
                ERROR, "duplicate", distribution.name, where,
                f"it announces the name {name!r} {count} times, for {targets}; all but the first are lost",
                "give each component a name of its own",
            )  # fmt: skip
    for group, name, target in distribution.lines:
        where = f"{group.removeprefix('lunar.')}.{name}"
        if group not in KINDS:
            guess = did_you_mean(group, GROUPS.values(), limit=1)
            cause = f"the group {group!r} does not exist" + (f"; {guess}" if guess else "")
            yield Problem(WARNING, "group", distribution.name, where, cause, "its entry point is ignored")
            continue
        if not well_formed(target):
            yield Problem(
                ERROR, "target", distribution.name, where, f"the target {target!r} does not read module:Class"
            )
        fault = _name_fault(name)
        if fault:
            yield Problem(
                WARNING, "name", distribution.name, where, fault, "registry names are snake_case: letters, digits and _"
            )


def _name_fault(name: str) -> str:
    if not name or "/" in name or name.startswith("@") or any(c.isspace() for c in name):
        return f"the name {name!r} cannot be written in a configuration"
    if name.lower() in ("none", "true", "false", "inf", "nan"):
        return f"the name {name!r} is a reserved word, which a command line or a configuration reads as something else"
    if not name.isascii():
        odd = ", ".join(f"{c!r} (U+{ord(c):04X})" for c in dict.fromkeys(name) if not c.isascii())
        return f"the name {name!r} has characters that few can type and that may look like others: {odd}"
    return ""


def _requirements(distribution: Distribution) -> Iterator[Problem]:
    """Requirements that are missing or of another version."""
    from packaging.requirements import InvalidRequirement, Requirement
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    def problem(cause: str, hint: str = "") -> Problem:
        return Problem(ERROR, "requirement", distribution.name, "", cause, hint)

    python = distribution.source.metadata.get("Requires-Python")
    running = ".".join(map(str, sys.version_info[:3]))
    try:
        if python and not SpecifierSet(python).contains(running, prereleases=True):
            yield problem(f"it needs Python {python}, this is {running}")
    except InvalidSpecifier:
        yield problem(f"its Requires-Python {python!r} cannot be understood")
    for text in distribution.source.requires or ():
        try:
            requirement = Requirement(text)
        except InvalidRequirement:
            yield problem(f"its requirement {text!r} cannot be understood")
            continue
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        wanted = text.partition(";")[0].strip()
        try:
            version = metadata.version(requirement.name)
        except metadata.PackageNotFoundError:
            yield problem(f"it needs {wanted}, which is not installed", f'pip install "{wanted}"')
            continue
        if not requirement.specifier.contains(version, prereleases=True):
            yield problem(f"it needs {wanted}, installed is {requirement.name} {version}", f'pip install "{wanted}"')


def _staleness(distribution: Distribution) -> Iterator[Problem]:
    """An editable install whose folder is gone, or whose entry points were changed after it was installed."""
    if not distribution.editable:
        return
    folder = Path(distribution.editable)
    again = f"pip install -e {folder}"
    if not folder.is_dir():
        cause = f"it is installed from the folder {folder}, which is gone"
        yield Problem(ERROR, "editable", distribution.name, "", cause, f"pip uninstall {distribution.name}")
        return
    try:
        project = tomllib.loads((folder / "pyproject.toml").read_text("utf-8")).get("project", {})
    except (OSError, ValueError):
        return
    if "entry-points" in project.get("dynamic", ()):
        return
    written = {
        (group, name, target.partition("[")[0].strip())
        for group, table in project.get("entry-points", {}).items()
        if group.startswith("lunar.")
        for name, target in table.items()
    }
    installed = set(distribution.lines)
    changes = [f"{sign} {g.removeprefix('lunar.')}.{n}" for sign, g, n in _changes(written, installed)]
    if changes:
        cause = f"its pyproject.toml has changed since it was installed: {', '.join(changes[:5])}" + (
            f" and {len(changes) - 5} more" if len(changes) > 5 else ""
        )
        yield Problem(WARNING, "editable", distribution.name, "", cause, again)
    elif "version" in project and str(project["version"]) != distribution.version:
        cause = f"its pyproject.toml says version {project['version']}, it was installed as {distribution.version}"
        yield Problem(WARNING, "editable", distribution.name, "", cause, again)


def _changes(written: set[tuple[str, str, str]], installed: set[tuple[str, str, str]]) -> list[tuple[str, str, str]]:
    new = {(g, n) for g, n, _ in written - installed}
    old = {(g, n) for g, n, _ in installed - written}
    rows = [("changed", *key) for key in new & old] + [("new", *key) for key in new - old]
    return sorted(rows + [("gone", *key) for key in old - new])


def _editable(source: Any) -> str:
    try:
        record = json.loads(source.read_text("direct_url.json") or "{}")
        if not record.get("dir_info", {}).get("editable"):
            return ""
        return urllib.request.url2pathname(urllib.parse.urlparse(record["url"]).path)
    except (ValueError, KeyError, AttributeError, OSError):
        return ""


def _location(source: Any) -> str:
    path = getattr(source, "_path", None)
    return str(path.parent) if path is not None else "?"


def _corrupt(source: Any, location: str, cause: str) -> Problem:
    path = getattr(source, "_path", None)
    name = path.name.partition("-")[0] if path is not None else "?"
    return Problem(ERROR, "metadata", normalize(name) or "?", "", f"{cause} (in {location})", "install it again")


def _article(kind: str) -> str:
    return f"{'an' if kind[0] in 'aeiou' else 'a'} {kind}"
