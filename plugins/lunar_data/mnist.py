"""MNIST and the sets that are published in its format: Fashion-MNIST, KMNIST and EMNIST."""

from __future__ import annotations

import os
import zipfile
import zlib
from pathlib import Path
from typing import ClassVar

import numpy as np

from lunar_core.component import field, one_of
from lunar_core.errors import DataError
from lunar_data.download import RemoteFile
from lunar_data.idx import read_idx
from lunar_data.published import PublishedArrays, mirrored

_FILES = (
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
)


def _four(sizes: tuple[int, ...], sums: tuple[str, ...], *bases: str) -> tuple[RemoteFile, ...]:
    return tuple(mirrored(name, size, sha, *bases) for name, size, sha in zip(_FILES, sizes, sums))


class MNIST(PublishedArrays):
    """Handwritten digits, 28x28: 60,000 for training, 10,000 for testing (``train=False``).

    Gives ``image`` float32 (N, 1, 28, 28) in 0..1 and ``label`` int64 (N,); ``scale=False`` keeps 0..255.

    Source: Y. LeCun, L. Bottou, Y. Bengio and P. Haffner, Gradient-based learning applied to document recognition,
    Proc. IEEE 86, 1998.
    """

    fields = ("image", "label")

    train: bool = field(default=True, doc="the training set; False for the test set")
    scale: bool = field(default=True, doc="divide the pixels by 255")

    cache_name = "mnist"
    title = "MNIST"
    homepage = "http://yann.lecun.com/exdb/mnist/"
    licence = "CC-BY-SA-3.0"
    attribution = "Y. LeCun, C. Cortes, C. J. C. Burges, The MNIST database of handwritten digits"
    names: ClassVar[tuple[str, ...]] = tuple("0123456789")
    four: ClassVar[tuple[RemoteFile, ...]] = _four(
        (9912422, 28881, 1648877, 4542),
        (
            "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
            "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
            "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
            "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
        ),
        "https://ossci-datasets.s3.amazonaws.com/mnist",
        "https://storage.googleapis.com/cvdf-datasets/mnist",
        "http://yann.lecun.com/exdb/mnist",
    )

    def remote(self) -> tuple[RemoteFile, ...]:
        return self.four[:2] if self.train else self.four[2:]

    def expected_size(self) -> int:
        return 60_000 if self.train else 10_000

    @property
    def classes(self) -> tuple[str, ...]:
        return self.names

    def read(self) -> tuple[np.ndarray, ...]:
        images, labels = self.fetch()
        return _pairs(read_idx(images), read_idx(labels), images, labels, len(self.names), self.scale)


class FashionMNIST(MNIST):
    """Pictures of clothes from Zalando's shop in MNIST's format: ten classes, 60,000 and 10,000 images of 28x28.

    Source: H. Xiao, K. Rasul and R. Vollgraf, Fashion-MNIST, arXiv:1708.07747, 2017. Licence MIT.
    """

    cache_name = "fashion_mnist"
    title = "Fashion-MNIST"
    homepage = "https://github.com/zalandoresearch/fashion-mnist"
    licence = "MIT"
    attribution = "H. Xiao, K. Rasul, R. Vollgraf, Fashion-MNIST, Zalando SE, 2017"
    names = (
        "T-shirt/top",
        "Trouser",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Bag",
        "Ankle boot",
    )
    four = _four(
        (26421880, 29515, 4422102, 5148),
        (
            "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
            "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
            "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
            "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
        ),
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com",
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion",
    )


class KMNIST(MNIST):
    """Kuzushiji-MNIST: ten cursive hiragana in MNIST's format, 60,000 and 10,000 images of 28x28.

    Source: T. Clanuwat et al., Deep Learning for Classical Japanese Literature, arXiv:1812.01718, 2018. CC BY-SA 4.0.
    """

    cache_name = "kmnist"
    title = "Kuzushiji-MNIST"
    homepage = "http://codh.rois.ac.jp/kmnist/"
    licence = "CC-BY-SA-4.0"
    attribution = "KMNIST Dataset (created by CODH), adapted from Kuzushiji Dataset (created by NIJL and others)"
    names = ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo")
    four = _four(
        (18165135, 29497, 3041136, 5120),
        (
            "51467d22d8cc72929e2a028a0428f2086b092bb31cfb79c69cc0a90ce135fde4",
            "e38f9ebcd0f3ebcdec7fc8eabdcdaef93bb0df8ea12bee65224341c8183d8e17",
            "edd7a857845ad6bb1d0ba43fe7e794d164fe2dce499a1694695a792adfac43c5",
            "20bb9a0ef54c7db3efc55a92eef5582c109615df22683c380526788f98e42a1c",
        ),
        "http://codh.rois.ac.jp/kmnist/dataset/kmnist",
    )


_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_DIGITS = "0123456789"
_MERGED = _DIGITS + _LETTERS + "abdefghnqrt"  # the letters whose small form looks like no capital
_EMNIST = {
    "byclass": (697_932, 116_323, _DIGITS + _LETTERS + _LETTERS.lower()),
    "bymerge": (697_932, 116_323, _MERGED),
    "balanced": (112_800, 18_800, _MERGED),
    "letters": (124_800, 20_800, _LETTERS.lower()),
    "digits": (240_000, 40_000, _DIGITS),
    "mnist": (60_000, 10_000, _DIGITS),
}


class EMNIST(PublishedArrays):
    """Handwritten letters and digits of NIST's Special Database 19, 28x28, in six ways of counting classes.

    ``part`` is byclass (62 classes), bymerge or balanced (47), letters (26), digits or mnist (10). Images are given
    upright (the files hold them transposed), letters counted from 0 (the files count from 1). All parts come in one
    archive of 562 MB, of which only the two members are unpacked.

    Source: G. Cohen, S. Afshar, J. Tapson and A. van Schaik, EMNIST, arXiv:1702.05373, 2017.
    """

    fields = ("image", "label")

    part: str = field(default="balanced", validator=one_of(*_EMNIST), doc="which way of counting classes")
    train: bool = field(default=True, doc="the training set; False for the test set")
    scale: bool = field(default=True, doc="divide the pixels by 255")

    cache_name = "emnist"
    title = "EMNIST"
    homepage = "https://www.nist.gov/itl/products-and-services/emnist-dataset"
    licence = "public domain (NIST)"
    attribution = "G. Cohen, S. Afshar, J. Tapson, A. van Schaik, EMNIST, 2017"
    archive: ClassVar[RemoteFile] = RemoteFile(
        "emnist-gzip.zip",
        561753746,
        "fb9bb67e33772a9cc0b895e4ecf36d2cf35be8b709693c3564cea2a019fcda8e",
        (
            "https://biometrics.nist.gov/cs_links/EMNIST/gzip.zip",
            "https://www.itl.nist.gov/iaui/vip/cs_links/EMNIST/gzip.zip",
        ),
    )

    def remote(self) -> tuple[RemoteFile, ...]:
        return (self.archive,)

    def expected_size(self) -> int:
        return _EMNIST[self.part][0 if self.train else 1]

    @property
    def classes(self) -> tuple[str, ...]:
        return tuple(_EMNIST[self.part][2])

    def read(self) -> tuple[np.ndarray, ...]:
        stem = f"emnist-{self.part}-{'train' if self.train else 'test'}"
        images, labels = (self._member(f"{stem}-{what}-ubyte.gz") for what in ("images-idx3", "labels-idx1"))
        ids = read_idx(labels)
        if self.part == "letters":
            ids = ids.astype(np.int64) - 1
        pixels = read_idx(images)
        if pixels.ndim == 3:
            pixels = pixels.transpose(0, 2, 1)
        return _pairs(pixels, ids, images, labels, len(self.classes), self.scale)

    def _member(self, name: str) -> Path:
        """The path of one member of the archive, unpacked beside it the first time."""
        path = self.place() / name
        if path.exists():
            return path
        archive = self.path(self.archive)
        try:
            with zipfile.ZipFile(archive) as file, file.open(f"gzip/{name}") as member:
                temporary = path.with_name(f"{name}.{os.getpid()}.part")
                left = self.archive.size
                with open(temporary, "wb") as out:
                    while block := member.read(1 << 20):
                        left -= len(block)
                        if left < 0:
                            raise DataError(f"{archive}: member {name} is larger than the archive")
                        out.write(block)
                os.replace(temporary, path)
        except KeyError:
            raise DataError(f"{archive}: there is no member gzip/{name}") from None
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
            raise DataError(f"{archive}: corrupt: {error}") from error
        return path


def _pairs(
    images: np.ndarray, labels: np.ndarray, where: Path, where_labels: Path, classes: int, scale: bool
) -> tuple[np.ndarray, np.ndarray]:
    if images.ndim != 3 or images.dtype != np.uint8:
        raise DataError(f"{where}: expected byte images (N, H, W), the file has {images.dtype} {images.shape}")
    if labels.shape != images.shape[:1] or labels.dtype.kind not in "iu":
        raise DataError(f"{where_labels}: expected {len(images)} labels, the file has {labels.dtype} {labels.shape}")
    if labels.size and not 0 <= int(labels.min()) <= int(labels.max()) < classes:
        raise DataError(f"{where_labels}: labels go from {labels.min()} to {labels.max()}, there are {classes} classes")
    pixels = images[:, None].astype(np.float32)
    if scale:
        pixels /= np.float32(255)
    return pixels, labels.astype(np.int64)
