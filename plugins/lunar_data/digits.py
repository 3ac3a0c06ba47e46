"""The UCI optical digits, shipped inside the package: the first data set of a newcomer needs no network."""

from __future__ import annotations

from importlib import resources

import numpy as np

from lunar_core.component import field
from lunar_core.contracts.dataset import ArrayDataset, DatasetCard
from lunar_data.idx import read_idx


class Digits(ArrayDataset):
    """1,797 handwritten digits of 8x8 pixels, ten classes of 174 to 183 examples each.

    Gives ``image`` float32 (N, 1, 8, 8) and ``label`` int64 (N,). A pixel counts the dark points of a 4x4 block,
    0 to 16; by default it is scaled to 0..1, with ``scale=False`` it keeps its count.

    Source: the test set of E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning
    Repository, 1998, https://doi.org/10.24432/C50P49, in the order in which scikit-learn's ``load_digits`` gives it.
    Licence CC BY 4.0.
    """

    fields = ("image", "label")

    scale: bool = field(default=True, doc="divide the pixels by 16")

    def read(self) -> tuple[np.ndarray, ...]:
        folder = resources.files("lunar_data") / "files"
        with resources.as_file(folder / "digits-images-idx3-ubyte.gz") as path:
            images = read_idx(path)
        with resources.as_file(folder / "digits-labels-idx1-ubyte.gz") as path:
            labels = read_idx(path)
        pixels = images[:, None].astype(np.float32)
        if self.scale:
            pixels /= np.float32(16)
        return pixels, labels.astype(np.int64)

    @property
    def classes(self) -> tuple[str, ...]:
        return tuple("0123456789")

    @property
    def card(self) -> DatasetCard:
        return DatasetCard(
            title="Optical Recognition of Handwritten Digits",
            size=1797,
            source="https://doi.org/10.24432/C50P49",
            licence="CC-BY-4.0",
            attribution=(
                "E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning "
                "Repository, 1998"
            ),
        )
