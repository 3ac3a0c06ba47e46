"""The shipped digits against scikit-learn's copy."""

from __future__ import annotations

import numpy as np
import pytest

from lunar_data import Digits

datasets = pytest.importorskip("sklearn.datasets")

pytestmark = pytest.mark.parity


def test_every_value_and_the_order_are_those_of_scikit_learn():
    theirs = datasets.load_digits()
    x, y = Digits(scale=False).arrays()
    np.testing.assert_array_equal(x[:, 0], theirs.images)
    np.testing.assert_array_equal(y, theirs.target)
