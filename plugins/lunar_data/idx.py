"""The IDX format of MNIST: files of one array each, plain or compressed with gzip.

Format: http://yann.lecun.com/exdb/mnist/, "the IDX file format". Four bytes of magic (two zeros, a type code, the
number of axes), one big-endian 32-bit size per axis, then the values in C order, big endian.
"""

from __future__ import annotations

import gzip
import math
import os
from typing import BinaryIO

import numpy as np

from lunar_core.component import field, non_negative, positive
from lunar_core.contracts.dataset import ArrayDataset, DatasetCard
from lunar_core.errors import DataError
from lunar_data.reading import CHUNK, DEFLATE_LIMIT, opened

_DTYPES = {
    0x08: np.dtype("u1"),
    0x09: np.dtype("i1"),
    0x0B: np.dtype(">i2"),
    0x0C: np.dtype(">i4"),
    0x0D: np.dtype(">f4"),
    0x0E: np.dtype(">f8"),
}

_MAX_AXES = 8


class IDX(ArrayDataset):
    """Images and labels from a pair of IDX files, as MNIST, Fashion-MNIST, KMNIST and EMNIST are published.

    Gives ``image`` float32 (N, 1, H, W), scaled from 0..255 to 0..1, and ``label`` int64 (N,). Images with four axes
    are taken as (N, C, H, W). With ``scale=False`` the pixels keep their values. ``offset`` and ``limit`` choose a run
    of examples in file order; only that run is kept in memory.

    The files are read at the first use, and nothing is allocated before the header has been checked against the size
    of the file.

    Raises:
        DataError: a file is missing, truncated, too long, of another format, or the two do not belong together; the
            message names the file and the byte.
    """

    fields = ("image", "label")

    images: str = field(doc="path of the images' file, .gz or plain")
    labels: str = field(doc="path of the labels' file, .gz or plain")
    limit: int | None = field(default=None, validator=positive, doc="at most so many examples; all by default")
    offset: int = field(default=0, validator=non_negative, doc="skip so many examples first")
    scale: bool = field(default=True, doc="divide the pixels of byte images by 255")

    def read(self) -> tuple[np.ndarray, ...]:
        with opened(self.images) as (file, where):
            shape, _ = _read_header(file, where)
        with opened(self.labels) as (file, where):
            label_shape, _ = _read_header(file, where)
        if len(shape) not in (3, 4):
            raise DataError(f"{self.images}: images have 3 or 4 axes (N, H, W) or (N, C, H, W), the file has {shape}")
        if len(label_shape) != 1:
            raise DataError(f"{self.labels}: labels have one axis, the file has shape {label_shape}")
        if shape[0] != label_shape[0]:
            raise DataError(
                f"{self.images} holds {shape[0]} images and {self.labels} holds {label_shape[0]} labels: "
                f"they do not belong together"
            )
        labels = read_idx(self.labels)
        if labels.dtype.kind not in "iu" or (labels.size and int(labels.min()) < 0):
            raise DataError(f"{self.labels}: labels are integers >= 0, got {labels.dtype}")
        # Of all labels, so that a slice of the data has the same classes as the whole.
        self._n_classes = int(labels.max()) + 1 if labels.size else 0
        chosen = slice(self.offset, None if self.limit is None else self.offset + self.limit)
        images = read_idx(self.images, self.offset, self.limit)
        if not len(images):
            raise DataError(f"{self.images}: no example at offset {self.offset}, the file holds {shape[0]}")
        if images.ndim == 3:
            images = images[:, None]
        pixels = images.astype(np.float32)
        if self.scale and images.dtype == np.uint8:
            pixels /= np.float32(255)
        return pixels, labels[chosen].astype(np.int64)

    @property
    def classes(self) -> tuple[str, ...]:
        self.arrays()
        return tuple(str(k) for k in range(self._n_classes))

    @property
    def card(self) -> DatasetCard:
        name = os.path.basename(self.images)
        return DatasetCard(title=name, size=len(self), source=self.images)


def read_idx(path: str | os.PathLike[str], offset: int = 0, limit: int | None = None) -> np.ndarray:
    """The array of an IDX file, or the run of ``limit`` entries of its first axis from ``offset`` on.

    The header is checked against the file's size before the array is allocated, and a compressed file is unpacked in
    pieces, so neither a false header nor a decompression bomb costs more memory than the entries asked for. All of a
    compressed file is unpacked once, for its checksum.

    Raises:
        DataError: missing, truncated, too long, corrupt or of another format; the message names file and byte.
    """
    with opened(path) as (file, where):
        shape, dtype = _read_header(file, where)
        entry = math.prod(shape[1:]) * dtype.itemsize
        first = min(offset, shape[0])
        count = shape[0] - first if limit is None else min(limit, shape[0] - first)
        start = 4 + 4 * len(shape)
        if isinstance(file, gzip.GzipFile):
            _skip(file, first * entry, start, where)
        else:
            file.seek(first * entry, os.SEEK_CUR)
        array = np.empty((count, *shape[1:]), dtype)
        _read_into(file, array, start + first * entry, where)
        if isinstance(file, gzip.GzipFile):
            _skip(file, (shape[0] - first - count) * entry, start + (first + count) * entry, where)
            if file.read(1):
                raise DataError(
                    f"{where}: too long: data goes on after byte {start + shape[0] * entry} of the contents"
                )
    return array.astype(dtype.newbyteorder("="), copy=False)


def _read_header(file: BinaryIO, where: str) -> tuple[tuple[int, ...], np.dtype]:
    magic = file.read(4)
    if len(magic) < 4:
        raise DataError(f"{where}: truncated: {len(magic)} bytes, an IDX file has at least 4")
    if magic[:2] != b"\0\0" or magic[2] not in _DTYPES or not 1 <= magic[3] <= _MAX_AXES:
        raise DataError(
            f"{where}: no IDX file: bytes 0 to 3 are {magic.hex(' ')}, expected 00 00, a type "
            f"({', '.join(f'{code:02x}' for code in _DTYPES)}) and 1 to {_MAX_AXES} axes",
            hint="MNIST's images begin with 00 00 08 03, its labels with 00 00 08 01",
        )
    dtype, axes = _DTYPES[magic[2]], magic[3]
    sizes = file.read(4 * axes)
    if len(sizes) < 4 * axes:
        raise DataError(f"{where}: truncated at byte {4 + len(sizes)}: the header has {4 + 4 * axes} bytes")
    shape = tuple(int(n) for n in np.frombuffer(sizes, ">u4"))
    expected = 4 + 4 * axes + math.prod(shape) * dtype.itemsize
    if isinstance(file, gzip.GzipFile):
        most = os.path.getsize(where) * DEFLATE_LIMIT
        if expected > most:
            raise DataError(
                f"{where}: truncated or corrupt: bytes 4 to {4 + 4 * axes} announce shape {shape}, {expected} bytes; "
                f"the compressed file cannot hold more than {most}"
            )
        return shape, dtype
    size = os.fstat(file.fileno()).st_size
    if size != expected:
        raise DataError(
            f"{where}: {'truncated' if size < expected else 'too long'}: bytes 4 to {4 + 4 * axes} announce shape "
            f"{shape}, which ends at byte {expected}; the file ends at byte {size}"
        )
    return shape, dtype


def _read_into(file: BinaryIO, array: np.ndarray, start: int, where: str) -> None:
    view = array.reshape(-1).view(np.uint8)
    done = 0
    while done < view.size:
        got = file.readinto(view[done : done + CHUNK].data)  # type: ignore[attr-defined]
        if not got:
            raise DataError(f"{where}: truncated: the contents end at byte {start + done}, not at {start + view.size}")
        done += got


def _skip(file: BinaryIO, count: int, start: int, where: str) -> None:
    done = 0
    while done < count:
        got = len(file.read(min(CHUNK, count - done)))
        if not got:
            raise DataError(f"{where}: truncated: the contents end at byte {start + done}, not at {start + count}")
        done += got
