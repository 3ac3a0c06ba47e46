"""Fields, their validation and the configuration protocol."""

from __future__ import annotations

import copy
import inspect
import math
import pickle
from typing import Any, ClassVar, Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lunar_core.component import (
    Component,
    Factory,
    check_field,
    field,
    field_doc,
    field_expects,
    fields,
    in_range,
    non_negative,
    one_of,
    positive,
)
from lunar_core.errors import ConfigError, HyperparameterError


class Rule(Component):
    kind: ClassVar[str] = "optimizer"
    params: Any = field(config=False)


class Adam(Rule):
    lr: float = field(default=1e-3, validator=positive, doc="step size")
    betas: tuple[float, float] = field(default=(0.9, 0.999), validator=in_range(0, 1, include_high=False))
    clip: float | None = field(default=None, validator=positive)
    nesterov: bool = False
    steps: int = 3


class Inner(Component):
    size: int = 1


class Outer(Component):
    units: int
    inner: Inner | None = None
    mode: str = field(default="same", validator=one_of("same", "valid"))
    kernel: int | tuple[int, int] = field(default=3, validator=positive)
    many: list[Inner] = Factory(list)
    sizes: tuple[int, ...] = ()
    table: dict[str, float] = Factory(dict)
    pick: Literal["a", 1] = "a"
    limit: float = field(default=math.inf, finite=False)
    free: Any = None


class Stack(Component):
    def __init__(self, *layers):
        self.layers = list(layers)

    def config(self):
        return {"layers": self.layers}

    @classmethod
    def from_config_fields(cls, layers):
        return cls(*layers)


def test_annotations_make_the_constructor_in_order_of_declaration():
    adam = Adam(["p"], 0.1, nesterov=True)
    assert (adam.params, adam.lr, adam.betas, adam.nesterov) == (["p"], 0.1, (0.9, 0.999), True)
    signature = inspect.signature(Adam)
    assert list(signature.parameters) == ["params", "lr", "betas", "clip", "nesterov", "steps"]
    assert signature.parameters["clip"].annotation == "float | None"
    assert signature.parameters["lr"].default == 1e-3


def test_the_repr_shows_what_differs_from_the_defaults():
    assert repr(Adam([], lr=0.1)) == "Adam(lr=0.1)"
    assert repr(Adam([])) == "Adam()"
    assert repr(Outer(3, many=[Inner(2)])) == "Outer(units=3, many=[Inner(size=2)])"
    assert repr(Stack(1)) == "Stack()"


def test_components_hash_and_compare_by_identity():
    a, b = Inner(1), Inner(1)
    assert a != b and len({a, b}) == 2


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"lr": math.nan}, "Adam: lr must be a finite number, got nan (float)"),
        ({"lr": math.inf}, "Adam: lr must be a finite number, got inf (float)"),
        ({"lr": 10**400}, "Adam: lr must be a finite number"),
        ({"lr": 0.0}, "Adam: lr must be > 0, got 0.0 (float)"),
        ({"lr": "0.1"}, "Adam: lr must be a finite number, got '0.1' (str)"),
        ({"lr": None}, "Adam: lr must be a finite number, got None"),
        ({"lr": True}, "Adam: lr must be a finite number, got True (bool)"),
        ({"lr": np.ones(2)}, "Adam: lr must be a finite number, got array"),
        ({"betas": (0.9, 1.0)}, "Adam: betas must be in [0, 1), got (0.9, 1.0) (tuple)"),
        ({"betas": (0.9,)}, "Adam: betas must be a tuple of 2: (a finite number, a finite number), got (0.9,)"),
        ({"clip": -1}, "Adam: clip must be > 0, got -1.0"),
        ({"clip": "x"}, "Adam: clip must be a finite number or None, got 'x'"),
        ({"nesterov": 1}, "Adam: nesterov must be True or False, got 1 (int)"),
        ({"steps": 2.0}, "Adam: steps must be an integer, got 2.0 (float)"),
        ({"steps": True}, "Adam: steps must be an integer, got True (bool)"),
    ],
)
def test_a_value_that_does_not_fit_is_one_error_naming_component_field_value_and_expectation(arguments, expected):
    with pytest.raises(HyperparameterError) as caught:
        Adam([], **arguments)
    assert str(caught.value).startswith(expected)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"inner": 3}, "inner must be a component of class Inner or None, got 3"),
        ({"inner": Adam([])}, "inner must be a component of class Inner or None, got Adam()"),
        ({"mode": "full"}, "mode must be one of 'same', 'valid', got 'full'"),
        ({"kernel": (3, 0)}, "kernel must be > 0, got (3, 0)"),
        ({"kernel": (3, 3, 3)}, "kernel must be an integer or a tuple of 2: (an integer, an integer), got (3, 3, 3)"),
        ({"many": [Inner(), 2]}, "many must be a list of which each item is a component of class Inner, got"),
        ({"many": "ab"}, "many must be a list of which"),
        ({"sizes": (1, "2")}, "sizes must be a tuple of which each item is an integer"),
        ({"table": {"a": "b"}}, "table must be a dict of which each value is a finite number"),
        ({"pick": True}, "pick must be one of 'a', 1, got True"),
        ({"limit": "inf"}, "limit must be a number, got 'inf'"),
    ],
)
def test_nested_and_compound_types_are_checked(arguments, expected):
    with pytest.raises(HyperparameterError) as caught:
        Outer(1, **arguments)
    assert str(caught.value).startswith("Outer: " + expected)


def test_numbers_are_taken_from_numpy_and_kept_as_pythons():
    outer = Outer(np.int64(4), kernel=np.int8(2), limit=np.float32(0.5), sizes=[np.int32(1), 2])
    assert [type(v) for v in (outer.units, outer.kernel, outer.limit, outer.sizes[0])] == [int, int, float, int]
    assert outer.sizes == (1, 2)
    assert Adam([], lr=1, nesterov=np.True_).lr == 1.0 and Adam([], lr=1).config()["lr"].__class__ is float
    assert Outer(1, limit=math.nan).limit != Outer(1).limit


def test_an_unknown_keyword_is_answered_with_the_nearest_names():
    with pytest.raises(HyperparameterError, match=r"Adam: no hyperparameter 'learning_rate'; did you mean 'lr'\?"):
        Adam([], learning_rate=1.0)
    with pytest.raises(HyperparameterError, match=r"no hyperparameter 'beta'; did you mean 'betas'\?"):
        Adam([], beta=1.0)
    with pytest.raises(HyperparameterError, match=r"no hyperparameter 'qqq'\n  Adam takes params, lr, betas"):
        Adam([], qqq=1.0)


def test_missing_and_surplus_arguments_are_hyperparameter_errors():
    with pytest.raises(HyperparameterError, match="Outer: missing 'units'"):
        Outer()
    with pytest.raises(HyperparameterError, match="too many positional arguments"):
        Inner(1, 2)
    with pytest.raises(HyperparameterError, match="multiple values for argument 'size'"):
        Inner(1, size=2)


def test_a_type_error_from_inside_a_component_is_not_taken_for_a_wrong_argument():
    class Odd(Component):
        n: int = 1

        def __attrs_post_init__(self):
            raise TypeError("from inside")

    with pytest.raises(TypeError, match="from inside"):
        Odd()


def test_assigning_a_hyperparameter_later_is_validated_and_other_attributes_are_free():
    adam = Adam([])
    adam.lr = 1
    assert type(adam.lr) is float
    for value, expected in ((math.nan, "finite"), (-1.0, "> 0")):
        with pytest.raises(HyperparameterError, match=expected):
            adam.lr = value
    assert adam.lr == 1.0
    adam.clip = None
    adam.anything = "else"
    assert adam.anything == "else"


def test_a_subclass_can_change_a_default_and_inherits_the_checks():
    class Mine(Adam):
        lr: float = field(default=0.5, validator=positive)
        extra: int = 0

    assert Mine([]).lr == 0.5 and Mine([]).betas == (0.9, 0.999)
    with pytest.raises(HyperparameterError, match="Mine: clip must be > 0"):
        Mine([], clip=-1.0)
    mine = Mine([])
    with pytest.raises(HyperparameterError, match="Mine: betas"):
        mine.betas = (2.0, 0.0)


def test_a_validator_may_look_at_other_fields_once_all_are_set():
    def below_high(instance, attribute, value):
        if value >= instance.high:
            raise HyperparameterError(f"low {value} is not below high {instance.high}")

    class Span(Component):
        low: float = field(default=0.0, validator=below_high)
        high: float = 1.0

    assert Span(0.5).low == 0.5
    with pytest.raises(HyperparameterError, match=r"low 2.0 is not below high 1.0"):
        Span(2.0)


def test_a_converter_runs_before_the_check_and_its_result_is_checked():
    class Padded(Component):
        padding: int | tuple[int, int] = field(default=0, converter=lambda v: (v, v) if isinstance(v, int) else v)

    assert Padded(2).padding == (2, 2)
    with pytest.raises(HyperparameterError, match="padding must be"):
        Padded("x")


def test_annotations_that_cannot_be_judged_leave_the_field_unchecked():
    class Loose(Component):
        activation: Unknown = None  # noqa: F821  (as under TYPE_CHECKING)
        union: int | Unknown = 1  # noqa: F821

    assert Loose(activation=object).activation is object
    assert Loose(union="x").union == "x"


def test_the_config_has_every_field_but_those_outside_of_it():
    assert Adam(["p"], lr=0.1).config() == {
        "lr": 0.1,
        "betas": (0.9, 0.999),
        "clip": None,
        "nesterov": False,
        "steps": 3,
    }
    assert Outer.config_names()["units"] is True and Outer.config_names()["mode"] is False
    assert "params" not in Adam.config_names()


def test_a_class_with_its_own_init_keeps_it_in_subclasses():
    class Block(Stack):
        pass

    assert Block(1, 2).layers == [1, 2]
    assert Block(1).config() == {"layers": [1]} and Block.config_names() == {"layers": True}
    assert Block.from_config_fields(layers=[3]).layers == [3]


def test_fields_that_an_inherited_init_would_never_set_are_refused_at_definition():
    with pytest.raises(HyperparameterError, match="declares size, which the __init__ that it inherits does not set"):

        class Block(Stack):
            size: int = 3


def test_a_written_init_is_its_own_config_when_it_keeps_its_arguments():
    class Net(Component):
        def __init__(self, classes: int = 10, *, width: int = 8):
            self.classes, self.width = classes, width

    assert Net(3).config() == {"classes": 3, "width": 8}
    assert Net.config_names() == {"classes": False, "width": False}

    class Forgetful(Component):
        def __init__(self, classes):
            pass

    with pytest.raises(ConfigError, match="no attribute"):
        Forgetful(3).config()


def test_a_written_init_may_use_the_generated_one():
    class Both(Component):
        size: int

        def __init__(self, size, scale):
            self.__attrs_init__(size * scale)

    assert Both(2, 3).size == 6
    with pytest.raises(HyperparameterError, match="Both: size must be an integer"):
        Both(2.5, 3)


def test_components_copy_and_pickle_without_running_their_constructor():
    outer = Outer(3, inner=Inner(2))
    again = copy.deepcopy(outer)
    assert again.inner is not outer.inner and again.inner.size == 2
    assert pickle.loads(pickle.dumps(outer)).units == 3


def test_documentation_is_read_from_the_fields():
    lr = next(a for a in fields(Adam) if a.name == "lr")
    assert field_doc(lr) == "step size" and field_expects(lr) == "a finite number, > 0"
    clip = next(a for a in fields(Adam) if a.name == "clip")
    assert field_expects(clip) == "a finite number or None, > 0"


def test_a_field_can_be_checked_without_an_instance():
    assert check_field(Adam, "lr", 1) == 1.0
    assert check_field(Adam, "unheard_of", "x") == "x"
    with pytest.raises(HyperparameterError, match="Adam: lr must be > 0"):
        check_field(Adam, "lr", -1)


def test_a_component_may_be_mixed_with_a_class_that_knows_nothing_of_it():
    class Tree:
        def __init__(self):
            raise AssertionError("never called")

        def size(self):
            return self.n

    class Leaf(Component, Tree):
        n: int = 4

    class Twig(Leaf):
        m: int = 1

    assert Leaf().size() == 4 and Twig(m=2).m == 2


@given(st.floats(), st.floats(-5, 5), st.floats(0, 5), st.booleans(), st.booleans())
def test_ranges_hold_exactly_what_they_say(value, low, span, include_low, include_high):
    check = in_range(low, low + span, include_low=include_low, include_high=include_high)
    within = low <= value <= low + span
    excluded = (value == low and not include_low) or (value == low + span and not include_high)
    inside = within and not excluded
    assert check.passes(value) is inside


def test_validators_refuse_what_cannot_be_compared_and_leave_components_alone():
    assert not positive.passes("a") and not positive.passes(None) and not non_negative.passes([1, -1])
    assert positive.passes(Inner()) and non_negative.passes((0, 1))
    assert not one_of(1).passes(True) and one_of("a", "b").passes("b")
