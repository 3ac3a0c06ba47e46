"""Fused functions compiled by Numba compute what the reference computes, for every optimizer, and nothing waits for them."""

import os
import time

import numpy as np
import pytest

import lunar_core as lc
from lunar_core import kernels
from lunar_core.contracts.optimizer import Optimizer
from lunar_core.fusion import forget_all
from lunar_kernels import numba_loops
from lunar_kernels.numba_loops import NumbaLoops, cache_folder, cached_file, suits

pytest.importorskip("numba", reason="the provider needs Numba (extra `numba`)")


@pytest.fixture
def provider(tmp_path, monkeypatch):
    """A provider with a cache of its own, in use."""
    monkeypatch.setenv("LUNAR_CACHE_DIR", str(tmp_path))
    kernels.reset()
    found = NumbaLoops()
    kernels.add(found)
    yield found
    kernels.reset()
    forget_all()


def arrays(count, size=3001, dtype=np.float32):
    rng = np.random.default_rng(0)
    return [rng.normal(size=size).astype(dtype) for _ in range(count)]


def plan_of(function, *values):
    kernels.disable("numba")
    plan = function.plan(*values)
    kernels.enable("numba")
    return plan


def both(provider, function, values, constants):
    """What the reference and the compiled loop leave in copies of ``values``."""
    plan = plan_of(function, *values, *constants)
    numbers = plan.constants([*values, *constants])
    named = dict(zip(function.names, values))
    results = []
    for compiled in (None, provider.compile_now(plan.program)):
        plan.runner.compiled = compiled
        copies = {name: value.copy() for name, value in named.items()}
        with np.errstate(all="ignore"):
            plan.runner(values[0].size, [copies[s.source] for s in plan.program.arguments], numbers)
        results.append(copies)
    plan.runner.compiled = None
    return results


@lc.fused(into=("p", "m"))
def momentum(p, g, m, lr, beta):
    m = beta * m + np.where(g > 0, g, -g) * np.sign(g)
    return p - lr * m / (np.sqrt(np.maximum(m, 0)) + 1e-8), m


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_loop_gives_the_numbers_of_the_reference(provider, dtype):
    reference, compiled = both(provider, momentum, arrays(3, dtype=dtype), (0.1, 0.9))
    for name in reference:
        np.testing.assert_allclose(compiled[name], reference[name], rtol=4 * np.finfo(dtype).eps, err_msg=name)


def test_nan_and_infinity_keep_their_meaning(provider):
    special = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, 1e-45, 3e38], np.float32)
    p, g = (grid.ravel().copy() for grid in np.meshgrid(special, special))

    @lc.fused(into=("p",))
    def everything(p, g):
        low, high = np.minimum(p, g), np.maximum(p, g)
        return np.where(np.isnan(low), high / g, low) + np.sign(g) * np.abs(p) - np.copysign(p, g) / high

    reference, compiled = both(provider, everything, [p, g], ())
    np.testing.assert_array_equal(compiled["p"], reference["p"])


ELEMENTWISE = sorted(
    name
    for name in lc.registry.names("optimizer")
    if isinstance(cls := lc.registry.get("optimizer", name), type)
    and issubclass(cls, Optimizer)
    and cls.__module__.startswith("lunar_")
)


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_every_optimizer_goes_the_same_way_with_compiled_rules(provider, name, monkeypatch):
    cls = lc.registry.get("optimizer", name)

    def run(compiled):
        if compiled:
            monkeypatch.setattr(
                NumbaLoops, "fused", lambda self, program: self.compile_now(program) if suits(program) else None
            )
        else:
            monkeypatch.setattr(NumbaLoops, "fused", lambda self, program: None)
        forget_all()
        rng = np.random.default_rng(1)
        parameters = [lc.Parameter(rng.normal(size=s)) for s in ((7, 5), (11,))]
        optimizer = cls(parameters)
        for _ in range(4):
            optimizer.zero_grad()
            for p in parameters:
                p.node.accumulate(rng.normal(size=p.shape))
            optimizer.step()
        return [p.data.copy() for p in parameters]

    try:
        reference = run(False)
    except Exception as error:  # needs a closure, a loss or a schedule: nothing that a compiler changes
        pytest.skip(f"does not step on gradients alone: {type(error).__name__}")
    for a, b in zip(run(True), reference):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-14)


def test_a_short_run_is_never_compiled_and_a_long_one_goes_over(provider, monkeypatch):
    values = arrays(3)
    monkeypatch.setattr(numba_loops, "PATIENCE", 3600.0)
    forget_all()
    for _ in range(50):
        momentum(*values, 0.1, 0.9)
    assert momentum.plan(*values, 0.1, 0.9).compiled_by is None
    monkeypatch.setattr(numba_loops, "PATIENCE", 0.0)
    forget_all()
    momentum(*values, 0.1, 0.9)  # by the reference; from here on it is worth compiling
    deadline = time.monotonic() + 60
    while momentum.plan(*values, 0.1, 0.9).runner.compiled is None and time.monotonic() < deadline:
        time.sleep(0.01)
    assert momentum.plan(*values, 0.1, 0.9).runner.compiled is not None
    (file,) = cache_folder().glob("loop_*.py")
    assert list(cache_folder().glob(f"__pycache__/{file.stem}.*.nbi"))


def test_parts_of_a_large_array_run_in_several_threads(provider):
    values = arrays(3, size=1_100_003)
    before = lc.get_num_threads()
    try:
        lc.set_num_threads(3)
        reference, compiled = both(provider, momentum, values, (0.1, 0.9))
    finally:
        lc.set_num_threads(before)
    for name in reference:
        np.testing.assert_allclose(compiled[name], reference[name], rtol=1e-6, err_msg=name)


def test_what_numba_does_not_do_faster_is_left_to_numpy(provider):
    half = arrays(1, dtype=np.float16)
    assert not suits(plan_of(lc.fused(lambda x: x * 2.0), *half).program)
    assert not suits(plan_of(lc.fused(lambda x: np.exp(x) + 1), *arrays(1)).program)
    assert not suits(plan_of(lc.fused(lambda x: x**1.7), *arrays(1)).program)
    assert suits(plan_of(lc.fused(lambda x: x**2 + 1), *arrays(1)).program)


@pytest.mark.parametrize("error", [RuntimeError, ImportError])
def test_a_rule_that_fails_to_compile_stays_with_the_reference_and_only_a_missing_numba_ends_it_all(
    provider, monkeypatch, error
):
    def broken(*_):
        raise error("no code today")

    monkeypatch.setattr(provider, "_build", broken)
    plan = plan_of(momentum, *arrays(3), 0.1, 0.9)
    with pytest.warns(RuntimeWarning, match="no code today"):
        provider._compile(plan.program, plan.program.loop_source(), None)
    assert ("no code today" in provider.reason) == (error is ImportError)
    assert plan.runner.compiled is None


def test_a_damaged_cache_is_passed_over(provider):
    plan = plan_of(momentum, *arrays(3), 0.1, 0.9)
    provider.compile_now(plan.program)
    for file in cache_folder().glob("__pycache__/*"):
        file.write_bytes(b"nonsense")
    path = cached_file(plan.program.loop_source(), plan.program)
    NumbaLoops()._compile(plan.program, plan.program.loop_source(), path)
    assert plan.runner.compiled is not None
    plan.runner.compiled = None


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="no owners of files on this system")
def test_a_cache_that_others_may_write_to_is_not_used(provider, tmp_path):
    folder = cache_folder()
    folder.chmod(0o777)
    assert cache_folder() is None
    folder.chmod(0o700)
    assert cache_folder() == folder
