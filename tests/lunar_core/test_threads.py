"""One number of threads for fused functions, NumPy's matrix products and kernel providers."""

import os
import subprocess
import sys

import pytest

import lunar_core as lc
from lunar_core.errors import HyperparameterError
from lunar_core.threads import blas_threads, on_change


def test_what_is_set_is_what_is_read_and_what_listeners_are_told():
    before, told = lc.get_num_threads(), []
    on_change(told.append)
    try:
        lc.set_num_threads(before + 1)
        follows = lc.set_num_threads(before + 1)
        assert lc.get_num_threads() == before + 1
        assert blas_threads() == (before + 1 if follows else None)
    finally:
        lc.set_num_threads(before)
    assert told == [before + 1, before]


def test_the_number_of_threads_follows_the_environment():
    def count(**env):
        code = "import lunar_core as lc; print(lc.get_num_threads())"
        clean = {k: v for k, v in os.environ.items() if k not in ("LUNAR_NUM_THREADS", "OMP_NUM_THREADS")}
        done = subprocess.run(
            [sys.executable, "-c", code], env={**clean, **env}, capture_output=True, text=True, check=True
        )
        return int(done.stdout)

    assert count(OMP_NUM_THREADS="3") == 3
    assert count(OMP_NUM_THREADS="3,2", LUNAR_NUM_THREADS="5") == 5
    assert count(LUNAR_NUM_THREADS="nonsense") >= 1


@pytest.mark.parametrize("count", [0, -1, 1.5, True, "2"])
def test_a_count_that_is_none_is_refused(count):
    with pytest.raises(HyperparameterError, match="positive int"):
        lc.set_num_threads(count)
