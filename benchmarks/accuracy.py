"""How well the first models train, and whether PyTorch's twins train as well.

- ``digits_cnn`` on the shipped digits: the recipe of ``lunar train digits-cnn``, five seeds.
- ``mnist_cnn`` on the 10,000 images of MNIST's test file (the first 8,000 for training, the last 2,000 for the test, in
  the order of the file), Adam 1e-3, batch 32, 5 epochs, three seeds, here and in PyTorch.

    python -m benchmarks.accuracy --mnist DIRECTORY
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np


def digits(seeds: int) -> None:
    """Train the recipe from the command line, as a newcomer does."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(seeds):
            out = Path(folder) / str(seed)
            command = [sys.executable, "-m", "lunar_cli", "train", "digits-cnn", "--seed", str(seed), "--out", str(out)]
            start = time.perf_counter()
            subprocess.run(command, check=True, capture_output=True)
            seconds = time.perf_counter() - start
            accuracy = json.loads((out / "test.json").read_text())["accuracy"]
            rows.append(accuracy)
            print(
                f"digits-cnn seed {seed}: test accuracy {accuracy:.4f} in {seconds:.1f} s, start-up included",
                flush=True,
            )
    print(f"digits-cnn: mean {np.mean(rows):.4f}, lowest {min(rows):.4f} over {seeds} seeds")


def mnist(folder: Path, seeds: int, epochs: int) -> None:
    """Train mnist_cnn and its twin on the same split."""
    import torch

    import lunar_core as lc
    from lunar_training import Trainer

    data = lc.create(
        "dataset",
        "idx",
        images=str(folder / "t10k-images-idx3-ubyte.gz"),
        labels=str(folder / "t10k-labels-idx1-ubyte.gz"),
    )
    x, y = data.arrays()
    train, test = (x[:8000], y[:8000]), (x[8000:], y[8000:])
    ours, theirs = [], []
    for seed in range(seeds):
        lc.seed(seed)
        model = lc.create("model", "mnist_cnn")
        trainer = Trainer(
            model, loss="cross_entropy", optimizer={"@optimizer": "adam", "lr": 1e-3}, metrics=["accuracy"], seed=seed
        )
        start = time.perf_counter()
        trainer.fit(train, epochs=epochs, batch_size=32)
        ours.append(trainer.evaluate(test)["accuracy"])
        seconds = time.perf_counter() - start
        start = time.perf_counter()
        theirs.append(_twin(torch, seed, train, test, epochs))
        print(
            f"mnist_cnn seed {seed}: {ours[-1]:.4f} in {seconds:.1f} s; "
            f"PyTorch {theirs[-1]:.4f} in {time.perf_counter() - start:.1f} s",
            flush=True,
        )
    print(f"mnist_cnn: mean {np.mean(ours):.4f}, PyTorch {np.mean(theirs):.4f}")


def _twin(torch: object, seed: int, train: tuple, test: tuple, epochs: int) -> float:
    import torch as t
    from torch import nn

    t.manual_seed(seed)
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(32 * 49, 64), nn.ReLU(), nn.Linear(64, 10),
    )  # fmt: skip
    optimizer = t.optim.Adam(model.parameters(), lr=1e-3)
    x, y = (t.from_numpy(a) for a in train)
    for _ in range(epochs):
        for batch in t.randperm(len(x)).split(32):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x[batch]), y[batch]).backward()
            optimizer.step()
    with t.no_grad():
        predicted = model(t.from_numpy(test[0])).argmax(1)
    return float((predicted == t.from_numpy(test[1])).float().mean())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mnist", type=Path, help="directory with the two t10k IDX files")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--skip-digits", action="store_true")
    options = parser.parse_args()
    if not options.skip_digits:
        digits(5)
    if options.mnist:
        mnist(options.mnist, options.seeds, options.epochs)
