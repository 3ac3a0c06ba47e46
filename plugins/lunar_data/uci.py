"""Four small tables of the UCI repository and of statistics, in the layout in which scikit-learn publishes them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import numpy as np

from lunar_core.component import field
from lunar_core.errors import DataError
from lunar_data.download import RemoteFile
from lunar_data.published import PublishedArrays, mirrored
from lunar_data.reading import text_lines

_BASES = (
    "https://raw.githubusercontent.com/scikit-learn/scikit-learn/1.5.2/sklearn/datasets/data",
    "https://cdn.jsdelivr.net/gh/scikit-learn/scikit-learn@1.5.2/sklearn/datasets/data",
)


class _Classified(PublishedArrays):
    """A CSV file whose first line is "rows,columns,class,class,..." and whose last column is the class."""

    file: ClassVar[RemoteFile]
    names: ClassVar[tuple[str, ...]] = ()
    rows: ClassVar[int] = 0
    features: ClassVar[tuple[str, ...]] = ()

    def remote(self) -> tuple[RemoteFile, ...]:
        return (self.file,)

    def expected_size(self) -> int:
        return self.rows

    @property
    def classes(self) -> tuple[str, ...]:
        return self.names

    def read(self) -> tuple[np.ndarray, ...]:
        path = self.path(self.file)
        lines = text_lines(path)
        head = next(lines, (1, ""))[1].split(",")
        if head[:2] != [str(self.rows), str(len(self.features))] or tuple(head[2:]) != self.names:
            raise DataError(f"{path}, line 1: expected {self.rows},{len(self.features)},{','.join(self.names)}")
        table = _numbers(path, lines, self.rows, len(self.features) + 1, ",")
        labels = table[:, -1]
        if not np.isin(labels, np.arange(len(self.names))).all():
            raise DataError(f"{path}: a class is not one of 0 to {len(self.names) - 1}")
        return table[:, :-1].astype(np.float32), labels.astype(np.int64)


class Iris(_Classified):
    """Fisher's iris: 150 flowers of three species; ``x`` float32 (150, 4) in cm, ``y`` int64.

    Columns: sepal length, sepal width, petal length, petal width. Source: R. A. Fisher, The use of multiple
    measurements in taxonomic problems, Annals of Eugenics 7, 1936; https://doi.org/10.24432/C56C76, CC BY 4.0. The rows
    are those of scikit-learn, which agree with Fisher's paper where the UCI copy does not.
    """

    cache_name = "iris"
    title = "Iris"
    homepage = "https://doi.org/10.24432/C56C76"
    licence = "CC-BY-4.0"
    attribution = "R. A. Fisher, Iris, UCI Machine Learning Repository, 1936"
    file = mirrored("iris.csv", 2734, "f13ffa8fdd56fd8e6c8d16d4081a3fbd3114bcd0aae4256c43205169cd9d1449", *_BASES)
    names = ("setosa", "versicolor", "virginica")
    rows = 150
    features = ("sepal length (cm)", "sepal width (cm)", "petal length (cm)", "petal width (cm)")


class Wine(_Classified):
    """Chemical analysis of 178 wines of three cultivars; ``x`` float32 (178, 13), ``y`` int64.

    Source: S. Aeberhard and M. Forina, Wine, UCI Machine Learning Repository, 1992, https://doi.org/10.24432/C5PC7J,
    CC BY 4.0.
    """

    cache_name = "wine"
    title = "Wine recognition"
    homepage = "https://doi.org/10.24432/C5PC7J"
    licence = "CC-BY-4.0"
    attribution = "S. Aeberhard and M. Forina, Wine, UCI Machine Learning Repository, 1992"
    file = mirrored("wine_data.csv", 11157, "10e8a802908b34f86e5da8ce962f3c806694bc98450a18f61851af59f324bede", *_BASES)
    names = ("class_0", "class_1", "class_2")
    rows = 178
    features = (
        "alcohol",
        "malic_acid",
        "ash",
        "alcalinity_of_ash",
        "magnesium",
        "total_phenols",
        "flavanoids",
        "nonflavanoid_phenols",
        "proanthocyanins",
        "color_intensity",
        "hue",
        "od280/od315_of_diluted_wines",
        "proline",
    )


_CELL = "radius texture perimeter area smoothness compactness concavity concave_points symmetry fractal_dimension"


class BreastCancer(_Classified):
    """Wisconsin diagnostic breast cancer: 569 tumours; ``x`` float32 (569, 30), ``y`` int64 (0 malignant, 1 benign).

    Ten features of the cell nuclei, each as mean, standard error and worst. Source: W. Wolberg, O. Mangasarian,
    N. Street and W. Street, UCI Machine Learning Repository, 1993, https://doi.org/10.24432/C5DW2B, CC BY 4.0.
    """

    cache_name = "breast_cancer"
    title = "Breast Cancer Wisconsin (Diagnostic)"
    homepage = "https://doi.org/10.24432/C5DW2B"
    licence = "CC-BY-4.0"
    attribution = "W. Wolberg, O. Mangasarian, N. Street, W. Street, UCI Machine Learning Repository, 1993"
    file = mirrored(
        "breast_cancer.csv", 119913, "fed3eb72d0575ef6192293f5093c6e801b1476b577d0386bf4455504522172ed", *_BASES
    )
    names = ("malignant", "benign")
    rows = 569
    features = tuple(f"{kind} {name}" for kind in ("mean", "error of", "worst") for name in _CELL.split())


class Diabetes(PublishedArrays):
    """Disease progression of 442 diabetes patients a year on: ``x`` float32 (442, 10), ``y`` float32 (442,).

    Columns: age, sex, bmi, bp and six blood serum values s1 to s6. With ``scaled``, each is centred and divided by its
    standard deviation times the square root of 442, so that its squares sum to 1, as in the paper and in scikit-learn.
    Source: B. Efron, T. Hastie, I. Johnstone and R. Tibshirani, Least Angle Regression, Annals of Statistics 32, 2004.
    """

    scaled: bool = field(default=True, doc="centre the columns and give them unit length")

    cache_name = "diabetes"
    title = "Diabetes (least angle regression)"
    homepage = "https://www4.stat.ncsu.edu/~boos/var.select/diabetes.html"
    attribution = "B. Efron, T. Hastie, I. Johnstone, R. Tibshirani, Least Angle Regression, 2004"
    features = ("age", "sex", "bmi", "bp", "s1", "s2", "s3", "s4", "s5", "s6")
    _data = mirrored(
        "diabetes_data_raw.csv.gz",
        7073,
        "7fc0ded571454b1982210d3bb43f0aca44eae01a0b8654a3b24022bdb6b38009",
        *_BASES,
    )
    _target = mirrored(
        "diabetes_target.csv.gz", 1050, "8e53f65eb811df43c206f3534bb3af0e5fed213bc37ed6ba36310157d6023803", *_BASES
    )

    def remote(self) -> tuple[RemoteFile, ...]:
        return (self._data, self._target)

    def expected_size(self) -> int:
        return 442

    def read(self) -> tuple[np.ndarray, ...]:
        data, target = self.fetch()
        x = _numbers(data, text_lines(data), 442, 10, " ")
        y = _numbers(target, text_lines(target), 442, 1, " ")[:, 0]
        if self.scaled:
            x = x - x.mean(axis=0)
            x /= np.sqrt((x * x).sum(axis=0))
        return x.astype(np.float32), y.astype(np.float32)


def _numbers(path: Path, lines: Iterator[tuple[int, str]], rows: int, columns: int, delimiter: str) -> np.ndarray:
    """A table of float64 whose size is known, so that nothing is read beyond it."""
    table = np.empty((rows, columns))
    count = 0
    for number, text in lines:
        parts = text.split(delimiter)
        if len(parts) != columns or count == rows:
            problem = f"{len(parts)} fields, expected {columns}" if count < rows else f"more than {rows} rows"
            raise DataError(f"{path}, line {number}: {problem}")
        try:
            table[count] = [float(part) for part in parts]
        except ValueError:
            raise DataError(f"{path}, line {number}: a field is no number") from None
        count += 1
    if count < rows:
        raise DataError(f"{path}: truncated: {count} rows, expected {rows}")
    return table
