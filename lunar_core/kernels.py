"""Which provider runs a heavy op on this machine.

A provider is a plugin of group ``lunar.kernels``: an object with a ``name``, a ``priority`` and
``kernel(op_name, array_type)``, which returns a raw function for that op or ``None``. The function takes the arrays and
keyword arguments of the op's forward and may answer :data:`NotImplemented` for a signature that it does not support;
the next provider is asked then, the NumPy reference at the end. A kernel computes what the reference computes.

Providers are found when the first heavy op runs. ``disable(name)`` switches one off; ``chosen(op_name)`` says who is asked,
``status()`` what each provider offers here and why one that offers nothing does not.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import numpy as np


class Provider(Protocol):
    """What a plugin of group ``lunar.kernels`` offers.

    It may also have a ``reason``: a text that says why it has nothing to offer on this machine, empty where it has.
    """

    name: str
    priority: int

    def kernel(self, op: str, array_type: type) -> Callable[..., Any] | None:
        """The raw function for ``op`` on arrays of ``array_type``, or ``None``."""


class _Providers:
    """The known providers, highest priority first, and the names that are switched off."""

    def __init__(self) -> None:
        self.found: list[Provider] | None = None
        self.disabled: set[str] = set()

    def all(self) -> list[Provider]:
        if self.found is None:
            self.found = _discover()
        return self.found

    def active(self) -> list[Provider]:
        return [p for p in self.all() if p.name not in self.disabled]


def _discover() -> list[Provider]:
    from .plugins import PluginWarning, registry

    found = []
    for name in registry.names("kernel"):
        target = registry.get_or_warn("kernel", name)
        if target is None:
            continue
        try:
            provider = target() if isinstance(target, type) else target
            int(provider.priority), str(provider.name), provider.kernel
        except Exception as error:  # a stranger's provider: the reference computes without it
            warnings.warn(
                f"the kernel provider {name!r} is left out: {type(error).__name__}: {error}",
                PluginWarning,
                stacklevel=2,
            )
            continue
        found.append(provider)
    return sorted(found, key=lambda p: (-p.priority, p.name))


providers = _Providers()


def add(provider: Provider) -> None:
    """Put a provider in use, for a notebook or a test, in place of one of its name; plugins are found without it."""
    others = [p for p in providers.all() if p.name != provider.name]
    providers.found = sorted([*others, provider], key=lambda p: (-p.priority, p.name))
    _rebind()


def disable(name: str) -> None:
    """Switch the provider ``name`` off."""
    providers.disabled.add(name)
    _rebind()


def enable(name: str) -> None:
    """Switch the provider ``name`` on again."""
    providers.disabled.discard(name)
    _rebind()


def reset() -> None:
    """Forget what was added and switched off; providers are found again at the next heavy op."""
    providers.found = None
    providers.disabled.clear()
    _rebind()


def _rebind() -> None:
    from .op import OPS

    for op in OPS.values():
        op.unbind()
    fusion = sys.modules.get("lunar_core.fusion")
    if fusion is not None:  # nothing was fused before it is loaded
        fusion.forget_all()


def chosen(op_name: str, array_type: type = np.ndarray) -> list[str]:
    """Names of the providers that are asked for ``op_name``, in order, the reference last."""
    return [p.name for p in providers.active() if p.kernel(op_name, array_type) is not None] + ["reference"]


class Status(NamedTuple):
    """What there is to say of one provider."""

    name: str
    priority: int
    enabled: bool  # not switched off by name
    reason: str  # why it has nothing to offer on this machine; empty where it has
    ops: tuple[str, ...]  # the heavy ops that it takes part in


def status(array_type: type = np.ndarray) -> list[Status]:
    """Every provider that was found, the one that is asked first at the top."""
    from .op import OPS

    heavy = sorted(name for name, op in OPS.items() if op.heavy)
    result = []
    for p in providers.all():
        ops = tuple(name for name in heavy if p.kernel(name, array_type) is not None)
        result.append(Status(p.name, p.priority, p.name not in providers.disabled, getattr(p, "reason", ""), ops))
    return result


def dispatcher(op: Any, array_type: type, reference: Callable[..., Any]) -> Callable[..., Any]:
    """The function that an op calls for its arrays: the reference itself where no provider has a kernel."""
    candidates = [k for p in providers.active() if (k := p.kernel(op.name, array_type)) is not None]
    if not candidates:
        return reference
    if len(candidates) == 1:
        (only,) = candidates

        def dispatch_one(*arrays: Any, **static: Any) -> Any:
            out = only(*arrays, **static)
            return reference(*arrays, **static) if out is NotImplemented else out

        return dispatch_one

    def dispatch(*arrays: Any, **static: Any) -> Any:
        for kernel in candidates:
            out = kernel(*arrays, **static)
            if out is not NotImplemented:
                return out
        return reference(*arrays, **static)

    return dispatch
