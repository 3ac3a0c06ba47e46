"""Every component that this distribution registers behaves as its kind does; one row each in ``rows.py``."""

import pytest
from conformance.rows import ROWS

from lunar_core.testing.conformance.checks import KINDS, cases, check_discovery, missing


@pytest.mark.parametrize("kind", KINDS)
def test_every_component_has_a_row(kind):
    assert missing(ROWS, "lunarlearn", [kind]) == []


def test_no_row_is_left_of_a_component_that_is_gone():
    import lunar_core as lc

    assert [key for key in ROWS if key[1] not in lc.registry.names(key[0])] == []


@pytest.mark.parametrize("case", cases(ROWS), ids=str)
def test_it_conforms(case):
    case.check()


def test_listing_the_components_imports_none_of_them():
    check_discovery("lunarlearn")
