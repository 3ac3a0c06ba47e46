"""Random images with true boxes and detections, for the tests of mean average precision."""

from __future__ import annotations

import numpy as np


def random_images(seed, images=12, classes=3, extras=True, ties=True):
    """(pred, target): jittered copies of true boxes of all sizes, false alarms, crowds, areas smaller than the boxes."""
    rng = np.random.default_rng(seed)
    pred, target = [], []
    for _ in range(images):
        m = rng.integers(0, 8)
        size = 2.0 ** rng.uniform(2, 8, (m, 2))
        start = rng.uniform(0, 300, (m, 2))
        boxes, labels = np.concatenate([start, start + size], axis=1), rng.integers(0, classes, m)
        truth = {"boxes": boxes, "labels": labels}
        if extras:
            truth["iscrowd"] = rng.random(m) < 0.2
            truth["area"] = size.prod(axis=1) * rng.uniform(0.4, 1, m)
        target.append(truth)
        again = rng.integers(0, m, rng.integers(0, 12)) if m else np.empty(0, int)
        jitter = rng.normal(0, 0.12, (len(again), 4)) * np.tile(size[again], 2)
        found = boxes[again] + jitter
        alarms = rng.uniform(0, 200, (rng.integers(0, 4), 2))
        alarms = np.concatenate([alarms, alarms + rng.uniform(5, 120, alarms.shape)], axis=1)
        found = np.concatenate([found, alarms])
        found[:, 2:] = np.maximum(found[:, 2:], found[:, :2] + 1)
        guess = np.concatenate([labels[again], rng.integers(0, classes + 1, len(alarms))])
        score = rng.random(len(found))
        pred.append({"boxes": found, "scores": np.round(score, 1) if ties else score, "labels": guess})
    return pred, target
