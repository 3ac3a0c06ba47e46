"""Forward mode: jvp agrees with differences and with the transposed vjp over every sample table, and nests."""

import numpy as np
import pytest

import lunar_core as lc
from lunar_core.dtypes import is_differentiable
from lunar_core.errors import GradientError, ShapeError
from lunar_core.op import OPS


def as_list(out):
    return list(out) if isinstance(out, (tuple, list)) else [out]


def moving_samples(op):
    for number, sample in enumerate(op.samples()):
        places = [i for i, a in enumerate(sample.args) if isinstance(a, np.ndarray) and is_differentiable(a.dtype)]
        if sample.grad and op.vjp is not None and places:
            yield number, sample, places


def of_places(op, sample, places):
    """The op as a function of the arrays at ``places``; only the results that have a gradient."""

    def function(*xs):
        args = [lc.tensor(a) if isinstance(a, np.ndarray) else a for a in sample.args]
        for i, x in zip(places, xs):
            args[i] = x
        return tuple(as_list(op(*args, **sample.static)))

    leaves = [lc.tensor(sample.args[i], requires_grad=True) for i in places]
    kept = []
    for k, out in enumerate(function(*leaves)):
        if out.requires_grad:
            found = lc.grad(out, leaves, lc.ones_like(out), allow_unused=True, retain_graph=True)
            if any(g is not None for g in found):
                kept.append(k)
    return lambda *xs: tuple(function(*xs)[k] for k in kept)


def direction(rng, x):
    d = rng.uniform(0.5, 1.0, x.shape) * rng.choice([-1.0, 1.0], x.shape)
    return d + 1j * rng.uniform(0.5, 1.0, x.shape) if x.dtype.kind == "c" else d


def difference(function, xs, ds, h):
    up = function(*[lc.tensor(np.asarray(x + h * d)) for x, d in zip(xs, ds)])
    down = function(*[lc.tensor(np.asarray(x - h * d)) for x, d in zip(xs, ds)])
    return [(a.numpy() - b.numpy()) / (2 * h) for a, b in zip(up, down)]


@pytest.mark.parametrize("name", sorted(OPS))
def test_jvp_agrees_with_differences_over_the_sample_table(name):
    rng = np.random.default_rng(3)
    for number, sample, places in moving_samples(OPS[name]):
        function = of_places(OPS[name], sample, places)
        xs = [
            np.asarray(sample.args[i], np.complex128 if sample.args[i].dtype.kind == "c" else np.float64)
            for i in places
        ]
        ds = [direction(rng, x) for x in xs]
        tangents = lc.jvp(function, [lc.tensor(x) for x in xs], [lc.tensor(np.asarray(d)) for d in ds])[1]
        with np.errstate(all="ignore"):
            coarse, fine = difference(function, xs, ds, 2e-5), difference(function, xs, ds, 1e-5)
        for tangent, a, b in zip(tangents, coarse, fine):
            expected = (4 * b - a) / 3
            where = np.isfinite(expected)
            np.testing.assert_allclose(
                tangent.numpy()[where], expected[where], rtol=2e-6, atol=2e-6, err_msg=f"{name}, sample {number}"
            )


@pytest.mark.parametrize("name", sorted(n for n, op in OPS.items() if op.jvp is not None and op.vjp is not None))
def test_a_declared_jvp_rule_equals_the_transposed_vjp(name, monkeypatch):
    op, rng = OPS[name], np.random.default_rng(4)
    for number, sample, places in moving_samples(op):
        function = of_places(op, sample, places)
        xs = [lc.tensor(sample.args[i]) for i in places]
        ds = [lc.tensor(np.asarray(direction(rng, x), x.dtype)) for x in xs]
        declared = lc.jvp(function, xs, ds)[1]
        with monkeypatch.context() as patch:
            patch.setattr(op, "jvp", None)
            transposed = lc.jvp(function, xs, ds)[1]
        for a, b in zip(declared, transposed):
            np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-10, atol=1e-10, err_msg=f"{name}, sample {number}")


def test_an_input_that_stands_still_adds_nothing():
    x, w = lc.tensor([[1.0, 2.0]], dtype="float64"), lc.tensor([[3.0, 4.0]], dtype="float64")
    value, tangent = lc.jvp(lambda x: lc.ops.linear(x, w, lc.tensor([5.0], dtype="float64")), x, lc.ones_like(x))
    assert (value.item(), tangent.item()) == (16.0, 7.0)


def test_the_tangent_of_what_does_not_depend_on_the_input_is_zero():
    x = lc.tensor([1.0, 2.0])
    value, tangent = lc.jvp(lambda x: lc.ones((3,)), x, x)
    assert value.tolist() == [1, 1, 1] and tangent.tolist() == [0, 0, 0]


def test_structures_of_inputs_and_results_are_kept():
    inputs, tangents = (
        [{"a": lc.tensor([1.0]), "b": (lc.tensor([2.0]),)}],
        [{"a": lc.tensor([1.0]), "b": (lc.tensor([0.0]),)}],
    )
    value, tangent = lc.jvp(lambda tree: {"product": tree["a"] * tree["b"][0]}, inputs, tangents)
    assert value["product"].item() == 2 and tangent["product"].item() == 2


def test_the_derivative_of_an_inner_jvp_does_not_take_the_outer_variable_for_its_own():
    one = lc.tensor(1.0)
    outer = lc.jvp(lambda x: x * lc.jvp(lambda y: x + y, one, one)[1], one, one)[1]
    assert outer.item() == 1.0


def test_values_decide_branches_and_numbers_in_forward_mode():
    x = lc.tensor([2.0])
    _, tangent = lc.jvp(lambda x: x * x if x.sum() > 0 else -x, x, lc.ones_like(x))
    assert tangent.item() == 4.0


def test_jvp_inside_no_grad_works_and_leaves_no_graph():
    w = lc.tensor([3.0], requires_grad=True)
    with lc.no_grad():
        value, tangent = lc.jvp(lambda x: x * w, lc.tensor([2.0]), lc.tensor([1.0]))
    assert tangent.item() == 3.0 and not value.requires_grad and not tangent.requires_grad


def test_gradients_flow_through_value_and_tangent_to_what_the_function_reads():
    w = lc.tensor([3.0], requires_grad=True)
    _, tangent = lc.jvp(lambda x: x * w * w, lc.tensor([2.0]), lc.tensor([1.0]))
    tangent.backward()
    assert w.grad.item() == 6.0


def test_tangents_of_another_shape_and_ops_without_a_derivative_are_named():
    x = lc.tensor([1.0, 2.0])
    with pytest.raises(ShapeError, match="each primal needs a tangent of its shape"):
        lc.jvp(lambda x: x, x, lc.tensor([1.0]))
    op = lc.Op("test_forward_rounded", "rint", abstract=lambda x: x, samples=[lc.Sample((np.ones(1),))])
    try:
        with pytest.raises(GradientError, match="test_forward_rounded has no gradient rule"):
            lc.jvp(op, x, x)
    finally:
        OPS.pop("test_forward_rounded")
    with pytest.raises(GradientError, match="int64 cannot move"):
        lc.jvp(lambda x: x, lc.tensor([1]), lc.tensor([1]))
    with pytest.raises(GradientError, match="must return tensors"):
        lc.jvp(lambda x: 1.0, x, x)


def test_nothing_is_left_behind_when_the_function_raises():
    from lunar_core.modes import modes
    from lunar_core.op import slot

    x = lc.tensor([1.0])
    with pytest.raises(ZeroDivisionError):
        lc.jvp(lambda x: 1 / 0, x, x)
    assert modes.level is None and not slot.busy
