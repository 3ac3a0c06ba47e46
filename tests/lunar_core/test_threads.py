"""The number of threads of NumPy's matrix products can be read and changed while the program runs."""

import pytest

import lunar_core as lc
from lunar_core.errors import HyperparameterError


def test_what_is_set_is_what_is_read():
    before = lc.get_num_threads()
    if before is None:
        assert lc.set_num_threads(1) is False  # another BLAS: nothing changes and that is said
        return
    try:
        assert lc.set_num_threads(1) is True
        assert lc.get_num_threads() == 1
    finally:
        lc.set_num_threads(before)


@pytest.mark.parametrize("count", [0, -1, 1.5, True, "2"])
def test_a_count_that_is_none_is_refused(count):
    with pytest.raises(HyperparameterError, match="positive int"):
        lc.set_num_threads(count)
