"""Shared by all tests: the random state, the modes and the plugin settings are as at the start of each test."""

import pytest

import lunar_core as lc
from lunar_core import random


@pytest.fixture(autouse=True)
def fresh_random_state():
    random._root.streams.clear()
    lc.seed(0)
    yield
