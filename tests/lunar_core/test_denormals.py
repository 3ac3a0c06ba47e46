"""Flushing subnormal numbers takes effect in arithmetic, in the calling thread only, and can be taken back."""

import platform
import sys
import threading

import numpy as np
import pytest

import lunar_core as lc


def products(n=1000):
    """Elements of a product with subnormal values that are not 0; by bits, because comparisons flush too."""
    x = np.full(n, 0x000116C2, np.uint32).view(np.float32)
    return int(((x * np.float32(1.5)).view(np.uint32) != 0).sum())


@pytest.fixture
def flushing():
    if not lc.set_flush_denormal(True):
        assert platform.machine() not in ("x86_64", "AMD64") or sys.platform == "win32"
        pytest.skip("not on this machine")
    yield
    assert lc.set_flush_denormal(False)


def test_subnormal_results_are_zero_while_it_is_on(flushing):
    assert products() == 0
    assert lc.set_flush_denormal(False) and products() == 1000
    assert lc.set_flush_denormal(True) and products() == 0


def test_ordinary_numbers_do_not_change(flushing):
    x = np.linspace(1e-30, 1e30, 1001, dtype=np.float32)
    on = x * np.float32(1.7)
    lc.set_flush_denormal(False)
    np.testing.assert_array_equal(on, x * np.float32(1.7))


def test_a_thread_that_ran_before_is_not_affected():
    found, ready, go = [], threading.Event(), threading.Event()

    def work():
        ready.set()
        go.wait(10)
        found.append(products())

    thread = threading.Thread(target=work)
    thread.start()
    ready.wait(10)
    took_effect = lc.set_flush_denormal(True)
    go.set()
    thread.join()
    lc.set_flush_denormal(False)
    assert found == [1000] or not took_effect


def test_where_it_cannot_be_done_the_answer_is_false(monkeypatch):
    from lunar_core import denormals

    monkeypatch.setattr(denormals, "_register", lambda: None)
    assert lc.set_flush_denormal(True) is False
