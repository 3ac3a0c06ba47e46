"""From plugin objects to one compiled function per hook: collecting, ordering, generating.

Everything that can be decided when the set of plugins changes is decided here: which arguments an implementation wants,
who comes first, whether the random state has to be saved. What is left at run time is a plain function of the hook's
arguments in the order of its specification.
"""

from __future__ import annotations

import fnmatch
import functools
import heapq
import inspect
import linecache
import re
import time
import types
import zlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

from .errors import HookError
from .hookspecs import BANDS, ISOLATED, PREFIX, SPECS, Spec
from .suggest import did_you_mean


class Impl:
    """One implementation of one hook by one plugin."""

    def __init__(self, spec: Spec, plugin: str, owner: Any, function: Callable[..., Any], seq: int) -> None:
        options = getattr(function, "lunar_options", {})
        self.hook = spec.name
        self.plugin = plugin
        self.owner = owner
        self.function = function
        self.seq = seq
        self.band = options.get("band") or _attribute(owner, "band", "editor")
        if self.band not in BANDS:
            raise HookError(f"plugin {plugin!r}: unknown band {self.band!r}", hint=f"bands: {', '.join(BANDS)}")
        self.before: tuple[str, ...] = options.get("before") or _as_names(_attribute(owner, "before", ()))
        self.after: tuple[str, ...] = options.get("after") or _as_names(_attribute(owner, "after", ()))
        self.slot = -1 if options.get("tryfirst") else 1 if options.get("trylast") else 0
        draws = options.get("draws")
        self.draws: bool = _attribute(owner, "draws", True) if draws is None else draws
        self.wants = _wanted_arguments(spec, plugin, function)
        select = options.get("select")
        self.selects = None if select is None else _selector(spec, plugin, select)
        self.calls = 0
        self.seconds = 0.0
        if spec.kind == "wrap" and self.isolated:
            raise HookError(
                f"plugin {plugin!r}: {PREFIX}{spec.name} in band {self.band!r}, which may only look",
                hint='mark it with @hookimpl(band="editor")',
            )

    @property
    def isolated(self) -> bool:
        return self.band in ISOLATED

    @property
    def aliases(self) -> set[str]:
        """The names under which ``before=`` and ``after=`` find this plugin."""
        short = re.split(r"[./]", self.plugin)[-1]
        return {self.plugin, short.partition("#")[0], type(self.owner).__name__}

    def timed(self) -> Callable[..., Any]:
        """The function with its calls and seconds added up here."""
        function, clock = self.function, time.perf_counter

        def call(*args: Any, **kwargs: Any) -> Any:
            start = clock()
            try:
                return function(*args, **kwargs)
            finally:
                self.seconds += clock() - start
                self.calls += 1

        return call


def _attribute(owner: Any, name: str, default: Any) -> Any:
    """A class-level option of a plugin object; a module gives its options by ``hookimpl`` only."""
    return default if isinstance(owner, types.ModuleType) else getattr(owner, name, default)


def _as_names(names: str | Iterable[str]) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else tuple(names)


def plugin_name(plugin: Any) -> str:
    """The name of a plugin object that was not registered under one: its ``plugin_name``, the module's or the
    class's."""
    if isinstance(plugin, types.ModuleType):
        return plugin.__name__
    own = getattr(plugin, "plugin_name", None)
    if isinstance(own, str):
        return own
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", type(plugin).__name__).lower()


def collect(plugin: Any, name: str, seq: int) -> list[Impl]:
    """The hook implementations of one plugin object.

    Raises :class:`HookError` for a class in the place of an instance, an unknown hook, an argument that the hook does
    not have, an unknown band.
    """
    if isinstance(plugin, type):
        raise HookError(
            f"plugin {plugin.__name__!r} is a class, expected an object or a module", hint=f"{plugin.__name__}(...)"
        )
    found = []
    for attribute in dir(plugin):
        if not attribute.startswith(PREFIX):
            continue
        function = getattr(plugin, attribute)
        if not inspect.isroutine(function):  # a module's own `import lunar_core`, a plain attribute
            continue
        if isinstance(plugin, types.ModuleType) and _package(function.__module__) != _package(plugin.__name__):
            continue  # imported from elsewhere, to be called rather than to be a hook
        spec = SPECS.get(attribute[len(PREFIX) :])
        if spec is None:
            if getattr(function, "lunar_options", {}).get("optionalhook"):
                continue
            raise HookError(
                f"plugin {name!r}: there is no hook {attribute!r}",
                hint=did_you_mean(attribute, (PREFIX + s for s in SPECS)) or "lunar_core.hookspecs lists them all",
            )
        found.append(Impl(spec, name, plugin, function, seq))
    return found


def _package(module: str | None) -> str:
    return (module or "").partition(".")[0]


def _wanted_arguments(spec: Spec, plugin: str, function: Callable[..., Any]) -> tuple[tuple[str, bool], ...]:
    """``(argument, by keyword)`` for each argument of ``spec`` that ``function`` takes."""
    offered = (*spec.args, "ctx")
    wants: list[tuple[str, bool]] = []
    rest = False
    for p in inspect.signature(function).parameters.values():
        if p.kind is p.VAR_KEYWORD:
            rest = True
        elif p.kind is p.VAR_POSITIONAL or (p.name not in offered and p.default is p.empty):
            raise HookError(
                f"plugin {plugin!r}: {PREFIX}{spec.name} has no argument {str(p)!r}",
                hint=f"it may ask for any of: {', '.join(offered)}",
            )
        elif p.name in offered:
            wants.append((p.name, p.kind is p.KEYWORD_ONLY))
    if rest:
        wants += [(name, True) for name in offered if name not in {w for w, _ in wants}]
    # A parameter with a default that the hook does not know keeps it, so what follows it goes by keyword.
    names = list(inspect.signature(function).parameters)
    return tuple((name, keyword or i >= len(names) or names[i] != name) for i, (name, keyword) in enumerate(wants))


def order(impls: Sequence[Impl]) -> list[Impl]:
    """Implementations of one hook in the order in which they are called.

    Bands first, then ``before=`` / ``after=`` within a band, then tryfirst/trylast, then registration. Raises
    :class:`HookError` for a cycle and for a constraint that contradicts the bands.
    """
    by_alias: dict[str, list[Impl]] = {}
    for impl in impls:
        for alias in impl.aliases:
            by_alias.setdefault(alias, []).append(impl)
    followers: dict[Impl, set[Impl]] = {impl: set() for impl in impls}

    def edge(first: Impl, second: Impl, said: str) -> None:
        if first is second:
            return
        if BANDS.index(first.band) > BANDS.index(second.band):
            raise HookError(
                f"{PREFIX}{first.hook}: {said}, but band {second.band!r} comes before band {first.band!r}",
                hint=f"bands run in the order {', '.join(BANDS)}; put both plugins into one band",
            )
        followers[first].add(second)

    for impl in impls:
        for name in impl.before:
            for other in by_alias.get(name, ()):
                edge(impl, other, f"plugin {impl.plugin!r} asks to run before {other.plugin!r}")
        for name in impl.after:
            for other in by_alias.get(name, ()):
                edge(other, impl, f"plugin {impl.plugin!r} asks to run after {other.plugin!r}")

    waiting = dict.fromkeys(impls, 0)
    for targets in followers.values():
        for impl in targets:
            waiting[impl] += 1

    def entry(impl: Impl) -> tuple[int, int, int, int, Impl]:
        return BANDS.index(impl.band), impl.slot, impl.seq, position[impl], impl

    position = {impl: i for i, impl in enumerate(impls)}
    ready = [entry(impl) for impl in impls if not waiting[impl]]
    heapq.heapify(ready)
    # Edges never lead to an earlier band, so whoever is still waited for in a band is ready before the next band is.
    result: list[Impl] = []
    while ready:
        impl = heapq.heappop(ready)[-1]
        result.append(impl)
        for follower in followers[impl]:
            waiting[follower] -= 1
            if not waiting[follower]:
                heapq.heappush(ready, entry(follower))
    if len(result) < len(impls):
        stuck = [impl for impl in impls if impl not in result]
        raise HookError(
            f"{PREFIX}{stuck[0].hook}: plugins are ordered in a cycle: {_cycle(stuck, followers)}",
            hint="remove one of their before= / after=",
        )
    return result


def _cycle(stuck: list[Impl], followers: dict[Impl, set[Impl]]) -> str:
    path = [stuck[0]]
    while True:
        # Walk backwards: each stuck implementation waits for another stuck one.
        previous = next(i for i in stuck if path[-1] in followers[i])
        if previous in path:
            loop = path[path.index(previous) :][::-1]
            return " -> ".join(repr(i.plugin) for i in [*loop, loop[0]])
        path.append(previous)


def _selector(spec: Spec, plugin: str, select: Any) -> Callable[..., bool]:
    """Whether an implementation wants to be called: a function of (module, path), or of (op, None)."""
    chosen = tuple(select) if isinstance(select, (tuple, list)) else (select,)
    patterns = tuple(one for one in chosen if isinstance(one, str))
    classes = tuple(one for one in chosen if isinstance(one, type))
    by_path, by_name = "path" in spec.args and "module" in spec.args, "op" in spec.args
    if not (by_path or by_name) or len(patterns) + len(classes) < len(chosen) or (by_name and classes):
        raise HookError(
            f"plugin {plugin!r}: {PREFIX}{spec.name} cannot select {select!r}",
            hint="module hooks select by a glob over paths or by a class, op hooks by a glob over names",
        )

    @functools.cache
    def fits(name: str) -> bool:
        return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)

    if by_path:
        return lambda module, path: fits(path) or isinstance(module, classes)
    return lambda op, _: fits(op.name)


class Support(Protocol):
    """What the generated functions call when something is out of the ordinary; the Bus implements it."""

    ctx: Any

    def blame(self, impl: Impl, exc: Exception) -> None:
        """Note on ``exc`` which plugin raised it."""

    def drop(self, impl: Impl, exc: Exception) -> None:
        """Switch a reader off."""

    def ignored(self, impl: Impl) -> None:
        """A reader gave an answer."""


def _pair_check(impl: Impl, spec: Spec) -> Callable[[Any], Any]:
    def check(value: Any) -> Any:
        if not isinstance(value, tuple) or len(value) != len(spec.values):
            raise HookError(
                f"plugin {impl.plugin!r}: {PREFIX}{spec.name} returned {type(value).__name__}",
                hint=f"return a tuple ({', '.join(spec.values)}) or None",
            )
        return value

    return check


def _answer_check(impl: Impl, spec: Spec) -> Callable[[Any], Any]:
    def check(value: Any) -> Any:
        if spec.answers and value not in spec.answers:
            raise HookError(
                f"plugin {impl.plugin!r}: {PREFIX}{spec.name} answered {value!r}",
                hint=f"expected None or one of: {', '.join(map(repr, spec.answers))}",
            )
        return value

    return check


def _call(i: int, impl: Impl, **renamed: str) -> str:
    args = [f"{a}={renamed.get(a, a)}" if keyword else renamed.get(a, a) for a, keyword in impl.wants]
    return f"f{i}({', '.join(args)})"


def generate(
    spec: Spec,
    impls: Sequence[Impl],
    support: Support,
    save: Callable[[], Any],
    restore: Callable[[Any], None],
    timing: bool,
) -> Callable[..., Any]:
    """One function for all ``impls`` (already in order) of a hook; it takes the arguments of ``spec`` by position."""
    lines = [f"def {PREFIX}{spec.name}({', '.join(spec.args)}):"]
    lines += _wrap_body(impls) if spec.kind == "wrap" else _body(spec, impls)
    source = "\n".join(lines) + "\n"
    space: dict[str, Any] = {
        "ctx": support.ctx,
        "blame": support.blame,
        "drop": support.drop,
        "ignored": support.ignored,
        "save": save,
        "restore": restore,
    }
    for i, impl in enumerate(impls):
        space[f"i{i}"] = impl
        space[f"s{i}"] = impl.selects
        space[f"f{i}"] = impl.timed() if timing else impl.function
        space[f"check{i}"] = _answer_check(impl, spec) if spec.kind == "decide" else _pair_check(impl, spec)
    exec(_code(source, spec.name), space)
    return space[PREFIX + spec.name]


@functools.lru_cache(1024)
def _code(source: str, name: str) -> types.CodeType:
    """Compiled once for each source, which also gets its lines shown in tracebacks."""
    filename = f"<hook {PREFIX}{name} {zlib.crc32(source.encode()):08x}>"
    linecache.cache[filename] = (len(source), None, source.splitlines(True), filename)
    return compile(source, filename, "exec")


def _body(spec: Spec, impls: Sequence[Impl]) -> list[str]:
    lines = []
    if spec.closing:
        lines.append("    error = None")
    if spec.kind == "decide":
        lines.append("    answer = None")
    i = 0
    while i < len(impls):
        if not impls[i].isolated:
            lines += _edit(spec, i, impls[i])
            i += 1
            continue
        j = i
        while j < len(impls) and impls[j].isolated:
            j += 1
        lines += _look(spec, range(i, j), impls)
        i = j
    if spec.closing:
        lines += ["    if error is not None:", "        raise error"]
    if spec.kind == "filter":
        lines.append(f"    return {', '.join(spec.values)}")
    elif spec.kind == "decide":
        lines.append("    return answer")
    return lines


def _edit(spec: Spec, i: int, impl: Impl) -> list[str]:
    """The lines for one implementation that takes part in the run."""
    call = _call(i, impl)
    if spec.kind == "notify":
        body = [call]
    elif spec.kind == "decide":
        body = [f"answer = {call}", "if answer is not None:", f"    check{i}(answer)"]
    elif len(spec.values) == 1:
        body = [f"r = {call}", "if r is not None:", f"    {spec.values[0]} = r"]
    else:
        body = [f"r = {call}", "if r is not None:", f"    {', '.join(spec.values)} = check{i}(r)"]
    body = _if_selected(spec, i, impl, body)
    indent = "        "
    lines = ["    try:", *(indent + line for line in body), "    except Exception as exc:", f"{indent}blame(i{i}, exc)"]
    lines.append(f"{indent}error = exc if error is None else error" if spec.closing else f"{indent}raise")
    if spec.kind == "decide":
        lines = ["    if answer is None:", *("    " + line for line in lines)]
    return lines


def _if_selected(spec: Spec, i: int, impl: Impl, lines: list[str]) -> list[str]:
    if impl.selects is None:
        return lines
    return [f"if s{i}({'module, path' if 'path' in spec.args else 'op, None'}):", *("    " + line for line in lines)]


def _look(spec: Spec, block: range, impls: Sequence[Impl]) -> list[str]:
    """The lines for a run of neighbouring readers and loggers."""
    protect = any(impls[i].draws for i in block)
    indent = "        " if protect else "    "
    lines = ["    state = save()", "    try:"] if protect else []
    for i in block:
        call = _call(i, impls[i])
        body = [f"    {call}"] if spec.kind == "notify" else [f"    if {call} is not None:", f"        ignored(i{i})"]
        part = _if_selected(spec, i, impls[i], ["try:", *body, "except Exception as exc:", f"    drop(i{i}, exc)"])
        lines += [indent + line for line in part]
    if protect:
        lines += ["    finally:", "        restore(state)"]
    return lines


def _wrap_body(impls: Sequence[Impl]) -> list[str]:
    """Nested calls: the first implementation is the outermost."""
    lines = []
    inner = "proceed"
    for i in reversed(range(len(impls))):
        lines += [f"    def p{i}():", f"        return {_call(i, impls[i], proceed=inner)}"]
        inner = f"p{i}"
    return [*lines, f"    return {inner}()"]
