"""Where the examples find their data.

``LUNAR_DATA`` names a folder, default ``data``, in which they look for the files of MNIST (``t10k-images-idx3-ubyte.gz``
and so on, plain or packed) and for ``names.txt`` and ``tinyshakespeare.txt``, at any depth. Without MNIST they take the
8x8 digits that ship with LunarLearn. ``LUNAR_EXAMPLE_QUICK=1`` makes every example a matter of seconds, on the digits.
"""

import os
import sys
from pathlib import Path

import lunar_core as lc

QUICK = bool(os.environ.get("LUNAR_EXAMPLE_QUICK"))


def find(name):
    """The file of that name below ``LUNAR_DATA``, packed or not, or ``None``."""
    folder = Path(os.environ.get("LUNAR_DATA", "data"))
    return next((path for suffix in ("", ".gz") for path in sorted(folder.rglob(name + suffix))), None)


def images(quick=QUICK):
    """(training data, test data) of handwritten digits: ``image`` (N, 1, H, W) in 0..1 and ``label`` (N,).

    MNIST as it is published; where only its 10,000 test images are there, 8,000 of them and the other 2,000.
    """
    parts = {}
    for part in () if quick else ("train", "t10k"):
        files = [find(f"{part}-{kind}-ubyte") for kind in ("images-idx3", "labels-idx1")]
        if all(files):
            parts[part] = lc.datasets.IDX(*map(str, files))
    if len(parts) == 2:
        return parts["train"], parts["t10k"]
    whole = parts.get("t10k") or lc.datasets.Digits()
    return whole.split(0.2 if parts else 0.25, stratify=True, seed=0)


def text(name):
    """The text of a file below ``LUNAR_DATA``; ends the script with a message where there is none."""
    path = find(name)
    if path is None:
        print(f"This example reads {name}; set LUNAR_DATA to the folder that holds it.", file=sys.stderr)
        sys.exit(0 if QUICK else 1)
    return path.read_text(encoding="utf-8")


def show(pictures):
    """Print as many of the pictures (N, 1, H, W) in 0..1 side by side as fit, two characters a pixel."""
    shades, pictures = " .:-=+*#%@", pictures[: 170 // (2 * pictures.shape[3])]
    for row in range(pictures.shape[2]):
        line = [shades[round(float(v) * 9)] * 2 for picture in pictures.clip(0, 1) for v in picture[0, row]]
        print("".join(line).rstrip())
