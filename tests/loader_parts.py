"""Data sets and transforms that worker processes of any start method can import."""

from __future__ import annotations

import os
import random
import time

import numpy as np

import lunar_core as lc
from lunar_core.contracts.dataset import ExampleDataset, IterableDataset
from lunar_core.contracts.transform import Transform


class Numbers(ExampleDataset):
    """Example i is (vector that tells i, i); counts how many were read in this process."""

    def __init__(self, n: int = 40, width: int = 3) -> None:
        self.n, self.width, self.read = n, width, 0

    def __len__(self):
        return self.n

    def example(self, index):
        self.read += 1
        return np.arange(self.width, dtype=np.float32) + 10 * index, np.int64(index)


class Broken(Numbers):
    """Example 17 cannot be read."""

    def example(self, index):
        if index == 17:
            raise OSError("the file of example 17 is damaged")
        return super().example(index)


class Unpicklable(Exception):
    def __reduce__(self):
        raise TypeError("not to be sent")


class BrokenOddly(Numbers):
    def example(self, index):
        if index == 17:
            raise Unpicklable("odd")
        return super().example(index)


class Deadly(Numbers):
    """Reading example 17 ends the process by SIGKILL, as the system does when memory runs out."""

    def example(self, index):
        if index == 17:
            os.kill(os.getpid(), 9)
        return super().example(index)


class Slow(Numbers):
    def example(self, index):
        time.sleep(30)


class Counting(IterableDataset):
    """A stream of numbers that differs from epoch to epoch."""

    def __init__(self, n: int = 23) -> None:
        self.n, self.epoch = n, 0

    def set_epoch(self, epoch):
        self.epoch = epoch

    def __iter__(self):
        for i in range(self.n):
            yield np.float32(i + 100 * self.epoch)


class Ragged(Numbers):
    """Example i is a vector of i % 5 + 1 numbers, its text and i."""

    def example(self, index):
        return np.full(index % 5 + 1, index, np.int64), f"text {index}", index


class GlobalDraws(Numbers):
    """Draws from the generators of the process, as old code does."""

    def example(self, index):
        return np.random.random(), random.random(), lc.random.uniform(()).item()


class Gain(Transform):
    """Multiplies each example by a random number; refuses numbers above ``limit``."""

    limit: float = 1e9

    def draw(self, rng, shape):
        return {"gain": rng.uniform(1, 2)}

    def apply(self, values, drawn):
        if values.max() > self.limit:
            raise ValueError("too bright")
        return values * drawn["gain"].reshape(-1, *[1] * (values.ndim - 1)).astype(values.dtype)


def jitter(example, rng):
    """Adds noise to every array of an example."""
    x, *rest = example
    return (x + rng.standard_normal(x.shape).astype(np.float32), *rest)


def noisy(value, rng):
    """Adds noise to a number."""
    return value + np.float32(rng.random())


def swap(batch, rng):
    """Mixes the examples of a batch."""
    x, *rest = batch
    return (0.5 * x + 0.5 * x[rng.permutation(len(x))], *rest)
