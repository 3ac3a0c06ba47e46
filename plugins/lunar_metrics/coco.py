"""COCO's evaluation of boxes: matching detections with true boxes, and precision over recall.

The protocol is that of https://cocodataset.org/#detection-eval and of its reference program, pycocotools' ``COCOeval``
with ``iouType="bbox"``, whose figures these functions reproduce.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

IOUS = np.linspace(0.5, 0.95, 10)
RECALLS = np.linspace(0.0, 1.0, 101)
AREAS = {
    "all": (0.0, 1e10),
    "small": (0.0, 32.0**2),
    "medium": (32.0**2, 96.0**2),
    "large": (96.0**2, 1e10),
}
COUNTS = (1, 10, 100)  # how many of an image's best detections are looked at


class Boxes(NamedTuple):
    """The detections or true boxes of one class in one image; corners (n, 4) in pixels.

    Detections have a ``score``, in falling order; true boxes a flag ``crowd`` for regions of many objects, and the
    ``area`` of the object, which a mask may make smaller than its box.
    """

    corners: np.ndarray
    area: np.ndarray
    score: np.ndarray
    crowd: np.ndarray


class Matches(NamedTuple):
    """What became of the detections of one class in one image, for one range of areas.

    ``hit`` and ``ignored`` have shape (10, detections), one row per IoU threshold.
    """

    score: np.ndarray
    hit: np.ndarray
    ignored: np.ndarray
    objects: int


def area_of(corners: np.ndarray) -> np.ndarray:
    """Areas of boxes (n, 4) given as (x1, y1, x2, y2)."""
    return (corners[:, 2] - corners[:, 0]) * (corners[:, 3] - corners[:, 1])


def overlaps(detected: Boxes, true: Boxes) -> np.ndarray:
    """Intersection over union (detections, true boxes); over the detection's own area where the true box is a crowd."""
    a, b = detected.corners[:, None], true.corners[None]
    sides = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    common = np.maximum(sides, 0).prod(axis=-1)
    own, other = area_of(detected.corners)[:, None], area_of(true.corners)[None]
    total = np.where(true.crowd[None], own, own + other - common)
    return np.divide(common, total, out=np.zeros_like(common), where=total > 0)


def match(detected: Boxes, true: Boxes, iou: np.ndarray, low: float, high: float) -> Matches:
    """Give each detection, best score first, the free true box that it overlaps most, at each IoU threshold.

    Crowds and objects outside of [low, high] are ignored: they take what fits nothing else, and crowds any number;
    what they take, and unmatched detections outside of the range, count neither for nor against.
    """
    outside = true.crowd | (true.area < low) | (true.area > high)
    order = np.argsort(outside, kind="stable")
    iou, outside, crowd = iou[:, order], outside[order], true.crowd[order]
    count, objects = iou.shape
    thresholds = np.minimum(IOUS, 1 - 1e-10)[:, None]
    hit, ignored = np.zeros((len(IOUS), count), bool), np.zeros((len(IOUS), count), bool)
    taken = np.zeros((len(IOUS), objects), bool)
    rows = np.arange(len(IOUS))
    for d in range(count if objects else 0):
        fits = (~taken | crowd) & (iou[d] >= thresholds)
        proper = fits & ~outside
        fits = np.where(proper.any(axis=1, keepdims=True), proper, fits)
        # of equal overlaps the last one is taken
        best = objects - 1 - np.argmax(np.where(fits, iou[d], -1.0)[:, ::-1], axis=1)
        found = fits[rows, best]
        hit[:, d] = found
        ignored[:, d] = found & outside[best]
        taken[rows[found], best[found]] = True
    size = area_of(detected.corners)
    ignored |= ~hit & ((size < low) | (size > high))
    return Matches(detected.score, hit, ignored, int((~outside).sum()))


def precision_recall(images: list[Matches], limit: int) -> tuple[np.ndarray, np.ndarray] | None:
    """(precision at 101 recalls (10, 101), largest recall (10,)) of one class over all images; None without objects."""
    objects = sum(m.objects for m in images)
    if not objects:
        return None
    score = np.concatenate([m.score[:limit] for m in images])
    order = np.argsort(-score, kind="stable")
    hit = np.concatenate([m.hit[:, :limit] for m in images], axis=1)[:, order]
    counts = ~np.concatenate([m.ignored[:, :limit] for m in images], axis=1)[:, order]
    hits, alarms = np.cumsum(hit & counts, axis=1), np.cumsum(~hit & counts, axis=1)
    precision, largest = np.zeros((len(IOUS), len(RECALLS))), np.zeros(len(IOUS))
    for t in range(len(IOUS)) if len(score) else ():
        recall = hits[t] / objects
        exact = hits[t] / (hits[t] + alarms[t] + np.spacing(1))
        falling = np.maximum.accumulate(exact[::-1])[::-1]
        place = np.searchsorted(recall, RECALLS, side="left")
        reached = place < len(recall)
        precision[t, reached] = falling[place[reached]]
        largest[t] = recall[-1]
    return precision, largest
