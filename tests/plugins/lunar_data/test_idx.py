"""IDX files: what is read, and every way in which a file can be wrong."""

from __future__ import annotations

import gzip
import os
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lunar_core.errors import DataError, HyperparameterError
from lunar_data import IDX, read_idx

CODES = {"u1": 0x08, "i1": 0x09, ">i2": 0x0B, ">i4": 0x0C, ">f4": 0x0D, ">f8": 0x0E}


def idx_bytes(array, dtype="u1"):
    header = struct.pack(">HBB", 0, CODES[dtype], array.ndim) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.astype(dtype).tobytes()


IMAGES = np.random.default_rng(0).integers(0, 256, (7, 3, 4), dtype=np.uint8)
LABELS = np.array([0, 1, 2, 3, 4, 5, 2], np.uint8)


@pytest.fixture(params=["plain", "gzip"])
def pair(request, tmp_path):
    pack = gzip.compress if request.param == "gzip" else bytes
    (tmp_path / "images").write_bytes(pack(idx_bytes(IMAGES)))
    (tmp_path / "labels").write_bytes(pack(idx_bytes(LABELS)))
    return str(tmp_path / "images"), str(tmp_path / "labels")


# -- what is read ------------------------------------------------------------------------------------------------------


def test_a_pair_of_files_is_a_dataset(pair):
    data = IDX(*pair)
    x, y = data.arrays()
    assert (x.shape, x.dtype, y.dtype) == ((7, 1, 3, 4), np.float32, np.int64)
    np.testing.assert_array_equal(x[:, 0], IMAGES / np.float32(255))
    np.testing.assert_array_equal(y, LABELS)
    np.testing.assert_array_equal(IDX(*pair, scale=False).arrays()[0][:, 0], IMAGES)


def test_offset_and_limit_choose_a_run_and_keep_the_classes_of_the_whole(pair):
    data = IDX(*pair, offset=1, limit=3)
    np.testing.assert_array_equal(data.arrays()[0][:, 0], IMAGES[1:4] / np.float32(255))
    np.testing.assert_array_equal(data.arrays()[1], LABELS[1:4])
    assert data.n_classes == 6
    assert data.card.size == 3
    assert len(IDX(*pair, offset=5, limit=100)) == 2


def test_nothing_is_read_before_the_first_use(tmp_path):
    data = IDX(str(tmp_path / "none"), str(tmp_path / "nothing"))
    assert data.config()["images"].endswith("none")
    with pytest.raises(DataError, match="there is no file"):
        len(data)


@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_any_array_and_any_run_of_it_is_read(tmp_path_factory, data):
    dtype = data.draw(st.sampled_from(sorted(CODES)))
    shape = data.draw(st.lists(st.integers(0, 5), min_size=1, max_size=4))
    array = np.random.default_rng(0).integers(0, 100, shape)
    content = idx_bytes(array, dtype)
    path = tmp_path_factory.mktemp("idx") / "x"
    path.write_bytes(gzip.compress(content) if data.draw(st.booleans()) else content)
    offset = data.draw(st.integers(0, 6))
    limit = data.draw(st.none() | st.integers(0, 6))
    got = read_idx(path, offset, limit)
    np.testing.assert_array_equal(got, array[offset:][:limit])
    assert got.dtype == np.dtype(dtype).newbyteorder("=")


# -- what is wrong ---------------------------------------------------------------------------------------------------


def header(*shape, code=8, axes=None, zeros=0):
    return struct.pack(">HBB", zeros, code, len(shape) if axes is None else axes) + struct.pack(
        f">{len(shape)}I", *shape
    )


GOOD = idx_bytes(IMAGES)
BAD = {
    "an empty file": (b"", "truncated: 0 bytes"),
    "half a magic": (b"\0\0\x08", "truncated: 3 bytes"),
    "a text": (b"hello, world, this is text", "no IDX file: bytes 0 to 3 are 68 65 6c 6c"),
    "an unknown type": (header(1, code=0x0A) + b"x", "0a"),
    "no axis": (header() + b"x", "08 00"),
    "too many axes": (header(*[1] * 9) + b"x", "axes"),
    "a header that is cut": (GOOD[:14], "truncated at byte 14"),
    "data that is cut": (GOOD[:-1], "truncated"),
    "no data at all": (GOOD[:16], "truncated"),
    "a byte too many": (GOOD + b"x", "too long"),
    "sizes far beyond the file": (header(2**32 - 1, 2**32 - 1, 2**32 - 1) + bytes(100), "truncated"),
}


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("case", BAD)
def test_a_damaged_file_is_one_error_with_file_and_byte(tmp_path, case, packed):
    content, words = BAD[case]
    path = tmp_path / "bad-idx3-ubyte"
    path.write_bytes(gzip.compress(content) if packed else content)
    with pytest.raises(DataError) as caught:
        read_idx(path)
    assert "bad-idx3-ubyte" in str(caught.value)
    assert words in str(caught.value)


@pytest.mark.parametrize("keep", [3, 15, 40, -9, -1])
def test_a_cut_gzip_file_is_truncated_also_when_only_its_start_is_wanted(tmp_path, keep):
    path = tmp_path / "x.gz"
    path.write_bytes(gzip.compress(idx_bytes(np.random.default_rng(0).integers(0, 256, (50, 3, 4))))[:keep])
    with pytest.raises(DataError, match="truncated"):
        read_idx(path, 0, 1)


def test_damage_inside_gzip_is_noticed_by_its_checksum(tmp_path):
    content = bytearray(gzip.compress(GOOD, 0))
    content[40] ^= 1
    (tmp_path / "x.gz").write_bytes(content)
    with pytest.raises(DataError, match="corrupt gzip"):
        read_idx(tmp_path / "x.gz", 0, 1)


def test_neither_a_false_header_nor_a_bomb_takes_memory(tmp_path):
    (tmp_path / "false").write_bytes(header(2**31, 28, 28) + bytes(1000))
    (tmp_path / "bomb").write_bytes(gzip.compress(header(10, 3) + bytes(100_000_000), 1))
    tracemalloc.start()
    try:
        for name in ("false", "bomb"):
            with pytest.raises(DataError):
                read_idx(tmp_path / name)
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()


def test_only_the_run_that_is_asked_for_is_in_memory(tmp_path):
    (tmp_path / "x.gz").write_bytes(gzip.compress(header(20_000, 1000) + bytes(20_000_000), 1))
    tracemalloc.start()
    try:
        assert read_idx(tmp_path / "x.gz", 100, 10).shape == (10, 1000)
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("images", "labels", "words"),
    [
        (idx_bytes(IMAGES), idx_bytes(LABELS[:5]), "7 images"),
        (idx_bytes(LABELS), idx_bytes(LABELS), "3 or 4 axes"),
        (idx_bytes(IMAGES), idx_bytes(IMAGES), "one axis"),
        (idx_bytes(IMAGES), idx_bytes(LABELS, ">f4"), "integers"),
        (idx_bytes(IMAGES), idx_bytes(LABELS - 1, "i1"), "integers >= 0"),
        (idx_bytes(IMAGES[:0]), idx_bytes(LABELS[:0]), "no example"),
    ],
)
def test_two_files_that_are_no_labelled_images_are_refused(tmp_path, images, labels, words):
    (tmp_path / "images").write_bytes(images)
    (tmp_path / "labels").write_bytes(labels)
    with pytest.raises(DataError, match=words):
        len(IDX(str(tmp_path / "images"), str(tmp_path / "labels")))


def test_an_offset_behind_the_end_leaves_no_example(pair):
    with pytest.raises(DataError, match="no example at offset 7, the file holds 7"):
        len(IDX(*pair, offset=7))


@pytest.mark.parametrize("bad", [{"limit": 0}, {"offset": -1}, {"limit": 2.5}, {"images": 3}])
def test_hyperparameters_are_checked(bad):
    with pytest.raises(HyperparameterError, match=next(iter(bad))):
        IDX(**{"images": "a", "labels": "b"} | bad)


def test_a_directory_is_refused(tmp_path):
    with pytest.raises(DataError, match="not a regular file"):
        read_idx(tmp_path)


def mnist_folder() -> Path:
    given_folder = os.environ.get("LUNAR_DATA_DIR")
    root = Path(given_folder) if given_folder else Path(__file__).resolve().parents[3].parent / "shared" / "data"
    return root / "mnist"


@pytest.mark.skipif(not mnist_folder().is_dir(), reason="no MNIST here; LUNAR_DATA_DIR names the folder above mnist/")
def test_the_real_mnist_is_read():
    paths = [str(mnist_folder() / f"t10k-{name}-ubyte.gz") for name in ("images-idx3", "labels-idx1")]
    whole, end = IDX(*paths), IDX(*paths, offset=8000, limit=5000)
    x, y = whole.arrays()
    assert x.shape == (10_000, 1, 28, 28)
    assert np.bincount(y).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]  # as published
    np.testing.assert_array_equal(end.arrays()[0], x[8000:])
    assert end.n_classes == 10
