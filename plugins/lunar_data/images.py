"""Image files: one decoder with bounds, and folders of images whose names are the classes (extra ``images``)."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import numpy as np

from lunar_core.component import field, positive
from lunar_core.contracts.dataset import DatasetCard
from lunar_core.errors import DataError
from lunar_data.reading import ExampleDataset, need

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
MAX_PIXELS = 1 << 27


def read_image(path: str | os.PathLike[str], mode: str = "RGB", max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """The pixels of an image file, uint8 (C, H, W), converted to Pillow's ``mode`` ("RGB", "L", "RGBA").

    The result is a transposed view of rows of pixels; the EXIF orientation is applied.

    Raises:
        DataError: missing, of unknown format, truncated, or of more than ``max_pixels`` pixels; nothing is decoded
            before the header's size has been checked.
    """
    image_module, ops = need("PIL.Image", "images", "reading images"), need("PIL.ImageOps", "images", "reading images")
    where = os.fspath(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", image_module.DecompressionBombWarning)
            with image_module.open(where) as image:
                width, height = image.size
                if width * height > max_pixels:
                    raise DataError(f"{where}: announces {width} x {height} pixels, at most {max_pixels} are decoded")
                upright = ops.exif_transpose(image)
                pixels = np.asarray(upright if upright.mode == mode else upright.convert(mode))
    except FileNotFoundError as error:
        raise DataError(f"there is no file {where}") from error
    except DataError:
        raise
    except Exception as error:  # Pillow's decoders raise whatever their format module does
        raise DataError(f"{where}: no image, truncated or corrupt: {error}") from error
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)


class ImageFolder(ExampleDataset):
    """Images in one folder for each class: ``root/cat/1.jpg``, ``root/dog/a/2.png``.

    Gives ``image`` uint8 (C, H, W) and ``label`` int64. Classes are the folders' names in sorted order, examples the
    sorted paths in each. Files are decoded when asked for; a transform makes their sizes equal.

    Raises:
        DataError: no folder, no class with an image, or a file that is no image (named).
    """

    fields = ("image", "label")

    root: str = field(doc="the folder that holds one folder for each class")
    mode: str = field(default="RGB", doc="Pillow's mode: RGB, L or RGBA")
    suffixes: tuple[str, ...] = field(default=SUFFIXES, doc="which files are images")
    max_pixels: int = field(default=MAX_PIXELS, validator=positive, doc="larger images are refused")

    def _listing(self) -> tuple[tuple[str, ...], list[str], np.ndarray]:
        found = self.__dict__.get("_found")
        if found is None:
            found = self.__dict__["_found"] = self._walk()
        return found

    def _walk(self) -> tuple[tuple[str, ...], list[str], np.ndarray]:
        root = Path(self.root)
        if not root.is_dir():
            raise DataError(f"there is no folder {root}")
        paths: list[str] = []
        labels: list[int] = []
        names: list[str] = []
        for folder in sorted(entry.name for entry in os.scandir(root) if entry.is_dir()):
            inside = sorted(
                os.path.join(at, name)
                for at, _, files in os.walk(root / folder)
                for name in files
                if name.lower().endswith(self.suffixes)
            )
            if inside:
                labels += [len(names)] * len(inside)
                names.append(folder)
                paths += inside
        if not paths:
            raise DataError(f"{root}: no folder in it holds an image ({', '.join(self.suffixes[:4])}, ...)")
        return tuple(names), paths, np.array(labels, np.int64)

    def __len__(self) -> int:
        return len(self._listing()[1])

    def example(self, index: int) -> tuple[np.ndarray, ...]:
        _, paths, labels = self._listing()
        return read_image(paths[index], self.mode, self.max_pixels), labels[index]

    def labels(self) -> np.ndarray:
        """The class of every example, without decoding one."""
        return self._listing()[2]

    _labels = labels

    @property
    def classes(self) -> tuple[str, ...]:
        return self._listing()[0]

    @property
    def card(self) -> DatasetCard:
        return DatasetCard(Path(self.root).name, len(self), source=self.root, classes=self.classes)
