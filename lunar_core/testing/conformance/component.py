"""The classes' common base: the behaviours of :mod:`.checks`, one test method for each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar, TypeVar

import pytest

from ... import random
from ...config import written_name
from ...plugins import registry
from ...plugins.loading import fault
from .checks import CHECKS, Case, Row

SENTENCES = {
    "config": "its_configuration_gives_it_back",
    "defaults": "its_defaults_are_valid",
    "refuses": "bad_hyperparameters_are_refused_by_name",
    "docs": "its_docstring_says_shapes_and_source",
    "gradient": "its_gradients_are_those_of_its_values",
    "dtype": "it_keeps_the_dtype",
    "repeats": "the_same_inputs_give_the_same_result",
    "state": "it_goes_on_exactly_from_its_state",
    "device": "it_runs_on_a_device_that_refuses_host_arrays",
    "hooks": "its_hooks_exist_and_offer_what_it_asks_for",
}
"""What the test of a behaviour is called."""


class Conformance:
    """Base of the conformance classes.

    A subclass, whose name begins with ``Test``, says what is examined::

        class TestLion(OptimizerConformance):
            component = Lion                          # the class, or the object that the entry point names
            fields = {"lr": 1e-3}                     # hyperparameters, for those that have no default

    ``fields``, ``inputs``, ``call``, ``args``, ``random``, ``skip`` and ``source`` are those of a
    :class:`~lunar_core.testing.conformance.checks.Row`. A behaviour that does not hold for good reason is named in
    ``skip`` with that reason.
    """

    kind: ClassVar[str] = ""
    component: ClassVar[Any] = None
    fields: ClassVar[Mapping[str, Any]] = {}
    inputs: ClassVar[tuple[Any, ...] | None] = None
    call: ClassVar[Callable[..., Any] | None] = None
    args: ClassVar[Callable[..., Any] | None] = None
    random: ClassVar[bool] = False
    skip: ClassVar[Mapping[str, str]] = {}
    source: ClassVar[str] = ""

    @pytest.fixture(autouse=True)
    def _same_random_numbers(self) -> None:
        random.seed(0)

    def make(self, **changes: Any) -> Any:
        """The component with its fields, and ``changes``."""
        return type(self).component(**{**self.fields, **changes})

    def check(self, checks: Mapping[str, Callable[..., None]], behaviour: str) -> None:
        """Run one behaviour."""
        cls = type(self)
        if behaviour in self.skip:
            pytest.skip(self.skip[behaviour])
        own = self.make if cls.make is not Conformance.make else None
        row = Row(own, self.fields, cls.args, self.inputs, cls.call, self.random, self.skip, self.source)
        checks[behaviour](Case((self.kind, self.name()), row, behaviour), cls.component)

    def name(self) -> str:
        """The name that a configuration has for the component."""
        record = self.record()
        assert record is not None, (
            f"no entry point of kind {self.kind!r} names {type(self).component!r}: install the package (pip install -e .)"
        )
        return written_name(record)

    def record(self) -> Any:
        """The registry's record of the component, or ``None``."""
        target = type(self).component
        if isinstance(target, type):
            found = registry.component_of(target)
            return found if found is not None and found.kind == self.kind else None
        module = getattr(target, "__module__", "")
        return next((c for c in registry.components(self.kind) if c.module == module), None)

    def test_it_is_what_its_kind_asks_for(self) -> None:
        assert self.kind, "use the class for the kind, such as OptimizerConformance"
        assert fault(self.kind, type(self).component) == ""

    def test_it_is_installed_under_a_name(self) -> None:
        assert self.name()


C = TypeVar("C", bound=type[Conformance])


GENERAL = ("config", "defaults", "refuses", "docs")
"""Behaviours of a component of any kind."""


def behaves_as(kind: str, only: Iterable[str] = ()) -> Callable[[C], C]:
    """Give a class a test method for each behaviour (or for those in ``only``) that :data:`~.checks.CHECKS` has for ``kind``."""

    def add(cls: C) -> C:
        for behaviour in only or CHECKS[kind]:

            def test(self: Conformance, behaviour: str = behaviour) -> None:
                self.check(CHECKS[kind], behaviour)

            # A parameter with a default is no fixture to pytest.
            name = f"test_{SENTENCES.get(behaviour, behaviour)}"
            test.__name__, test.__qualname__ = name, f"{cls.__qualname__}.{name}"
            setattr(cls, name, test)
        return cls

    return add
