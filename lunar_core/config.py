"""Components as plain data and back: ``{"@optimizer": "adamw", "lr": 3e-4}``.

:func:`to_config` gives dicts, lists, strings, numbers, booleans and ``None``, which TOML, JSON and YAML hold alike. A
component is a dict with one key ``@kind`` whose value is its registry name, ``dist/name`` for one that is not first
party. What the other keys are is the component's own affair (see :mod:`lunar_core.component`). A stateful object that
occurs twice, such as a shared layer, is written once; the second time stands ``{"@same": "layers[0]"}``, its path.

:func:`from_config` checks everything before it builds anything, and reports all that is wrong at once. A string becomes
an object only through the registry: nothing else is imported or called.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from .component import Component, check_field
from .contracts.model import Template
from .errors import ConfigError, HyperparameterError, LunarError
from .module import Module
from .suggest import did_you_mean

if TYPE_CHECKING:
    from .plugins import ComponentPlugin

SAME = "@same"


def to_config(obj: Any) -> Any:
    """``obj`` as plain data: a component as ``{"@kind": name, ...}``, containers item by item, NumPy's as Python's.

    Tuples become lists and arrays nested lists. Raises ConfigError, with the path, for what has no such form: a
    component that is not in the registry, a function, a bare Module.
    """
    return _Writer().write(obj, "")


def from_config(config: Any, /, *args: Any, **fields: Any) -> Any:
    """Build what :func:`to_config` described.

    ``args`` and ``fields`` go to the outermost component: what is not part of a configuration, such as an optimizer's
    parameters, and values that are to differ. A dict or list of components gives a dict or list of objects.

    Raises ConfigError with one line for each thing that is wrong, each with its full path, such as
    ``model.layers[2].filters``; its ``errors`` is the list of (path, problem).
    """
    if (args or fields) and not _is_component(config):
        raise ConfigError(
            "from_config: arguments were given, but the outermost value of the configuration is no component"
        )
    if _is_component(config) and fields:
        config = {**config, **{name: _Given(value) for name, value in fields.items()}}
    reader = _Reader()
    path = next((key[1:] for key in config if key.startswith("@")), "") if _is_component(config) else ""
    plan = reader.read(config, path, bool(args))
    reader.raise_errors()
    result = reader.build(plan, path, args)
    reader.raise_errors()
    return result


def provenance(config: Any) -> list[dict[str, str]]:
    """Kind, name, dist and version of every component that a configuration names, each once, in order of appearance.

    A checkpoint stores this beside the configuration, to say later which package is missing.
    """
    from .plugins import registry

    rows: list[dict[str, str]] = []
    for kind, name in _named(config):
        component = registry.info(kind, name)
        row = {key: str(getattr(component, key)) for key in ("kind", "name", "dist", "version")}
        if row not in rows:
            rows.append(row)
    return rows


def _named(config: Any) -> Iterator[tuple[str, str]]:
    if isinstance(config, Mapping):
        for key, value in config.items():
            if key.startswith("@") and key != SAME:
                yield key[1:], value
            else:
                yield from _named(value)
    elif isinstance(config, (list, tuple)):
        for value in config:
            yield from _named(value)


# --- writing --------------------------------------------------------------------------------------------------------


class _Writer:
    def __init__(self) -> None:
        self.seen: dict[int, str] = {}
        self.open: set[int] = set()

    def write(self, value: Any, path: str) -> Any:
        if value is None or isinstance(value, (bool, str)):
            return value
        if isinstance(value, (int, float)):
            return float(value) if isinstance(value, float) else int(value)
        if id(value) in self.open:
            raise ConfigError(f"{path}: {_type(value)} contains itself")
        self.open.add(id(value))
        try:
            return self._compound(value, path)
        finally:
            self.open.discard(id(value))

    def _compound(self, value: Any, path: str) -> Any:
        if isinstance(value, Component):
            return self._component(value, path)
        if isinstance(value, Template):
            return self.write(value.part, path)
        if isinstance(value, Mapping):
            for key in value:
                if not isinstance(key, str) or key.startswith("@"):
                    raise ConfigError(f"{path or 'dict'}: keys are strings that do not begin with '@', got {key!r}")
            return {key: self.write(item, _join(path, key)) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.write(item, f"{path}[{i}]") for i, item in enumerate(value)]
        plain = _from_numpy(value)
        if plain is not None:
            return plain
        raise ConfigError(
            f"{path or 'to_config'}: {_type(value)} cannot be written as plain data",
            hint="a configuration holds components, numbers, strings, booleans, None, lists and dicts",
        )

    def _component(self, value: Component, path: str) -> dict[str, Any]:
        from .plugins import registry

        if hasattr(value, "state_dict"):  # two layers with equal fields are not one shared layer
            earlier = self.seen.setdefault(id(value), path)
            if earlier != path:
                return {SAME: earlier}
        record = registry.component_of(type(value))
        if record is None:
            kind = value.kind or "kind"
            raise ConfigError(
                f"{path or 'to_config'}: {type(value).__qualname__} is not a registered component",
                hint=f'lc.registry.register("{kind}", "a_name", {type(value).__name__}) names it for this process',
            )
        if isinstance(value, Module):
            _refuse_changed(value, path)
        config: dict[str, Any] = {f"@{record.kind}": written_name(record)}
        for key, item in value.config().items():
            config[key] = self.write(item, _join(path, key))
        return config


def _refuse_changed(module: Any, path: str) -> None:
    """Raise ConfigError for a component whose parts were changed where its hyperparameters do not tell."""
    told = set(map(id, _modules_in(list(module.config().values()))))
    for name, child in module.named_children():
        if id(child) not in told and (module._changed or any(m._changed for m in child.modules())):
            raise ConfigError(
                f"{path or 'to_config'}: parts of {type(module).__name__} were changed, in or at {name!r}; its "
                "hyperparameters describe it as it was",
                hint="keep the weights (lc.save) and make the same changes to a new one before loading them",
            )


def _modules_in(value: Any) -> Iterator[Any]:
    if isinstance(value, Module):
        yield value
    elif isinstance(value, (list, tuple, dict)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _modules_in(item)


def written_name(record: ComponentPlugin) -> str:
    """The name that means this component wherever the configuration is read.

    It is the bare one only for first-party components, and those of this session, that have it: not where
    ``[tool.lunar.override]`` gives it to another.
    """
    from .plugins.discovery import SESSION
    from .plugins.groups import FIRST_PARTY

    return record.address if record.dist in (FIRST_PARTY, SESSION) else record.qualified


def _from_numpy(value: Any) -> Any:
    import numpy as np

    if isinstance(value, np.generic) and value.dtype.kind in "biufU":
        return value.item()
    if isinstance(value, np.ndarray) and value.dtype.kind in "biufU":
        return value.tolist()
    if isinstance(value, np.dtype):
        return value.name
    return None


# --- reading --------------------------------------------------------------------------------------------------------


class _Given:
    """A value that the caller passed as it is; it is no configuration."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value


class _Plan:
    """A component that can be built: its class and the plans of its fields."""

    __slots__ = ("cls", "fields")

    def __init__(self, cls: Any, fields: dict[str, Any]) -> None:
        self.cls = cls
        self.fields = fields


class _Same:
    __slots__ = ("path",)

    def __init__(self, path: str) -> None:
        self.path = path


class _Bad:
    """Stands where an error was noted; what contains it is not judged on its account."""


_BAD = _Bad()


class _Reader:
    def __init__(self) -> None:
        self.errors: list[tuple[str, str]] = []
        self.plans: dict[str, _Plan] = {}
        self.built: dict[str, Any] = {}
        self.building: set[str] = set()

    # First pass: look everything up and check it; nothing is built.

    def read(self, config: Any, path: str, has_args: bool = False) -> Any:
        if isinstance(config, _Given):
            return config
        if isinstance(config, Mapping):
            marks = [key for key in config if isinstance(key, str) and key.startswith("@")]
            if marks == [SAME] and len(config) == 1:
                return _Same(str(config[SAME]))
            if marks:
                return self._component(config, marks, path, has_args)
            return {key: self.read(item, _join(path, str(key))) for key, item in config.items()}
        if isinstance(config, (list, tuple)):
            return [self.read(item, f"{path}[{i}]") for i, item in enumerate(config)]
        return config

    def _component(self, config: Mapping[str, Any], marks: list[str], path: str, has_args: bool) -> Any:
        from .plugins import registry

        if len(marks) > 1:
            return self._note(path, f"one key names the component, got {' and '.join(marks)}")
        mark = marks[0]
        items = {key: self.read(value, _join(path, str(key))) for key, value in config.items() if key != mark}
        try:
            cls = registry.get(mark[1:], config[mark])
        except LunarError as error:
            return self._note(path, str(error))
        if isinstance(cls, type) and issubclass(cls, Component):
            self._check(cls, items, path, has_args)
        self.plans[path] = _Plan(cls, items)
        return self.plans[path]

    def _check(self, cls: type[Component], items: dict[str, Any], path: str, has_args: bool) -> None:
        names = cls.config_names()
        for name, item in items.items():
            if name not in names:
                if not isinstance(item, _Given):  # the caller may pass what is no part of a configuration
                    guess = did_you_mean(str(name), names)
                    takes = f"; {guess}" if guess else f"; it has {', '.join(names)}" if names else ""
                    self._note(_join(path, str(name)), f"{cls.__name__} has no such field{takes}")
                continue
            value = item.value if isinstance(item, _Given) else item
            if _judgeable(value):
                try:
                    check_field(cls, name, value)
                except HyperparameterError as error:
                    self._note(_join(path, name), _problem(error))
        for name, required in names.items():
            if required and name not in items and not has_args:
                self._note(_join(path, name), f"{cls.__name__} needs this field")

    # Second pass: build, innermost first.

    def build(self, plan: Any, path: str, args: tuple[Any, ...] = ()) -> Any:
        if isinstance(plan, _Given):
            return plan.value
        if isinstance(plan, _Same):
            return self._same(plan, path)
        if isinstance(plan, dict):
            return {key: self.build(item, _join(path, str(key))) for key, item in plan.items()}
        if isinstance(plan, list):
            return [self.build(item, f"{path}[{i}]") for i, item in enumerate(plan)]
        if not isinstance(plan, _Plan):
            return plan
        if path not in self.built:
            self.building.add(path)
            self.built[path] = self._make(plan, path, args)
        return self.built[path]

    def _make(self, plan: _Plan, path: str, args: tuple[Any, ...]) -> Any:
        before = len(self.errors)
        values = {key: self.build(item, _join(path, str(key))) for key, item in plan.fields.items()}
        if len(self.errors) > before:
            return _BAD
        make = getattr(plan.cls, "from_config_fields", plan.cls)
        try:
            return make(*args, **values)
        except LunarError as error:
            field = getattr(error, "field", "")
            return self._note(_join(path, field) if field else path, _problem(error))
        except TypeError as error:
            if _raised_by_the_call(error):
                return self._note(path, str(error))
            raise

    def _same(self, plan: _Same, path: str) -> Any:
        """What stands at another path, counted from any of the components around this one, the nearest first."""
        around = path
        while True:
            target = plan.path if not around else around + ("" if plan.path.startswith("[") else ".") + plan.path
            if target in self.plans and (target in self.built or target not in self.building):
                return self.build(self.plans[target], target)
            if not around:
                return self._note(path, f'"@same" points at {plan.path!r}, where there is no other component')
            around = around[: max(around.rfind("."), around.rfind("["), 0)]

    def _note(self, path: str, problem: str) -> Any:
        self.errors.append((path, problem))
        return _BAD

    def raise_errors(self) -> None:
        if not self.errors:
            return
        lines = [f"{path}: {problem}" if path else problem for path, problem in self.errors]
        if len(lines) > 1:
            lines = [
                f"{len(lines)} errors in the configuration",
                *("  " + line.replace("\n", "\n  ") for line in lines),
            ]
        error = ConfigError("\n".join(lines))
        error.__dict__["errors"] = self.errors
        raise error


def _judgeable(value: Any) -> bool:
    """Whether a planned value is already what the field would get: nothing in it is still to be built."""
    if isinstance(value, (_Plan, _Same, _Bad, _Given)):
        return False
    if isinstance(value, dict):
        return all(map(_judgeable, value.values()))
    return all(map(_judgeable, value)) if isinstance(value, list) else True


def _raised_by_the_call(error: TypeError) -> bool:
    """Whether the arguments did not fit the signature, as against a mistake inside what was called."""
    traceback = error.__traceback__
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    callers = (_Reader._make.__code__, Component.from_config_fields.__func__.__code__)  # type: ignore[attr-defined]
    return traceback is None or traceback.tb_frame.f_code in callers


def _is_component(config: Any) -> bool:
    return isinstance(config, Mapping) and any(isinstance(k, str) and k.startswith("@") for k in config)


def _problem(error: LunarError) -> str:
    return getattr(error, "problem", "") or str(error)


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path and name else path or name


def _type(value: Any) -> str:
    return f"an object of type {type(value).__module__}.{type(value).__qualname__}"
