"""Data: the loader with its samplers and ways to make batches, splits, and datasets.

Ships the UCI optical digits and reads the IDX format of MNIST; the sets of group ``lunar.datasets`` are imported by name.
"""

from lunar_data.collate import Pad, Padded, Stack
from lunar_data.digits import Digits
from lunar_data.errors import ExampleError, WorkerError
from lunar_data.idx import IDX, read_idx
from lunar_data.loader import Batches, Loader
from lunar_data.samplers import (
    BucketByLength,
    ClassBalanced,
    Given,
    Random,
    Sampler,
    Sequential,
    Shard,
    Stratified,
    Weighted,
)
from lunar_data.splits import class_weights, fold_indices, k_fold, split, split_indices
from lunar_data.streams import ShuffleBuffer

__all__ = [
    "IDX",
    "Batches",
    "BucketByLength",
    "ClassBalanced",
    "Digits",
    "ExampleError",
    "Given",
    "Loader",
    "Pad",
    "Padded",
    "Random",
    "Sampler",
    "Sequential",
    "Shard",
    "ShuffleBuffer",
    "Stack",
    "Stratified",
    "Weighted",
    "WorkerError",
    "class_weights",
    "fold_indices",
    "k_fold",
    "read_idx",
    "split",
    "split_indices",
]
