"""Tensors: construction, dtypes, conversion to plain values, NumPy's protocols, copies."""

import copy
import pickle

import numpy as np
import pytest

import lunar_core as lc
from lunar_core.errors import DTypeError, GradientError, IndexingError, ShapeError


def test_python_floats_become_float32_and_arrays_keep_their_dtype():
    assert lc.tensor([1.0, 2.0]).dtype == np.float32
    assert lc.tensor(1.5).dtype == np.float32
    assert lc.tensor([1, 2]).dtype == np.int64
    assert lc.tensor(np.ones(2)).dtype == np.float64
    assert lc.tensor([True]).dtype == np.bool_
    assert lc.tensor([1.0], dtype="bfloat16").dtype.name == "bfloat16"
    with lc.default_dtype("float64"):
        assert lc.tensor([1.0]).dtype == np.float64
        assert lc.zeros(2).dtype == np.float64


def test_a_tensor_copies_its_data():
    a = np.zeros(2)
    x = lc.tensor(a)
    a[0] = 9
    assert x.tolist() == [0, 0]


@pytest.mark.parametrize(
    "left, right, result",
    [
        ("float32", "float32", "float32"),
        ("float32", "float64", "float64"),
        ("int64", "float32", "float64"),
        ("float32", 2.5, "float32"),
        ("float16", 2, "float16"),
        ("int32", 2, "int32"),
        ("int64", 2.5, "float64"),
        ("bool", "float32", "float32"),
    ],
)
def test_promotion_is_that_of_numpy_2_with_weak_python_numbers(left, right, result):
    x = lc.ones(3, dtype=left)
    y = lc.ones(3, dtype=right) if isinstance(right, str) else right
    assert (x + y).dtype == np.dtype(result)
    assert (y + x).dtype == np.dtype(result)
    assert (x.data + (y.data if isinstance(y, lc.Tensor) else y)).dtype == np.dtype(result)


def test_ragged_data_and_things_that_are_no_numbers_are_refused():
    with pytest.raises(ShapeError, match="uneven length"):
        lc.tensor([[1.0, 2.0], [3.0]])
    with pytest.raises(DTypeError, match="expected numbers, got str"):
        lc.tensor("abc")
    with pytest.raises(DTypeError, match="unknown dtype 'float23'"):
        lc.tensor([1.0], dtype="float23")


def test_an_integer_tensor_cannot_require_a_gradient():
    with pytest.raises(DTypeError, match="int64 cannot require a gradient"):
        lc.tensor([1, 2], requires_grad=True)


def test_numpy_functions_on_tensors_stay_differentiable_tensors():
    x = lc.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    y = (
        np.exp(x).sum()
        + np.sum(x, axis=0).sum()
        + np.concatenate([x, x * 2]).sum()
        + np.mean(np.ones(2, np.float32) * x)
    )
    y.backward()
    np.testing.assert_allclose(x.grad.numpy(), np.exp(x.detach().numpy()) + 1 + 3 + 0.25, rtol=1e-6)
    with pytest.raises(DTypeError, match="np.unwrap has no differentiable counterpart"):
        np.unwrap(x)


def test_a_tensor_with_a_gradient_refuses_to_become_an_array_silently():
    x = lc.tensor([1.0], requires_grad=True)
    with pytest.raises(GradientError, match="requires a gradient"):
        np.asarray(x)
    with pytest.raises(GradientError, match="requires a gradient"):
        x.numpy()
    assert np.asarray(x.detach()).tolist() == [1.0]


def test_item_len_and_iteration_say_what_they_need():
    with pytest.raises(ShapeError, match="one element"):
        lc.ones(3).item()
    with pytest.raises(ShapeError, match="without axes"):
        len(lc.tensor(1.0))
    with pytest.raises(ShapeError, match="iteration"):
        list(lc.tensor(1.0))
    assert [t.item() for t in lc.arange(3)] == [0, 1, 2]


def test_shape_errors_name_the_op_and_both_shapes():
    with pytest.raises(ShapeError, match=r"add: shapes \(2, 3\) and \(2,\) do not broadcast"):
        lc.ones((2, 3)) + lc.ones(2)
    with pytest.raises(ShapeError, match=r"matmul: inner sizes of \(2, 3\) and \(2, 3\) differ"):
        lc.ones((2, 3)) @ lc.ones((2, 3))
    with pytest.raises(ShapeError, match="reshape"):
        lc.ones((2, 3)).reshape(4)
    with pytest.raises(ShapeError, match="axis 2 is out of range for an array with 2 axes"):
        lc.ones((2, 3)).sum(axis=2)
    with pytest.raises(IndexingError, match="out of bounds"):
        lc.ones((2, 3))[5]
    with pytest.raises(DTypeError, match="expected tensors, arrays or numbers, got 'a'"):
        lc.ones(2) + "a"


def test_indexing_reads_as_numpy_does_and_takes_tensors_as_indices():
    a = np.arange(12.0).reshape(3, 4)
    x = lc.tensor(a)
    index = lc.tensor([2, 0])
    np.testing.assert_array_equal(x[index].numpy(), a[[2, 0]])
    np.testing.assert_array_equal(x[index, 1:3].numpy(), a[[2, 0], 1:3])
    np.testing.assert_array_equal(x[x > 5].numpy(), a[a > 5])
    np.testing.assert_array_equal(x[..., None, -1].numpy(), a[..., None, -1])


def test_at_set_and_add_give_new_tensors_with_exact_gradients():
    x = lc.tensor([1.0, 2.0, 3.0], requires_grad=True)
    v = lc.tensor([10.0, 20.0], requires_grad=True)
    y = x.at[np.array([0, 2])].set(v)
    assert y.tolist() == [10, 2, 20] and x.tolist() == [1, 2, 3]
    (y * lc.tensor([1.0, 2.0, 3.0])).sum().backward()
    assert x.grad.tolist() == [0, 2, 0] and v.grad.tolist() == [1, 3]
    assert x.at[np.array([1, 1])].add(1.0).tolist() == [1, 4, 3]


def test_deepcopy_and_pickle_keep_values_and_requires_grad():
    x = lc.tensor([1.0, 2.0], requires_grad=True)
    for twin in (copy.deepcopy(x), pickle.loads(pickle.dumps(x))):
        assert twin.tolist() == [1, 2] and twin.requires_grad and twin.data is not x.data
    with pytest.raises(GradientError, match="deepcopy of the result"):
        copy.deepcopy(x * 2)


def test_the_repr_shows_values_dtype_and_origin():
    assert repr(lc.tensor([1.0, 2.0])) == "tensor([1., 2.])"
    assert "dtype=float64" in repr(lc.tensor(np.ones(1)))
    x = lc.tensor([1.0], requires_grad=True)
    assert "requires_grad=True" in repr(x) and "op=multiply" in repr(x * 2)
    assert f"{lc.tensor(1.23456):.2f}" == "1.23"


def test_in_place_writes_advance_the_version_of_the_memory():
    x = lc.zeros(4)
    view = x[1:3]
    before = x.version
    view.fill_(2.0)
    assert x.version > before and x.tolist() == [0, 2, 2, 0]
    assert x.add_(1).mul_(2).zero_().tolist() == [0, 0, 0, 0]


def test_casts_are_differentiable():
    x = lc.tensor([1.0, 2.0], requires_grad=True)
    y = x.astype("float64")
    assert y.dtype == np.float64 and x.astype("float32") is x
    (y * y).sum().backward()
    assert x.grad.dtype == np.float32 and x.grad.tolist() == [2, 4]


def test_a_write_that_does_not_fit_is_an_error_of_its_kind():
    x = lc.tensor([1, 2, 3])
    with pytest.raises(ShapeError, match=r"tensor of shape \(3,\): .*\(3,\) into shape \(2,\)"):
        x[0:2] = [1, 2, 3]
    with pytest.raises(IndexingError, match="out of bounds"):
        x[5] = 1
