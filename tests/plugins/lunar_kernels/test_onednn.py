"""The provider oneDNN: what it takes over, that it agrees with the reference over the ops' sample tables, and its life."""

import os
import subprocess
import sys
import textwrap
import threading

import numpy as np
import pytest
from agreement import LAYOUTS, assert_close, lay, reference, single

import lunar_core as lc
from lunar_core import kernels, ops
from lunar_core.op import OPS
from lunar_core.threads import _blas, blas_threads
from lunar_kernels import convolution, normalization, plans, products, threads
from lunar_kernels.library import library
from lunar_kernels.onednn import OneDNN, provider

# samples in which oneDNN has nothing fast; at these the reference computes
LEFT_TO_THE_REFERENCE = {
    "avg_pool2d": {6, 10}, "avg_pool2d_grad": {6, 10},  # windows that hang over the padding
    "batch_norm": {0, 1, 2, 3, 4}, "batch_norm_grad": {0, 1, 2, 3, 4}, "batch_moments": {0, 1, 2},
    "channel_affine": {0, 1, 2},  # odd channels
    "gelu": {0}, "gelu_tanh": {0},  # no axes
    "layer_norm": {3}, "layer_norm_grad": {3},  # transposed rows
    "max_pool2d": {4}, "max_pool2d_with_index": {4}, "max_pool2d_grad": {4},  # dilation
    "matmul": {1, 2, 3, 6, 7},  # vectors
    "softmax": {2, 3},  # an axis that does not lie densest
}  # fmt: skip

# without the LSTM, which runs only where no gradient is asked for, and the conversion, which is between other dtypes
KERNELS = sorted(set(provider.kernels) - {"lstm_layer", "cast"})
POOLS = tuple(name for name in provider.kernels if "pool" in name)  # they take images that lie channels-last


@pytest.fixture
def eager(onednn, monkeypatch):
    """Small problems are given to oneDNN too."""
    for name in ("_PLAIN", "_LEAST"):
        monkeypatch.setattr(products, name, 0)
    monkeypatch.setattr(products, "_NARROWEST", 1)
    return onednn


@pytest.mark.parametrize("name", KERNELS)
def test_a_kernel_agrees_with_the_reference_over_the_sample_table(name, eager):
    kernel, plain = eager.kernels[name], reference(name)
    left = set()
    for number, sample in enumerate(OPS[name].samples()):
        given = [a for a in sample.args if isinstance(a, np.ndarray)]
        if any(a.dtype.kind == "c" or not a.size for a in given):
            assert kernel(*map(single, sample.args), **sample.static) is NotImplemented
            continue
        arrays = map(single, sample.args)
        if name in POOLS:
            arrays = (lay(a, "last") if isinstance(a, np.ndarray) else a for a in arrays)
        got = kernel(*arrays, **sample.static)
        if got is NotImplemented:
            left.add(number)
        else:
            assert_close(got, plain(*sample.args, **sample.static), about=f"{name} sample {number}")
    assert left == LEFT_TO_THE_REFERENCE.get(name, set())


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", KERNELS)
def test_an_op_agrees_with_the_reference_in_every_layout_of_its_inputs(name, layout, eager):
    op, plain = OPS[name], reference(name)
    for number, sample in enumerate(op.samples()):
        arrays = [
            lay(single(a), layout) if isinstance(a, np.ndarray) and a.ndim > 1 and a.size else single(a)
            for a in sample.args
        ]
        got = op(*arrays, **sample.static)
        assert_close(got, plain(*sample.args, **sample.static), about=f"{name} sample {number} {layout}")


@pytest.mark.parametrize("name", KERNELS)
def test_a_kernel_leaves_other_dtypes_to_the_reference(name, eager):
    for dtype in (np.float64, np.float16, np.dtype(">f4")):
        sample = OPS[name].samples()[0]
        arrays = [a.astype(dtype) if isinstance(a, np.ndarray) and a.dtype.kind == "f" else a for a in sample.args]
        assert eager.kernels[name](*arrays, **sample.static) is NotImplemented


def test_every_kernel_belongs_to_a_heavy_op():
    assert {name for name in provider.kernels if name not in OPS or not OPS[name].heavy} == set()


# -- shapes of real networks are taken over ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("x_shape", "w_shape", "stride", "padding", "groups"),
    [
        ((8, 1, 28, 28), (16, 1, 3, 3), 1, 1, 1),
        ((8, 16, 14, 14), (32, 16, 3, 3), 1, 1, 1),
        ((4, 3, 32, 32), (64, 3, 3, 3), 1, 1, 1),
        ((2, 64, 16, 16), (128, 64, 3, 3), 2, 1, 1),
        ((2, 64, 16, 16), (128, 64, 1, 1), 2, 0, 1),
        ((2, 128, 4, 4), (128, 128, 3, 3), 1, 1, 1),
        ((2, 32, 14, 14), (32, 1, 3, 3), 2, 1, 32),
        ((2, 64, 7, 7), (64, 8, 3, 3), 1, 1, 8),
        ((2, 3, 65, 65), (10, 3, 11, 11), 4, 2, 1),
        ((3, 5, 1, 40), (7, 5, 1, 3), 1, 0, 1),
    ],
)
def test_the_convolutions_of_real_networks_run_in_onednn(onednn, x_shape, w_shape, stride, padding, groups):
    rng = np.random.default_rng(0)
    x, w, bias = rng.normal(size=x_shape), rng.normal(size=w_shape), rng.normal(size=w_shape[0])
    static = {
        "stride": (stride,) * 2, "padding": ((padding,) * 2,) * 2, "dilation": (1, 1), "groups": groups,
    }  # fmt: skip
    y = reference("conv2d")(x, w, bias, **static)
    g = rng.normal(size=y.shape)
    for layout in ("plain", "last"):
        got = convolution.conv2d(lay(single(x), layout), single(w), single(bias), **static)
        assert_close(got, y)
        assert got.transpose(0, 2, 3, 1).flags.c_contiguous
        gx = convolution.conv2d_input_grad(lay(single(g), layout), single(w), size=x_shape[2:], **static)
        assert_close(gx, reference("conv2d_input_grad")(g, w, size=x_shape[2:], **static))
        gw = convolution.conv2d_weight_grad(
            lay(single(x), layout), lay(single(g), layout), kernel=w_shape[2:], **static
        )
        assert_close(gw, reference("conv2d_weight_grad")(x, g, kernel=w_shape[2:], **static))
        assert gw.flags.c_contiguous


def test_a_huge_weight_over_few_pixels_is_left_to_one_matrix_product_where_there_is_one_thread(onednn):
    x, g = np.zeros((1, 512, 2, 2), np.float32), np.zeros((1, 512, 2, 2), np.float32)
    static = {"stride": (1, 1), "padding": ((1, 1), (1, 1)), "dilation": (1, 1), "groups": 1}
    before = lc.get_num_threads()
    try:
        lc.set_num_threads(1)
        assert convolution.conv2d_weight_grad(x, g, kernel=(3, 3), **static) is NotImplemented
        lc.set_num_threads(2)
        assert convolution.conv2d_weight_grad(x, g, kernel=(3, 3), **static) is not NotImplemented
    finally:
        lc.set_num_threads(before)


# -- gradients ---------------------------------------------------------------------------------------------------------


def network(x, parameters):
    """Every kernel once: convolution, batch norm, pooling, linear, layer norm, softmax, matmul."""
    w1, b1, scale, shift, w2, w3, b3, scale3, shift3 = parameters
    h, _, _ = ops.batch_norm(ops.conv2d(x, w1, b1, padding=1), scale, shift)
    h = ops.max_pool2d(ops.relu(h), 2)
    h = ops.avg_pool2d(ops.conv2d(h, w2, None, stride=2, padding="same"), 2)
    h = h.reshape((h.shape[0], -1))
    h = ops.layer_norm(ops.linear(h, w3, b3), scale3, shift3)
    attention = ops.softmax(ops.matmul(h, h.T))
    return (ops.matmul(attention, h) ** 2).mean()


def network_arrays(rng):
    shapes = [(16, 3, 3, 3), (16,), (16,), (16,), (32, 16, 3, 3), (24, 128), (24,), (24,), (24,)]
    return rng.normal(size=(6, 3, 16, 16)), [rng.normal(size=s) * 0.3 for s in shapes]


def gradients(dtype, order):
    x, arrays = network_arrays(np.random.default_rng(1))
    inputs = [lc.tensor(a.astype(dtype), requires_grad=True) for a in (x, *arrays)]
    loss = network(inputs[0], inputs[1:])
    first = lc.grad(loss, inputs, create_graph=order == 2)
    if order == 1:
        return first
    return lc.grad(sum((g * g).sum() for g in first), inputs)


@pytest.mark.parametrize("order", [1, 2])
def test_float32_gradients_by_the_kernels_agree_with_float64_by_the_reference(eager, order):
    got = gradients(np.float32, order)
    kernels.disable("onednn")
    expected = gradients(np.float64, order)
    for a, b in zip(got, expected):
        assert_close(a.data, b.data, tolerance=2e-4 if order == 1 else 2e-3)


# -- its life ----------------------------------------------------------------------------------------------------------


def run_python(text, **environment):
    """The output of a fresh interpreter."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **environment}
    command = [sys.executable, "-c", textwrap.dedent(text)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_a_provider_that_is_switched_off_is_not_asked(onednn):
    assert kernels.chosen("conv2d") == ["onednn", "reference"]
    kernels.disable("onednn")
    assert kernels.chosen("conv2d") == ["reference"]
    x, w = np.ones((1, 16, 8, 8), np.float32), np.ones((16, 16, 3, 3), np.float32)
    ops.conv2d(lc.tensor(x), lc.tensor(w))
    assert not convolution._forward.table
    kernels.enable("onednn")
    ops.conv2d(lc.tensor(x), lc.tensor(w))
    assert len(convolution._forward.table) == 1


def test_only_numpy_arrays_are_taken(onednn):
    class Device(np.ndarray):
        pass

    assert onednn.kernel("conv2d", Device) is None
    assert onednn.kernel("add", np.ndarray) is None


def test_the_same_call_gives_the_same_bits_also_with_a_plan_made_anew(onednn):
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=(4, 16, 14, 14)).astype(np.float32), rng.normal(size=(32, 16, 3, 3)).astype(np.float32)
    first = ops.conv2d(x, w, padding=1)
    assert np.array_equal(ops.conv2d(x, w, padding=1), first)
    onednn.clear()
    assert np.array_equal(ops.conv2d(x, w, padding=1), first)


def test_results_are_fresh_arrays(onednn):
    x, w = np.ones((2, 16, 8, 8), np.float32), np.ones((16, 16, 3, 3), np.float32)
    first = ops.conv2d(x, w)
    kept = first.copy()
    ops.conv2d(x * 2, w)
    assert np.array_equal(first, kept)


def test_plans_are_bounded(onednn, monkeypatch):
    monkeypatch.setattr(plans, "LIMIT", 3)
    w = np.ones((16, 16, 3, 3), np.float32)
    for size in range(4, 14):
        x = np.ones((1, 16, size, size), np.float32)
        assert ops.conv2d(x, w).max() == 144
    assert len(convolution._forward.table) == 3


def test_a_larger_plan_moves_the_scratch_memory_of_the_smaller_ones(onednn):
    rng = np.random.default_rng(0)
    small = [rng.normal(size=s).astype(np.float32) for s in ((1, 16, 6, 6), (16, 16, 3, 3))]
    large = [rng.normal(size=s).astype(np.float32) for s in ((4, 128, 20, 20), (128, 128, 3, 3))]
    expected = ops.conv2d(*small)
    ops.conv2d(*large)
    assert np.array_equal(ops.conv2d(*small), expected)


def test_threads_of_python_have_plans_of_their_own(onednn):
    rng = np.random.default_rng(0)
    w = rng.normal(size=(32, 16, 3, 3)).astype(np.float32)
    inputs = [rng.normal(size=(2, 16, 12, 12)).astype(np.float32) for _ in range(4)]
    expected = [ops.conv2d(x, w) for x in inputs]
    wrong = []

    def work(x, y):
        for _ in range(50):
            if not np.array_equal(ops.conv2d(x, w), y):
                wrong.append(1)

    workers = [threading.Thread(target=work, args=pair) for pair in zip(inputs, expected)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not wrong
    assert len(convolution._forward.table) == 1


@pytest.fixture
def counted(onednn):
    """Puts the number of threads back."""
    before, blas = lc.get_num_threads(), blas_threads()
    yield
    lc.set_num_threads(before)
    if blas is not None:
        _blas("set")(blas)


def test_the_number_of_threads_holds_for_onednn_and_blas_in_every_thread(counted):
    lc.set_num_threads(2)
    assert threads.get() == 2
    seen = []

    def look():
        threads.adopt()
        seen.append(threads._process.runtime.omp_get_max_threads())

    worker = threading.Thread(target=look)
    worker.start()
    worker.join()
    assert seen == [2]
    lc.set_num_threads(1)
    look()
    assert seen == [2, 1]


def test_results_do_not_depend_on_the_number_of_threads_beyond_rounding(counted):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(8, 16, 14, 14))
    g = rng.normal(size=(8, 32, 14, 14))
    static = {"stride": (1, 1), "padding": ((1, 1), (1, 1)), "dilation": (1, 1), "groups": 1}
    expected = reference("conv2d_weight_grad")(x, g, kernel=(3, 3), **static)
    for count in (1, 2, 3):
        lc.set_num_threads(count)
        assert_close(convolution.conv2d_weight_grad(single(x), single(g), kernel=(3, 3), **static), expected)


def test_a_forked_child_computes_alone_instead_of_waiting_for_lost_threads(onednn):
    out = run_python(
        """
        import os
        import numpy as np
        from lunar_kernels import threads
        from lunar_kernels.convolution import conv2d
        x, w = np.ones((8, 16, 20, 20), np.float32), np.ones((32, 16, 3, 3), np.float32)
        static = {"stride": (1, 1), "padding": ((0, 0), (0, 0)), "dilation": (1, 1), "groups": 1}
        conv2d(x, w, None, **static)
        assert threads.get() == 2
        child = os.fork()
        if child == 0:
            y = conv2d(x, w, None, **static)
            os._exit(0 if threads.get() == 1 and (y == 144).all() else 1)
        print(os.waitpid(child, 0)[1])
        """,
        OMP_NUM_THREADS="2",
    )
    assert out == ["0"]


def test_nothing_is_loaded_before_a_kernel_runs(onednn):
    out = run_python(
        """
        import numpy as np
        import lunar_core as lc
        from lunar_core import kernels, ops
        from lunar_kernels.onednn import provider
        kernels.add(provider)
        loaded = lambda: "libdnnl" in open("/proc/self/maps").read()
        x = lc.ones((2, 3))
        ops.matmul(x, x.T)
        print(kernels.chosen("conv2d")[0], loaded())
        ops.conv2d(lc.ones((1, 1, 8, 8)), lc.ones((1, 1, 3, 3)))
        print(loaded())
        """
    )
    assert out == ["onednn", "False", "True"]


def test_it_describes_itself(onednn):
    found = OneDNN().describe()
    assert found["available"] and found["version"].startswith("3.") and found["threads"] >= 1
    assert found["file"] == str(library.path())
    (status,) = [s for s in kernels.status() if s.name == "onednn"]
    assert status.enabled and not status.reason and "conv2d" in status.ops


# -- bad inputs --------------------------------------------------------------------------------------------------------


def test_large_offsets_do_not_spoil_the_statistics(onednn):
    rng = np.random.default_rng(0)
    x = (rng.normal(size=(4, 16, 6, 6)) + 100).astype(np.float32)
    y, mean, var = normalization.batch_norm(lay(x, "last"), None, None, 1e-5)
    exact = reference("batch_norm")(x.astype(np.float64), None, None, eps=1e-5)
    assert_close(y, exact[0], tolerance=2e-4)
    assert_close(mean, exact[1], tolerance=1e-6)
    assert_close(var, exact[2], tolerance=2e-4)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(
    "name", ["max_pool2d", "max_pool2d_with_index", "softmax", "avg_pool2d", "conv2d", "gelu", "gelu_tanh"]
)
def test_values_that_are_no_numbers_mean_what_they_mean_in_the_reference(onednn, name, value):
    for position in range(0, 40, 3):
        for sample in OPS[name].samples()[:3]:
            x = single(sample.args[0]).copy(order="K")
            if not x.size:
                continue
            x.flat[position % x.size] = value
            if position % 2:
                x.flat[(position + 1) % x.size] = value
            rest = tuple(map(single, sample.args[1:]))
            with np.errstate(invalid="ignore"):
                got, expected = OPS[name](x, *rest, **sample.static), reference(name)(x, *rest, **sample.static)
            for a, b in zip(*[v if isinstance(v, tuple) else (v,) for v in (got, expected)]):
                np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_a_dtype_that_equals_float32_without_being_its_very_object_is_taken_too(onednn):
    equal = np.dtype(np.float32).newbyteorder("<")  # as readers of files make them
    x = lay(np.ones((2, 16, 8, 8), np.float32), "last")
    y = np.ndarray(x.shape, equal, x.tobytes("A"), strides=x.strides)
    assert y.dtype is not x.dtype and y.dtype == x.dtype
    static = {"kernel": (2, 2), "stride": (2, 2), "padding": (0, 0), "dilation": (1, 1), "counts": (4, 4)}
    assert onednn.kernels["max_pool2d"](y, **static) is not NotImplemented
    assert onednn.kernels["batch_norm"](y, None, None, 1e-5) is not NotImplemented
