"""Shared by all tests: the random state is as at the start of each test, and hypothesis draws the same examples each time.

``HYPOTHESIS_PROFILE=explore pytest`` draws new ones.
"""

import os

import pytest
from hypothesis import settings

import lunar_core as lc
from lunar_core import kernels, random

settings.register_profile("repeatable", derandomize=True, deadline=None, database=None)
settings.register_profile("explore", deadline=None, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))


@pytest.fixture(autouse=True)
def fresh_random_state():
    random._root.streams.clear()
    lc.seed(0)
    yield


@pytest.fixture
def numpy_only():
    """Every kernel provider switched off: the NumPy reference computes."""
    for provider in kernels.providers.all():
        kernels.disable(provider.name)
    yield
    kernels.reset()
