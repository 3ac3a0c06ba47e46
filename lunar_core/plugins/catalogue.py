"""The catalogue: which components there are, who is switched off, and which name means which. Nothing is imported."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Any

from ..errors import ConfigError, PluginConflictError, PluginError, UnknownNameError, stack_level
from ..suggest import did_you_mean
from .discovery import SESSION, ComponentPlugin, PluginWarning, discover, normalize
from .groups import FIRST_PARTY, GROUPS, kind_of, prefix
from .settings import Choice, Rule, Settings, read_settings, strict


class Catalogue:
    """The records of all components. :class:`~lunar_core.plugins.registry.Registry` adds their use.

    Installed distributions and settings are read once, at the first question.
    """

    def __init__(self, path: list[str] | None = None, settings: Settings | None = None) -> None:
        self._path = path
        self._given_settings = settings
        self._lock = threading.RLock()  # guards what follows; never held while a plugin is imported or called
        self._ready = False
        self._settings = Settings()
        self._extra_rules: tuple[Rule, ...] = ()
        self._unchecked_rules: list[Rule] = []
        self._withdrawn: set[ComponentPlugin] = set()
        self._records: list[ComponentPlugin] = []
        self._table: dict[str, dict[str, list[ComponentPlugin]]] = {}
        self._bare: dict[tuple[str, str], ComponentPlugin] = {}
        self._wrong_choices: dict[tuple[str, str], Choice] = {}
        self._classes: dict[str, dict[str, list[ComponentPlugin]]] = {}

    # --- questions ----------------------------------------------------------------------------------------------

    def kinds(self) -> list[str]:
        """The kinds of component there are."""
        return list(GROUPS)

    def names(self, kind: str, pattern: str = "*") -> list[str]:
        """The names by which components of a kind can be used, sorted. Nothing is imported.

        ``pattern`` is one as for file names, ``"ada*"``. A component whose bare name belongs to another is listed as
        ``dist/name``. What is switched off is left out.
        """
        self._look(kind)
        found = {c.address: c.name for c in self._of(kind) if c.status != "blocked"}
        found.update({name: name for k, name in self._bare if k == kind})
        return sorted(a for a, name in found.items() if fnmatchcase(a, pattern) or fnmatchcase(name, pattern))

    def info(self, kind: str, name: str) -> ComponentPlugin:
        """What is known of a component (kind, name, target, dist, version, status). Nothing is imported.

        Raises UnknownNameError, and PluginConflictError for a bare name that two strangers share.
        """
        self._look(kind)
        if not isinstance(name, str):
            raise UnknownNameError(f"the name of a component is a string, got {name!r} ({type(name).__name__})")
        owner = self._bare.get((kind, name))
        if owner is not None:
            return owner
        dist, slash, rest = name.rpartition("/")
        namesakes = self._table.get(kind, {}).get(rest, [])
        if slash:
            namesakes = [c for c in namesakes if c.dist == normalize(dist)]
            if namesakes:
                return namesakes[0]
            raise self._unknown(kind, name)
        wrong = self._wrong_choices.get((kind, name))
        if wrong is not None:
            raise _wrong_choice(kind, name, wrong, namesakes)
        usable = [c for c in namesakes if c.status != "blocked"]
        if usable:
            raise conflict_error(kind, name, usable)
        if namesakes:
            return namesakes[0]
        raise self._unknown(kind, name)

    def components(self, kind: str | None = None) -> list[ComponentPlugin]:
        """Every record, those that are blocked or broken included, sorted by kind, name and distribution."""
        self._look(kind)
        order = {k: i for i, k in enumerate(GROUPS)}
        return sorted(
            (c for c in self._records if kind in (None, c.kind)), key=lambda c: (order[c.kind], c.name, c.dist)
        )

    def classes(self, kind: str) -> dict[str, list[ComponentPlugin]]:
        """The usable components of a kind by the class name in their targets."""
        self._look(kind)
        found = self._classes.get(kind)
        if found is None:
            found = {}
            for component in sorted(self._of(kind), key=lambda c: (c.name, c.dist)):
                if component.status != "blocked":
                    found.setdefault(component.class_name, []).append(component)
            self._classes[kind] = found
        return found

    # --- changes ------------------------------------------------------------------------------------------------

    def disable(self, *tokens: str, source: str = "registry.disable") -> None:
        """Switch components off: ``"optimizers.adam"``, ``"layers.*"``, ``"dist:foo"``. Raises ConfigError.

        Called before the first use it has its effect before anything is imported.
        """
        rules = Settings().with_rules(tokens, source).rules
        with self._lock:
            self._extra_rules += rules
            self._unchecked_rules += rules
            if self._ready:
                self._settings = self._settings._replace(rules=self._settings.rules + rules)
                self._arrange()
        self._check_rules()

    def refresh(self) -> None:
        """Look at the installed distributions and the settings again.

        What is loaded or registered by hand stays; what was broken may be tried again.
        """
        settings = self._given_settings if self._given_settings is not None else read_settings()
        found, problems = discover(self._path)
        with self._lock:
            sound = {_identity(c): c for c in self._records if c.error is None}
            session = [c for c in self._records if c.dist == SESSION]
            self._records = [sound.get(_identity(c), c) for c in found] + session
            self._settings = settings._replace(rules=settings.rules + self._extra_rules)
            self._unchecked_rules += settings.rules
            self._arrange()
            self._ready = True
        for problem in problems:
            self._complain(problem)
        self._check_rules()

    # --- inside -------------------------------------------------------------------------------------------------

    def _look(self, kind: str | None) -> None:
        """Read what is installed, if that has not been done, and check that there is such a kind."""
        if not self._ready:
            with self._lock:
                if not self._ready:
                    self.refresh()
        if kind is not None and kind not in GROUPS:
            meant = kind_of(kind) if isinstance(kind, str) else None
            guess = f"did you mean {meant!r}?" if meant else did_you_mean(str(kind), GROUPS)
            raise UnknownNameError(
                f"there is no kind of component {kind!r}" + (f"; {guess}" if guess else ""),
                hint=f"kinds: {', '.join(GROUPS)}",
            )

    def _of(self, kind: str) -> list[ComponentPlugin]:
        return [c for same in self._table.get(kind, {}).values() for c in same]

    def _arrange(self) -> None:
        """Work out from records and settings who is blocked, who has which bare name and who is in conflict."""
        table: dict[str, dict[str, list[ComponentPlugin]]] = {}
        reasons: dict[ComponentPlugin, str] = {}
        for component in self._records:
            table.setdefault(component.kind, {}).setdefault(component.name, []).append(component)
            if component in self._withdrawn:
                reasons[component] = "lunar_core.plugins.unregister or set_blocked"
            elif component.dist != SESSION:
                reasons[component] = self._settings.reason_to_block(component)
        bare: dict[tuple[str, str], ComponentPlugin] = {}
        wrong: dict[tuple[str, str], Choice] = {}
        for kind, names in table.items():
            for name, namesakes in names.items():
                owner = _owner([c for c in namesakes if not reasons.get(c)])
                if owner is not None:
                    bare[kind, name] = owner
        for (kind, name), choice in self._settings.choices.items():
            namesakes = table.get(kind, {}).get(choice.name, [])
            chosen = [c for c in namesakes if c.dist == choice.dist and not reasons.get(c)]
            if chosen:
                bare[kind, name] = chosen[0]
            else:
                bare.pop((kind, name), None)
                wrong[kind, name] = choice
        for component in self._records:
            owns = bare.get((component.kind, component.name)) is component
            component.address = component.name if owns else component.qualified
            component.reason = reasons.get(component, "")
            component.status = _status(component, owns)
        self._table, self._bare, self._wrong_choices, self._classes = table, bare, wrong, {}

    def _check_rules(self) -> None:
        """Say which rules switch nothing off: a typing mistake there would otherwise go unnoticed."""
        if not self._ready:
            return
        rules, self._unchecked_rules = self._unchecked_rules, []
        for rule in dict.fromkeys(rules):
            if not any(rule.hits(c) for c in self._records):
                known = sorted({f"dist:{c.dist}" for c in self._records} | {c.plugin_name for c in self._records})
                guess = did_you_mean(rule.text, known)
                self._complain(f"{rule.source}: {rule.text!r} is not installed" + (f"; {guess}" if guess else ""))

    def _complain(self, message: str, error: Exception | None = None) -> None:
        if strict():
            raise error if error is not None else PluginError(message, hint="LUNAR_PLUGIN_STRICT=1 makes this an error")
        warnings.warn(message, PluginWarning, stacklevel=stack_level())

    def _unknown(self, kind: str, name: str) -> UnknownNameError:
        dist, slash, rest = name.rpartition("/")
        if slash and not any(c.dist == normalize(dist) for c in self._records):
            return UnknownNameError(
                f"{kind} {name!r} belongs to the distribution {dist!r}, which is not installed",
                hint=f"pip install {dist}",
            )
        known, classes = self.names(kind), self.classes(kind)
        guess = f"did you mean {classes[name][0].address!r}?" if name in classes else did_you_mean(name, known)
        elsewhere = [k for k in GROUPS if k != kind and rest in self._table.get(k, {})]
        if elsewhere:
            article = "an" if elsewhere[0][0] in "aeiou" else "a"
            guess = f"there is {article} {elsewhere[0]} of that name" + (f"; {guess}" if guess else "")
        if not guess and not known:
            guess = f"no {kind} is installed"
        hint = f"there are {', '.join(known[:20])}{', ...' if len(known) > 20 else ''}" if known else None
        return UnknownNameError(f"there is no {kind} {name!r}" + (f"; {guess}" if guess else ""), hint=hint)


def conflict_error(kind: str, name: str, candidates: Iterable[ComponentPlugin]) -> PluginConflictError:
    """The error for a bare name that several distributions claim."""
    candidates = list(candidates)
    return PluginConflictError(
        f"{kind} {name!r} is provided by {' and by '.join(c.origin for c in candidates)}",
        hint=f"use {' or '.join(repr(c.qualified) for c in candidates)}, or choose for good in pyproject.toml: "
        f'[tool.lunar.override] "{prefix(kind)}.{name}" = "{candidates[0].dist}"',
    )


def _wrong_choice(kind: str, name: str, choice: Choice, namesakes: list[ComponentPlugin]) -> ConfigError:
    offers = ", ".join(c.qualified for c in namesakes if c.status != "blocked") or "nothing of that name"
    return ConfigError(
        f"{choice.source}: the override of {prefix(kind)}.{name} chooses '{choice.dist}/{choice.name}', "
        "which is not installed or is switched off",
        hint=f"usable: {offers}",
    )


def _owner(usable: list[ComponentPlugin]) -> ComponentPlugin | None:
    """Who has the bare name among those who claim it; ``None`` if that is not decided."""
    for dist in (SESSION, FIRST_PARTY):
        for component in usable:
            if component.dist == dist:
                return component
    return usable[0] if len(usable) == 1 else None


def _status(component: ComponentPlugin, owns_name: bool) -> str:
    if component.reason:
        return "blocked"
    if component.error is not None:
        return "broken"
    if component.object is not None:
        return "loaded"
    return "available" if owns_name else "conflict"


def _identity(component: ComponentPlugin) -> tuple[Any, ...]:
    return component.kind, component.name, component.dist, component.version, component.value
