"""The promise to plugins: a package of the first API goes on working; what is on its way out says so once."""

from __future__ import annotations

import warnings
import zipfile
from pathlib import Path

import pytest
from packages import answers, build_wheel

import lunar_core as lc
from lunar_core import deprecation

FROZEN = Path(__file__).parents[2] / "frozen"
TRAIN = """
import json, warnings
warnings.simplefilter("error")
import numpy as np
import lunar_core as lc
from lunar_core.contracts.parametrization import parametrize
from lunar_training import Trainer

lc.seed(0)
names = {c.kind: c.qualified for c in lc.registry.components() if c.dist == "lunar-frozen"}
part = {kind: lc.registry.get(kind, name) for kind, name in names.items()}
data = part["dataset"](examples=200)
weights = part["initializer"]()
model = part["model"](width=16, num_classes=2, input_shape=(2,))
model.second = lc.layers.Sequential(
    part["layer"](), lc.layers.Dense(16, in_features=16, weight_init=weights), part["activation"]()
)
parametrize(model.head, "weight", part["parametrization"](limit=5.0))
optimizer = part["optimizer"](model.parameters(), lr=2e-3)
trainer = Trainer(
    model, part["loss"](), optimizer, scheduler=part["scheduler"](optimizer), metrics=[names["metric"]],
    regularizers=[part["regularizer"]()], plugins=[part["gradient_processor"](), part["callback"](std=1e-4)],
    progress="off", seed=0,
)
history = trainer.fit(data, epochs=20, batch_size=20)
figures = trainer.evaluate(data)
config = lc.to_config({kind: part[kind]() for kind in ("loss", "metric", "model", "dataset", "regularizer", "callback")})
again = lc.to_config(lc.from_config(config))
rows = [dict(row) for row in history] if not hasattr(history, "rows") else [dict(r) for r in history.rows]
print(json.dumps({
    "kinds": sorted(names), "wrong": next(v for k, v in figures.items() if "frozen" in k), "same": config == again,
    "hook": "frozen_instrumentation" in json.dumps(rows, default=str), "lr": optimizer.lr,
}))
"""


@pytest.mark.packages
def test_a_package_of_the_first_api_trains_with_all_of_its_parts_and_without_a_warning(tmp_path):
    import shutil

    project = shutil.copytree(FROZEN, tmp_path / "project")
    with zipfile.ZipFile(build_wheel(project)) as archive:
        archive.extractall(tmp_path / "site")
    found = answers(TRAIN, tmp_path / "site")
    assert len(found["kinds"]) == 14
    assert found["wrong"] < 0.2 and found["same"] and found["hook"] and found["lr"] < 2e-3


def test_the_first_api_is_still_served():
    assert lc.PLUGIN_API[0] == 1


@pytest.fixture
def untold(monkeypatch):
    monkeypatch.setattr(deprecation, "_told", set())


def test_a_deprecation_warns_once_with_the_replacement_at_the_caller(untold):
    def old():
        deprecation.deprecated("old()", "new()", since="0.3")

    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        old()
        old()
    assert [str(w.message) for w in seen] == ["old() is deprecated since lunarlearn 0.3: use new()"]
    assert seen[0].category is deprecation.LunarDeprecationWarning and seen[0].filename == __file__


def test_a_renamed_function_does_what_the_new_one_does(untold):
    def new(x):
        return 2 * x

    old = deprecation.renamed("old", new, since="0.3")
    with pytest.warns(deprecation.LunarDeprecationWarning, match=r"old\(\) is deprecated .*new\(\)"):
        assert old(3) == 6


def test_a_moved_name_is_found_where_it_was(untold):
    find = deprecation.moved("here", {"Old": ("collections", "OrderedDict")}, since="0.3")
    import collections

    with pytest.warns(deprecation.LunarDeprecationWarning, match="here.Old .*collections.OrderedDict"):
        assert find("Old") is collections.OrderedDict
    with pytest.raises(AttributeError, match="'here' has no attribute 'Nothing'"):
        find("Nothing")


def test_a_group_of_another_program_is_no_problem_of_ours(tmp_path, monkeypatch):
    from packages import dist_info, registry_of

    monkeypatch.setenv("LUNAR_PLUGIN_STRICT", "1")
    dist_info(tmp_path, "moon-calendar", {"lunar.phases_of_the_moon": {"full": "moon:full"}})
    assert registry_of(tmp_path).components() == []
    dist_info(tmp_path, "nearly-ours", {"lunar.optimisers": {"x": "nearly:X"}})
    with pytest.raises(lc.errors.PluginError, match="did you mean 'lunar.optimizers'"):
        registry_of(tmp_path).components()
