"""Embedding: lookup, padding row, errors."""

from __future__ import annotations

import numpy as np
import pytest

import lunar_core as lc
from lunar_core.errors import DTypeError, HyperparameterError, IndexingError
from lunar_layers.embedding import Embedding
from lunar_layers.initializers import Constant, Zeros


def test_each_index_gives_its_row():
    layer = Embedding(5, 3)
    assert layer.built
    table = layer.weight.detach().numpy()
    x = np.array([[0, 4], [2, 2]])
    y = layer(x)
    assert y.shape == (2, 2, 3)
    np.testing.assert_array_equal(y.detach().numpy(), table[x])
    assert layer(lc.tensor(x)).tolist() == y.tolist()


def test_the_gradient_counts_each_use():
    layer = Embedding(4, 2)
    layer(lc.tensor([1, 1, 3])).sum().backward()
    assert layer.weight.grad.tolist() == [[0, 0], [2, 2], [0, 0], [1, 1]]


def test_the_padding_row_is_zero_and_gets_no_gradient():
    layer = Embedding(4, 2, padding_idx=1)
    assert layer.weight.tolist()[1] == [0, 0]
    layer(lc.tensor([1, 1, 3])).sum().backward()
    assert layer.weight.grad.tolist() == [[0, 0], [0, 0], [0, 0], [1, 1]]


@pytest.mark.parametrize("shape", [(), (0,), (7,), (2, 3, 4)])
def test_any_shape_of_indices_works(shape):
    assert Embedding(3, 6)(np.zeros(shape, np.int32)).shape == (*shape, 6)


def test_rows_have_the_default_dtype():
    with lc.default_dtype("float64"):
        assert Embedding(3, 2).weight.dtype == np.float64
    assert Embedding(3, 2)(np.array([0])).dtype == np.float32


@pytest.mark.parametrize("index", [3, -1])
def test_an_index_outside_of_the_table_is_an_error_that_names_it(index):
    with pytest.raises(IndexingError, match=rf"{index} is out of range for a table of 3 rows"):
        Embedding(3, 2)(np.array([0, index]))


def test_floating_indices_are_refused():
    with pytest.raises(DTypeError, match="indices must be integers, got float32"):
        Embedding(3, 2)(lc.ones(2))


def test_hyperparameters_are_checked():
    with pytest.raises(HyperparameterError, match="padding_idx must be below num_embeddings, 3, got 3"):
        Embedding(3, 2, padding_idx=3)
    with pytest.raises(HyperparameterError, match="embedding_dim"):
        Embedding(3, 0)


def test_the_initializer_is_used():
    assert Embedding(2, 2, weight_init=Zeros()).weight.tolist() == [[0, 0], [0, 0]]
    assert Embedding(2, 2, weight_init=Constant(3), padding_idx=0).weight.tolist() == [[0, 0], [3, 3]]
