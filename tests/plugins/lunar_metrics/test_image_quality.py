"""PSNR and SSIM: values, weights, shapes, merging, errors."""

from __future__ import annotations

import math

import numpy as np
import pytest
from metric_shards import at_once, sharded

from lunar_core.errors import DataError, HyperparameterError
from lunar_core.tensor import Tensor
from lunar_core.testing.fake_device import FakeArray, fake_device
from lunar_metrics.image_quality import PSNR, SSIM

RNG = np.random.default_rng(0)
IMAGES = RNG.uniform(size=(7, 3, 14, 12))
NOISY = np.clip(IMAGES + RNG.normal(0, 0.1, IMAGES.shape), 0, 1)


def direct_ssim(x, y, size=11, sigma=1.5, span=1.0, k1=0.01, k2=0.03):
    """Equations 13 to 17 at each place of a window, for two images (H, W)."""
    offsets = np.arange(size) - size // 2
    window = np.exp(-(offsets[:, None] ** 2 + offsets[None] ** 2) / (2 * sigma**2))
    window /= window.sum()
    c1, c2 = (k1 * span) ** 2, (k2 * span) ** 2
    values = []
    for i in range(x.shape[0] - size + 1):
        for j in range(x.shape[1] - size + 1):
            a, b = x[i : i + size, j : j + size], y[i : i + size, j : j + size]
            ma, mb = (window * a).sum(), (window * b).sum()
            va, vb = (window * (a - ma) ** 2).sum(), (window * (b - mb) ** 2).sum()
            cov = (window * (a - ma) * (b - mb)).sum()
            values.append((2 * ma * mb + c1) * (2 * cov + c2) / ((ma**2 + mb**2 + c1) * (va + vb + c2)))
    return np.mean(values)


def test_psnr_of_known_errors():
    zero = np.zeros((2, 1, 4, 4))
    off = zero + np.array([0.1, 0.01]).reshape(2, 1, 1, 1)
    assert at_once(PSNR(), off, zero) == pytest.approx((20 + 40) / 2)
    assert at_once(PSNR(per_image=False), off, zero) == pytest.approx(-10 * math.log10((0.01 + 0.0001) / 2))
    assert at_once(PSNR(255.0), 255 * off, zero) == pytest.approx(30)
    assert at_once(PSNR(), zero, zero) == at_once(PSNR(per_image=False), zero, zero) == math.inf


def test_bytes_are_compared_as_numbers():
    a, b = np.full((1, 2, 2), 250, np.uint8), np.full((1, 2, 2), 5, np.uint8)
    assert at_once(PSNR(255), a, b) == pytest.approx(20 * math.log10(255 / 245))


def test_ssim_is_that_of_each_window():
    expected = np.mean([[direct_ssim(a, b) for a, b in zip(x, y)] for x, y in zip(NOISY, IMAGES)])
    assert sharded(SSIM(), NOISY, IMAGES) == pytest.approx(expected, rel=1e-10)
    small = SSIM(255.0, window=5, sigma=0.8, k1=0.02, k2=0.05)
    expected = direct_ssim(255 * NOISY[0, 0], 255 * IMAGES[0, 0], 5, 0.8, 255.0, 0.02, 0.05)
    assert at_once(small, 255 * NOISY[:1, 0], 255 * IMAGES[:1, 0]) == pytest.approx(expected, rel=1e-10)


def test_ssim_knows_equal_and_opposite_images():
    assert at_once(SSIM(), IMAGES, IMAGES) == pytest.approx(1, rel=1e-12)
    assert at_once(SSIM(), 1 - IMAGES, IMAGES) < 0
    assert at_once(SSIM(), IMAGES, NOISY) == pytest.approx(at_once(SSIM(), NOISY, IMAGES))


@pytest.mark.parametrize(
    "metric", [PSNR(), PSNR(per_image=False), SSIM()], ids=lambda v: getattr(v, "__name__", repr(v))
)
def test_weights_count_as_copies_and_shards_merge(metric):
    weight = np.array([0, 1, 2, 3, 1, 0, 1])
    expected = at_once(metric, NOISY.repeat(weight, axis=0), IMAGES.repeat(weight, axis=0))
    assert sharded(metric, NOISY, IMAGES, weight) == pytest.approx(expected, rel=1e-12)
    assert at_once(metric, Tensor(NOISY), Tensor(IMAGES), weight) == pytest.approx(expected, rel=1e-12)
    with pytest.raises(DataError, match="sum to 0"):
        at_once(metric, NOISY, IMAGES, 0 * weight)


@pytest.mark.parametrize("metric", [PSNR(), SSIM()], ids=lambda v: getattr(v, "__name__", repr(v)))
def test_totals_stay_on_a_device(metric):
    expected = at_once(metric, NOISY, IMAGES)
    with fake_device() as device:
        metric.reset()
        metric.update(FakeArray(NOISY), FakeArray(IMAGES))
        assert device.synchronizations == 0
        assert metric.compute() == pytest.approx(expected, rel=1e-12)


def test_what_does_not_fit_is_refused():
    with pytest.raises(DataError, match="take targets of that shape"):
        at_once(PSNR(), IMAGES, IMAGES[:, :2])
    with pytest.raises(DataError, match="at least 11 x 11"):
        at_once(SSIM(), IMAGES[..., :10], IMAGES[..., :10])
    with pytest.raises(DataError, match="expected images"):
        at_once(SSIM(), IMAGES[0, 0], IMAGES[0, 0])
    for make, words in [
        (lambda: SSIM(window=4), "SSIM: window must be an odd"),
        (lambda: PSNR(0.0), "PSNR: data_range"),
    ]:
        with pytest.raises(HyperparameterError, match=words):
            make()
