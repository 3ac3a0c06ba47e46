"""The bus: the hooks of one run, compiled.

A run owns a :class:`Bus`. For each hook the bus has an attribute of its name without ``lunar_``: ``None`` where nothing
implements it, else one function of the hook's arguments::

    bus = Bus([GradNorm(), MyLogger()])
    h = bus.before_step
    if h is not None:
        answer = h(step)

Plugins come from two sources: the process-wide plugin manager (installed packages) and the objects given to the bus
(this run only). When either changes, the functions are generated anew; a call site that reads the attribute each time
sees it.
"""

from __future__ import annotations

import os
import random
import warnings
import weakref
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from . import random as streams
from .errors import HookError
from .hookdispatch import Impl, collect, generate, order, plugin_name
from .hookspecs import PREFIX, SPECS
from .plugins.discovery import PluginWarning
from .suggest import did_you_mean


def save_random() -> tuple[Any, Any, Any]:
    """The state of the framework's streams, of ``random`` and of NumPy's global generator."""
    return streams.state(), random.getstate(), np.random.get_state(legacy=False)


def restore_random(saved: tuple[Any, Any, Any]) -> None:
    """Put back what :func:`save_random` returned."""
    streams.load_state(saved[0])
    random.setstate(saved[1])
    np.random.set_state(saved[2])


class Bus:
    """Compiled hooks of one run.

    - ``plugins``: objects or modules with ``lunar_...`` functions, in order of registration.
    - ``ctx``: what implementations get when they ask for ``ctx``.
    - ``manager``: the pluggy manager whose plugins take part; ``None`` for the objects alone.
    - ``timing``: keep the bill of :meth:`bill` (about 0.2 us for each call of an implementation).
    - ``strict``: an exception in a reader is fatal; default: whether ``LUNAR_PLUGIN_STRICT`` is 1.

    Raises :class:`HookError` for a misspelled hook, an unknown argument or an order that cannot be had.
    """

    def __init__(
        self,
        plugins: Iterable[Any] = (),
        *,
        ctx: Any = None,
        manager: Any = None,
        timing: bool = False,
        strict: bool | None = None,
    ) -> None:
        self.ctx = ctx
        self.manager = manager
        self.strict = os.environ.get("LUNAR_PLUGIN_STRICT") == "1" if strict is None else strict
        self._timing = timing
        self._own: list[tuple[str, Any, list[Impl]]] = []
        self._global: list[tuple[str, Any, list[Impl]]] = []
        self._disabled: set[int] = set()  # id of the plugin object; the object is kept alive by _own or the manager
        self._told: set[int] = set()
        self._order: dict[str, list[Impl]] = {}
        self._gone: dict[str, tuple[float, float]] = {}  # the bill of plugins that were removed
        self._watchers: list[Callable[[], None]] = []
        self._seq = 0
        for plugin in plugins:
            self._collect_own(plugin, None)
        self._unsubscribe: Callable[[], None] | None = None
        if manager is not None:
            self._read_manager()
            subscribe = getattr(manager, "on_change", None)
            if subscribe is not None:
                self._unsubscribe = subscribe(_weakly(self._manager_changed))
        self._compile()

    # -- plugins -----------------------------------------------------------------------------------------------------

    def add(self, plugin: Any, name: str | None = None) -> None:
        """Let ``plugin`` take part from the next hook on."""
        self._collect_own(plugin, name)
        self._compile()

    def remove(self, plugin: Any) -> None:
        """Take a plugin of this run out again."""
        if all(owner is not plugin for _, owner, _ in self._own):
            raise HookError(f"remove(): {plugin_name(plugin)!r} is not a plugin of this run")
        for name, owner, impls in self._own:
            if owner is plugin:
                calls, seconds = self._gone.get(name, (0.0, 0.0))
                self._gone[name] = calls + sum(i.calls for i in impls), seconds + sum(i.seconds for i in impls)
        self._own = [entry for entry in self._own if entry[1] is not plugin]
        self._compile()

    def plugins(self) -> dict[str, Any]:
        """The plugin objects by name, in order of registration, those that were switched off included."""
        return {name: owner for name, owner, _ in self._global + self._own}

    def disabled(self) -> list[str]:
        """Names of the readers that were switched off because they raised."""
        return [name for name, owner, _ in self._global + self._own if id(owner) in self._disabled]

    def close(self) -> None:
        """Stop following the plugin manager. The hooks stay as they are."""
        if self._unsubscribe is not None:
            self._unsubscribe()
            self._unsubscribe = None

    def _collect_own(self, plugin: Any, name: str | None) -> None:
        if any(owner is plugin for _, owner, _ in self._own):
            raise HookError(f"plugin {name or plugin_name(plugin)!r} was given twice")
        taken = self.plugins()
        base = name or plugin_name(plugin)
        unique = base
        count = 1
        while unique in taken:
            count += 1
            unique = f"{base}#{count}"
        self._seq += 1
        self._own.append((unique, plugin, collect(plugin, unique, self._seq)))

    def _read_manager(self) -> None:
        """Hook plugins of the process. One that cannot be used is named and left out; the run goes on without it."""
        self._global = []
        seen: set[int] = set()
        for name, plugin in hook_plugins(self.manager):
            if id(plugin) in seen or any(owner is plugin for _, owner, _ in self._own):
                continue
            seen.add(id(plugin))
            try:
                self._global.append((name, plugin, collect(plugin, name, len(seen) - 10**6)))
            except HookError as exc:
                if self.strict:
                    raise
                warnings.warn(f"plugin {name!r} is left out: {exc}", PluginWarning, stacklevel=4)

    def _manager_changed(self, *_: Any) -> None:
        self._read_manager()
        self._compile()

    # -- compiling ---------------------------------------------------------------------------------------------------

    def _compile(self) -> None:
        by_hook: dict[str, list[Impl]] = {}
        for _, owner, impls in self._global + self._own:
            if id(owner) not in self._disabled:
                for impl in impls:
                    by_hook.setdefault(impl.hook, []).append(impl)
        ordered = {name: order(by_hook[name]) for name in SPECS if name in by_hook}
        for name, spec in SPECS.items():
            impls = ordered.get(name, [])
            if not impls:
                self.__dict__[name] = None
            elif impls != self._order.get(name) or self.__dict__.get(name) is None:
                self.__dict__[name] = generate(spec, impls, self, save_random, restore_random, self._timing)
                if not spec.live:
                    self._tell(impls[0], f"this version does not fire {PREFIX}{name}")
        self._order = ordered
        for tell in list(self._watchers):
            tell()

    def on_compile(self, tell: Callable[[], None]) -> Callable[[], None]:
        """Call ``tell()`` whenever who implements what has changed; gives a function that ends it."""
        self._watchers.append(tell)
        return lambda: self._watchers.remove(tell)

    def __getattr__(self, name: str) -> Any:
        # Reached only for what is no attribute: the hooks are set by _compile.
        if name.startswith("_"):
            raise AttributeError(name)
        raise HookError(f"there is no hook {PREFIX + name!r}", hint=did_you_mean(name, SPECS))

    # -- what the compiled functions need ----------------------------------------------------------------------------

    def blame(self, impl: Impl, exc: Exception) -> None:
        note = f"raised by plugin {impl.plugin!r} in {PREFIX}{impl.hook}"
        if note not in getattr(exc, "__notes__", ()):
            exc.add_note(note)

    def drop(self, impl: Impl, exc: Exception) -> None:
        if self.strict:
            raise HookError(
                f"plugin {impl.plugin!r} ({impl.band}) failed in {PREFIX}{impl.hook}: {type(exc).__name__}: {exc}",
                hint="LUNAR_PLUGIN_STRICT=1 makes this fatal; without it the plugin would be switched off",
            ) from exc
        if id(impl.owner) in self._disabled:
            return
        self._disabled.add(id(impl.owner))
        self._compile()
        warnings.warn(
            f"plugin {impl.plugin!r} is switched off for this run: {PREFIX}{impl.hook} raised "
            f"{type(exc).__name__}: {exc}",
            PluginWarning,
            stacklevel=3,
        )
        tell = self.plugin_error
        if tell is not None:
            tell(impl.plugin, PREFIX + impl.hook, exc)

    def ignored(self, impl: Impl) -> None:
        self._tell(impl, f'what {PREFIX}{impl.hook} returns is ignored in band {impl.band!r}; use band "editor"')

    def _tell(self, impl: Impl, what: str) -> None:
        if id(impl) not in self._told:
            self._told.add(id(impl))
            warnings.warn(f"plugin {impl.plugin!r}: {what}", PluginWarning, stacklevel=4)

    # -- what the user sees ------------------------------------------------------------------------------------------

    def describe(self) -> list[dict[str, Any]]:
        """The run in order: one row per hook with ``hook``, ``group``, ``kind``, ``args``, ``doc`` and ``plugins``.

        ``plugins`` lists who runs there, in order: ``plugin``, ``band``, ``before``, ``after``, ``function``,
        ``calls``, ``seconds``.
        """
        return [
            {
                "hook": PREFIX + name,
                "group": spec.group,
                "kind": spec.kind,
                "args": [*spec.args, "ctx"],
                "live": spec.live,
                "doc": spec.doc,
                "plugins": [
                    {
                        "plugin": impl.plugin,
                        "band": impl.band,
                        "before": impl.before,
                        "after": impl.after,
                        "function": _where(impl.function),
                        "calls": impl.calls,
                        "seconds": impl.seconds,
                    }
                    for impl in self._order.get(name, ())
                ],
            }
            for name, spec in SPECS.items()
        ]

    @property
    def timing(self) -> bool:
        """Whether calls and seconds are added up for :meth:`bill`."""
        return self._timing

    @timing.setter
    def timing(self, on: bool) -> None:
        if on != self._timing:
            self._timing = on
            self._order = {}
            self._compile()

    def bill(self) -> dict[str, dict[str, float]]:
        """``{plugin: {"calls": n, "seconds": s}}`` since timing was switched on, the most expensive first."""
        total = {name: {"calls": calls, "seconds": seconds} for name, (calls, seconds) in self._gone.items()}
        for name, _, impls in self._global + self._own:
            cost = total.setdefault(name, {"calls": 0.0, "seconds": 0.0})
            cost["calls"] += sum(i.calls for i in impls)
            cost["seconds"] += sum(i.seconds for i in impls)
        return dict(sorted(total.items(), key=lambda item: -item[1]["seconds"]))

    def pairs(self) -> Pairs:
        """A block within which every opened pair is closed; see :class:`Pairs`."""
        return Pairs(self)


def _weakly(method: Callable[..., None]) -> Callable[..., None]:
    """Calls ``method`` as long as its object lives, so that the process-wide manager keeps no bus alive."""
    reference = weakref.WeakMethod(method)

    def call(*args: Any) -> None:
        alive = reference()
        if alive is not None:
            alive(*args)

    return call


def _where(function: Callable[..., Any]) -> str:
    return f"{getattr(function, '__module__', '?')}.{getattr(function, '__qualname__', function)}"


def hook_plugins(manager: Any) -> list[tuple[str, Any]]:
    """The plugins of a pluggy manager that implement hooks, as (name, object), in order of registration."""
    own = getattr(manager, "hook_plugins", None)
    if own is not None:
        return list(own())
    calling = {
        id(c.plugin) for name in SPECS if (h := getattr(manager.hook, PREFIX + name, None)) for c in h.get_hookimpls()
    }
    return [(name, plugin) for name, plugin in manager.list_name_plugin() if id(plugin) in calling]


class Pairs:
    """Keeps the promise that a start has its end, in reverse order, also when something raises between them.

    >>> with bus.pairs() as pairs:                                  # doctest: +SKIP
    ...     pairs.open("fit_start", (), "fit_end", (history,))
    ...     ...
    ...     pairs.close("fit_end", history)

    ``open`` calls the start hook and remembers the end with the arguments to use if the block is left early (a tuple,
    or a function that makes one). ``close`` calls the end, after those of pairs that were opened later and are still
    open.
    """

    __slots__ = ("_bus", "_open")

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._open: list[tuple[str, tuple[Any, ...] | Callable[[], tuple[Any, ...]]]] = []

    def __enter__(self) -> Pairs:
        return self

    def __exit__(self, kind: Any, exc: BaseException | None, traceback: Any) -> None:
        self.close_all(exc)

    def open(
        self, start: str | None, args: tuple[Any, ...], end: str, late: tuple[Any, ...] | Callable[[], tuple[Any, ...]]
    ) -> Any:
        """Fire ``start`` (``None``: it was fired) and promise ``end``; returns what the start hook returned."""
        self._open.append((end, late))
        h = getattr(self._bus, start) if start is not None else None
        return h(*args) if h is not None else None

    def close(self, end: str, *args: Any) -> Any:
        """Fire ``end`` with ``args``; a filter's result, or the first argument that it filters, comes back."""
        waiting = self._open
        while waiting and waiting[-1][0] != end:
            self._fire_late()
        if not waiting:
            raise HookError(f"close({end!r}): no such pair is open")
        waiting.pop()
        h = getattr(self._bus, end)
        if h is not None:
            return h(*args)
        spec = SPECS[end]
        return args[spec.args.index(spec.values[0])] if spec.values else None

    def close_to(self, depth: int, exc: BaseException | None = None) -> None:
        """Close what was opened after the first ``depth`` pairs. Errors of the ends wait until all are closed."""
        first: Exception | None = None
        while len(self._open) > depth:
            try:
                self._fire_late()
            except Exception as error:
                if exc is not None:
                    exc.add_note(f"while closing: {type(error).__name__}: {error}")
                elif first is None:
                    first = error
        if first is not None:
            raise first

    def close_all(self, exc: BaseException | None = None) -> None:
        """Close every open pair, the latest first."""
        self.close_to(0, exc)

    def __len__(self) -> int:
        return len(self._open)

    def _fire_late(self) -> None:
        end, late = self._open.pop()
        h = getattr(self._bus, end)
        if h is not None:
            h(*(late() if callable(late) else late))
