"""Every registered op passes the checks of its own sample table."""

import pytest

from lunar_core import ops  # noqa: F401  (fills the table)
from lunar_core.op import OPS
from lunar_core.testing import check_op


@pytest.mark.parametrize("name", sorted(OPS))
def test_op_passes_its_sample_table(name):
    assert check_op(OPS[name]) > 0
