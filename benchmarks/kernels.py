"""Each kernel of a provider beside the NumPy reference and PyTorch, on the shapes of small networks, in float32.

    python -m benchmarks.kernels [--threads 1] [--only conv] [--rounds 5] [--provider onednn] [--cpu | --quiet] [--step]

Prints microseconds of each (medians of runs in turns) and the ratios of the provider's to the other two's; below 1 the
provider is faster. PyTorch gets contiguous arrays, ours lie as our kernels before them leave them. ``--cpu`` counts the
processor time of one thread instead of the wall's, for a machine that others use too; ``--quiet`` waits until they do not.
``--step`` times whole training
steps, with the provider on and off, instead of kernels.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

parser = argparse.ArgumentParser(prog="benchmarks.kernels", description="kernels beside NumPy and PyTorch")
parser.add_argument("--threads", type=int, default=1, help="threads of each")
parser.add_argument("--only", default="", help="run the rows whose name contains this")
parser.add_argument("--rounds", type=int, default=5, help="measurements of each row")
parser.add_argument("--provider", default="onednn", help="registry name of the kernel provider")
parser.add_argument("--cpu", action="store_true", help="processor time of the calling thread; only with --threads 1")
parser.add_argument("--quiet", action="store_true", help="measure only while other processes leave the machine alone")
parser.add_argument("--step", action="store_true", help="whole training steps")
options = parser.parse_args()
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = str(options.threads)  # read when the libraries are loaded

import numpy as np

import lunar_core as lc
from lunar_core import kernels, ops
from lunar_core.op import OPS

kernels.status()  # finds the providers; what they bring is loaded before PyTorch brings its own
for _provider in kernels.providers.active():
    getattr(_provider, "describe", dict)()

import torch
import torch.nn.functional as tf

torch.set_num_threads(options.threads)
rng = np.random.default_rng(0)
clock = time.thread_time if options.cpu else time.perf_counter
Function = Callable[[], Any]


def normal(*shape: int) -> np.ndarray:
    return rng.normal(size=shape).astype(np.float32)


def channels_last(x: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(np.moveaxis(x, 1, -1)).swapaxes(1, -1).swapaxes(2, -1) if x.ndim == 4 else x


def used() -> tuple[float, float]:
    """Seconds of processor time that the whole machine and this process have used so far (Linux)."""
    with open("/proc/stat") as file:
        numbers = [int(n) for n in file.readline().split()[1:]]
    times = os.times()
    return (sum(numbers) - numbers[3] - numbers[4]) / os.sysconf("SC_CLK_TCK"), times.user + times.system


def others_idle(action: Function) -> bool:
    """Run ``action``; whether other processes left the machine to us meanwhile."""
    before, mine = used()
    start = time.perf_counter()
    action()
    after, mine_after = used()
    return after - before - (mine_after - mine) < 0.1 * (time.perf_counter() - start) + 0.02


def medians(functions: list[Function]) -> list[float]:
    """Microseconds of each, measured in turns, for a while each time.

    With several threads, those of the function before are first given the time to fall asleep: OpenBLAS's burn a core for
    25 ms. With ``--quiet``, measurements while other processes were at work are repeated, for up to a minute a row.
    """
    length = 0.08 if options.quiet else 0.005
    deadline = time.perf_counter() + 60
    times: list[list[float]] = [[] for _ in functions]

    def measure(function: Function, into: list[float]) -> None:
        function()
        start, count = clock(), 0
        while clock() - start < length or count < 2:
            function()
            count += 1
        into.append((clock() - start) / count)

    for _ in range(options.rounds):
        for function, into in zip(functions, times):
            while True:
                if options.threads > 1:
                    time.sleep(0.04)
                result: list[float] = []
                idle = others_idle(lambda function=function, result=result: measure(function, result))  # type: ignore[misc]
                if idle or not options.quiet or time.perf_counter() > deadline:
                    break
                while time.perf_counter() < deadline and not others_idle(lambda: time.sleep(0.1)):
                    pass
            into += result
    return [statistics.median(t) * 1e6 for t in times]


def reference(name: str) -> Callable[..., Any]:
    """The NumPy implementation of an op."""
    forward = OPS[name].forward
    return lambda *arrays, **static: forward(np, *arrays, **static)


def kernel(name: str) -> Callable[..., Any]:
    """The provider's implementation alone."""
    for provider in kernels.providers.active():
        if provider.name == options.provider:
            function = provider.kernel(name, np.ndarray)
            if function is not None:
                return function
    raise SystemExit(f"no provider {options.provider!r} with a kernel for {name!r}: {kernels.chosen(name)}")


def row(title: str, op: str, arrays: tuple[Any, ...], static: dict[str, Any], peer: Function | None) -> None:
    if options.only not in f"{title} {op}":
        return
    ours, plain = kernel(op), reference(op)
    got, expected = ours(*arrays, **static), plain(*arrays, **static)
    if got is NotImplemented:
        print(f"{title:52s} left to the reference", flush=True)
        return
    got, expected = (value[0] if isinstance(value, tuple) else value for value in (got, expected))
    scale = max(1e-6, float(np.abs(expected).max()))
    error = float(np.abs(got - expected).max()) / scale
    functions: list[Function] = [lambda: ours(*arrays, **static), lambda: plain(*arrays, **static)]
    if peer is not None:
        functions.append(peer)
    times = medians(functions)
    shown = " ".join(f"{t:10.1f}" for t in times) + ("" if peer is not None else f"{'':>11s}")
    ratios = " ".join(f"{times[0] / t:7.2f}" for t in times[1:])
    print(f"{title:52s} {shown}   {ratios}" + ("" if error < 1e-5 else f"   differs by {error:.1e}"), flush=True)


def convolutions() -> Iterator[tuple[str, tuple[int, ...], tuple[int, ...], int, int, int]]:
    """Name, images, weight, stride, padding, groups."""
    for batch in (32, 128):
        yield f"mnist_cnn conv1 batch {batch}", (batch, 1, 28, 28), (16, 1, 3, 3), 1, 1, 1
        yield f"mnist_cnn conv2 batch {batch}", (batch, 16, 14, 14), (32, 16, 3, 3), 1, 1, 1
    yield "digits_cnn conv1 batch 64", (64, 1, 8, 8), (16, 1, 3, 3), 1, 1, 1
    yield "digits_cnn conv2 batch 64", (64, 16, 4, 4), (32, 16, 3, 3), 1, 1, 1
    yield "mininet depthwise batch 32", (32, 16, 28, 28), (16, 1, 3, 3), 1, 1, 16
    yield "mininet depthwise stride 2 batch 32", (32, 32, 28, 28), (32, 1, 3, 3), 2, 1, 32
    yield "mininet pointwise batch 32", (32, 16, 28, 28), (32, 16, 1, 1), 1, 0, 1
    yield "resnet18 stem batch 32", (32, 3, 32, 32), (64, 3, 3, 3), 1, 1, 1
    yield "resnet18 64 at 32x32", (32, 64, 32, 32), (64, 64, 3, 3), 1, 1, 1
    yield "resnet18 64-128 stride 2", (32, 64, 32, 32), (128, 64, 3, 3), 2, 1, 1
    yield "resnet18 64-128 shortcut", (32, 64, 32, 32), (128, 64, 1, 1), 2, 0, 1
    yield "resnet18 128 at 16x16", (32, 128, 16, 16), (128, 128, 3, 3), 1, 1, 1
    yield "resnet18 256 at 8x8", (32, 256, 8, 8), (256, 256, 3, 3), 1, 1, 1
    yield "resnet18 512 at 4x4", (32, 512, 4, 4), (512, 512, 3, 3), 1, 1, 1


def all_convolutions() -> None:
    backward = torch.ops.aten.convolution_backward
    for name, x_shape, w_shape, stride, padding, groups in convolutions():
        if options.only not in f"{name} conv2d_input_grad conv2d_weight_grad":
            continue
        x, w, b = normal(*x_shape), normal(*w_shape) * 0.1, normal(w_shape[0])
        tx, tw, tb = torch.from_numpy(x), torch.from_numpy(w), torch.from_numpy(b)
        ty = tf.conv2d(tx, tw, tb, stride, padding, 1, groups)
        g = normal(*ty.shape)
        tg = torch.from_numpy(g)
        x, g = channels_last(x), channels_last(g)
        static = {
            "stride": (stride, stride), "padding": ((padding, padding),) * 2, "dilation": (1, 1), "groups": groups,
        }  # fmt: skip

        def gradient(mask: list[bool], args: Any = (tg, tx, tw, stride, padding, groups)) -> Function:
            tg, tx, tw, s, p, groups = args
            return lambda: backward(tg, tx, tw, None, [s, s], [p, p], [1, 1], False, [0, 0], groups, mask)

        def product(args: Any = (tx, tw, tb, stride, padding, 1, groups)) -> Any:
            return tf.conv2d(*args)

        row(name, "conv2d", (x, w, b), static, product)
        row(
            f"  its input gradient {x_shape[1]}-{w_shape[0]}", "conv2d_input_grad", (g, w), {"size": x_shape[2:], **static},
            gradient([True, False, False]),
        )  # fmt: skip
        row(
            f"  its weight gradient {x_shape[1]}-{w_shape[0]}", "conv2d_weight_grad", (x, g), {"kernel": w_shape[2:], **static},
            gradient([False, True, False]),
        )  # fmt: skip


def pools() -> None:
    for name, shape, kernel_size, stride, padding in [
        ("mnist_cnn pool1 batch 32", (32, 16, 28, 28), 2, 2, 0),
        ("mnist_cnn pool1 batch 128", (128, 16, 28, 28), 2, 2, 0),
        ("mnist_cnn pool2 batch 32", (32, 32, 14, 14), 2, 2, 0),
        ("digits_cnn pool1 batch 64", (64, 16, 8, 8), 2, 2, 0),
        ("pool 3 stride 2 on (32, 64, 32, 32)", (32, 64, 32, 32), 3, 2, 1),
    ]:
        x = normal(*shape)
        tx = torch.from_numpy(x).requires_grad_()
        with torch.no_grad():
            counts = tuple(tf.max_pool2d(tx, kernel_size, stride, padding).shape[2:])
        static = {"kernel": (kernel_size,) * 2, "stride": (stride,) * 2, "padding": (padding,) * 2, "counts": counts}
        static["dilation"] = (1, 1)
        x, g = channels_last(x), channels_last(normal(*shape[:2], *counts))
        _, index = reference("max_pool2d_with_index")(x, **static)
        pool = (kernel_size, stride, padding)

        def plain(tx: Any = tx, pool: Any = pool) -> Any:
            with torch.no_grad():
                return tf.max_pool2d(tx, *pool)

        def indexed(tx: Any = tx, pool: Any = pool) -> Any:
            with torch.no_grad():
                return tf.max_pool2d(tx, *pool, return_indices=True)

        tg, (_, places) = torch.from_numpy(np.ascontiguousarray(g)), indexed()
        k, s, p = ([n, n] for n in pool)
        arguments = (tg, tx.detach(), k, s, p, [1, 1], False, places)

        def spread(args: Any = arguments) -> Any:
            return torch.ops.aten.max_pool2d_with_indices_backward(*args)

        row(name, "max_pool2d", (x,), static, plain)
        row(f"{name}, with positions", "max_pool2d_with_index", (x,), static, indexed)
        row(f"{name}, gradient", "max_pool2d_grad", (g, index), {"size": shape[2:], **static}, spread)
        static = {key: value for key, value in static.items() if key != "dilation"} | {"count_include_pad": True}

        def average(tx: Any = tx, pool: Any = pool) -> Any:
            with torch.no_grad():
                return tf.avg_pool2d(tx, *pool)

        row(f"{name}, average", "avg_pool2d", (x,), static, average)
        row(f"{name}, average gradient", "avg_pool2d_grad", (g,), {"size": shape[2:], **static}, None)
    x = channels_last(normal(32, 512, 4, 4))
    tx = torch.from_numpy(np.ascontiguousarray(x))
    static = {"kernel": (4, 4), "stride": (4, 4), "padding": (0, 0), "counts": (1, 1), "count_include_pad": True}
    row("resnet18 global average", "avg_pool2d", (x,), static, lambda: tf.avg_pool2d(tx, 4))


def norms() -> None:
    for shape in [(32, 64, 32, 32), (32, 128, 16, 16), (32, 512, 4, 4), (32, 16, 28, 28), (32, 24, 28, 28), (128, 64)]:
        x, g, w, b = normal(*shape), normal(*shape), normal(shape[1]), normal(shape[1])
        axes = (0, *range(2, len(shape)))
        mean, var = x.mean(axes), x.var(axes)
        tx, tg, tw, tb, tm, tr = map(torch.from_numpy, (x, g, w, b, mean, 1 / np.sqrt(var + 1e-5)))
        x, g = channels_last(x), channels_last(g)

        def norm(args: Any = (tx, None, None, tw, tb, True)) -> Any:
            return tf.batch_norm(*args)

        def back(args: Any = (tg, tx, tw, None, None, tm, tr, True, 1e-5, [True, True, True])) -> Any:
            return torch.ops.aten.native_batch_norm_backward(*args)

        row(f"batch_norm {shape}", "batch_norm", (x, w, b), {"eps": 1e-5}, norm)
        row(f"batch_norm {shape}, moments", "batch_moments", (x,), {}, None)
        row(f"batch_norm {shape}, gradient", "batch_norm_grad", (g, x, w, mean, var), {"eps": 1e-5}, back)
    for shape in [(768, 128), (1576, 192), (128, 768), (64, 10)]:
        x, g, w, b = normal(*shape), normal(*shape), normal(shape[1]), normal(shape[1])
        tx, tg, tw, tb = map(torch.from_numpy, (x, g, w, b))
        _, tm, tr = torch.native_layer_norm(tx, [shape[1]], tw, tb, 1e-5)

        def layer(args: Any = (tx, (shape[1],), tw, tb)) -> Any:
            return tf.layer_norm(*args)

        def layer_back(args: Any = (tg, tx, [shape[1]], tm, tr, tw, tb, [True, True, True])) -> Any:
            return torch.ops.aten.native_layer_norm_backward(*args)

        static = {"axes": 1, "eps": 1e-5}
        row(f"layer_norm {shape}", "layer_norm", (x, w, b), static, layer)
        row(f"layer_norm {shape}, gradient", "layer_norm_grad", (g, x, w), {**static, "affine": True}, layer_back)
    for shape in [(12, 4, 64, 64), (768, 65), (8, 3, 197, 197), (12, 128, 128), (32, 10)]:
        x = normal(*shape)
        tx = torch.from_numpy(x)
        row(f"softmax {shape}", "softmax", (x,), {"axis": len(shape) - 1}, lambda tx=tx: torch.softmax(tx, -1))  # type: ignore[misc]


def products() -> None:
    for rows_, inner, outer in [
        (32, 784, 64), (32, 64, 64), (32, 1568, 64), (128, 784, 512), (128, 512, 512), (128, 512, 10), (128, 1568, 64),
        (768, 128, 128), (768, 128, 512), (768, 512, 128), (768, 128, 65), (128, 768, 768), (128, 768, 3072), (1, 784, 512),
    ]:  # fmt: skip
        x, w, b, g = normal(rows_, inner), normal(outer, inner), normal(outer), normal(rows_, outer)
        tx, tw, tb, tg = map(torch.from_numpy, (x, w, b, g))
        name = f"{rows_}x{inner} - {outer}"
        row(f"linear {name}", "linear", (x, w, b), {}, lambda t=(tx, tw, tb): tf.linear(*t))  # type: ignore[misc]
        row(f"linear {name}, input gradient", "matmul", (g, w), {}, lambda t=(tg, tw): torch.mm(*t))  # type: ignore[misc]
        row(f"linear {name}, weight gradient", "matmul", (g.T, x), {}, lambda t=(tg.T, tx): torch.mm(*t))  # type: ignore[misc]
    for size in (256, 512, 1024):
        x, y = normal(size, size), normal(size, size)
        tx, ty = torch.from_numpy(x), torch.from_numpy(y)
        row(f"matmul {size}", "matmul", (x, y), {}, lambda t=(tx, ty): torch.mm(*t))  # type: ignore[misc]
    for batch, heads, length, width in [(12, 4, 64, 32), (8, 3, 197, 64), (1, 12, 128, 64)]:
        q, k = (normal(batch, length, heads, width) for _ in range(2))
        tq, tk = (torch.from_numpy(a).transpose(1, 2) for a in (q, k))
        q, k = q.transpose(0, 2, 1, 3), k.transpose(0, 2, 1, 3)
        p = normal(batch, heads, length, length)
        tp = torch.from_numpy(p)
        name = f"{batch}x{heads} heads, {length}x{width}"
        row(f"attention scores {name}", "matmul", (q, k.swapaxes(2, 3)), {}, lambda t=(tq, tk.mT): torch.matmul(*t))  # type: ignore[misc]
        row(f"attention values {name}", "matmul", (p, k), {}, lambda t=(tp, tk): torch.matmul(*t))  # type: ignore[misc]


# -- whole steps -------------------------------------------------------------------------------------------------------


def convolutional_step(batch: int, size: int) -> tuple[Function, Function]:
    """conv 16 - relu - pool - conv 32 - relu - pool - dense 64 - relu - dense 10 with cross-entropy, backward included."""
    flat = 32 * (size // 4) ** 2
    shapes = [(16, 1, 3, 3), (16,), (32, 16, 3, 3), (32,), (64, flat), (64,), (10, 64), (10,)]
    arrays = [normal(*s) * np.float32(0.1) for s in shapes]
    images, labels = normal(batch, 1, size, size), rng.integers(0, 10, batch)
    params, t_params = (
        [lc.Tensor(a, requires_grad=True) for a in arrays],
        [torch.from_numpy(a.copy()).requires_grad_() for a in arrays],
    )
    x, y, tx, ty = lc.Tensor(images), lc.Tensor(labels), torch.from_numpy(images), torch.from_numpy(labels)

    def ours() -> Any:
        w1, b1, w2, b2, w3, b3, w4, b4 = params
        for p in params:
            p.grad = None
        h = ops.max_pool2d(ops.relu(ops.conv2d(x, w1, b1, padding=1)), 2)
        h = ops.max_pool2d(ops.relu(ops.conv2d(h, w2, b2, padding=1)), 2)
        h = ops.relu(ops.linear(h.reshape((batch, flat)), w3, b3))
        loss = ops.cross_entropy(ops.linear(h, w4, b4), y).mean()
        loss.backward()
        return loss.data

    def theirs() -> Any:
        w1, b1, w2, b2, w3, b3, w4, b4 = t_params
        for p in t_params:
            p.grad = None
        h = tf.max_pool2d(tf.relu(tf.conv2d(tx, w1, b1, padding=1)), 2)
        h = tf.max_pool2d(tf.relu(tf.conv2d(h, w2, b2, padding=1)), 2)
        loss = tf.cross_entropy(tf.linear(tf.relu(tf.linear(h.flatten(1), w3, b3)), w4, b4), ty)
        loss.backward()
        return loss.detach()

    return ours, theirs


def dense_step(batch: int, widths: tuple[int, ...]) -> tuple[Function, Function]:
    """A multi-layer perceptron with relu and cross-entropy, backward included."""
    arrays = [(normal(o, i) * np.float32(0.05), normal(o)) for i, o in zip(widths, widths[1:])]
    images, labels = normal(batch, widths[0]), rng.integers(0, widths[-1], batch)
    params = [tuple(lc.Tensor(a, requires_grad=True) for a in pair) for pair in arrays]
    t_params = [tuple(torch.from_numpy(a.copy()).requires_grad_() for a in pair) for pair in arrays]
    x, y, tx, ty = lc.Tensor(images), lc.Tensor(labels), torch.from_numpy(images), torch.from_numpy(labels)

    def ours() -> Any:
        h = x
        for i, (w, b) in enumerate(params):
            w.grad = b.grad = None
            h = ops.linear(ops.relu(h) if i else h, w, b)
        loss = ops.cross_entropy(h, y).mean()
        loss.backward()
        return loss.data

    def theirs() -> Any:
        h = tx
        for i, (w, b) in enumerate(t_params):
            w.grad = b.grad = None
            h = tf.linear(tf.relu(h) if i else h, w, b)
        loss = tf.cross_entropy(h, ty)
        loss.backward()
        return loss.detach()

    return ours, theirs


def steps() -> None:
    workloads = [
        ("mlp_small 784-64-64-10, batch 32", dense_step(32, (784, 64, 64, 10))),
        ("mlp 784-512-512-10, batch 128", dense_step(128, (784, 512, 512, 10))),
        ("mnist_cnn, batch 32", convolutional_step(32, 28)),
        ("mnist_cnn, batch 128", convolutional_step(128, 28)),
        ("digits_cnn, batch 64", convolutional_step(64, 8)),
    ]
    for name, (ours, theirs) in workloads:
        if options.only not in name:
            continue
        losses, times = [], []
        for on in (True, False):
            (kernels.enable if on else kernels.disable)(options.provider)
            losses.append(float(ours()))
            times.append(medians([ours, theirs]))
        kernels.enable(options.provider)
        difference = abs(losses[0] - losses[1]) + abs(losses[0] - float(theirs()))
        (with_provider, peer), (without, _) = times
        note = "" if difference < 1e-4 else f"   losses differ by {difference:.1e}"
        print(
            f"{name:52s} {with_provider:10.1f} {without:10.1f} {peer:10.1f}   {with_provider / without:7.2f} "
            f"{with_provider / peer:7.2f}{note}",
            flush=True,
        )


def main() -> None:
    unit = "processor time" if options.cpu else "wall time"
    print(f"{options.threads} thread(s), float32, {unit}; provider {options.provider}")
    print(f"{'':52s} {'provider':>10s} {'NumPy':>10s} {'PyTorch':>10s}   {'/NumPy':>7s} {'/PyTorch':>8s}  (us)")
    if options.step:
        steps()
        return
    all_convolutions()
    pools()
    norms()
    products()


if __name__ == "__main__":
    main()
