"""pluggy's manager with the hook specifications. Components are on it as records, hook plugins as themselves."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pluggy

from .. import hookspecs
from ..errors import HookError
from ..hookdispatch import collect
from .discovery import ComponentPlugin

if TYPE_CHECKING:
    from ..hooks import Bus
    from .registry import Registry


class PluginManager(pluggy.PluginManager):
    """``lunar_core.plugins``: what is installed and who implements which hook.

    ``register(obj)`` adds an object or module with hook implementations, which are its functions whose names begin with
    ``lunar_``. A name that is no hook, or an argument that the hook does not have, raises HookError and leaves nothing
    registered. Components are on the manager under ``optimizers.adam``; to unregister or block one there takes it out
    of the registry too.

    ``on_change(callback)`` is told whenever the set of hook implementations has changed; ``changes`` counts that.
    """

    def __init__(self, registry: Registry) -> None:
        super().__init__("lunar")
        self.changes = 0
        self._registry = registry
        self._listeners: list[Callable[[], None]] = []
        self._bus: Bus | None = None
        self.add_hookspecs(hookspecs)

    def __getattr__(self, name: str) -> Any:
        # `lunar_core.plugins` is this manager, and also the name of a package: `import lunar_core.plugins as p`
        # means that, but Python takes the attribute. So what the package offers is found here as well.
        package = sys.modules[__package__]
        if name.startswith("_") or not hasattr(package, name):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return getattr(package, name)

    def on_change(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call ``callback()`` after every change of the hook implementations; returns a function that ends that."""
        self._listeners.append(callback)

        def stop() -> None:
            if callback in self._listeners:
                self._listeners.remove(callback)

        return stop

    def hook_plugins(self) -> list[tuple[str, Any]]:
        """The plugins that implement hooks, as (name, object), in order of registration.

        Installed hook plugins (group ``lunar.plugins``) are imported at the first call.
        """
        self._registry.load_hook_plugins()
        return [(name, plugin) for name, plugin in self.list_name_plugin() if self._implements(plugin)]

    @property
    def bus(self) -> Bus:
        """The compiled hooks of the process, for what happens outside a run: components and commands."""
        if self._bus is None:
            from ..hooks import Bus

            self._bus = Bus(manager=self)
        return self._bus

    def parse_hookimpl_opts(self, plugin: Any, name: str) -> Any:
        # Asked for every attribute of every plugin: the prefix goes first, it keeps 400 components under 50 ms.
        if not name.startswith(hookspecs.PREFIX):
            return None
        marked = super().parse_hookimpl_opts(plugin, name)
        if marked is not None:
            return marked
        # No decorator is needed: a function of that name will do.
        function = inspect.getattr_static(plugin, name)
        return {} if inspect.isfunction(getattr(function, "__func__", function)) else None

    def register(self, plugin: Any, name: str | None = None) -> str | None:
        if isinstance(plugin, ComponentPlugin):
            return super().register(plugin, name or plugin.plugin_name)
        collect(plugin, name or self.get_canonical_name(plugin), 0)
        try:
            registered = super().register(plugin, name)
        except pluggy.PluginValidationError as error:
            raise HookError(str(error)) from None
        if registered is not None and self._implements(plugin):
            self._changed()
        return registered

    def unregister(self, plugin: Any = None, name: str | None = None) -> Any:
        if plugin is None and name is not None:
            plugin = self.get_plugin(name)
            if plugin is None:
                return None
        affected = self._implements(plugin)
        removed = super().unregister(plugin, name)
        if isinstance(removed, ComponentPlugin):
            self._registry._withdraw(removed)
        elif affected:
            self._changed()
        return removed

    def swap(self, component: ComponentPlugin, plugin: Any) -> None:
        """Put a loaded hook plugin in the place of the record that announced it. Raises HookError, changing nothing."""
        name = component.plugin_name
        collect(plugin, name, 0)
        if self.get_plugin(name) is component:
            super().unregister(component)
        try:
            self.register(plugin, name)
        except BaseException:
            super().register(component, name)
            raise

    def show(self, components: list[ComponentPlugin]) -> None:
        """Have exactly these records registered, each under its current name."""
        wanted = {component.plugin_name: component for component in components}
        for name, plugin in self.list_name_plugin():
            if isinstance(plugin, ComponentPlugin) and wanted.get(name) is not plugin:
                super().unregister(plugin, name)
        present = dict(self.list_name_plugin())
        for name, component in wanted.items():
            if name not in present:  # a loaded hook plugin stands there as itself, a blocked name as None
                super().register(component, name)

    def _implements(self, plugin: Any) -> bool:
        return plugin is not None and not isinstance(plugin, ComponentPlugin) and bool(self.get_hookcallers(plugin))

    def _changed(self) -> None:
        self.changes += 1
        for callback in tuple(self._listeners):
            callback()
