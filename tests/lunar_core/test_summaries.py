"""Summaries of models: counts by hand for an MLP, a CNN and a Transformer; what is not computed and not changed."""

from __future__ import annotations

import json

import numpy as np
import pytest

import lunar_core as lc
from lunar_activations.relu import ReLU
from lunar_core.errors import HyperparameterError, ShapeError
from lunar_core.flops import RULES, flops
from lunar_core.op import OPS, Spec
from lunar_layers.conv import Conv2D
from lunar_layers.conv_transpose import ConvTranspose2D
from lunar_layers.dense import Dense
from lunar_layers.dropout import Dropout
from lunar_layers.flatten import Flatten
from lunar_layers.normalization import BatchNorm2D
from lunar_layers.pooling import MaxPool2D
from lunar_layers.recurrent import GRU, LSTM
from lunar_layers.sequential import Sequential
from lunar_layers.transformer import TransformerEncoder


def rows(summary):
    return {row.path: row for row in summary.rows}


def test_an_mlp_by_hand():
    s = lc.summary(Sequential(Dense(5), ReLU(), Dense(2)), (3, 4))
    assert [row.output for row in s.rows] == [(3, 2), (3, 5), (3, 5), (3, 2)]
    assert [row.parameters for row in s.rows] == [0, 25, 0, 12]
    assert [row.flops for row in s.rows] == [0, 2 * 3 * 4 * 5, 3 * 5, 2 * 3 * 5 * 2]
    assert [row.activation_bytes for row in s.rows] == [0, 60, 60, 24]
    assert s.total == {
        "parameters": 37, "trainable": 37, "frozen": 0, "parameter_bytes": 148, "activation_bytes": 144, "flops": 195,
    }  # fmt: skip
    assert s.flops_by_op == {"linear": 180, "relu": 15} and s.uncounted == {}


def test_a_cnn_by_hand():
    model = Sequential(Conv2D(6, 3, padding="same", groups=2), BatchNorm2D(), MaxPool2D(2), Flatten(), Dense(3))
    s = lc.summary(model, (2, 4, 8, 6))
    conv, _, pool, flat, dense = s.rows[1:]
    assert conv.flops == 2 * (2 * 6 * 8 * 6) * (2 * 9) and conv.parameters == 6 * 2 * 9 + 6
    assert pool.flops == (2 * 6 * 4 * 3) * 4 and pool.output == (2, 6, 4, 3)
    assert flat.flops == flat.activation_bytes == 0 and dense.flops == 2 * 2 * 72 * 3
    up = rows(lc.summary(ConvTranspose2D(5, 4, stride=2, use_bias=False), (2, 3, 7, 7)))[""]
    assert up.flops == 2 * (2 * 3 * 49) * (5 * 16)


def test_a_transformer_by_hand():
    batch, length, width, hidden, heads = 2, 7, 32, 64, 4
    s = lc.summary(TransformerEncoder(3, num_heads=heads, hidden_features=hidden), (batch, length, width))
    tokens = batch * length
    maps = 2 * tokens * (4 * width * width + 2 * width * hidden)
    scores = batch * heads * length * length * (4 * (width // heads) + 6)
    assert s.flops_by_op["linear"] == 3 * maps
    assert s.flops_by_op["attention"] == 3 * scores
    assert s.flops_by_op["layer_norm"] == (2 * 3 + 1) * tokens * width * 7
    assert s.flops_by_op["add"] == 3 * 2 * tokens * width
    assert (
        s.total["parameters"]
        == 3 * (4 * width * width + 4 * width + 2 * width * hidden + hidden + width + 4 * width) + 2 * width
    )
    assert s.uncounted == {}


@pytest.mark.parametrize("layer, gates, extra", [(LSTM, 4, 13), (GRU, 3, 11)])
def test_recurrent_layers_by_hand(layer, gates, extra):
    s = lc.summary(layer(6), (2, 5, 3))
    assert s.total["flops"] == 2 * 5 * (2 * gates * 6 * (3 + 6) + extra * 6)


def test_only_shapes_are_computed_and_large_models_are_no_more_work():
    model = Sequential(Dense(64, in_features=8), ReLU())
    s = lc.summary(model, (1_000_000_000, 8))  # nothing of that size is ever made
    assert s.total["flops"] == 10**9 * (2 * 8 * 64 + 64)


def test_a_model_that_is_not_built_is_built_as_by_its_first_call_and_what_building_computes_is_not_counted():
    lc.seed(0)
    model = Sequential(Dense(4), ReLU(), Dense(2))
    s = lc.summary(model, (5, 3))
    assert s.total["flops"] == 2 * 5 * 3 * 4 + 20 + 2 * 5 * 4 * 2
    lc.seed(0)
    other = Sequential(Dense(4), ReLU(), Dense(2))
    other(np.zeros((5, 3), np.float32))
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value, other.state_dict()[name])


def test_nothing_else_is_changed():
    model = Sequential(Dense(4), BatchNorm2D(), Dropout(0.5))
    model = Sequential(Conv2D(2, 3), BatchNorm2D(), Dropout(0.5))
    model(np.ones((2, 1, 5, 5), np.float32))
    model[2].eval()
    before = {k: v.copy() for k, v in model.state_dict().items()}
    position = lc.random.state()
    lc.summary(model, np.ones((2, 1, 5, 5), np.float32))
    assert [m.training for m in model.modules()] == [True, True, True, False]
    assert lc.random.state() == position
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value, before[name])


def test_shared_parts_count_once_in_parameters_and_every_time_in_work():
    shared = Dense(4, in_features=4)
    s = lc.summary(Sequential(shared, ReLU(), shared), (3, 4))
    assert s.total["parameters"] == 20 and rows(s)["0"].calls == 2 and rows(s)["0"].flops == 2 * 2 * 3 * 16
    assert "Dense x2" in str(s)


def test_frozen_parameters_are_told_apart():
    model = Sequential(Dense(4, in_features=4), Dense(2, in_features=4))
    model.freeze("0.weight")
    s = lc.summary(model, (1, 4))
    assert s.total["frozen"] == 16 and s.total["trainable"] == 14
    assert "20 (16 frozen)" in str(s) and "30 (14 trained, 16 frozen)" in str(s)


def test_it_is_plain_data_and_a_table():
    s = lc.summary(Sequential(Dense(4), Sequential(ReLU(), Dense(2))), (3, 4), depth=1)
    data = json.loads(json.dumps(s.to_dict()))
    assert [row["path"] for row in data["rows"]] == ["", "0", "1", "1.0", "1.1"]
    assert data["total"] == s.total
    lines = str(s).splitlines()
    assert lines[0].split() == ["layer", "type", "output", "parameters", "memory", "FLOPs"]
    assert [line.split()[0] for line in lines[2:5]] == ["(model)", "0", "1"] and lines[5].startswith("---")
    assert lines[4].split()[-4:] == ["10", "112", "B", "60"]  # of 1.0 and 1.1 together


def test_several_inputs_other_dtypes_and_the_model_that_knows_its_input():
    class Pair(lc.Module):
        def forward(self, x, index):
            return {"rows": x[index], "sum": x.sum()}

    s = lc.summary(Pair(), Spec((5, 4), np.dtype(np.float64)), np.array([1, 3]))
    assert s.rows[0].output == {"rows": (2, 4), "sum": ()} and s.total["activation_bytes"] == 8
    assert lc.summary(lc.models.MLP(input_shape=(1, 8, 8))).total["parameters"] == 8970
    assert lc.summary(Dense(3), 2, 4).rows[0].output == (2, 3)


def test_an_op_without_a_rule_is_named_and_can_be_given_one(monkeypatch):
    class Decomposed(lc.Module):
        def forward(self, x):
            return lc.ops.svd(x)[1]

    s = lc.summary(Decomposed(), (4, 4))
    assert s.uncounted == {"svd": 1} and "not counted  svd x1" in str(s)
    monkeypatch.setitem(RULES, "svd", lambda ins, outs, static: 20 * ins[0].shape[0] ** 3)
    assert lc.summary(Decomposed(), (4, 4)).total["flops"] == 1280


def test_einsum_counts_its_products():
    spec = lambda *shape: Spec(shape, np.dtype(np.float32))  # noqa: E731
    op = OPS["einsum"]
    assert flops(op, [spec(3, 4), spec(4, 5)], [spec(3, 5)], {"subscripts": "ij,jk->ik"}) == 2 * 60
    assert flops(op, [spec(2, 3, 4), spec(2, 4, 5)], [spec(2, 3, 5)], {"subscripts": "...ij,...jk->...ik"}) == 2 * 120


def test_wrong_inputs_are_errors_of_the_model():
    with pytest.raises(ShapeError, match='in module "1"'):
        lc.summary(Sequential(Dense(4, in_features=3), Dense(2, in_features=5)), (2, 3))
    with pytest.raises(HyperparameterError, match="what is the model called with"):
        lc.summary(Dense(3))
    with pytest.raises(HyperparameterError, match="expected a Module"):
        lc.summary("mlp", (1, 2))
