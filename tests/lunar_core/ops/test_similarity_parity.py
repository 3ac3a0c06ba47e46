"""Distances, similarities, bilinear forms and channel rearrangements agree with PyTorch in float64."""

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from hypothesis import given, settings
from hypothesis import strategies as st
from same_function import assert_same

from lunar_core import ops

pytestmark = pytest.mark.parity
F = torch.nn.functional


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_cosine_similarity(axis):
    for x, y in [(normal(2, 3, 4), normal(2, 3, 4, seed=1)), (normal(2, 3, 4), normal(2, 1, 4, seed=1))]:
        assert_same(lambda x, y: ops.cosine_similarity(x, y, axis), lambda x, y: F.cosine_similarity(x, y, axis), x, y)


@pytest.mark.parametrize("p", [0.5, 1.0, 1.5, 2.0, 3.0, math.inf], ids=str)
def test_distances(p):
    x, y = normal(2, 3, 4), normal(2, 5, 4, seed=1)
    assert_same(
        lambda x, y: ops.pairwise_distance(x, y, p), lambda x, y: F.pairwise_distance(x, y, p), x, y[:, :3].copy()
    )
    assert_same(lambda x, y: ops.cdist(x, y, p), lambda x, y: torch.cdist(x, y, p), x, y)


def test_many_euclidean_distances():
    assert_same(ops.cdist, torch.cdist, normal(2, 30, 4), normal(2, 40, 4, seed=1), rtol=1e-9)


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(1, 3), max_size=2), st.booleans())
def test_bilinear(lead, bias):
    arrays = normal(*lead, 3), normal(*lead, 4, seed=1), normal(2, 3, 4, seed=2), normal(2, seed=3) if bias else None
    assert_same(ops.bilinear, F.bilinear, *arrays)


@pytest.mark.parametrize("size", [1, 2, 3, 7])
@pytest.mark.parametrize("shape", [(2, 5, 3), (2, 4, 2, 3)], ids=str)
def test_local_response_norm(shape, size):
    options = (size, 0.1, 0.6, 2.0)
    assert_same(
        lambda x: ops.local_response_norm(x, *options), lambda x: F.local_response_norm(x, *options), normal(*shape)
    )


def test_pixels_and_channels():
    assert_same(lambda x: ops.pixel_shuffle(x, 2), lambda x: F.pixel_shuffle(x, 2), normal(2, 8, 3, 2))
    assert_same(lambda x: ops.pixel_unshuffle(x, 2), lambda x: F.pixel_unshuffle(x, 2), normal(3, 6, 4))
    assert_same(lambda x: ops.channel_shuffle(x, 3), lambda x: F.channel_shuffle(x, 3), normal(2, 6, 4, 2))
