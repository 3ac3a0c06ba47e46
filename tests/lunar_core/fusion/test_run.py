"""Running: chunks, threads, forks."""

from __future__ import annotations

import os
import threading

import numpy as np
import pytest

from lunar_core.fusion import fused, run
from lunar_core.threads import get_num_threads, set_num_threads


@pytest.fixture
def threads():
    """Many threads on little data; everything is put back."""
    before, least = get_num_threads(), run.PER_THREAD
    run.PER_THREAD = 1000
    set_num_threads(4)
    yield
    run.PER_THREAD = least
    set_num_threads(before)


def rule(p, g, m, *, lr):
    m = 0.9 * m + np.where(g > 0, g, 2 * g)
    return p - lr * m / (1 + np.sqrt(abs(m))), m


@pytest.mark.parametrize("size", [1999, 2000, 3333, 4000, 100_003])
def test_threads_share_the_work_and_change_nothing(threads, size):
    rng = np.random.default_rng(0)
    p, g, m = (rng.normal(size=size).astype(np.float32) for _ in range(3))
    wanted = rule(p, g, m, lr=0.1)
    alone = [p.copy(), m.copy()]
    f = fused(rule, into=("p", "m"))
    f(p, g, m, lr=0.1)
    set_num_threads(1)
    f(alone[0], g, alone[1], lr=0.1)
    np.testing.assert_array_equal(p, alone[0])
    np.testing.assert_array_equal(m, alone[1])
    np.testing.assert_allclose(p, wanted[0], rtol=1e-5, atol=1e-6)


def test_threads_are_silent_about_nan_as_the_caller_is(threads):
    x = np.full(50_000, -1.0)
    with np.errstate(all="raise"):
        assert np.isnan(fused(lambda a: np.sqrt(a) + 1)(x)).all()


def test_an_error_in_a_worker_reaches_the_caller(threads):
    f = fused(lambda a: a + 1)
    plan = f.plan(np.ones(3))

    def kernel(start, stop, *rest):
        if start:
            raise MemoryError("no room")

    plan.runner.kernel = kernel
    with pytest.raises(MemoryError, match="no room"):
        f(np.ones(100_000))


def test_calls_from_many_threads_do_not_share_scratch():
    f = fused(lambda a, k: np.exp(a * k) - np.exp(a) * (k * a + 1))
    inputs = [np.full(50_000, float(i)) for i in range(4)]
    wanted = [f(x, 0.5) for x in inputs]
    failures = []

    def work(i):
        for _ in range(30):
            if not np.array_equal(f(inputs[i], 0.5), wanted[i]):
                failures.append(i)

    workers = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for w in workers:
        w.start()
    for w in workers:
        w.join()
    assert not failures


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_starts_workers_of_its_own(threads):
    f = fused(lambda a: a + 1)
    x = np.zeros(50_000)
    f(x)
    code = os.fork()
    if code == 0:
        os._exit(0 if f(x).sum() == x.size else 1)
    assert os.waitpid(code, 0)[1] == 0
