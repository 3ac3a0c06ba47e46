"""The loader beside PyTorch's DataLoader in one process, in turns; and the time to begin at batch 1,000,000.

    OMP_NUM_THREADS=1 python benchmarks/loader.py [--workers 2] [--rounds 5]

``arrays``: batches of 64 out of images in memory, shuffled. ``examples``: the same through a data set that gives one
image at a time. ``augmented``: with a random crop and flip of each image in NumPy, 3 x 224 x 224 to 3 x 192 x 192. A
ratio is our time over PyTorch's: below 1 is faster. Both sides deliver tensors of the same size per batch; the draws of
each are its own.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from lunar_data import Loader


class Images:
    """Images one by one, as both sides take them."""

    def __init__(self, x: np.ndarray, y: np.ndarray, transform: Callable[..., Any] | None = None) -> None:
        self.x, self.y, self.transform = x, y, transform

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, i: int) -> Any:
        example = self.x[i], self.y[i]
        return example if self.transform is None else self.transform(example, np.random.default_rng(i))


def crop_and_flip(example: Any, rng: np.random.Generator) -> Any:
    """A random part of 192 x 192, half of the time mirrored, as float in 0..1."""
    image, label = example
    top, left = rng.integers(0, image.shape[1] - 192, 2)
    part = image[:, top : top + 192, left : left + 192]
    return (part[:, :, ::-1] if rng.random() < 0.5 else part).astype(np.float32) * np.float32(1 / 255), label


def seconds(batches: Iterable[Any]) -> float:
    """Time of one pass; every batch is touched."""
    started = time.perf_counter()
    for x, _ in batches:
        x.shape  # noqa: B018
    return time.perf_counter() - started


def compare(name: str, mine: Loader, theirs: Any, rounds: int, batches: int) -> None:
    seconds(mine), seconds(theirs)
    a, b = zip(*[(seconds(mine), seconds(theirs)) for _ in range(rounds)])
    ours, peer = statistics.median(a) / batches * 1e3, statistics.median(b) / batches * 1e3
    print(f"{name:34} {ours:8.2f} ms/batch, PyTorch {peer:8.2f}, ratio {ours / peer:5.2f}", flush=True)


def seek() -> None:
    with tempfile.TemporaryDirectory() as folder:
        # a sparse file: 64 million examples of 16 int32, 4 GiB that take no room
        tokens = np.memmap(os.path.join(folder, "tokens.bin"), np.int32, "w+", shape=(64_000_064, 16))
        for shuffle in (False, True):
            times = []
            for _ in range(5):
                loader = Loader(tokens, 64, shuffle=shuffle)
                started = time.perf_counter()
                loader.set_epoch(3, 1_000_000)
                next(iter(loader))
                times.append((time.perf_counter() - started) * 1e3)
            print(f"seek to batch 1,000,000, shuffle={shuffle!s:5}    {statistics.median(times):8.2f} ms")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    seek()
    import torch
    from torch.utils.data import DataLoader, TensorDataset

    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    small, labels = rng.integers(0, 256, (6400, 3, 32, 32), np.uint8), rng.integers(0, 10, 6400)
    large = rng.integers(0, 256, (512, 3, 224, 224), np.uint8)
    tensors = TensorDataset(torch.from_numpy(small), torch.from_numpy(labels))
    for workers in dict.fromkeys((0, options.workers)):
        extra = {"num_workers": workers, "persistent_workers": workers > 0}
        with Loader((small, labels), 64, shuffle=True, workers=workers) as mine:
            compare(
                f"arrays, {workers} workers", mine, DataLoader(tensors, 64, shuffle=True, **extra), options.rounds, 100
            )
        plain = Images(small, labels)
        with Loader(plain, 64, shuffle=True, workers=workers) as mine:
            compare(
                f"examples, {workers} workers", mine, DataLoader(plain, 64, shuffle=True, **extra), options.rounds, 100
            )
        with Loader(Images(large, labels), 64, shuffle=True, transform=crop_and_flip, workers=workers) as mine:
            peer = DataLoader(Images(large, labels, crop_and_flip), 64, shuffle=True, **extra)
            compare(f"augmented, {workers} workers", mine, peer, options.rounds, 8)


if __name__ == "__main__":
    main()
