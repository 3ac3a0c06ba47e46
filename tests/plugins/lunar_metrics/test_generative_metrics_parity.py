"""FID against the matrix square root of SciPy, SSIM against SciPy's convolution."""

from __future__ import annotations

import numpy as np
import pytest
from metric_shards import sharded

from lunar_metrics.generative import FID
from lunar_metrics.image_quality import SSIM

linalg = pytest.importorskip("scipy.linalg")
signal = pytest.importorskip("scipy.signal")

pytestmark = pytest.mark.parity


@pytest.mark.parametrize("seed", range(4))
def test_fid_is_that_of_the_original_program(seed):
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(60, 8)) @ rng.normal(size=(8, 8)), rng.normal(1, 2, (60, 8)) @ rng.normal(size=(8, 8))
    s1, s2 = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    root = linalg.sqrtm(s1 @ s2).real
    expected = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(s1 + s2 - 2 * root)
    assert sharded(FID(), a, b, None, seed) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("span", [1.0, 255.0])
def test_ssim_is_that_of_the_authors_program(span):
    rng = np.random.default_rng(0)
    x = span * rng.uniform(size=(5, 1, 24, 20))
    y = np.clip(x + span * rng.normal(0, 0.2, x.shape), 0, span)
    offsets = np.arange(11) - 5
    window = np.exp(-(offsets[:, None] ** 2 + offsets[None] ** 2) / (2 * 1.5**2))
    window /= window.sum()

    def blur(v):
        return signal.convolve2d(v, window, mode="valid")

    values = []
    for a, b in zip(x[:, 0], y[:, 0]):
        c1, c2 = (0.01 * span) ** 2, (0.03 * span) ** 2
        ma, mb = blur(a), blur(b)
        va, vb, cov = blur(a * a) - ma * ma, blur(b * b) - mb * mb, blur(a * b) - ma * mb
        values.append((((2 * ma * mb + c1) * (2 * cov + c2)) / ((ma**2 + mb**2 + c1) * (va + vb + c2))).mean())
    assert sharded(SSIM(span), y, x) == pytest.approx(np.mean(values), rel=1e-10)
