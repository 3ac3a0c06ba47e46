"""The registry: components by kind and name, imported when they are first used."""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING, Any

from ..errors import HookError, PluginBlockedError, PluginConflictError, PluginError, PluginLoadError, UnknownNameError
from .catalogue import Catalogue, conflict_error
from .discovery import SESSION, ComponentPlugin
from .groups import FIRST_PARTY
from .loading import describe, fault, load, load_error
from .settings import Settings

if TYPE_CHECKING:
    from .manager import PluginManager


class Registry(Catalogue):
    """Every component that is installed, or was registered by hand, by kind and name.

    A name is ``"adam"``, or ``"dist/adam"``, which means that distribution's component whatever else is installed. A
    bare name that a first-party component has stays with it; if two strangers share one, using it raises
    PluginConflictError until ``[tool.lunar.override]`` says which is meant.

    ``path`` replaces ``sys.path`` and ``settings`` the environment and configuration files, for tests and tools.
    """

    def __init__(self, path: list[str] | None = None, settings: Settings | None = None) -> None:
        super().__init__(path, settings)
        self._by_target: dict[Any, ComponentPlugin] = {}
        self._warned: set[tuple[str, str]] = set()
        self._manager: PluginManager | None = None
        self._hook_objects: dict[ComponentPlugin, Any] = {}
        self._hooks_loaded = False
        self._thread = threading.local()
        self._announced: set[ComponentPlugin] = set()

    # --- use ----------------------------------------------------------------------------------------------------

    def get(self, kind: str, name: str) -> Any:
        """The class (or object) of a component, imported now if it was not before.

        Raises UnknownNameError, PluginConflictError, PluginBlockedError or PluginLoadError.
        """
        try:
            component = self.info(kind, name)
        except PluginConflictError:
            component = self._ask(kind, name)
        self._warn_namesakes(component, name)
        return self.load(component)

    def get_or_warn(self, kind: str, name: str) -> Any:
        """:meth:`get`, but a plugin's fault is a warning (an error under ``LUNAR_PLUGIN_STRICT=1``) and gives ``None``.

        For what the program can do without, such as a kernel provider.
        """
        try:
            return self.get(kind, name)
        except PluginError as error:
            self._complain(str(error), error)
            return None

    def create(self, kind: str, name: str, /, *args: Any, **fields: Any) -> Any:
        """``get(kind, name)(*args, **fields)``."""
        return self.get(kind, name)(*args, **fields)

    def load(self, component: ComponentPlugin) -> Any:
        """The target of a record. A broken one raises its PluginLoadError again; its import is not tried twice."""
        # No lock is held while a plugin is imported: its module may use the registry from a thread of its own. Two
        # threads that come here together import once (the import system sees to that) and note the same outcome.
        if component.status == "blocked":
            raise PluginBlockedError(
                f"{component.kind} {component.address!r} of {component.origin} is switched off by {component.reason}"
            )
        if component.object is not None:
            return component.object
        if isinstance(component.error, PluginLoadError):
            raise PluginLoadError(component.error.message, hint=component.error.hint) from component.error.__cause__
        try:
            target = load(component)
        except PluginLoadError as error:
            _break(component, error)
            raise
        component.object = target
        component.status = "loaded"
        self._remember(target, component)
        self._announce(component)
        return target

    def register(self, kind: str, name: str, target: Any, *, replace: bool = False) -> Any:
        """Add a component of one's own for this process; returns ``target``.

        A name registered by hand before is replaced, so that a notebook's cell can run twice; one that an installed
        package has only with ``replace=True``. Raises PluginConflictError, or PluginLoadError if ``target`` is not what
        the kind asks for.
        """
        self._look(kind)
        if not isinstance(name, str) or not name or "/" in name or name != name.strip():
            raise UnknownNameError(
                f"a component cannot be named {name!r}", hint="write a word without slashes or blanks"
            )
        problem = fault(kind, target)
        if problem:
            raise PluginLoadError(f"{kind} {name!r} cannot be registered: {problem}")
        value = f"{getattr(target, '__module__', '')}:{getattr(target, '__qualname__', type(target).__name__)}"
        component = ComponentPlugin(kind, name, value, SESSION, "")
        component.object = target
        with self._lock:
            namesakes = self._table.get(kind, {}).get(name, [])
            taken = [c for c in namesakes if c.dist != SESSION and c.status != "blocked"]
            if taken and not replace:
                raise PluginConflictError(
                    f"{kind} {name!r} is already provided by {taken[0].origin}",
                    hint=f"choose another name, or register({kind!r}, {name!r}, ..., replace=True)",
                )
            previous = [c for c in namesakes if c.dist == SESSION]
            self._records = [c for c in self._records if c not in previous] + [component]
            self._remember(target, component)
            self._arrange()
        return target

    def component_of(self, cls: Any) -> ComponentPlugin | None:
        """The record whose target is this class, or ``None``. Imports nothing."""
        self._look(None)
        known = self._by_target.get(cls)
        if known is not None and known in self._records:
            return known
        text = f"{cls.__module__}:{cls.__qualname__}"
        package = cls.__module__.partition(".")[0]
        candidates = []
        for c in self._records:
            if c.class_name != cls.__name__ or c.dist == SESSION:
                continue
            # An entry point may also name the class where its package re-exports it.
            there = getattr(sys.modules.get(c.module), c.class_name, None)
            if c.value == text or (there is cls and c.module.partition(".")[0] == package):
                candidates.append(c)
        usable = [c for c in candidates if c.status != "blocked"] or candidates
        return min(usable, key=lambda c: (c.dist != FIRST_PARTY, c.status == "conflict", c.name), default=None)

    # --- hooks --------------------------------------------------------------------------------------------------

    @property
    def manager(self) -> PluginManager:
        """The plugin manager, with every component that is not blocked registered on it."""
        self._look(None)
        if self._manager is None:
            from .manager import PluginManager

            with self._lock:
                if self._manager is None:
                    manager = PluginManager(self)
                    manager.show(self._shown())
                    self._manager = manager
        return self._manager

    def load_hook_plugins(self) -> None:
        """Import the installed hook plugins and register them; done once, when hooks are first needed.

        The target of an entry point in ``lunar.plugins`` is a module, an object, or a class that is called without
        arguments. One that cannot be used is marked broken and named in a warning (an error under
        ``LUNAR_PLUGIN_STRICT=1``).
        """
        self._look(None)
        if self._hooks_loaded or getattr(self._thread, "loading_hooks", False):
            return
        self._thread.loading_hooks = True
        failures: list[PluginLoadError] = []
        try:
            targets = []
            for component in [c for c in self._of("plugin") if c.status != "blocked"]:
                try:
                    targets.append((component, self.load(component)))
                except PluginLoadError as error:
                    failures.append(error)
            manager = self.manager
            with self._lock:
                if not self._hooks_loaded:
                    self._hooks_loaded = True
                    for component, target in targets:
                        if component not in self._hook_objects:
                            self._enlist(manager, component, target, failures)
        finally:
            self._thread.loading_hooks = False
        for failure in failures:
            self._complain(str(failure), failure)
        for component in [c for c in self._records if c.status == "loaded"]:
            self._announce(component)

    def refresh(self) -> None:
        super().refresh()
        self._hooks_loaded = False

    def _enlist(
        self, manager: PluginManager, component: ComponentPlugin, target: Any, failures: list[PluginLoadError]
    ) -> None:
        try:
            plugin = target() if isinstance(target, type) else target
            manager.swap(component, plugin)
        except KeyboardInterrupt:
            raise
        except BaseException as cause:
            error = load_error(component, str(cause) if isinstance(cause, HookError) else describe(cause))
            error.__cause__ = cause
            component.object = None
            _break(component, error)
            failures.append(error)
        else:
            self._hook_objects[component] = plugin

    def _ask(self, kind: str, name: str) -> ComponentPlugin:
        """Let a hook plugin decide between namesakes; raise the conflict if none does."""
        candidates = tuple(c for c in self._table[kind][name] if c.status != "blocked")
        decide = self.manager.bus.conflict
        answer = decide(kind, name, candidates) if decide is not None else None
        for candidate in candidates:
            if answer is candidate or answer in (candidate.dist, candidate.qualified):
                return candidate
        if answer is not None:
            raise PluginConflictError(
                f"a hook plugin answered {answer!r} to the conflict over {kind} {name!r}",
                hint=f"expected one of {', '.join(c.qualified for c in candidates)}",
            )
        raise conflict_error(kind, name, candidates)

    def _announce(self, component: ComponentPlugin) -> None:
        """Tell ``lunar_component_loaded``, once for each component, if anybody listens."""
        manager = self._manager
        if manager is None or component.kind == "plugin" or component in self._announced:
            return
        if manager.hook.lunar_component_loaded.get_hookimpls():
            self._announced.add(component)
            tell = manager.bus.component_loaded
            if tell is not None:
                tell(component)

    # --- inside -------------------------------------------------------------------------------------------------

    def _shown(self) -> list[ComponentPlugin]:
        return [c for c in self._records if c.status != "blocked" and c not in self._hook_objects]

    def _arrange(self) -> None:
        super()._arrange()
        if self._manager is not None:
            for component in list(self._hook_objects):
                if component.status == "blocked" or component not in self._records:
                    self._manager.unregister(self._hook_objects.pop(component))
            self._manager.show(self._shown())

    def _withdraw(self, component: ComponentPlugin) -> None:
        """Called by the manager when somebody unregisters or blocks a component there."""
        with self._lock:
            self._withdrawn.add(component)
            self._arrange()

    def _remember(self, target: Any, component: ComponentPlugin) -> None:
        try:
            known = self._by_target.get(target)
        except TypeError:  # unhashable: an object, not a class
            return
        # Two names of one class: the same one is written to a configuration whichever was used first.
        if known is None or SESSION in (known.dist, component.dist) or component.name < known.name:
            self._by_target[target] = component

    def _warn_namesakes(self, component: ComponentPlugin, name: str) -> None:
        key = (component.kind, name)
        if component.dist != FIRST_PARTY or "/" in name or key in self._warned or key in self._settings.choices:
            return
        self._warned.add(key)
        others = [c for c in self._table[component.kind].get(name, ()) if c is not component and c.status != "blocked"]
        if others:
            self._complain(
                f"{component.kind} {name!r} means {component.origin}; {' and '.join(c.dist for c in others)} has one "
                f"of the same name, to be used as {' or '.join(repr(c.qualified) for c in others)}"
            )


def _break(component: ComponentPlugin, error: PluginLoadError) -> None:
    component.error = error
    component.status = "broken"


registry = Registry()
"""The registry of the process: ``lunar_core.registry``."""
