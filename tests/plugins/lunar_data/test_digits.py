"""The digits that ship with the package."""

from __future__ import annotations

from pathlib import Path

import numpy as np

import lunar_data
from lunar_data import Digits


def test_images_are_scaled_channels_first_and_labels_are_indices():
    data = Digits()
    x, y = data.arrays()
    assert (x.shape, x.dtype, x.min(), x.max()) == ((1797, 1, 8, 8), np.float32, 0, 1)
    assert (y.shape, y.dtype) == ((1797,), np.int64)
    assert np.bincount(y).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert data.n_classes == 10
    assert data.fields == ("image", "label")
    np.testing.assert_array_equal(Digits(scale=False).arrays()[0], x * 16)


def test_a_quarter_held_out_keeps_every_class():
    train, test = Digits().split(0.25)
    assert (len(train), len(test)) == (1347, 450)
    assert np.bincount(test.arrays()[1]).min() >= 43
    assert test.classes == tuple("0123456789")


def test_the_licence_travels_with_the_data():
    card = Digits().card
    assert (card.licence, card.size) == ("CC-BY-4.0", len(Digits()))
    notice = (Path(lunar_data.__file__).parent / "files" / "NOTICE").read_text()
    for word in (card.source, "CC BY 4.0", "Alpaydin", "Kaynak"):
        assert word in notice


def test_the_shipped_files_are_small():
    folder = Path(lunar_data.__file__).parent / "files"
    assert sum(path.stat().st_size for path in folder.iterdir()) < 50_000
