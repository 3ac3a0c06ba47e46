"""Recipes: reading, changing by assignments, and being told everything that is wrong at once."""

from __future__ import annotations

import math

import numpy as np
import pytest

from lunar_cli import recipe as recipes
from lunar_cli.recipes import shipped
from lunar_cli.toml import dumps
from lunar_core.component import field, non_negative
from lunar_core.contracts.metric import Metric
from lunar_core.errors import ConfigError, UnknownNameError


def base():
    return recipes.normalized(
        {
            "epochs": 3,
            "metrics": ["accuracy"],
            "loss": "cross_entropy",
            "dataset": "digits",
            "model": {"@model": "mlp", "hidden": [8]},
            "optimizer": {"@optimizer": "adamw", "lr": 0.01, "weight_decay": 0.1},
        }
    )


# -- reading -----------------------------------------------------------------------------------------------------------


def test_a_shipped_recipe_is_read_by_name_and_describes_itself():
    for name in shipped():
        recipe = recipes.read(name)
        assert recipe["name"] == name
        assert recipe["description"]
        assert all(isinstance(recipe[key], dict) for key in recipes.REQUIRED)


def test_an_unknown_recipe_shows_the_nearest():
    with pytest.raises(UnknownNameError, match="did you mean 'digits-cnn'"):
        recipes.read("digit-cnn")


def test_a_file_and_the_directory_of_a_run_are_recipes_too(tmp_path):
    (tmp_path / "config.toml").write_text(dumps(base()))
    for name in (tmp_path / "config.toml", tmp_path):
        assert recipes.read(str(name)) == base() | {"name": "config"}


def test_a_file_that_is_missing_or_no_toml_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"there is no file .*gone\.toml"):
        recipes.read(str(tmp_path / "gone.toml"))
    (tmp_path / "bad.toml").write_text("epochs = = 3")
    with pytest.raises(ConfigError, match=r"bad\.toml is not valid TOML"):
        recipes.read(str(tmp_path / "bad.toml"))
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match=r"bytes\.toml"):
        recipes.read(str(tmp_path / "bytes.toml"))


def test_names_stand_for_tables():
    recipe = base()
    assert recipe["loss"] == {"@loss": "cross_entropy"}
    assert recipe["metrics"] == [{"@metric": "accuracy"}]


# -- changing ----------------------------------------------------------------------------------------------------------


def test_a_field_is_set_with_a_value_as_toml_writes_it():
    recipe = recipes.override(
        base(),
        [
            "optimizer.lr=1e-3",
            "optimizer.amsgrad = true",
            "epochs=5",
            "model.hidden=[4, 5]",
            "device=cuda:0",
            "name=a b",
        ],
    )
    assert recipe["optimizer"] == {"@optimizer": "adamw", "lr": 1e-3, "weight_decay": 0.1, "amsgrad": True}
    assert (recipe["epochs"], recipe["device"], recipe["name"]) == (5, "cuda:0", "a b")
    assert recipe["model"]["hidden"] == [4, 5]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (".5", 0.5),
        ("1.", 1.0),
        ("-3", -3),
        ("True", True),
        ("False", False),
        ('"3"', "3"),
        ("inf", math.inf),
        ("a=b", "a=b"),
    ],
)
def test_values_that_toml_does_not_write_so_are_understood(text, value):
    got = recipes.override(base(), [f"x={text}"])["x"]
    assert got == value
    assert type(got) is type(value)


def test_the_original_stays_as_it_was():
    recipe = base()
    recipes.override(recipe, ["optimizer.lr=1", "metrics.0.axis=2", "scheduler=cosine"])
    assert recipe == base()


def test_a_name_chooses_another_component_and_drops_the_fields_of_the_one_before():
    assert recipes.override(base(), ["optimizer=lunar-lion/lion"])["optimizer"] == {"@optimizer": "lunar-lion/lion"}
    assert recipes.override(base(), ["scheduler=cosine"])["scheduler"] == {"@scheduler": "cosine"}
    assert recipes.override(base(), ["metrics.0=other"])["metrics"] == [{"@metric": "other"}]
    assert recipes.override(base(), ['metrics=["a", "b"]'])["metrics"] == [{"@metric": "a"}, {"@metric": "b"}]


def test_the_mark_itself_changes_the_name_and_keeps_the_fields():
    got = recipes.override(base(), ["optimizer.@optimizer=lion"])["optimizer"]
    assert got == {"@optimizer": "lion", "lr": 0.01, "weight_decay": 0.1}


def test_choosing_comes_before_setting_whatever_the_order():
    want = {"@optimizer": "lion", "lr": 1e-4}
    assert recipes.override(base(), ["optimizer.lr=1e-4", "optimizer=lion"])["optimizer"] == want
    assert recipes.override(base(), ["optimizer=lion", "optimizer.lr=1e-4"])["optimizer"] == want
    assert recipes.override(base(), ["epochs=1", "epochs=2"])["epochs"] == 2


def test_none_takes_an_entry_out():
    recipe = recipes.override(base() | {"scheduler": {"@scheduler": "cosine"}}, ["scheduler=none", "optimizer.lr=none"])
    assert "scheduler" not in recipe
    assert recipe["optimizer"] == {"@optimizer": "adamw", "weight_decay": 0.1}


def test_items_of_a_list_are_reached_by_number():
    for spelling in ("metrics.0.axis=2", "metrics[0].axis=2"):
        assert recipes.override(base(), [spelling])["metrics"] == [{"@metric": "accuracy", "axis": 2}]


@pytest.mark.parametrize(
    ("assignment", "words"),
    [
        ("epochs", "key=value"),
        ("=3", "key=value"),
        ("epochs.x=3", "epochs has no entries"),
        ("metrics.1=x", "list of 1"),
        ("metrics.x.axis=1", "no entries"),
        ("optimizer.lr.x=1", "optimizer.lr has no entries"),
    ],
)
def test_an_assignment_that_cannot_be_carried_out_is_explained(assignment, words):
    with pytest.raises(ConfigError, match=words) as caught:
        recipes.override(base(), [assignment])
    assert assignment in str(caught.value)


# -- checking and building ---------------------------------------------------------------------------------------------


def test_the_parts_are_built_and_the_data_divided():
    parts = recipes.build(base() | {"split": {"test": 0.2, "val": 0.25, "seed": 3}})
    assert (len(parts.test), len(parts.val), len(parts.train)) == (360, 360, 1077)
    indices = np.concatenate([parts.test.indices, parts.train.dataset.indices[parts.train.indices]])
    assert len(set(indices.tolist())) == 1437
    assert list(parts.metrics) == ["accuracy"]
    assert parts.optimizer.lr == 0.01
    assert parts.scheduler is None
    assert parts.settings.epochs == 3


def test_a_test_set_of_its_own_takes_the_place_of_the_split():
    parts = recipes.build(base() | {"test": {"@dataset": "digits", "scale": False}})
    assert len(parts.train) == len(parts.test) == 1797
    assert parts.test.scale is False


def test_two_metrics_of_one_name_get_a_number(registry):
    class Count(Metric):
        totals = {"n": 0}  # noqa: RUF012
        scale: float = field(default=1.0, validator=non_negative)

        def add(self, pred, target, weight):
            self.n += len(pred)

        def result(self):
            return self.n

    registry.register("metric", "count", Count)
    metrics = [{"@metric": "count"}, {"@metric": "count", "scale": 2.0}, {"@metric": "accuracy"}]
    assert list(recipes.build(base() | {"metrics": metrics}).metrics) == ["count", "count_2", "accuracy"]


def test_everything_that_is_wrong_is_told_at_once_with_its_path():
    recipe = {
        "epochs": 0,
        "batch_size": "many",
        "epoch": 3,
        "split": {"tset": 0.2},
        "metrics": [{"@metric": "accuracy", "axes": 2}, "acuracy"],
        "dataset": {"@dataset": "digits", "scale": 3},
        "model": {"@model": "mlp", "hiden": [8]},
        "optimizer": {"@optimizer": "adamw", "lr": float("nan")},
        "scheduler": {"@scheduler": "cosine", "warmup": -1},
        "callbacks": {"no": "list"},
    }
    with pytest.raises(ConfigError) as caught:
        recipes.build(recipes.normalized(recipe))
    problems = dict(caught.value.errors)
    assert "0" in problems["epochs"]
    assert "'many'" in problems["batch_size"]
    assert "did you mean 'epochs'" in problems["epoch"]
    assert "did you mean 'test'" in problems["split.tset"]
    assert "did you mean 'axis'" in problems["metrics[0].axes"]
    assert "did you mean 'accuracy'" in problems["metrics[1]"]
    assert "3" in problems["dataset.scale"]
    assert "did you mean 'hidden'" in problems["model.hiden"]
    assert "nan" in problems["optimizer.lr"]
    assert "missing" in problems["loss"]
    assert "list" in problems["callbacks"]
    assert "-1" in problems["scheduler.warmup"]
    assert len(problems) == 12
    text = str(caught.value)
    assert text.startswith("12 errors in the recipe\n")
    assert "\n  optimizer.lr: " in text


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"optimizer": {"lr": 3}}, r'optimizer: "@optimizer" = "\.\.\." names the component'),
        ({"optimizer": {"@loss": "cross_entropy"}}, "got @loss"),
        ({"optimizer": 3}, "expected a name or a table, got 3"),
        ({"split": 0.25}, "split: expected a table, got 0.25"),
        ({"split": {"test": 1.0}}, "split.test"),
        ({"test": {"@dataset": "digits"}, "split": {"test": 0.5}}, "nothing is held out"),
        ({"seed": -1}, "seed"),
        ({"clip_norm": 0.0}, "clip_norm"),
        ({"optimizer": {"@optimizer": "adamww"}}, "did you mean 'adamw'"),
        ({"scheduler": {"@scheduler": "cosin"}}, "did you mean 'cosine'"),
    ],
)
def test_one_mistake_is_one_line(change, words):
    with pytest.raises(ConfigError, match=words):
        recipes.build(base() | change)
