"""What a user hangs into the engine: kept results, hooks on tensors and saved arrays, modes of threads, deep graphs."""

import threading

import numpy as np
import pytest

import lunar_core as lc
from lunar_core.errors import ArgumentError, DeviceError, DTypeError, GradientError
from lunar_core.modes import modes
from lunar_core.op import OPS, Op, Result, Sample, slot
from lunar_core.testing import check_op


@pytest.fixture
def define():
    """Ops that are gone after the test."""
    made = []

    def make(name, *args, **kwargs):
        made.append(name)
        return Op(name, *args, samples=kwargs.pop("samples", [Sample((np.array([1.0, 2.0, 4.0]),))]), **kwargs)

    yield make
    for name in made:
        OPS.pop(name, None)


# -- what a node keeps, and ops without a rule -------------------------------------------------------------------------


def test_an_op_keeps_single_results_for_its_rule_at_any_order(define):
    def vjp(F, g, saved, need):
        root, x = saved
        total = g[0] * 0.5 / root if g[0] is not None else 0
        return (total if g[1] is None else total + g[1] * 3 * x * x,)

    op = define(
        "test_root_and_cube", lambda xp, x: (xp.sqrt(x), x**3), vjp, save=(Result(0), 0), abstract=lambda x: (x, x)
    )
    assert check_op(op) == 1
    x = lc.tensor([4.0], requires_grad=True)
    root, cube = op(x)
    node = root.node.parents[0]
    assert node.saved[0] is root.data and len(node.saved) == 2
    (cube + root).backward()
    assert x.grad.item() == 48.25


def test_integer_results_of_an_op_without_a_rule_leave_the_graph_and_floating_ones_are_refused_by_name(define):
    rounded = define("test_rounded", "rint", abstract=lambda x: x)
    counted = define(
        "test_counted", lambda xp, x: (x > 1).astype(np.int64), abstract=lambda x: x._replace(dtype=np.dtype(int))
    )
    x = lc.tensor([0.6, 1.6], requires_grad=True)
    assert not counted(x).requires_grad
    (x * counted(x)).sum().backward()
    assert x.grad.tolist() == [0, 1]
    y = rounded(x)
    assert y.requires_grad and not rounded(x.detach()).requires_grad
    with pytest.raises(GradientError, match="test_rounded has no gradient rule"):
        (y * 2).sum().backward()
    (y.detach() * x).sum().backward()


def test_floating_results_beside_integers_of_an_op_without_a_rule_are_refused_too(define):
    op = define("test_halves", lambda xp, x: (x > 1, x * 0.5), abstract=lambda x: (x._replace(dtype=np.dtype(bool)), x))
    flags, halves = op(lc.tensor([1.0, 2.0], requires_grad=True))
    assert not flags.requires_grad and halves.requires_grad
    with pytest.raises(GradientError, match="test_halves has no gradient rule"):
        halves.sum().backward()


# -- hooks -------------------------------------------------------------------------------------------------------------


def test_saved_arrays_are_packed_and_unpacked_once_for_each_use():
    x = lc.tensor(np.linspace(0.1, 1, 9).reshape(3, 3), requires_grad=True)
    packed, unpacked = [], []

    def f():
        return ((x @ x).tanh() * x).sum()

    with lc.saved_tensor_hooks(
        lambda t: (packed.append(t.shape), t.numpy().copy())[1], lambda a: (unpacked.append(1), a)[1]
    ):
        value = f()
    assert len(packed) == 5 and not unpacked and modes.saving is None and not slot.busy
    value.backward()
    hooked, x.grad = x.grad.numpy(), None
    f().backward()
    np.testing.assert_array_equal(hooked, x.grad.numpy())
    assert len(unpacked) == 5


def test_saved_arrays_may_be_kept_in_half_precision_or_as_other_objects_and_blocks_nest():
    x = lc.tensor([0.5, 2.0], requires_grad=True)
    outer = []
    with lc.saved_tensor_hooks(lambda t: (outer.append(1), t)[1], lambda t: t):
        y = x.exp()
        with lc.saved_tensor_hooks(lambda t: t.astype("float16"), lambda t: t.astype("float32")):
            z = (y * y).sum()
    z.backward()
    assert outer == [1]
    np.testing.assert_allclose(x.grad.numpy(), 2 * np.exp(2 * x.detach().numpy()), rtol=1e-3)


def test_second_derivatives_go_through_packed_arrays():
    x = lc.tensor([0.5], dtype="float64", requires_grad=True)
    with lc.saved_tensor_hooks(lambda t: t.numpy().tobytes(), np.frombuffer):
        (g,) = lc.grad((x**3).sum(), [x], create_graph=True)
        g.backward()
    np.testing.assert_allclose(x.grad.numpy(), 3.0)


def test_gradient_hooks_of_a_parameter_survive_freezing_and_can_still_be_removed():
    layer, seen = lc.layers.Dense(1, in_features=2), []
    remove = layer.weight.register_hook(lambda g: seen.append(g.shape))
    layer.freeze()
    layer.unfreeze()
    layer(lc.ones((1, 2))).sum().backward()
    assert seen == [(1, 2)]
    remove()
    layer(lc.ones((1, 2))).sum().backward()
    assert seen == [(1, 2)]


def test_a_gradient_kept_by_retain_grad_is_that_after_the_hooks_and_adds_up():
    x = lc.tensor([2.0], requires_grad=True)
    y = x * 3
    y.register_hook(lambda g: g * 10)
    y.retain_grad()
    (y * y).sum().backward(retain_graph=True)
    assert y.grad.item() == 120 and x.grad.item() == 360
    (y * y).sum().backward()
    assert y.grad.item() == 240


def test_running_statistics_inside_a_checkpoint_move_once_also_when_checkpoints_nest():
    norm = lc.layers.BatchNorm2D()
    x = lc.tensor(np.random.default_rng(0).normal(size=(4, 3, 5, 5)), requires_grad=True)
    norm(x)
    start = norm.running_mean.numpy().copy()

    def block(x):
        return norm(x).relu().sum()

    block(x).backward()
    once, plain = norm.running_mean.numpy().copy(), x.grad.numpy().copy()
    for run in (lambda: lc.checkpoint(block, x), lambda: lc.checkpoint(lambda x: lc.checkpoint(block, x) * 1.0, x)):
        norm.running_mean.assign_(start)
        count, x.grad = norm.num_batches_tracked.item(), None
        run().backward()
        np.testing.assert_array_equal(norm.running_mean.numpy(), once)
        assert norm.num_batches_tracked.item() == count + 1
        np.testing.assert_array_equal(x.grad.numpy(), plain)


def test_the_path_of_the_module_is_named_for_a_gradient_that_is_not_finite():
    class Root(lc.Module):
        def forward(self, x):
            return x.sqrt()

    class Outer(lc.Module):
        def __init__(self):
            self.inner = Root()

        def forward(self, x):
            return self.inner(x) * 2

    x = lc.tensor([0.0, 1.0], requires_grad=True)
    with lc.anomaly_mode(), np.errstate(all="ignore"):
        y = Outer()(x).sum()
        with pytest.raises(
            GradientError, match=r'gradient of sqrt .*test_engine_hooks.py:\d+ in module "inner" \(Root\)'
        ):
            y.backward()


# -- depth and threads -------------------------------------------------------------------------------------------------


def test_a_graph_a_hundred_thousand_ops_deep_needs_no_recursion():
    x, one = lc.tensor([1.0], requires_grad=True), lc.tensor([1.0])
    y = x
    for _ in range(100_000):
        y = y + one
    y.backward()
    assert x.grad.item() == 1 and y.item() == 100_001
    y = x
    for _ in range(30_000):
        y = y + x
    del y  # nor does dropping one


def test_transforms_autocast_and_hooks_of_threads_do_not_meet():
    x = lc.tensor(np.linspace(0.1, 1, 12).reshape(4, 3))
    w = lc.tensor(np.ones((3, 3), np.float32))
    failures = []

    def check(function, expected):
        try:
            for _ in range(40):
                np.testing.assert_allclose(function(), expected, rtol=1e-9)
        except Exception as exc:
            failures.append(exc)

    def cubes(x):
        return (x**3).sum()

    def halves():
        with lc.autocast():
            return np.asarray((w @ w).itemsize)

    jobs = [
        (lambda: np.asarray(lc.vmap(lc.grad(cubes))(x)), 3 * x.numpy() ** 2),
        (lambda: np.asarray(lc.jvp(lambda x: x**2, x, lc.ones_like(x))[1]), 2 * x.numpy()),
        (lambda: np.asarray(lc.hvp(cubes, x, lc.ones_like(x))), 6 * x.numpy()),
        (halves, 2),
        (lambda: np.asarray((w @ w).itemsize), 4),
    ]
    threads = [threading.Thread(target=check, args=job) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures and not slot.busy


# -- spellings ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [lc.no_grad, lc.inference_mode])
def test_a_mode_decorates_with_parentheses_or_without(mode):
    x = lc.tensor([1.0], requires_grad=True)

    @mode
    def bare(x):
        """Doc."""
        return x * 2

    assert not bare(x).requires_grad and not mode()(lambda x: x * 2)(x).requires_grad
    assert bare.__name__ == "bare" and bare.__doc__ == "Doc." and (x * 2).requires_grad


def test_names_of_devices_and_dtypes_in_the_wrong_place_say_the_right_spelling():
    x, layer = lc.ones((2,)), lc.layers.Dense(2, in_features=3)
    for wrong in ("gpu", "mps", "gpu:0", "cuda0"):
        with pytest.raises(DeviceError, match='a GPU is "cuda"'):
            x.to(wrong)
        with pytest.raises(DeviceError, match='a GPU is "cuda"'):
            layer.to(wrong)
    with pytest.raises(DeviceError, match=r"model.astype\('float64'\)"):
        layer.to("float64")
    with pytest.raises(DTypeError, match="unknown dtype 'float65'"):
        x.to("float65")


def test_arguments_by_their_names_elsewhere_say_the_name_here():
    x = lc.ones((2, 3))
    for wrong, hint in (
        (lambda: x.sum(dim=1), "write axis=1"),
        (lambda: x.mean(axis=1, keepdim=True), "write keepdims=True"),
        (lambda: x.softmax(dim=-1), "write axis=-1"),
        (lambda: x.var(unbiased=True), "write correction=1"),
    ):
        with pytest.raises(ArgumentError, match=hint):
            wrong()
    with pytest.raises(TypeError, match=r"max\(\) has no argument 'where'"):
        x.max(where=None)
