"""The base class of everything that has hyperparameters and a name in the registry.

A subclass declares its hyperparameters as annotated fields, and that is all::

    class Lion(Optimizer):
        lr: float = field(default=1e-4, validator=positive, doc="step size")
        betas: tuple[float, float] = field(default=(0.9, 0.99), validator=in_range(0, 1, include_high=False))
        weight_decay: float = field(default=0.0, validator=non_negative)

``__init__``, the repr, the configuration and the validation follow from the fields (attrs does the work when the class
is defined; no decorator is needed). A value of the wrong type, a NaN, a value out of range, an unknown or a missing
keyword raises :class:`~lunar_core.errors.HyperparameterError`, in the constructor and on later assignment alike.

Three methods are the configuration protocol; most classes inherit all of them:

- ``config()`` returns ``{field: value}``, values as they are (nested components included);
- ``config_names()`` returns ``{name: required}`` for what ``from_config_fields`` takes;
- ``from_config_fields(*args, **fields)`` builds the object from such values; ``args`` are what is not in a
  configuration, such as the parameters for an optimizer.

A class with an ``__init__`` of its own follows it when every parameter of ``__init__`` is kept under its own name on
``self``. Where that does not fit, as in ``Sequential(*layers)``, the class overrides two of them::

    def config(self): return {"layers": list(self.layers)}

    @classmethod
    def from_config_fields(cls, layers): return cls(*layers)
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, dataclass_transform

import attrs

from . import fieldtypes
from .errors import ConfigError, HyperparameterError
from .suggest import did_you_mean
from .validators import Check, hyperparameter_error, in_range, non_negative, one_of, positive

__all__ = [
    "NOTHING",
    "PLUGIN_API",
    "Check",
    "Component",
    "Factory",
    "check_field",
    "field",
    "field_doc",
    "field_expects",
    "fields",
    "hyperparameter_error",
    "in_range",
    "non_negative",
    "one_of",
    "positive",
]

PLUGIN_API: tuple[int, int] = (1, 0)
"""Version of the contracts that plugins are written against: (major, minor). A plugin works with the same major and
at most this minor."""

NOTHING = attrs.NOTHING
Factory = attrs.Factory


def field(
    *,
    default: Any = NOTHING,
    factory: Callable[[], Any] | None = None,
    validator: Any = None,
    converter: Any = None,
    kw_only: bool = False,
    init: bool = True,
    alias: str | None = None,
    repr: bool = True,
    config: bool = True,
    finite: bool = True,
    doc: str = "",
    metadata: Mapping[str, Any] | None = None,
) -> Any:
    """Declare a hyperparameter that needs more than ``name: type = default``.

    ``validator`` is one of :func:`positive`, :func:`non_negative`, :func:`in_range`, :func:`one_of`, an
    ``(instance, attribute, value)`` function, or a list of them. ``config=False`` keeps the field out of the
    configuration and the repr (``params`` of an optimizer). ``finite=False`` lets a float be NaN or infinite. ``doc``
    is the line that the generated documentation shows. The rest means what it means in ``attrs.field``.
    """
    extra = {**(metadata or {}), "lunar_config": config, "lunar_finite": finite, "lunar_doc": doc}
    return attrs.field(
        default=default,
        factory=factory,
        validator=validator,
        converter=converter,
        kw_only=kw_only,
        init=init,
        alias=alias,
        repr=repr and config,
        metadata=extra,
    )


@dataclass_transform(eq_default=False, field_specifiers=(field, attrs.field))
class Component:
    """Base of every contract: hyperparameters as fields, a config, a repr. See the module's docstring.

    Instances hash and compare by identity. ``kind`` is the registry's name for the contract (``"optimizer"``), set once
    in the contract; ``api`` the version of the contracts that the class was written against, which a plugin's author
    may state as a literal, ``api = (1, 0)``, so that a later core can tell.
    """

    kind: ClassVar[str] = ""
    api: ClassVar[tuple[int, int]] = PLUGIN_API
    __lunar_component__: ClassVar[bool] = True
    __lunar_checks__: ClassVar[dict[str, attrs.Attribute]] = {}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        own_setattr = "__setattr__" in vars(cls)
        attrs.define(
            cls,
            slots=False,
            eq=False,
            repr=False,
            init=not _inherits_written_init(cls),
            auto_attribs=True,
            auto_detect=True,
            on_setattr=attrs.setters.NO_OP if own_setattr else None,
            field_transformer=_add_type_checks,
        )
        # attrs' own __setattr__ raises and catches a KeyError for every name that is not a field; ours looks it up.
        # (attrs made one for the hooks that `__init__` relies on; it goes, and the inherited one is seen again.)
        if not own_setattr and "__setattr__" in vars(cls):
            del cls.__setattr__
        declared = fields(cls)
        if _inherits_written_init(cls) and "__init__" not in vars(cls) and not all(_inherited(a) for a in declared):
            own = ", ".join(a.name for a in declared if not _inherited(a))
            raise HyperparameterError(
                f"{cls.__name__} declares {own}, which the __init__ that it inherits does not set",
                hint="write an __init__ that calls super().__init__ and sets them",
            )
        cls.__lunar_checks__ = {a.name: a for a in declared if a.converter is not None or a.validator is not None}
        for name in ("__init__", "__attrs_init__"):
            made = vars(cls).get(name)
            if made is not None and (name == "__attrs_init__" or "__attrs_init__" not in vars(cls)):
                setattr(cls, name, _explain_arguments(made, cls))

    def __setattr__(self, name: str, value: Any) -> None:
        attribute = self.__lunar_checks__.get(name)
        if attribute is not None:
            value = attrs.setters.convert(self, attribute, value)
            attrs.setters.validate(self, attribute, value)
        _set(self, name, value)

    def config(self) -> dict[str, Any]:
        """The hyperparameters by name, values as they are. ``lc.to_config`` turns them into plain data."""
        if not _has_written_init(type(self)):
            return {_alias(a): getattr(self, a.name) for a in _config_fields(type(self))}
        values = {}
        for name in self.config_names():
            try:
                values[name] = getattr(self, name)
            except AttributeError:
                raise ConfigError(
                    f"{type(self).__name__}.config(): __init__ takes {name!r}, of which the object has no attribute",
                    hint=f"keep it (self.{name} = {name}) or define config() and from_config_fields()",
                ) from None
        return values

    @classmethod
    def config_names(cls) -> dict[str, bool]:
        """What ``from_config_fields`` takes by name, and whether it must be given."""
        own = _function(cls.from_config_fields) is not _function(Component.from_config_fields)
        if not own and not _has_written_init(cls):
            return {_alias(a): a.default is NOTHING for a in _config_fields(cls)}
        parameters = inspect.signature(cls.from_config_fields if own else cls).parameters.values()
        named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
        return {p.name: p.default is p.empty for p in parameters if p.kind in named}

    @classmethod
    def from_config_fields(cls, *args: Any, **fields: Any) -> Any:
        """Build the component from configured values; ``args`` go first and are not part of a configuration."""
        return cls(*args, **fields)

    def fields_repr(self) -> str:
        """``lr=0.01, nesterov=True``: the fields that differ from their defaults, as in the repr."""
        if not hasattr(type(self), "__attrs_attrs__"):
            return ""
        parts = []
        # positional ones first, also those that a subclass declares after the keywords of its base
        for a in sorted(_config_fields(type(self)), key=lambda a: a.kw_only):
            if a.repr and hasattr(self, a.name):
                value = getattr(self, a.name)
                if not _is_default(a, value):
                    parts.append(f"{a.alias}={value!r}")
        return ", ".join(parts)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.fields_repr()})"


_set = object.__setattr__


def fields(cls: type[Component]) -> tuple[attrs.Attribute, ...]:
    """The declared hyperparameters of a component class, those outside the configuration included."""
    return tuple(getattr(cls, "__attrs_attrs__", ()))


def field_doc(attribute: attrs.Attribute) -> str:
    """The ``doc=`` line of a field."""
    return str(attribute.metadata.get("lunar_doc", ""))


def field_expects(attribute: attrs.Attribute) -> str:
    """What a field takes, in words: ``"a finite number, > 0"``; empty where everything goes."""
    parts = [attribute.metadata.get("lunar_expected", "")]
    parts += [check.expected for check in _checks(attribute.validator)]
    return ", ".join(p for p in parts if p)


def check_field(cls: type[Component], name: str, value: Any) -> Any:
    """``value`` as the field ``name`` of ``cls`` would keep it, without an instance.

    Only what needs no instance is checked: the type and the declared :class:`Check` validators. Raises
    HyperparameterError. Names that are no declared field pass unchanged.
    """
    for attribute in fields(cls):
        if attribute.alias == name:
            accept = attribute.metadata.get("lunar_accept")
            own_converter = attribute.metadata.get("lunar_converter", attribute.converter)
            if own_converter is not None:
                return value
            if accept is not None:
                try:
                    value = accept(value)
                except fieldtypes.Mismatch as mismatch:
                    raise hyperparameter_error(cls, name, value, mismatch.expected) from None
            if value is None and attribute.metadata.get("lunar_optional"):
                return value
            for check in _checks(attribute.validator):
                check(cls.__name__, attribute, value)
    return value


def _checks(validator: Any) -> list[Check]:
    if isinstance(validator, Check):
        return [validator]
    if isinstance(validator, _Optional):
        return _checks(validator.inner)
    parts = getattr(validator, "_validators", ())  # attrs.validators.and_
    return [check for part in parts for check in _checks(part)]


class _Optional:
    """Runs a validator unless the value is ``None``, for fields annotated ``X | None``."""

    __slots__ = ("inner",)

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def __call__(self, instance: Any, attribute: Any, value: Any) -> None:
        if value is not None:
            self.inner(instance, attribute, value)


def _add_type_checks(cls: type, attributes: list[attrs.Attribute]) -> list[attrs.Attribute]:
    """Give every field declared by ``cls`` the check that follows from its annotation."""
    result = []
    for a in attributes:
        if _inherited(a):
            result.append(a)
            continue
        annotation = fieldtypes.resolve(a.type, cls)
        compiled = fieldtypes.compile_type(annotation, Component, a.metadata.get("lunar_finite", True))
        optional = fieldtypes.allows_none(annotation)
        metadata = {**a.metadata, "lunar_converter": a.converter, "lunar_optional": optional}
        changes: dict[str, Any] = {"metadata": metadata}
        if compiled is not None:
            accept, expected = compiled
            metadata.update(lunar_accept=accept, lunar_expected=expected)
            typed = attrs.Converter(_type_converter(accept), takes_self=True, takes_field=True)
            changes["converter"] = typed if a.converter is None else attrs.converters.pipe(a.converter, typed)
        if optional and a.validator is not None:
            changes["validator"] = _Optional(a.validator)
        result.append(a.evolve(**changes))
    return result


def _type_converter(accept: fieldtypes.Accept) -> Callable[[Any, Any, Any], Any]:
    def convert(value: Any, instance: Any, attribute: Any) -> Any:
        try:
            return accept(value)
        except fieldtypes.Mismatch as mismatch:
            raise hyperparameter_error(instance, attribute.alias, value, mismatch.expected) from None

    return convert


def _alias(attribute: attrs.Attribute) -> str:
    return attribute.alias or attribute.name


def _inherited(attribute: attrs.Attribute) -> bool:
    return bool(getattr(attribute, "inherited", False))


def _function(method: Any) -> Any:
    return getattr(method, "__func__", method)


def _config_fields(cls: type) -> list[attrs.Attribute]:
    return [a for a in fields(cls) if a.init and a.metadata.get("lunar_config", True)]


def _is_default(attribute: attrs.Attribute, value: Any) -> bool:
    default: Any = attribute.default
    if default is NOTHING:
        return False
    if isinstance(default, attrs.Factory):  # type: ignore[arg-type]
        if default.takes_self:
            return False
        default = default.factory()
    if value is default:
        return True
    if isinstance(value, Component):
        return type(value) is type(default) and value.fields_repr() == default.fields_repr()
    try:
        return bool(value == default)
    except (TypeError, ValueError):
        return False


def _has_written_init(cls: type) -> bool:
    """Whether ``cls(...)`` runs an ``__init__`` that somebody wrote rather than the one made from the fields."""
    init = cls.__init__  # type: ignore[misc]
    return init is not object.__init__ and not getattr(init, "__lunar_made__", False)


def _inherits_written_init(cls: type) -> bool:
    """Whether a subclass would lose a written ``__init__`` of a base, such as Sequential's, to a generated one."""
    for base in cls.__mro__:
        init = vars(base).get("__init__")
        if init is not None:
            if base is object or getattr(init, "__lunar_made__", False):
                return False
            # A base outside the component tree (a mix-in such as Module) does not decide how components are built.
            return base is cls or issubclass(base, Component)
    return False


def _explain_arguments(made: Any, cls: type) -> Any:
    """Wrap a generated ``__init__`` so that a call that does not fit its signature says which name was meant."""
    # attrs writes Any for a field with a converter, which ours all have; the signature should show what is declared.
    made.__annotations__.update({a.alias: a.type for a in fields(cls) if a.init and a.type is not None})
    signature = inspect.signature(made)

    @functools.wraps(made)
    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        try:
            made(self, *args, **kwargs)
        except TypeError:
            try:
                signature.bind(self, *args, **kwargs)
            except TypeError as mismatch:
                raise _argument_error(type(self).__name__, signature, args, kwargs, mismatch) from None
            raise  # the arguments fit: the error is from inside, a converter or __attrs_post_init__

    __init__.__lunar_made__ = True  # type: ignore[attr-defined]
    return __init__


def _argument_error(
    owner: str, signature: inspect.Signature, args: tuple[Any, ...], kwargs: dict[str, Any], mismatch: TypeError
) -> HyperparameterError:
    names = list(signature.parameters)[1:]
    takes = f"{owner} takes {', '.join(names)}" if names else f"{owner} takes no hyperparameters"
    for name in kwargs:
        if name not in names:
            guess = did_you_mean(name, names)
            return HyperparameterError(
                f"{owner}: no hyperparameter {name!r}{'; ' + guess if guess else ''}", hint=takes
            )
    filled = set(names[: len(args)]) | set(kwargs)
    missing = [n for n in names if n not in filled and signature.parameters[n].default is inspect.Parameter.empty]
    if missing:
        return HyperparameterError(f"{owner}: missing {', '.join(map(repr, missing))}", hint=takes)
    return HyperparameterError(f"{owner}: {mismatch}", hint=takes)
