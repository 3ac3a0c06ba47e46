"""What every component of a kind does: one table, many behaviours; for the first party and for everybody else.

A component is tested by a row that says how to make it and what to give it::

    from lunar_core.testing.conformance.checks import Row, cases, missing

    ROWS = {
        ("optimizer", "lion"): Row(fields={"lr": 1e-3}),
        ("layer", "gated_dense"): Row(make=lambda: GatedDense(3), inputs=(np.ones((2, 5)),)),
    }

    @pytest.mark.parametrize("case", cases(ROWS), ids=str)
    def test_it_conforms(case):
        case.check()

    def test_every_component_has_a_row():
        assert missing(ROWS, dist="lunar-lion") == []

Behaviours, each where it applies to the kind: ``config`` (through JSON and back), ``defaults`` (are valid), ``refuses``
(each bad hyperparameter, with its field's name, and unknown ones), ``docs`` (a docstring of its own that says shapes, for
what computes on arrays, and a source), ``gradient`` (against differences, float64), ``dtype`` (float32 and float64 stay),
``repeats`` (the same inputs give the same result: in evaluation mode, or from the same seed), ``state`` (goes on exactly
after a round trip) and ``device`` (the same on a device that refuses NumPy). :func:`check_discovery` asserts that listing
imports nothing. A failure is an AssertionError, or the error of the component.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from ... import config as configs
from ... import random
from ...component import Component, _has_written_init, check_field, field_expects, fields
from ...errors import HyperparameterError
from ...module import Module
from . import array_checks as arrays
from . import training_checks as training

Key = tuple[str, str]


class Row(NamedTuple):
    """How a component is made and used in the checks.

    - ``make``: gives a fresh one; default, the class called with ``args`` and ``fields``.
    - ``fields``: hyperparameters that show in the configuration.
    - ``args``: for an optimizer, a function of its parameters that gives what stands before the hyperparameters; default,
      the parameters themselves.
    - ``inputs``: NumPy arrays (or None) that it is called with, floating ones as float64; of a loss ``(pred, target)``, of a
      metric ``(pred, target)``; ``pred`` may be a tuple.
      For a regularizer ``(names of two weights, their shapes)`` of the model that it is taken of.
    - ``call``: ``call(component, *inputs)`` in the place of ``component(*inputs)``.
    - ``random``: it draws in training, so it is judged in evaluation mode.
    - ``skip``: behaviours that do not apply, each with the reason.
    - ``source``: where the formula is from, if it is so elementary that the docstring names none: say "definition".
    """

    make: Callable[[], Any] | None = None
    fields: Mapping[str, Any] = {}
    args: Callable[[Any], tuple[Any, ...]] | None = None
    inputs: tuple[Any, ...] | None = None
    call: Callable[..., Any] | None = None
    random: bool = False
    skip: Mapping[str, str] = {}
    source: str = ""


class Case:
    """One behaviour of one component."""

    def __init__(self, key: Key, row: Row, behaviour: str) -> None:
        self.kind, self.name = key
        self.row = row
        self.behaviour = behaviour

    def __str__(self) -> str:
        return f"{self.kind}-{self.name}-{self.behaviour}"

    def check(self) -> None:
        """Run the check; nothing for one that the row leaves out."""
        from ...plugins import registry

        if self.behaviour not in self.row.skip:
            CHECKS[self.kind][self.behaviour](self, registry.get(self.kind, self.name))

    def make(self, cls: Any) -> Any:
        """A fresh component, made from the same random numbers each time."""
        random.seed(0)
        return self.row.make() if self.row.make is not None else cls(**self.row.fields)

    def inputs(self, default: tuple[Any, ...] = ()) -> tuple[Any, ...]:
        return default if self.row.inputs is None else self.row.inputs

    def call(self, component: Any, *inputs: Any) -> Any:
        return component(*inputs) if self.row.call is None else self.row.call(component, *inputs)


def cases(rows: Mapping[Key, Row]) -> list[Case]:
    """The checks of a table, in order; their text is a stable id for a parametrised test."""
    return [Case(key, row, behaviour) for key, row in rows.items() for behaviour in CHECKS[key[0]]]


def missing(rows: Iterable[Key], dist: str, kinds: Iterable[str] | None = None) -> list[str]:
    """What a distribution registers without a row in the table, each with the row to add."""
    from ...plugins import registry

    have = set(rows)
    return [
        f'({kind!r}, {name!r}) has no row: add ("{kind}", "{name}"): Row(...) to the table'
        for kind in (kinds or CHECKS)
        for name in registry.names(kind)
        if registry.info(kind, name).dist == dist and (kind, name) not in have
    ]


def check_discovery(dist: str) -> None:
    """Assert, in a fresh interpreter, that listing the components of a distribution imports none of its modules."""
    code = (
        "import sys, lunar_core as lc\n"
        "found = [lc.registry.info(k, n) for k in lc.registry.kinds() for n in lc.registry.names(k)]\n"
        f"modules = {{c.target.partition(':')[0] for c in found if c.dist == {dist!r}}}\n"
        "print(*sorted(m for m in modules if m in sys.modules and not m.startswith('lunar_core')))\n"
        "print(len(modules))\n"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.splitlines()
    assert out[0] == "", f"listing the components imported {out[0]}"
    assert int(out[1]) > 0, f"no component of {dist} is registered"


# -- every component --------------------------------------------------------------------------------------------------


def _config(case: Case, cls: Any) -> None:
    made, args = case.make(cls), ()
    _config_of(case, made, args)


def _config_of(case: Case, made: Any, args: tuple[Any, ...]) -> None:
    written = configs.to_config(made)
    assert written[f"@{case.kind}"] == case.name
    again = configs.from_config(json.loads(json.dumps(written)), *args)
    assert type(again) is type(made)
    assert configs.to_config(again) == written


def _defaults(case: Case, cls: Any) -> None:
    for attribute in fields(cls):
        default = attribute.default
        if isinstance(default, (int, float, str, tuple, bool, type(None))) and attribute.alias:
            check_field(cls, attribute.alias, default)


_BAD = (object(), "bananas", float("nan"), -1.0, -1, 1.5, 2, (), ("bananas",), 1e30)


def _refuses(case: Case, cls: Any) -> None:
    """Of each field that says what it expects, a value that it does not is refused by name; unknown ones as well."""
    component = (
        case.make(cls) if case.kind != "optimizer" else training.made_optimizer(case, cls, training.parameters())
    )
    for attribute in fields(cls):
        if not (attribute.init and field_expects(attribute)) or attribute.metadata.get("lunar_converter") is not None:
            continue
        for value in _BAD:
            try:
                check_field(cls, attribute.alias or attribute.name, value)
            except HyperparameterError as error:
                refused = error
                break
        else:
            raise AssertionError(
                f"{cls.__name__}.{attribute.name} takes {field_expects(attribute)}, and yet any of {_BAD}"
            )
        alias = str(attribute.alias)
        assert alias in refused.message, f"{refused.message!r} does not name {alias}"
        try:
            setattr(component, attribute.name, value)
        except HyperparameterError as again:
            assert alias in again.message
        else:
            raise AssertionError(f"{cls.__name__}.{attribute.name} = {value!r} was not refused")
    if not _has_written_init(cls):
        try:
            cls(**{"no_such_hyperparameter": 1})
        except HyperparameterError as refused:
            assert "no_such_hyperparameter" in refused.message
        else:
            raise AssertionError(f"{cls.__name__}(no_such_hyperparameter=1) was not refused")


_SHAPES = re.compile(r"shape|\(N|\(batch|\(\.\.\.|ax[ie]s|element|batch|position|sequence|token|class", re.I)
_SOURCE = re.compile(
    r"\b(1[789]|20)\d\d\b|arXiv|PyTorch|torch|Keras|NumPy|SciPy|scikit|TensorFlow|timm|transformers|fast\.?ai", re.I
)


def _docs(case: Case, cls: Any) -> None:
    assert "__doc__" in vars(cls), f"{cls.__name__} inherits its docstring"
    own = [c.__doc__ or "" for c in cls.__mro__ if c not in Component.__mro__ and c not in Module.__mro__]
    doc = "\n".join([*own, sys.modules[cls.__module__].__doc__ or ""])
    if case.kind in ("activation", "layer", "loss", "metric"):
        assert _SHAPES.search(doc), f"the docstring of {cls.__name__} says nothing of shapes"
    if not case.row.source:
        assert _SOURCE.search(doc), f"the docstring of {cls.__name__} names no source; or say source= in its row"


def _optimizer_config(case: Case, cls: Any) -> None:
    params = training.parameters()
    _config_of(case, training.made_optimizer(case, cls, params), training.given(case, params))


_COMMON: dict[str, Callable[[Case, Any], None]] = {
    "config": _config,
    "defaults": _defaults,
    "refuses": _refuses,
    "docs": _docs,
}
_MODULES: dict[str, Callable[[Case, Any], None]] = {
    **_COMMON,
    "gradient": arrays.module_gradient,
    "dtype": arrays.module_dtype,
    "repeats": arrays.module_repeats,
    "state": arrays.module_state,
    "device": arrays.module_device,
}
#: Kind -> behaviour -> its check.
CHECKS: dict[str, dict[str, Callable[[Case, Any], None]]] = {
    "activation": _MODULES,
    "layer": _MODULES,
    "initializer": {
        **_COMMON,
        "dtype": arrays.initializer_dtype,
        "repeats": arrays.initializer_repeats,
        "device": arrays.initializer_device,
    },
    "loss": {
        **_COMMON,
        "gradient": arrays.loss_gradient,
        "dtype": arrays.loss_dtype,
        "repeats": arrays.loss_repeats,
        "device": arrays.loss_device,
    },
    "metric": {
        **_COMMON,
        "repeats": arrays.metric_repeats,
        "state": arrays.metric_state,
        "device": arrays.metric_device,
    },
    "optimizer": {
        **_COMMON,
        "config": _optimizer_config,
        "dtype": training.optimizer_dtype,
        "repeats": training.optimizer_repeats,
        "state": training.optimizer_state,
        "device": training.optimizer_device,
    },
    "scheduler": {**_COMMON, "repeats": training.scheduler_repeats, "state": training.scheduler_state},
    "regularizer": {
        **_COMMON,
        "gradient": training.regularizer_gradient,
        "dtype": training.regularizer_dtype,
        "repeats": training.regularizer_repeats,
        "device": training.regularizer_device,
    },
    "parametrization": {
        **_COMMON,
        "gradient": arrays.parametrization_gradient,
        "dtype": arrays.parametrization_dtype,
        "repeats": arrays.parametrization_repeats,
        "state": arrays.parametrization_state,
        "device": arrays.parametrization_device,
    },
    "gradient_processor": {
        **_COMMON,
        "dtype": training.processor_dtype,
        "repeats": training.processor_repeats,
        "state": training.processor_state,
        "device": training.processor_device,
    },
    "callback": {**_COMMON, "hooks": training.callback_hooks},
}
KINDS = tuple(CHECKS)
