"""CIFAR-10 and CIFAR-100 from their published archives, binary or python version; pickles are read, never executed."""

from __future__ import annotations

import tarfile
import zlib
from pathlib import Path
from typing import ClassVar

import numpy as np

from lunar_core.component import field, one_of
from lunar_core.errors import DataError
from lunar_data.download import RemoteFile
from lunar_data.pickles import read_plain_pickle
from lunar_data.published import PublishedArrays, mirrored

_BASE = "https://www.cs.toronto.edu/~kriz"
_PIXELS = 3 * 32 * 32
_LARGEST_MEMBER = 200 << 20


class CIFAR10(PublishedArrays):
    """Small colour pictures of ten classes, 32x32: 50,000 for training, 10,000 for testing (``train=False``).

    Gives ``image`` float32 (N, 3, 32, 32) in 0..1 (``scale=False``: uint8 in 0..255) and ``label`` int64 (N,). ``form``
    chooses the archive, "binary" or "python"; both hold the same examples in the same order. A folder into which the
    archive was unpacked serves as well.

    Source: A. Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009.
    """

    fields = ("image", "label")

    train: bool = field(default=True, doc="the training set; False for the test set")
    scale: bool = field(default=True, doc="divide the pixels by 255, as float32")
    form: str = field(default="binary", validator=one_of("binary", "python"), doc="which archive")

    cache_name = "cifar10"
    title = "CIFAR-10"
    homepage = "https://www.cs.toronto.edu/~kriz/cifar.html"
    attribution = "A. Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009"
    names: ClassVar[tuple[str, ...]] = (
        "airplane",
        "automobile",
        "bird",
        "cat",
        "deer",
        "dog",
        "frog",
        "horse",
        "ship",
        "truck",
    )
    archives: ClassVar[dict[str, RemoteFile]] = {
        "binary": mirrored(
            "cifar-10-binary.tar.gz",
            170052171,
            "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
            _BASE,
        ),
        "python": mirrored(
            "cifar-10-python.tar.gz",
            170498071,
            "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
            _BASE,
        ),
    }
    label_bytes: ClassVar[int] = 1  # before the pixels of a record of the binary version; the last is the label
    label_key: ClassVar[bytes] = b"labels"

    def members(self) -> tuple[str, ...]:
        """The members of the archive that hold the examples, in order."""
        if self.form == "python":
            names = [f"data_batch_{k}" for k in range(1, 6)] if self.train else ["test_batch"]
            return tuple(f"cifar-10-batches-py/{name}" for name in names)
        names = [f"data_batch_{k}.bin" for k in range(1, 6)] if self.train else ["test_batch.bin"]
        return tuple(f"cifar-10-batches-bin/{name}" for name in names)

    def remote(self) -> tuple[RemoteFile, ...]:
        return (self.archives[self.form],)

    def expected_size(self) -> int:
        return 50_000 if self.train else 10_000

    @property
    def classes(self) -> tuple[str, ...]:
        return self.names

    def read(self) -> tuple[np.ndarray, ...]:
        members = self.members()
        unpacked = [self.place() / name for name in members]
        if all(path.is_file() for path in unpacked):
            parts = [self._part(_unpacked(path), str(path)) for path in unpacked]
        else:
            archive = self.path(self.remote()[0])
            found = _from_tar(archive, members)
            parts = [self._part(found[name], f"{archive}, member {name}") for name in members]
        images = np.concatenate([images for images, _ in parts])
        labels = np.concatenate([labels for _, labels in parts])
        if self.scale:
            images = images.astype(np.float32)
            images /= np.float32(255)
        return images, labels

    def _part(self, data: bytes, where: str) -> tuple[np.ndarray, np.ndarray]:
        images, labels = self._python(data, where) if self.form == "python" else self._binary(data, where)
        if labels.size and not 0 <= int(labels.min()) <= int(labels.max()) < len(self.names):
            worst = int(np.flatnonzero((labels < 0) | (labels >= len(self.names)))[0])
            raise DataError(
                f"{where}, example {worst}: label {labels[worst]}, there are {len(self.names)} classes from 0 on"
            )
        return images, labels

    def _binary(self, data: bytes, where: str) -> tuple[np.ndarray, np.ndarray]:
        record = self.label_bytes + _PIXELS
        if not data or len(data) % record:
            raise DataError(f"{where}: truncated or no CIFAR data: {len(data)} bytes, no multiple of {record}")
        rows = np.frombuffer(data, np.uint8).reshape(-1, record)
        return rows[:, self.label_bytes :].reshape(-1, 3, 32, 32), rows[:, self.label_bytes - 1].astype(np.int64)

    def _python(self, data: bytes, where: str) -> tuple[np.ndarray, np.ndarray]:
        batch = read_plain_pickle(data, where)
        if not isinstance(batch, dict):
            raise DataError(f"{where}: expected a dict, got {type(batch).__name__}")
        by_name = {key.encode() if isinstance(key, str) else key: value for key, value in batch.items()}
        rows, labels = by_name.get(b"data"), by_name.get(self.label_key)
        if not isinstance(rows, np.ndarray) or rows.dtype != np.uint8 or rows.ndim != 2 or rows.shape[1] != _PIXELS:
            raise DataError(f"{where}: 'data' is no array of bytes (N, {_PIXELS})")
        if not isinstance(labels, list) or len(labels) != len(rows) or not all(type(y) is int for y in labels):
            raise DataError(f"{where}: {self.label_key.decode()!r} is no list of {len(rows)} numbers")
        return rows.reshape(-1, 3, 32, 32), np.array(labels, np.int64)


class CIFAR100(CIFAR10):
    """Small colour pictures of 100 classes in 20 groups, 32x32: 50,000 for training, 10,000 for testing.

    As :class:`CIFAR10`; with ``coarse`` the label is the group.
    """

    coarse: bool = field(default=False, doc="label by the 20 groups instead of the 100 classes")

    cache_name = "cifar100"
    title = "CIFAR-100"
    archives: ClassVar[dict[str, RemoteFile]] = {
        "binary": mirrored(
            "cifar-100-binary.tar.gz",
            168513733,
            "58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec",
            _BASE,
        ),
        "python": mirrored(
            "cifar-100-python.tar.gz",
            169001437,
            "85cd44d02ba6437773c5bbd22e183051d648de2e7d6b014e1ef29b855ba677a7",
            _BASE,
        ),
    }

    def members(self) -> tuple[str, ...]:
        stem = "train" if self.train else "test"
        return (f"cifar-100-python/{stem}",) if self.form == "python" else (f"cifar-100-binary/{stem}.bin",)

    @property
    def names(self) -> tuple[str, ...]:  # type: ignore[override]
        return _COARSE if self.coarse else _FINE

    @property
    def label_key(self) -> bytes:  # type: ignore[override]
        return b"coarse_labels" if self.coarse else b"fine_labels"

    def _binary(self, data: bytes, where: str) -> tuple[np.ndarray, np.ndarray]:
        if not data or len(data) % (2 + _PIXELS):
            raise DataError(f"{where}: truncated or no CIFAR data: {len(data)} bytes, no multiple of {2 + _PIXELS}")
        rows = np.frombuffer(data, np.uint8).reshape(-1, 2 + _PIXELS)
        return rows[:, 2:].reshape(-1, 3, 32, 32), rows[:, 0 if self.coarse else 1].astype(np.int64)


_COARSE = tuple(
    "aquatic_mammals fish flowers food_containers fruit_and_vegetables household_electrical_devices "
    "household_furniture insects large_carnivores large_man-made_outdoor_things large_natural_outdoor_scenes "
    "large_omnivores_and_herbivores medium_mammals non-insect_invertebrates people reptiles small_mammals trees "
    "vehicles_1 vehicles_2".split()
)
_FINE = tuple(
    "apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can castle "
    "caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin elephant "
    "flatfish forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard lobster man "
    "maple_tree motorcycle mountain mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck pine_tree "
    "plain plate poppy porcupine possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk skyscraper "
    "snail snake spider squirrel streetcar sunflower sweet_pepper table tank telephone television tiger tractor train "
    "trout tulip turtle wardrobe whale willow_tree wolf woman worm".split()
)


def _unpacked(path: Path) -> bytes:
    from lunar_data.reading import read_bytes

    return read_bytes(path, _LARGEST_MEMBER)


def _from_tar(archive: Path, names: tuple[str, ...]) -> dict[str, bytes]:
    """The members ``names``; nothing is written to disk, and none larger than a bound is read."""
    found: dict[str, bytes] = {}
    try:
        with tarfile.open(archive, "r|gz") as tar:
            for member in tar:
                if member.name not in names:
                    continue
                file = tar.extractfile(member) if member.isfile() else None
                if file is None or member.size > _LARGEST_MEMBER:
                    raise DataError(f"{archive}, member {member.name}: no file of at most {_LARGEST_MEMBER} bytes")
                found[member.name] = file.read()
                if len(found) == len(names):
                    break
    except (tarfile.TarError, zlib.error, EOFError, OSError) as error:
        raise DataError(f"{archive}: no archive, truncated or corrupt: {error}") from error
    missing = [name for name in names if name not in found]
    if missing:
        raise DataError(f"{archive}: there is no member {missing[0]}")
    return found
