"""The neural-network ops beside PyTorch's in the same process: convolution, pooling, activations, norms, losses.

    OMP_NUM_THREADS=2 python -m benchmarks.nn_ops [part of a row's name]

Prints milliseconds (medians of interleaved rounds) and how many times PyTorch's time ours is: below 1 we are faster.
``fwd`` runs without a graph; ``f+b`` is forward and backward to input and parameters. The last rows are whole training
steps (forward, loss, backward, no optimizer) of small convolutional networks. Both get the same number of threads.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any

THREADS = int(os.environ.setdefault("OMP_NUM_THREADS", "2"))  # read by both when they are imported

import numpy as np
import torch
import torch.nn.functional as tf

import lunar_core as lc
from benchmarks.compare import Comparison, compare
from lunar_core import ops

ONLY = " ".join(sys.argv[1:])
rng = np.random.default_rng(0)


def row(name: str, shapes: list[tuple[int, ...]], ours: Callable[..., Any], theirs: Callable[..., Any]) -> None:
    """One op over float32 arrays of ``shapes``: without a graph, then forward and backward."""
    if ONLY not in name:
        return
    arrays = [rng.normal(size=s).astype(np.float32) for s in shapes]
    if len(shapes[0]) == 4 and name.startswith(("conv", "pool", "relu", "batch")) and shapes[0][1] > 3:
        # what lies between two convolutions is channels-last here, and contiguous there
        arrays[0] = np.ascontiguousarray(arrays[0].transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    xs = [lc.Tensor(a) for a in arrays]
    ts = [torch.from_numpy(np.ascontiguousarray(a)) for a in arrays]

    def fwd_theirs() -> None:
        with torch.no_grad():
            theirs(*ts)

    report(f"{name} fwd", compare(lambda: ours(*xs), fwd_theirs))
    xs = [lc.Tensor(a, requires_grad=True) for a in arrays]
    ts = [t.clone().requires_grad_() for t in ts]
    out, expected = ours(*xs), theirs(*ts)
    seed = rng.normal(size=out.shape).astype(np.float32)
    error = np.abs(out.data - expected.detach().numpy()).max() / max(1e-6, float(expected.detach().abs().max()))
    g = lc.Tensor(np.copy(seed, order="C") if out.data.flags.c_contiguous else np.empty_like(out.data))
    g.data[...] = seed
    tg = torch.from_numpy(seed)

    def both_ours() -> None:
        for x in xs:
            x.grad = None
        ours(*xs).backward(g)

    def both_theirs() -> None:
        for t in ts:
            t.grad = None
        theirs(*ts).backward(tg)

    report(
        f"{name} f+b", compare(both_ours, both_theirs), note="" if error < 1e-4 else f"  values differ by {error:.1e}"
    )


def report(name: str, result: Comparison, note: str = "") -> None:
    print(f"{name:52s} {result.ours * 1e3:9.3f} {result.theirs * 1e3:9.3f} {result.ratio:7.2f}{note}", flush=True)


def step(name: str, batch: int, size: int) -> None:
    """conv 16 - relu - pool - conv 32 - relu - pool - dense 10 with cross-entropy."""
    if ONLY not in name:
        return
    flat = 32 * (size // 4) ** 2
    shapes = [(16, 1, 3, 3), (16,), (32, 16, 3, 3), (32,), (10, flat), (10,)]
    arrays = [(rng.normal(size=s) * 0.1).astype(np.float32) for s in shapes]
    images = rng.normal(size=(batch, 1, size, size)).astype(np.float32)
    labels = rng.integers(0, 10, batch)
    params = [lc.Tensor(a, requires_grad=True) for a in arrays]
    x, y = lc.Tensor(images), lc.Tensor(labels)
    t_params = [torch.from_numpy(a.copy()).requires_grad_() for a in arrays]
    tx, ty = torch.from_numpy(images), torch.from_numpy(labels)

    def ours() -> Any:
        w1, b1, w2, b2, w3, b3 = params
        for p in params:
            p.grad = None
        h = ops.max_pool2d(ops.relu(ops.conv2d(x, w1, b1, padding=1)), 2)
        h = ops.max_pool2d(ops.relu(ops.conv2d(h, w2, b2, padding=1)), 2)
        loss = ops.cross_entropy(ops.linear(h.reshape((batch, flat)), w3, b3), y).mean()
        loss.backward()
        return loss

    def theirs() -> Any:
        w1, b1, w2, b2, w3, b3 = t_params
        for p in t_params:
            p.grad = None
        h = tf.max_pool2d(tf.relu(tf.conv2d(tx, w1, b1, padding=1)), 2)
        h = tf.max_pool2d(tf.relu(tf.conv2d(h, w2, b2, padding=1)), 2)
        loss = tf.cross_entropy(tf.linear(h.flatten(1), w3, b3), ty)
        loss.backward()
        return loss

    difference = abs(float(ours().data) - float(theirs().detach()))
    report(name, compare(ours, theirs), note="" if difference < 1e-4 else f"  losses differ by {difference:.1e}")


def main() -> None:
    torch.set_num_threads(THREADS)
    print(f"{f'{THREADS} thread(s), float32':52s} {'ours ms':>9s} {'torch ms':>9s} {'ratio':>7s}")
    for batch in (32, 128):
        row(
            f"conv 1->16 3x3 on 28x28, batch {batch}",
            [(batch, 1, 28, 28), (16, 1, 3, 3), (16,)],
            lambda x, w, b: ops.conv2d(x, w, b, padding=1),
            lambda x, w, b: tf.conv2d(x, w, b, padding=1),
        )
        row(
            f"conv 16->32 3x3 on 14x14, batch {batch}",
            [(batch, 16, 14, 14), (32, 16, 3, 3), (32,)],
            lambda x, w, b: ops.conv2d(x, w, b, padding=1),
            lambda x, w, b: tf.conv2d(x, w, b, padding=1),
        )
    row(
        "conv 64->64 3x3 on 28x28, batch 16",
        [(16, 64, 28, 28), (64, 64, 3, 3), (64,)],
        lambda x, w, b: ops.conv2d(x, w, b, padding=1),
        lambda x, w, b: tf.conv2d(x, w, b, padding=1),
    )
    row(
        "conv 3->32 7x7 stride 2 on 96x96, batch 8",
        [(8, 3, 96, 96), (32, 3, 7, 7)],
        lambda x, w: ops.conv2d(x, w, None, stride=2, padding=3),
        lambda x, w: tf.conv2d(x, w, None, stride=2, padding=3),
    )
    row(
        "conv 64->128 3x3 stride 2 on 28x28, batch 16",
        [(16, 64, 28, 28), (128, 64, 3, 3)],
        lambda x, w: ops.conv2d(x, w, None, stride=2, padding=1),
        lambda x, w: tf.conv2d(x, w, None, stride=2, padding=1),
    )
    row("conv 64->256 1x1 on 28x28, batch 16", [(16, 64, 28, 28), (256, 64, 1, 1)], ops.conv2d, tf.conv2d)
    row(
        "conv 96 depthwise 3x3 on 28x28, batch 16",
        [(16, 96, 28, 28), (96, 1, 3, 3)],
        lambda x, w: ops.conv2d(x, w, None, padding=1, groups=96),
        lambda x, w: tf.conv2d(x, w, None, padding=1, groups=96),
    )
    row(
        "conv 64->64 3x3 in 8 groups on 28x28, batch 16",
        [(16, 64, 28, 28), (64, 8, 3, 3)],
        lambda x, w: ops.conv2d(x, w, None, padding=1, groups=8),
        lambda x, w: tf.conv2d(x, w, None, padding=1, groups=8),
    )
    images = [(32, 16, 28, 28)]
    row("pool max 2 on (32, 16, 28, 28)", images, lambda x: ops.max_pool2d(x, 2), lambda x: tf.max_pool2d(x, 2))
    row("pool max 3 stride 2", images, lambda x: ops.max_pool2d(x, 3, 2, 1), lambda x: tf.max_pool2d(x, 3, 2, 1))
    row("pool avg 2", images, lambda x: ops.avg_pool2d(x, 2), lambda x: tf.avg_pool2d(x, 2))
    row("pool avg global", images, lambda x: ops.avg_pool2d(x, 28), lambda x: tf.avg_pool2d(x, 28))
    row("relu (32, 16, 28, 28)", images, ops.relu, torch.relu)
    row("batch_norm (32, 16, 28, 28)", [*images, (16,), (16,)], lambda x, w, b: ops.batch_norm(x, w, b)[0],
        lambda x, w, b: tf.batch_norm(x, None, None, w, b, training=True))  # fmt: skip
    row("batch_norm (16, 128, 14, 14)", [(16, 128, 14, 14), (128,), (128,)], lambda x, w, b: ops.batch_norm(x, w, b)[0],
        lambda x, w, b: tf.batch_norm(x, None, None, w, b, training=True))  # fmt: skip
    rows = (1024, 384)
    row(
        "layer_norm (1024, 384)", [rows, (384,), (384,)], ops.layer_norm, lambda x, w, b: tf.layer_norm(x, (384,), w, b)
    )
    row("gelu (1024, 384)", [rows], ops.gelu, tf.gelu)
    row("gelu tanh (1024, 384)", [rows], lambda x: ops.gelu(x, "tanh"), lambda x: tf.gelu(x, approximate="tanh"))
    row("sigmoid (1024, 384)", [rows], ops.sigmoid, torch.sigmoid)
    row("silu (1024, 384)", [rows], ops.silu, tf.silu)
    row("softplus (1024, 384)", [rows], ops.softplus, tf.softplus)
    row("softmax (1024, 384)", [rows], ops.softmax, lambda x: tf.softmax(x, -1))
    row("log_softmax (1024, 384)", [rows], ops.log_softmax, lambda x: tf.log_softmax(x, -1))
    for shape in ((32, 10), (1024, 384)):
        labels = rng.integers(0, shape[1], shape[0])
        y, ty = lc.Tensor(labels), torch.from_numpy(labels)
        row(f"cross_entropy {shape}", [shape], lambda x, y=y: ops.cross_entropy(x, y),
            lambda x, ty=ty: tf.cross_entropy(x, ty, reduction="none"))  # fmt: skip
    generator = np.random.default_rng(0)
    if ONLY in "dropout (1024, 384)":
        x, t = lc.Tensor(rng.normal(size=rows).astype(np.float32)), torch.zeros(rows)
        report("dropout (1024, 384) fwd", compare(lambda: ops.dropout(x, 0.1, generator), lambda: tf.dropout(t, 0.1)))
    for batch in (32, 128):
        step(f"step of mnist_cnn, batch {batch}", batch, 28)
        step(f"step of digits_cnn (8x8), batch {batch}", batch, 8)


if __name__ == "__main__":
    main()
