"""The graph: gradients, orders, freeing, hooks, accumulation, the write guard."""

import copy
import gc
import threading
import weakref

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import lunar_core as lc
from lunar_core import ops
from lunar_core.errors import DeviceError, GradientError, InPlaceError, LunarError, ShapeError
from lunar_core.op import OPS, Op, Sample
from lunar_core.testing import gradcheck, gradgradcheck


def leaf(values, dtype="float64"):
    return lc.tensor(values, dtype=dtype, requires_grad=True)


def test_a_small_expression_gives_the_known_gradient():
    x = leaf([[1.0, 2.0], [3.0, 4.0]])
    (x @ x.T).relu().sum(axis=-1).mean().backward()
    np.testing.assert_allclose(x.grad.numpy(), [[4, 6], [4, 6]])


def test_a_tensor_used_twice_sums_its_gradients():
    x = leaf([3.0])
    (x * x + x).backward()
    assert x.grad.item() == 7


def test_backward_twice_accumulates_into_grad():
    x = leaf([2.0])
    for _ in range(3):
        (x * x).backward()
    assert x.grad.item() == 12


def test_grad_gives_gradients_without_touching_grad():
    x, y = leaf([2.0]), leaf([5.0])
    gx, gy = lc.grad(x * y, [x, y])
    assert (gx.item(), gy.item()) == (5, 2)
    assert x.grad is None and y.grad is None


def test_grad_of_an_intermediate_result():
    x = leaf([2.0])
    y = x * x
    (gy,) = lc.grad(y * 3, [y])
    assert gy.item() == 3


def test_third_order_through_create_graph():
    x = leaf([1.5])
    d1 = lc.grad(x**4, x, create_graph=True)[0]
    d2 = lc.grad(d1, x, create_graph=True)[0]
    d3 = lc.grad(d2, x)[0]
    np.testing.assert_allclose([d1.item(), d2.item(), d3.item()], [4 * 1.5**3, 12 * 1.5**2, 24 * 1.5])


def test_backward_with_create_graph_leaves_a_differentiable_grad():
    x = leaf([3.0])
    (x**3).backward(create_graph=True)
    assert x.grad.requires_grad
    assert lc.grad(x.grad, x)[0].item() == 18


def test_hessian_vector_product_agrees_with_the_matrix():
    a = np.array([[2.0, 1.0], [1.0, 3.0]])
    x = leaf([1.0, -1.0])
    value = (x * (lc.tensor(a) @ x)).sum()
    (g,) = lc.grad(value, x, create_graph=True)
    v = lc.tensor(np.array([0.5, 2.0]))
    np.testing.assert_allclose(lc.grad((g * v).sum(), x)[0].numpy(), 2 * a @ v.numpy())


def test_vjp_and_jvp_agree_with_the_jacobian():
    x = leaf([0.3, 0.7, 1.1])

    def f(t):
        return t.sin() * t.sum()

    xs = x.detach().numpy()
    jacobian = np.diag(np.cos(xs) * xs.sum()) + np.sin(xs)[:, None]
    _, pullback = lc.vjp(f, x)
    u = np.array([1.0, -2.0, 0.5])
    np.testing.assert_allclose(pullback(lc.tensor(u))[0].numpy(), u @ jacobian, rtol=1e-12)
    np.testing.assert_allclose(lc.jvp(f, [x], [lc.tensor(u)])[1].detach().numpy(), jacobian @ u, rtol=1e-12)


def test_an_unused_input_is_an_error_or_none():
    x, y = leaf([1.0]), leaf([1.0])
    with pytest.raises(GradientError, match="do not depend on input 1"):
        lc.grad(x * 2, [x, y], retain_graph=True)
    assert lc.grad(x * 2, [x, y], allow_unused=True)[1] is None


def test_backward_of_several_numbers_needs_a_seed():
    x = leaf([1.0, 2.0])
    with pytest.raises(GradientError, match=r"shape \(2,\) needs a gradient"):
        (x * 2).backward()
    with pytest.raises(ShapeError, match=r"gradient of shape \(3,\)"):
        (x * 2).backward(lc.ones(3))
    (x * 2).backward(lc.tensor([1.0, 10.0]))
    np.testing.assert_array_equal(x.grad.numpy(), [2, 20])


def test_backward_outside_of_a_graph_is_an_error():
    with pytest.raises(GradientError, match="does not require a gradient"):
        lc.tensor([1.0]).backward()


def test_a_freed_graph_says_so_and_retain_graph_keeps_it():
    x = leaf([2.0])
    y = x * x
    y.backward(retain_graph=True)
    y.backward()
    assert x.grad.item() == 8
    with pytest.raises(GradientError, match="freed by an earlier backward"):
        y.backward()


def test_backward_frees_the_saved_arrays_although_the_loss_lives():
    x = leaf(np.ones(1000))
    hidden = x * 2
    kept = weakref.ref(hidden.data)
    loss = (hidden * hidden).sum()
    del hidden
    assert kept() is not None
    loss.backward()
    gc.collect()
    assert kept() is None
    assert loss.item() == 4000


def test_a_node_keeps_only_what_its_rule_asked_for():
    x = leaf(np.ones(10))
    total = x * 1.0
    kept = weakref.ref(total.data)
    result = total + 1.0  # the rule of add needs no array
    del total
    assert kept() is None
    result.sum().backward()


def test_no_grad_records_nothing_and_enable_grad_switches_back():
    x = leaf([1.0])
    with lc.no_grad():
        assert not (x * 2).requires_grad
        with lc.enable_grad():
            assert (x * 2).requires_grad
    assert (x * 2).requires_grad


def test_inference_mode_cannot_be_switched_back():
    with lc.inference_mode(), pytest.raises(GradientError, match="inside inference_mode"), lc.enable_grad():
        pass
    assert lc.is_grad_enabled()


def test_modes_work_as_decorators_and_restore_after_errors():
    @lc.no_grad()
    def f(x):
        return (x * 2).requires_grad

    assert f(leaf([1.0])) is False
    with pytest.raises(ZeroDivisionError), lc.no_grad():
        raise ZeroDivisionError
    assert lc.is_grad_enabled()


def test_modes_belong_to_a_thread():
    seen = []
    with lc.no_grad():
        thread = threading.Thread(target=lambda: seen.append(lc.is_grad_enabled()))
        thread.start()
        thread.join()
    assert seen == [True]


def test_a_tensor_hook_sees_and_replaces_the_gradient():
    x = leaf([1.0])
    y = x * 3
    seen = []
    remove = y.register_hook(lambda g: seen.append(g.item()) or g * 10)
    (y * 2).backward()
    assert seen == [2] and x.grad.item() == 60
    remove()
    x.grad = None
    y = x * 3
    (y * 2).backward()
    assert x.grad.item() == 6


def test_a_hook_that_returns_the_wrong_shape_is_refused():
    x = leaf([1.0, 2.0])
    y = x * 1
    y.register_hook(lambda g: g.sum())
    with pytest.raises(GradientError, match="gradient hook returned"):
        y.sum().backward()


def test_retain_grad_keeps_the_gradient_of_an_intermediate():
    x = leaf([2.0])
    y = (x * x).retain_grad()
    (y * 5).backward()
    assert y.grad.item() == 5


def test_gradients_of_two_leaves_never_share_memory():
    x, y = leaf([1.0, 2.0]), leaf([3.0, 4.0])
    (x + y).sum().backward()
    x.grad.data[...] = 99
    np.testing.assert_array_equal(y.grad.numpy(), [1, 1])


def test_the_seed_of_the_user_is_not_taken_over():
    x = leaf([1.0, 2.0])
    seed = lc.tensor(np.ones(2))
    (x * 1.0).backward(seed)
    x.grad.data[...] = 7
    np.testing.assert_array_equal(seed.numpy(), [1, 1])


def test_an_in_place_write_is_found_and_named():
    x = leaf([1.0, 2.0])
    y = x * 2
    z = (y * y).sum()
    with lc.no_grad():
        y.add_(1.0)
    with pytest.raises(
        InPlaceError, match=r"multiply: an array of shape \(2,\).*version \d+ and is now at version \d+"
    ):
        z.backward()


def test_a_write_through_a_view_is_found_too():
    x = leaf(np.ones((2, 3)))
    y = x * 2
    z = (y * y).sum()
    with lc.no_grad():
        y[0][1:] = 5.0
        y[0].fill_(3.0)
    with pytest.raises(InPlaceError):
        z.backward()


def test_a_write_before_the_use_and_one_to_other_memory_do_no_harm():
    x = leaf([1.0, 2.0])
    other = lc.zeros(2)
    y = x * 2
    with lc.no_grad():
        y.mul_(2.0)
    z = (y * y).sum()
    other.fill_(4.0)
    z.backward()
    np.testing.assert_allclose(x.grad.numpy(), [16, 32])


def test_writing_to_a_tensor_that_requires_a_gradient_is_refused():
    x = leaf([1.0])
    with pytest.raises(GradientError, match="not recorded"):
        x[0] = 2.0
    with pytest.raises(GradientError, match="not recorded"):
        (x * 2).zero_()


def test_a_gradient_lies_in_memory_as_its_tensor_does():
    array = np.arange(16 * 3 * 20 * 20, dtype=np.float32).reshape(16, 20, 20, 3).transpose(0, 3, 1, 2)  # channels last
    x = lc.tensor(array, requires_grad=True)
    assert x.data.strides == array.strides and not np.shares_memory(x.data, array)
    for loss in (lambda x: (x * x).sum(), lambda x: x.sum(), lambda x: x.exp().sum()):
        x.grad = None
        loss(x * 1e-5).backward()
        assert x.grad.data.strides == array.strides
    assert copy.deepcopy(x).data.strides == array.strides


def test_a_rule_writes_over_a_gradient_only_where_nobody_else_sees_it():
    array = np.linspace(-1, 1, 40_000, dtype=np.float32)  # more than one chunk
    seed = np.full(array.shape, 2.0, np.float32)
    x = leaf(array)
    seen = []
    y = x.relu()
    y.register_hook(seen.append)
    y.backward(lc.Tensor(seed))
    assert (seed == 2).all() and (seen[0].data == 2).all()
    np.testing.assert_array_equal(x.grad.data, np.where(array > 0, 2, 0))
    x.grad = None
    z = (x * 3).relu()
    (z.relu() + z).sum().backward()  # one gradient goes two ways
    np.testing.assert_array_equal(x.grad.data, np.where(array > 0, 6, 0))
    inner = x * 1.0
    first, second = lc.grad((inner.relu() * 5).sum(), [inner, x])
    np.testing.assert_array_equal(first.data, np.where(array > 0, 5, 0))
    np.testing.assert_array_equal(second.data, first.data)


def test_a_leaf_buffer_collects_the_gradient_in_place():
    x = lc.Parameter(np.ones(3))
    buffer = np.full(3, 7.0)
    x.node.buffer = buffer
    (x * 2).sum().backward()
    np.testing.assert_array_equal(buffer, [2, 2, 2])
    (x * 2).sum().backward()
    assert x.grad.data is buffer
    np.testing.assert_array_equal(buffer, [4, 4, 4])


def test_the_gradient_has_the_dtype_of_its_input():
    x, y = leaf([1.0], "float32"), leaf([1.0], "float64")
    (x * y).sum().backward()
    assert x.grad.dtype == np.float32 and y.grad.dtype == np.float64


def test_a_wrong_number_of_gradients_and_a_wrong_shape_name_the_op():
    spec = lambda x: x  # noqa: E731
    few = Op("test_few", lambda xp, x: x, lambda F, g, s, need: (), abstract=spec, samples=[Sample((np.ones(2),))])
    odd = Op(
        "test_odd", lambda xp, x: x * 1, lambda F, g, s, need: (g[:1],), abstract=spec, samples=[Sample((np.ones(2),))]
    )
    with pytest.raises(GradientError, match="test_few: its gradient rule gave 0 results for 1 inputs"):
        x = leaf([1.0, 2.0])
        few(x).sum().backward()
    with pytest.raises(ShapeError, match=r"test_odd: its gradient rule gave shape \(1,\) for an input of shape \(2,\)"):
        x = leaf([1.0, 2.0])
        odd(x).sum().backward()


def test_a_third_party_op_with_several_results_differentiates_twice():
    sincos = Op(
        "test_sincos",
        lambda xp, x: (xp.sin(x), xp.cos(x)),
        lambda F, g, saved, need: (
            (0 if g[0] is None else g[0] * F.cos(saved)) - (0 if g[1] is None else g[1] * F.sin(saved)),
        ),
        save=0,
        abstract=lambda x: (x, x),
        samples=[Sample((np.linspace(0.1, 1, 3),))],
    )

    def f(x):
        s, c = sincos(x)
        return s * c + s

    x = leaf([0.2, 0.9])
    assert gradcheck(f, [x]) and gradgradcheck(f, [x])
    assert gradcheck(lambda t: sincos(t)[1], [x])


def test_an_op_without_samples_or_with_a_taken_name_is_refused():
    with pytest.raises(LunarError, match="no samples"):
        Op("test_none", "exp", abstract=lambda x: x, samples=[])
    with pytest.raises(LunarError, match="exists already"):
        Op("exp", "exp", abstract=lambda x: x, samples=[Sample((np.ones(1),))])


def test_an_op_without_a_rule_gives_a_result_without_a_gradient():
    assert not ops.argmax(leaf([1.0, 3.0])).requires_grad
    assert not (leaf([1.0]) > 0).requires_grad


def test_a_device_that_is_not_there_is_named():
    with pytest.raises(DeviceError, match="needs CuPy|no usable CUDA"):
        lc.tensor([1.0], device="cuda")
    with pytest.raises(DeviceError, match="unknown device 'tpu'"):
        lc.tensor([1.0], device="tpu")


@settings(max_examples=60, deadline=None)
@given(
    hnp.mutually_broadcastable_shapes(num_shapes=2, max_dims=4, max_side=3),
    st.sampled_from(["add", "multiply", "maximum"]),
)
def test_un_broadcasting_sums_exactly_over_the_repeated_axes(shapes, name):
    a, b = (np.arange(1.0, 1 + int(np.prod(s))).reshape(s) for s in shapes.input_shapes)
    x, y = leaf(a), leaf(b * 1.5)
    out = getattr(ops, name)(x, y)
    assert out.shape == shapes.result_shape
    seed = np.arange(1.0, 1 + out.size).reshape(out.shape)
    out.backward(lc.tensor(seed))
    big_a, big_b = leaf(np.broadcast_to(a, out.shape)), leaf(np.broadcast_to(b * 1.5, out.shape))
    getattr(ops, name)(big_a, big_b).backward(lc.tensor(seed))

    def folded(g, shape):
        extra = g.ndim - len(shape)
        axes = tuple(range(extra)) + tuple(i + extra for i, n in enumerate(shape) if n == 1)
        return g.sum(axis=axes, keepdims=True).reshape(shape)

    np.testing.assert_allclose(x.grad.numpy(), folded(big_a.grad.numpy(), a.shape), rtol=1e-13)
    np.testing.assert_allclose(y.grad.numpy(), folded(big_b.grad.numpy(), b.shape), rtol=1e-13)


@pytest.mark.parametrize("create_graph", [False, True])
def test_a_gradient_that_was_kept_stays_when_the_next_one_lands_in_the_same_buffer(create_graph):
    x = leaf([1.0, 2.0])
    x.node.buffer = np.zeros(2)
    kept = []
    for factor in (1, 10, 100):
        x.grad = None
        (x * factor).sum().backward(create_graph=create_graph)
        kept.append(x.grad)
    assert [g.tolist() for g in kept] == [[1, 1], [10, 10], [100, 100]]


def test_a_gradient_that_was_kept_stays_when_another_is_assigned():
    x = leaf([1.0, 2.0])
    x.node.buffer = buffer = np.zeros(2)
    x.sum().backward()
    kept = x.grad
    x.grad = kept * 2
    buffer[...] = 7  # as an optimizer does that brings the assigned gradient in
    assert kept.tolist() == [1, 1]


def test_a_gradient_that_nobody_kept_costs_no_copy():
    x = leaf([1.0, 2.0])
    x.node.buffer = buffer = np.zeros(2)
    for _ in range(3):
        x.grad = None
        x.sum().backward()
        assert x.grad.data is buffer


def test_the_seed_may_be_a_list_and_anything_else_is_refused():
    x = leaf([1.0, 2.0])
    (x * 2).backward([1, 10])
    assert x.grad.tolist() == [2, 20]
    with pytest.raises(GradientError, match="got str"):
        (x * 2).backward("ones")


def test_a_tracer_sees_the_ops_of_every_thread():
    from lunar_core.op import slot

    seen = []

    def tracer(op, inputs, static):
        seen.append(op.name)
        return op.apply(inputs, static)

    def work():
        x = lc.tensor(np.ones(2))
        for _ in range(500):
            ops.add(1.0, x)

    slot.tracer = tracer
    try:
        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert slot.tracer is tracer
    finally:
        slot.tracer = None
    assert len(seen) == 2000


def test_a_mode_refuses_to_decorate_a_generator_whose_body_it_could_not_cover():
    with pytest.raises(GradientError, match=r"@no_grad\(\) on the generator batches\(\)"):

        @lc.no_grad()
        def batches():
            yield 1


def test_an_op_that_saves_an_input_which_it_does_not_have_is_named():
    op = Op(
        "test_saves_too_far",
        lambda xp, x: x * 2,
        vjp=lambda F, g, x, need: (g,),
        save=3,
        abstract=lambda x: x,
        samples=[Sample((np.ones(2),))],
    )
    try:
        with pytest.raises(LunarError, match="'test_saves_too_far' saves input 3, but it was applied to 1 inputs"):
            op(leaf([1.0]))
    finally:
        del OPS[op.name]


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("create_graph", [False, True])
def test_the_gradient_of_a_broadcast_half_is_summed_in_float32(dtype, create_graph):
    bias = leaf(np.zeros(2), dtype)
    (lc.tensor(np.zeros((4096, 2)), dtype=dtype) + bias).backward(
        lc.tensor(np.ones((4096, 2)), dtype=dtype), create_graph=create_graph
    )
    assert bias.grad.dtype.name == dtype
    assert bias.grad.tolist() == [4096, 4096]


def test_a_mode_that_two_threads_share_restores_what_each_of_them_had():
    mode = lc.no_grad()
    entered, left = threading.Event(), threading.Event()
    seen = []

    def other():
        with lc.no_grad(), mode:
            entered.set()
            left.wait()
        seen.append(lc.is_grad_enabled())

    thread = threading.Thread(target=other)
    with mode:
        thread.start()
        entered.wait()
    seen.append(lc.is_grad_enabled())
    left.set()
    thread.join()
    assert seen == [True, True]
