"""softmax, log_softmax, cross_entropy and bce_with_logits against their formulas."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import lunar_core as lc
from lunar_core import ops
from lunar_core.errors import DTypeError, HyperparameterError, IndexingError, ShapeError
from lunar_core.testing import gradcheck, gradgradcheck

logits = arrays(np.float64, st.tuples(st.integers(1, 4), st.integers(1, 5)), elements=st.floats(-500, 500))


@given(logits, st.sampled_from([0, 1, -1]), st.floats(-1e4, 1e4))
@settings(max_examples=60, deadline=None)
def test_softmax_sums_to_one_and_does_not_mind_a_shift(x, axis, shift):
    y = ops.softmax(x, axis)
    np.testing.assert_allclose(y.sum(axis=axis), 1, rtol=1e-12)
    np.testing.assert_allclose(ops.softmax(x + shift, axis), y, rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(np.exp(ops.log_softmax(x, axis)), y, rtol=1e-9, atol=1e-300)


def test_extreme_logits_neither_overflow_nor_lose_the_logarithm():
    x = np.array([[1e4, 0.0, -1e4], [-1e308, 0.0, 1e308]])
    with np.errstate(over="ignore"):
        np.testing.assert_array_equal(ops.softmax(x), [[1, 0, 0], [0, 0, 1]])
        np.testing.assert_array_equal(ops.log_softmax(x)[0], [0, -1e4, -2e4])
    np.testing.assert_array_equal(ops.softmax(np.array([0.0, -np.inf, 0.0])), [0.5, 0, 0.5])
    assert ops.cross_entropy(x[:1], np.array([2])).item() == 2e4


def test_softmax_keeps_float32_and_the_memory_order():
    x = np.random.default_rng(0).normal(size=(3, 4, 5, 2)).astype(np.float32)
    for y in (ops.softmax(x.transpose(0, 3, 1, 2), axis=1), ops.log_softmax(x.transpose(0, 3, 1, 2), axis=1)):
        assert y.dtype == np.float32 and y.transpose(0, 2, 3, 1).flags.c_contiguous
    assert ops.softmax(np.array([1, 2, 3])).dtype == np.float64
    with pytest.raises(ShapeError, match="axis 2 is out of range"):
        ops.softmax(x[0, 0], axis=2)


def by_definition(x, target, weight, label_smoothing, ignore_index):
    """x (N, C, ...): the smoothed target distribution, then a plain sum."""
    x = np.moveaxis(x, 1, -1)
    classes = x.shape[-1]
    log_p = x - np.log(np.exp(x).sum(axis=-1, keepdims=True))
    if target.dtype.kind in "iu":
        kept = target != ignore_index
        q = np.eye(classes)[np.where(kept, target, 0)]
    else:
        q, kept = np.moveaxis(target, 1, -1), 1
    q = (1 - label_smoothing) * q + label_smoothing / classes
    return -(q * log_p * (1 if weight is None else weight)).sum(axis=-1) * kept


@settings(max_examples=80, deadline=None)
@given(
    st.sampled_from([(5, 4), (3, 4, 2), (2, 4, 3, 2)]), st.booleans(), st.booleans(), st.sampled_from([0.0, 0.1, 1.0]),
    st.sampled_from([-100, 0, 2, None]), st.booleans(), st.integers(0, 99),
)  # fmt: skip
def test_cross_entropy_follows_its_formula(shape, probabilities, weighted, smoothing, ignore, last, seed):
    rng = np.random.default_rng(seed)
    x = rng.normal(0, 3, shape)
    spatial = (shape[0], *shape[2:])
    target = rng.dirichlet(np.ones(4), spatial) if probabilities else rng.integers(0, 4, spatial)
    if probabilities:
        target = np.moveaxis(target, -1, 1)
    elif ignore == -100:
        target[rng.random(spatial) < 0.3] = -100
    weight = rng.uniform(0.2, 2, 4) if weighted else None
    expected = by_definition(x, target, weight, smoothing, ignore)
    options = {"label_smoothing": smoothing, "ignore_index": ignore}
    np.testing.assert_allclose(ops.cross_entropy(x, target, weight, **options), expected, rtol=1e-10, atol=1e-12)
    if last:  # the same with the classes on the last axis
        t = np.moveaxis(target, 1, -1) if probabilities else target
        got = ops.cross_entropy(np.moveaxis(x, 1, -1), t, weight, axis=-1, **options)
        np.testing.assert_allclose(got, expected, rtol=1e-10, atol=1e-12)


def test_the_gradient_is_softmax_minus_target_without_touching_the_inputs():
    rng = np.random.default_rng(0)
    x, labels = rng.normal(size=(6, 5)).astype(np.float32), rng.integers(0, 5, 6)
    tensor, before = lc.Tensor(x.copy(), requires_grad=True), x.copy()
    ops.cross_entropy(tensor, labels).sum().backward()
    np.testing.assert_allclose(tensor.grad.data, ops.softmax(x) - np.eye(5)[labels], rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(tensor.data, before)
    assert tensor.grad.dtype == np.float32


def test_ignored_samples_count_nothing_even_where_logits_are_not_numbers():
    x = lc.Tensor(np.array([[1.0, 2.0], [np.nan, np.inf]]), requires_grad=True)
    with np.errstate(invalid="ignore"):
        loss = ops.cross_entropy(x, np.array([0, -100]))
        loss.sum().backward()
    assert loss.data[1] == 0 and np.isfinite(loss.data[0])
    np.testing.assert_array_equal(x.grad.data[1], [0, 0])


def test_one_hot_integers_and_lists_are_taken_as_targets():
    x = np.random.default_rng(0).normal(size=(3, 4))
    labels = np.array([1, 3, 0])
    expected = ops.cross_entropy(x, labels)
    np.testing.assert_allclose(ops.cross_entropy(x, np.eye(4, dtype=np.int64)[labels]), expected, rtol=1e-12)
    np.testing.assert_allclose(ops.cross_entropy(x, np.eye(4, dtype=bool)[labels]), expected, rtol=1e-12)
    np.testing.assert_allclose(ops.cross_entropy(x, [1, 3, 0]), expected, rtol=1e-12)
    np.testing.assert_allclose(ops.cross_entropy(x[0], np.array(1)), expected[0], rtol=1e-12)
    assert ops.cross_entropy(x[:0], labels[:0]).shape == (0,)


def test_distillation_has_gradients_in_logits_and_probabilities_at_both_orders():
    rng = np.random.default_rng(0)
    student, teacher = (lc.Tensor(rng.normal(size=(3, 4)), requires_grad=True) for _ in range(2))

    def loss(student, teacher):
        return ops.cross_entropy(student, ops.softmax(teacher), label_smoothing=0.1)

    assert gradcheck(loss, [student, teacher])
    assert gradgradcheck(loss, [student, teacher])


@pytest.mark.parametrize(
    "target, static, error, message",
    [
        (
            np.array([0, 1]),
            {},
            ShapeError,
            r"target of shape \(2,\) does not fit logits \(3, 4\) with classes on axis 1",
        ),
        (np.array([0.0, 1.0, 2.0]), {}, DTypeError, "target classes must be integers, got float64"),
        (np.array([0, 1, 4]), {}, IndexingError, "class 4 is out of range for 4 classes"),
        (np.array([0, -1, 3]), {}, IndexingError, "class -1 is out of range for 4 classes"),
        (np.array([0, 1, 2]), {"label_smoothing": 1.5}, HyperparameterError, r"label_smoothing must be in \[0, 1\]"),
        (np.array([0, 1, 2]), {"axis": 2}, ShapeError, "axis 2 is out of range"),
        (np.array([0, 1, 2]), {"weight": np.ones(3)}, ShapeError, r"weight must have shape \(4,\), one for each class"),
    ],
)
def test_what_does_not_fit_is_named(target, static, error, message):
    with pytest.raises(error, match=message):
        ops.cross_entropy(np.zeros((3, 4)), target, **static)


@settings(max_examples=60, deadline=None)
@given(arrays(np.float64, (4,), elements=st.floats(-30, 30)), arrays(np.float64, (4,), elements=st.floats(0, 1)))
def test_bce_with_logits_follows_its_formula(x, t):
    s = 1 / (1 + np.exp(-x))
    log_s, log_not = -np.log1p(np.exp(-x)), -np.log1p(np.exp(x))
    np.testing.assert_allclose(ops.bce_with_logits(x, t), -(t * log_s + (1 - t) * log_not), rtol=1e-9, atol=1e-12)
    weighted = -(2.5 * t * log_s + (1 - t) * log_not)
    np.testing.assert_allclose(ops.bce_with_logits(x, t, 2.5), weighted, rtol=1e-9, atol=1e-12)
    tensor = lc.Tensor(x, requires_grad=True)
    ops.bce_with_logits(tensor, t).sum().backward()
    np.testing.assert_allclose(tensor.grad.data, s - t, rtol=1e-9, atol=1e-12)


def test_bce_with_logits_is_exact_far_out_and_names_what_does_not_fit():
    far = np.array([1000.0, -1000.0])
    np.testing.assert_array_equal(ops.bce_with_logits(far, np.array([1.0, 0.0])), [0, 0])
    np.testing.assert_array_equal(ops.bce_with_logits(far, np.array([0, 1])), [1000, 1000])
    assert ops.bce_with_logits(far.astype(np.float32), np.array([0, 1])).dtype == np.float32
    with pytest.raises(ShapeError, match=r"target of shape \(2, 1\) must have the logits' shape \(2,\)"):
        ops.bce_with_logits(far, np.ones((2, 1)))
    with pytest.raises(ShapeError, match="pos_weight of shape"):
        ops.bce_with_logits(far, np.ones(2), np.ones(3))
