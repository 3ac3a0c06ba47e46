"""The adding problem: a recurrent network has to remember two numbers over 50 steps and give their sum.

    python examples/adding_problem.py [lstm|gru|rnn]

Each sequence holds random numbers in [0, 1) and marks two of them, one in each half; the target is the sum of the marked
ones. Whoever always says 1 has a mean squared error of 1/6. The task is that of S. Hochreiter and J. Schmidhuber, Long
Short-Term Memory, 1997, section 5.4, in the form of arXiv:1504.00941.

Result (seed 0, error on 1,000 new sequences): LSTM 0.0051 after 500 steps, GRU 0.0017 after 300, about two seconds each
on one core; the plain RNN stays at 0.16 after 3,000.
"""

import sys
import time

import numpy as np

import lunar_core as lc

LENGTH, BATCH = 50, 64


def sequences(rng, count):
    """x (count, LENGTH, 2): numbers and marks; y (count, 1)."""
    x = np.zeros((count, LENGTH, 2), np.float32)
    x[..., 0] = rng.random((count, LENGTH))
    marked = np.stack([rng.integers(0, LENGTH // 2, count), rng.integers(LENGTH // 2, LENGTH, count)], axis=1)
    np.put_along_axis(x[..., 1], marked, 1, axis=1)
    return x, np.take_along_axis(x[..., 0], marked, axis=1).sum(axis=1, keepdims=True)


def train(kind="lstm", steps=3000, hidden=32, lr=1e-2, below=0.01, seed=0):
    """Mean squared error on 1,000 new sequences, and the steps taken; stops when it is ``below``."""
    lc.seed(seed)
    rng = np.random.default_rng(seed)
    recurrent = lc.create("layer", kind, hidden, return_sequences=False)
    model = lc.layers.Sequential(recurrent, lc.layers.Dense(1))
    optimizer = lc.optimizers.Adam(model.parameters(), lr=lr)
    loss_fn = lc.losses.MSE()
    x_test, y_test = sequences(np.random.default_rng(seed + 1), 1000)
    error = float("inf")
    for step in range(1, steps + 1):
        x, y = sequences(rng, BATCH)
        optimizer.zero_grad()
        loss_fn(model(lc.tensor(x)), lc.tensor(y)).backward()
        optimizer.step()
        if step % 100 == 0:
            with lc.no_grad():
                error = loss_fn(model(lc.tensor(x_test)), lc.tensor(y_test)).item()
            if __name__ == "__main__":
                print(f"step {step:5d}  test error {error:.5f}", flush=True)
            if error < below:
                break
    return error, step


if __name__ == "__main__":
    for name in sys.argv[1:] or ["lstm", "gru"]:
        start = time.perf_counter()
        error, step = train(name)
        print(f"{name}: mean squared error {error:.5f} after {step} steps, {time.perf_counter() - start:.1f} s")
