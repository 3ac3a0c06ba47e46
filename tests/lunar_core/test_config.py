"""Components to plain data and back."""

from __future__ import annotations

import json
import sys
import tomllib
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lunar_core.component import Component, Factory, field, in_range, positive
from lunar_core.config import from_config, provenance, to_config
from lunar_core.errors import ConfigError, HyperparameterError
from lunar_core.module import Parameter
from lunar_core.plugins import Registry, registry


class Activation(Component):
    kind: ClassVar[str] = "model"
    slope: float = 0.0


class Conv(Component):
    kind: ClassVar[str] = "model"
    filters: int = field(validator=positive)
    kernel: int | tuple[int, int] = 3
    activation: Activation | None = None
    extra: dict[str, Any] = Factory(dict)

    def state_dict(self):
        return {}


class Stack(Component):
    kind: ClassVar[str] = "model"

    def __init__(self, *layers):
        self.layers = layers

    def config(self):
        return {"layers": list(self.layers)}

    @classmethod
    def from_config_fields(cls, layers):
        return cls(*layers)


class Adam(Component):
    kind: ClassVar[str] = "model"
    params: Any = field(config=False)
    lr: float = field(default=1e-3, validator=positive)
    betas: tuple[float, float] = field(default=(0.9, 0.999), validator=in_range(0, 1, include_high=False))


class Net(Component):
    kind: ClassVar[str] = "model"

    def __init__(self, width: int, depth: int = 2):
        if width < 1:
            raise HyperparameterError(f"Net: width must be at least 1, got {width}")
        self.width, self.depth = width, depth


def a_function(size=3):
    return ["made", size]


class Stranger(Component):
    pass


@pytest.fixture(autouse=True)
def registered():
    """Kind "model" takes any callable, so these tests depend on no other contract."""
    for name, target in {
        "test-act": Activation,
        "test-conv": Conv,
        "test-stack": Stack,
        "test-adam": Adam,
        "test-net": Net,
        "test-fn": a_function,
    }.items():
        registry.register("model", name, target)


def test_a_component_becomes_its_kind_and_name_and_its_fields():
    assert to_config(Adam([], lr=0.5)) == {"@model": "test-adam", "lr": 0.5, "betas": [0.9, 0.999]}


def test_nested_components_lists_and_dicts_are_written_item_by_item():
    model = Stack(Conv(8, activation=Activation(0.1)), [Conv(4, (1, 3), extra={"a": (1, None)})])
    config = to_config(model)
    assert config == {
        "@model": "test-stack",
        "layers": [
            {
                "@model": "test-conv",
                "filters": 8,
                "kernel": 3,
                "activation": {"@model": "test-act", "slope": 0.1},
                "extra": {},
            },
            [{"@model": "test-conv", "filters": 4, "kernel": [1, 3], "activation": None, "extra": {"a": [1, None]}}],
        ],
    }
    again = from_config(json.loads(json.dumps(config)))
    assert to_config(again) == config and again.layers[1][0].kernel == (1, 3)


def test_arguments_go_to_the_outermost_component_and_may_replace_fields():
    config = to_config(Adam([], lr=0.5))
    adam = from_config(config, ["p"], lr=1)
    assert adam.params == ["p"] and adam.lr == 1.0
    assert from_config(config, params=["q"]).params == ["q"]
    with pytest.raises(ConfigError, match=r"^model\.lr: must be > 0, got -1"):
        from_config(config, [], lr=-1)
    with pytest.raises(ConfigError, match="no component"):
        from_config([config], ["p"])


def test_containers_of_components_give_containers_of_objects():
    built = from_config({"model": {"@model": "test-conv", "filters": 2}, "epochs": 3, "all": [{"@model": "test-act"}]})
    assert built["model"].filters == 2 and built["epochs"] == 3 and isinstance(built["all"][0], Activation)


def test_toml_is_a_home_for_a_config():
    text = '"@model" = "test-stack"\n[[layers]]\n"@model" = "test-conv"\nfilters = 4\nkernel = [1, 3]\n'
    assert from_config(tomllib.loads(text)).layers[0].kernel == (1, 3)


def test_numpy_values_become_pythons():
    config = to_config(
        {"a": np.float32(0.5), "b": np.int64(3), "c": np.bool_(True), "d": np.arange(3), "e": np.dtype("float32")}
    )
    assert config == {"a": 0.5, "b": 3, "c": True, "d": [0, 1, 2], "e": "float32"}
    assert [type(v) for v in config.values()] == [float, int, bool, list, str]


def test_a_shared_stateful_object_is_shared_again():
    shared = Conv(4)
    model = Stack(shared, Conv(4), shared)
    config = to_config({"model": model})
    assert config["model"]["layers"][2] == {"@same": "model.layers[0]"}
    layers = from_config(config)["model"].layers
    assert layers[0] is layers[2] and layers[0] is not layers[1]
    # written alone, read as a part of something larger
    part = to_config(model)
    assert part["layers"][2] == {"@same": "layers[0]"}
    layers = from_config({"stages": [{"model": part}]})["stages"][0]["model"].layers
    assert layers[0] is layers[2]


def test_a_shared_object_is_found_whatever_the_order_of_the_keys():
    shared = Conv(4)
    config = to_config({"b": shared, "a": shared})
    built = from_config(dict(sorted(config.items())))
    assert built["a"] is built["b"]


def test_a_reference_that_leads_nowhere_or_to_itself_is_an_error():
    with pytest.raises(ConfigError, match=r"layers\[0\]: \"@same\" points at 'gone'"):
        from_config({"@model": "test-stack", "layers": [{"@same": "gone"}]})
    with pytest.raises(ConfigError, match="@same"):
        from_config({"m": {"@model": "test-stack", "layers": [{"@same": "m"}]}})


def test_everything_that_is_wrong_is_reported_at_once_with_full_paths():
    config = {
        "model": {
            "@model": "test-stack",
            "layers": [
                {"@model": "test-conv", "filters": 0, "kernel": "big"},
                {"@model": "test-convv"},
                {"@model": "test-conv", "filter": 3, "activation": {"@model": "test-act", "slope": "x"}},
                {"@modell": "test-conv"},
                {"@model": "test-conv", "filters": 1, "activation": 3},
            ],
        },
        "optimizer": {"@model": "test-adam", "lr": float("nan"), "betas": [0.9]},
    }
    with pytest.raises(ConfigError) as caught:
        from_config(config)
    problems = dict(caught.value.errors)
    assert list(problems) == [
        "model.layers[0].filters",
        "model.layers[0].kernel",
        "model.layers[1]",
        "model.layers[2].activation.slope",
        "model.layers[2].filter",
        "model.layers[2].filters",
        "model.layers[3]",
        "model.layers[4].activation",
        "optimizer.lr",
        "optimizer.betas",
    ]
    assert problems["model.layers[0].filters"] == "must be > 0, got 0 (int)"
    assert "did you mean 'test-conv'" in problems["model.layers[1]"]
    assert "did you mean 'filters'" in problems["model.layers[2].filter"]
    assert problems["model.layers[2].filters"] == "Conv needs this field"
    assert "did you mean 'model'" in problems["model.layers[3]"]
    assert str(caught.value).startswith("10 errors in the configuration\n  model.layers[0].filters: must be > 0")


def test_a_single_error_starts_with_its_path():
    with pytest.raises(ConfigError) as caught:
        from_config({"@model": "test-stack", "layers": [{"@model": "test-conv", "filters": "8"}]})
    assert str(caught.value) == "model.layers[0].filters: must be an integer, got '8' (str)"


def test_errors_of_constructors_are_reported_with_the_path_too():
    with pytest.raises(ConfigError) as caught:
        from_config({"a": {"@model": "test-net", "width": 0}, "b": {"@model": "test-adam"}})
    problems = dict(caught.value.errors)
    assert "width must be at least 1" in problems["a"] and "missing 'params'" in problems["b"]


def test_classes_with_their_own_init_and_functions_are_built_by_their_arguments():
    net = from_config({"@model": "test-net", "width": 4})
    assert (net.width, net.depth) == (4, 2) and to_config(net) == {"@model": "test-net", "width": 4, "depth": 2}
    with pytest.raises(
        ConfigError, match=r"model\.wdth: Net has no such field; did you mean 'width'.*\n  model\.width: Net needs"
    ):
        from_config({"@model": "test-net", "wdth": 4})
    assert from_config({"@model": "test-fn", "size": 5}) == ["made", 5]
    with pytest.raises(ConfigError, match="model: a_function"):
        from_config({"@model": "test-fn", "sizes": 5})


def test_a_type_error_inside_a_constructor_keeps_its_traceback():
    def explodes():
        return 1 + "a"

    registry.register("model", "test-explodes", explodes)
    with pytest.raises(TypeError, match="unsupported operand"):
        from_config({"@model": "test-explodes"})


@pytest.mark.parametrize(
    "config",
    [
        {"@model": "os:system"},
        {"@model": "builtins/eval"},
        {"@model": "lunar_core.config:to_config"},
        {"@os": "system"},
        {"@model": ["test-conv"]},
        {"@model": "test-conv", "@layer": "x"},
        {"@same": "x", "y": 1},
    ],
)
def test_no_string_reaches_anything_but_a_registered_component(config):
    with pytest.raises(ConfigError):
        from_config(config)


def test_what_is_no_plain_data_is_refused_with_its_path():
    registry.register("model", "test-conv", Conv)
    with pytest.raises(ConfigError, match=r"extra\.f: an object of type builtins\.function cannot be written"):
        to_config(Conv(1, extra={"f": lambda: 0}))
    with pytest.raises(ConfigError, match="Stranger is not a registered component"):
        to_config([Stranger()])
    with pytest.raises(ConfigError, match="keys are strings"):
        to_config({"@model": "x"})
    with pytest.raises(ConfigError, match="keys are strings"):
        to_config({1: "x"})
    loop: list = []
    loop.append(loop)
    with pytest.raises(ConfigError, match="contains itself"):
        to_config(loop)


def test_provenance_lists_each_component_once():
    config = to_config(Stack(Conv(1), Conv(2, activation=Activation())))
    assert [(r["kind"], r["name"], r["dist"]) for r in provenance(config)] == [
        ("model", "test-stack", "<session>"),
        ("model", "test-conv", "<session>"),
        ("model", "test-act", "<session>"),
    ]


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text().filter(lambda k: k[:1] != "@"), inner, max_size=3)
    ),
    max_leaves=10,
)


@given(plain)
def test_plain_data_comes_back_as_it_was(data):
    assert from_config(to_config(data)) == data


@given(
    filters=st.integers(1, 100),
    kernel=st.integers(1, 9) | st.tuples(st.integers(1, 9), st.integers(1, 9)),
    slope=st.none() | st.floats(allow_nan=False, allow_infinity=False),
    extra=st.dictionaries(st.text(st.characters(categories=["Ll"]), min_size=1), plain, max_size=2),
)
def test_the_round_trip_through_json_keeps_every_field(filters, kernel, slope, extra):
    conv = Conv(filters, kernel, None if slope is None else Activation(slope), extra)
    config = to_config(conv)
    again = from_config(json.loads(json.dumps(config)))
    assert to_config(again) == config
    assert (again.filters, again.kernel, again.extra) == (conv.filters, conv.kernel, to_config(extra))


def test_a_first_party_name_that_an_override_gives_away_is_written_in_full(tmp_path, monkeypatch):
    adam = registry.create("optimizer", "adam", [Parameter([1.0])])
    assert to_config(adam)["@optimizer"] == "adam"
    (tmp_path / "lunar.toml").write_text('[override]\n"optimizers.adam" = "lunarlearn/sgd"\n')
    monkeypatch.chdir(tmp_path)
    fresh = Registry()
    monkeypatch.setattr(sys.modules["lunar_core.plugins"], "registry", fresh)
    assert to_config(adam)["@optimizer"] == "lunarlearn/adam"
    assert fresh.get("optimizer", "lunarlearn/adam") is type(adam)
