"""The provider in use for a test."""

import pytest

from lunar_core import kernels
from lunar_kernels.library import library
from lunar_kernels.onednn import provider


@pytest.fixture
def onednn():
    """The provider, switched on; skips where the library is missing."""
    if library.load() is None:
        pytest.skip(f"oneDNN cannot be used here: {library.reason}")
    kernels.reset()
    kernels.add(provider)
    provider.clear()
    yield provider
    provider.clear()
    kernels.reset()
