"""Datasets: the UCI optical digits, which ship with the package, and any data in the IDX format of MNIST."""

from lunar_data.digits import Digits
from lunar_data.idx import IDX, read_idx

__all__ = ["IDX", "Digits", "read_idx"]
