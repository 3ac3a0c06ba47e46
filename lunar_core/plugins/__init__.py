"""The plugin system: which components are installed, by which names, and who implements which hook.

- :mod:`.groups`: the kinds, their entry-point groups and contracts
- :mod:`.discovery`: from the metadata of installed distributions to records
- :mod:`.settings`: what the user switched off or chose
- :mod:`.loading`: importing one component and checking it
- :mod:`.registry`: kinds and names, conflicts, isolation
- :mod:`.manager`: pluggy's manager, hook plugins
- :mod:`.namespaces`: ``lunar_core.layers`` and its siblings
"""

from __future__ import annotations

from ..component import PLUGIN_API
from .discovery import ComponentPlugin, PluginWarning
from .groups import CONTRACTS, FIRST_PARTY, GROUPS, NAMESPACES
from .namespaces import Namespace, namespace
from .registry import Registry, registry
from .settings import Settings, read_settings, strict

create = registry.create

__all__ = [
    "CONTRACTS",
    "FIRST_PARTY",
    "GROUPS",
    "NAMESPACES",
    "PLUGIN_API",
    "ComponentPlugin",
    "Namespace",
    "PluginWarning",
    "Registry",
    "Settings",
    "create",
    "namespace",
    "read_settings",
    "registry",
    "strict",
]
