"""Geometry and colour against Pillow and SciPy."""

from __future__ import annotations

import colorsys

import numpy as np
import pytest

from lunar_core.contracts.transform import example_generator, example_generators
from lunar_data.transforms import (
    AutoAugment,
    ColorJitter,
    Compose,
    GaussianBlur,
    HorizontalFlip,
    Normalize,
    RandAugment,
    RandomResizedCrop,
    Rotate,
    TrivialAugment,
    colour,
    resampling,
)
from lunar_data.transforms.noise import gaussian_blur

Image = pytest.importorskip("PIL.Image")
from PIL import ImageEnhance, ImageOps

pytestmark = pytest.mark.parity


def picture(height: int = 37, width: int = 53, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    smooth = 128 + 90 * np.sin(x / 7 + np.arange(3)[:, None, None]) * np.cos(y / 5)
    return np.clip(smooth + rng.normal(0, 20, (3, height, width)), 0, 255).astype(np.uint8)


def pillow(image: np.ndarray):
    return Image.fromarray(np.ascontiguousarray(image.transpose(1, 2, 0)))


def back(image) -> np.ndarray:
    return np.asarray(image).transpose(2, 0, 1)


@pytest.mark.parametrize("method", ["nearest", "box", "bilinear", "bicubic", "lanczos"])
@pytest.mark.parametrize("size", [(11, 17), (80, 90), (37, 20), (20, 53), (1, 1)], ids=str)
@pytest.mark.parametrize("box", [None, (3, 5, 40, 30)], ids=["whole", "part"])
def test_resizing_bytes_in_numpy_is_pillow_bit_for_bit(method, size, box, monkeypatch):
    monkeypatch.setattr(resampling, "_pillow", lambda: None)
    image = picture()
    x0, y0, x1, y1 = box or (0, 0, 53, 37)
    resample = getattr(Image.Resampling, method.upper())
    wide = pillow(image).resize((size[1], 37), resample, box=(x0, 0, x1, 37))
    expected = wide.resize(size[::-1], resample, box=(0, y0, size[1], y1))
    at_once = pillow(image).resize(size[::-1], resample, box=box)
    assert np.abs(back(at_once).astype(int) - back(expected)).max() <= 1, "rounding between the axes"
    np.testing.assert_array_equal(resampling.resize(image, size, method, box), back(expected))


@pytest.mark.parametrize("method", ["bilinear", "bicubic", "lanczos"])
def test_resizing_floats_is_pillow_to_rounding(method):
    image = picture()[0].astype(np.float32) / 255
    expected = np.asarray(Image.fromarray(image).resize((29, 17), getattr(Image.Resampling, method.upper())))
    np.testing.assert_allclose(resampling.resize(image, (17, 29), method), expected, atol=2e-6)


@pytest.mark.parametrize("box", [None, (3, 5, 40, 30)], ids=["whole", "part"])
@pytest.mark.parametrize("size", [(20, 21), (20, 70), (60, 20), (60, 70), (37, 53)], ids=str)
def test_with_pillow_installed_or_not_the_bytes_are_the_same(size, box, monkeypatch):
    image = picture()
    with_pillow = resampling.resize(image, size, "bilinear", box)
    monkeypatch.setattr(resampling, "_pillow", lambda: None)
    np.testing.assert_array_equal(with_pillow, resampling.resize(image, size, "bilinear", box))


@pytest.mark.parametrize("method", ["nearest", "bilinear"])
def test_warping_is_pillow(method):
    image = picture()[0].astype(np.float32)
    inverse = np.array([[0.9, 0.2, 3.3], [-0.15, 1.1, -2.2], [0.001, -0.002, 1]])
    expected = np.asarray(
        Image.fromarray(image).transform(
            (53, 37),
            Image.Transform.PERSPECTIVE,
            inverse.ravel()[:8],
            getattr(Image.Resampling, method.upper()),
        )
    )
    np.testing.assert_allclose(
        resampling.warp(image[None, None], inverse[None], method=method)[0, 0], expected, atol=2e-3
    )


@pytest.mark.parametrize("degrees", [0.0, 30.0, -77.5, 90.0, 180.0])
def test_rotation_is_pillow(degrees):
    image = picture()[0].astype(np.float32)
    turned = Rotate((degrees, degrees))(image[None])
    expected = np.asarray(Image.fromarray(image).rotate(degrees, Image.Resampling.BILINEAR))
    # Pillow turns by an exact transpose at right angles where it can; the edge of the picture may fall either way.
    difference = np.abs(turned[0] - expected)
    assert np.quantile(difference, 0.97) < 2e-2


@pytest.mark.parametrize("factor", [0.0, 0.3, 1.0, 1.7])
@pytest.mark.parametrize("name", ["Brightness", "Contrast", "Color", "Sharpness"])
def test_enhancing_bytes_is_pillow(name, factor):
    mine = {
        "Brightness": colour.brightness,
        "Contrast": colour.contrast,
        "Color": colour.saturation,
        "Sharpness": colour.sharpness,
    }[name]
    image = picture()
    expected = back(getattr(ImageEnhance, name)(pillow(image)).enhance(factor))
    got = mine(image[None], [factor])[0]
    assert np.abs(got.astype(int) - expected).max() <= 1, "one step of 256"
    assert (got == expected).mean() > 0.99


@pytest.mark.parametrize("bits", range(1, 9))
def test_posterizing_is_pillow(bits):
    np.testing.assert_array_equal(
        colour.posterize(picture()[None], [bits])[0], back(ImageOps.posterize(pillow(picture()), bits))
    )


@pytest.mark.parametrize("threshold", [0, 100, 255])
def test_solarizing_is_pillow(threshold):
    np.testing.assert_array_equal(
        colour.solarize(picture()[None], [threshold])[0], back(ImageOps.solarize(pillow(picture()), threshold))
    )


def test_histogram_operations_are_pillow():
    for image in (picture(), picture(80, 90, 1) // 2 + 30, np.full((3, 40, 40), 7, np.uint8)):
        np.testing.assert_array_equal(colour.equalize(image[None])[0], back(ImageOps.equalize(pillow(image))))
        np.testing.assert_array_equal(colour.auto_contrast(image[None])[0], back(ImageOps.autocontrast(pillow(image))))
        np.testing.assert_array_equal(colour.invert(image[None])[0], back(ImageOps.invert(pillow(image))))


@pytest.mark.parametrize("turn", [-0.5, -0.1, 0.0, 0.25, 0.4])
def test_hue_is_colorsys(turn):
    image = np.random.default_rng(3).random((1, 3, 4, 5))
    expected = np.empty_like(image)
    for place in np.ndindex(4, 5):
        h, s, v = colorsys.rgb_to_hsv(*image[(0, slice(None), *place)])
        expected[(0, slice(None), *place)] = colorsys.hsv_to_rgb((h + np.float32(turn)) % 1, s, v)
    np.testing.assert_allclose(colour.hue(image, [turn]), expected, atol=1e-7)


def test_blur_is_scipy():
    ndimage = pytest.importorskip("scipy.ndimage")
    images = np.random.default_rng(0).random((2, 3, 20, 31))
    got = gaussian_blur(images, np.array([0.7, 1.9]), 8)
    for k, sigma in enumerate((0.7, 1.9)):
        for channel in range(3):
            expected = ndimage.gaussian_filter(images[k, channel], sigma, mode="mirror", radius=8)
            np.testing.assert_allclose(got[k, channel], expected, atol=1e-12)


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
@pytest.mark.parametrize(
    "transform",
    [
        Compose([RandomResizedCrop(16), HorizontalFlip(), ColorJitter(0.4, 0.4, 0.4, 0.1)]),
        Compose([Rotate(30.0), GaussianBlur()]),
        RandAugment(),
        TrivialAugment(),
        AutoAugment(),
        AutoAugment("cifar10"),
    ],
    ids=["crop-flip-jitter", "rotate-blur", "rand", "trivial", "auto-imagenet", "auto-cifar10"],
)
def test_a_batch_gives_what_its_examples_give_alone_and_again(transform, dtype):
    images = np.stack([picture(seed=k) for k in range(6)])
    images = images if dtype == "uint8" else images.astype(np.float32) / 255
    before = images.copy()
    together = transform.batch(images, example_generators(3, range(10, 16), seed=1))
    alone = [transform(image, example_generator(3, 10 + k, seed=1)) for k, image in enumerate(images)]
    np.testing.assert_array_equal(together, np.stack(alone))
    np.testing.assert_array_equal(images, before)
    assert together.dtype == images.dtype


def test_normalizing_bytes_is_the_formula():
    image = picture()
    got = Normalize((0.4, 0.5, 0.6), (0.2, 0.3, 0.4))(image)
    expected = (image / 255 - np.array([0.4, 0.5, 0.6])[:, None, None]) / np.array([0.2, 0.3, 0.4])[:, None, None]
    np.testing.assert_allclose(got, expected, atol=1e-6)
    assert got.dtype == np.float32
