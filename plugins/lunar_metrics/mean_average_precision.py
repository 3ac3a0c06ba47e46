"""Mean average precision of object detectors, as COCO defines it."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from lunar_core import backend
from lunar_core.component import field, one_of
from lunar_core.contracts.metric import Metric
from lunar_core.errors import DataError
from lunar_core.tensor import Tensor

from .coco import AREAS, COUNTS, Boxes, area_of, match, overlaps, precision_recall
from .collected import Collected


class MeanAveragePrecision(Collected):
    """COCO's average precision and recall of detected boxes.

    :meth:`update` takes two lists with one dict per image:

    - ``pred``: ``boxes`` (n, 4), ``scores`` (n,), ``labels`` (n,) integers;
    - ``target``: ``boxes`` (m, 4), ``labels`` (m,), and if need be ``iscrowd`` (m,), true for regions of many objects,
      and ``area`` (m,) in pixels, by default that of the box.

    ``box_format`` says what the four numbers are: ``"xyxy"`` corners (default), ``"xywh"`` corner and size, or ``"cxcywh"``
    centre and size, in pixels.

    :meth:`compute` gives a dict: ``map`` (over the IoU thresholds 0.5, 0.55, ..., 0.95), ``map_50``, ``map_75``,
    ``map_small``, ``map_medium``, ``map_large`` (objects of area up to 32^2, up to 96^2, above), ``mar_1``, ``mar_10``,
    ``mar_100`` (recall with that many detections an image), ``mar_small``, ``mar_medium``, ``mar_large``; with ``per_class``
    also ``map_class_3`` for each class. Where there is no object to find the value is NaN (COCO prints -1).

    All boxes are kept until the end, on the host. There are no weights.

    Source: T.-Y. Lin et al., Microsoft COCO, arXiv:1405.0312, and cocodataset.org/#detection-eval; equals pycocotools'
    ``COCOeval``.

    Raises:
        DataError: batches that are not of this form, boxes of negative size, or weights.
    """

    columns: ClassVar[tuple[str, ...]] = (
        "detected_box", "detected_score", "detected_label", "detected_image",
        "true_box", "true_label", "true_crowd", "true_area", "true_image",
    )  # fmt: skip
    higher_is_better: ClassVar[bool | None] = True

    box_format: str = field(default="xyxy", validator=one_of("xyxy", "xywh", "cxcywh"), doc="what the four numbers are")
    per_class: bool = field(default=False, kw_only=True, doc="give the average precision of each class too")

    def update(self, pred: Any, target: Any, weight: Any = None) -> None:
        """Add the detections and the true boxes of a batch of images."""
        if weight is not None:
            raise DataError("MeanAveragePrecision is not defined for weighted images")
        for what, value in (("pred", pred), ("target", target)):
            if not isinstance(value, Sequence) or not all(isinstance(v, Mapping) for v in value):
                raise DataError(
                    f"MeanAveragePrecision: {what} must be a list of one dict per image, got {type(value).__name__}"
                )
        if len(pred) != len(target):
            raise DataError(f"MeanAveragePrecision: detections of {len(pred)} images for {len(target)} with true boxes")
        rows: dict[str, list[np.ndarray]] = {name: [] for name in self.columns}
        for i, (found, true) in enumerate(zip(pred, target)):
            boxes = self._boxes(found, i, "pred")
            for name, kind in (("score", "f"), ("label", "i")):
                rows[f"detected_{name}"].append(_vector(found, f"{name}s", kind, len(boxes), i, "pred"))
            rows["detected_box"].append(boxes)
            rows["detected_image"].append(np.full(len(boxes), self.seen + i))
            boxes = self._boxes(true, i, "target")
            rows["true_box"].append(boxes)
            rows["true_label"].append(_vector(true, "labels", "i", len(boxes), i, "target"))
            crowd, area = np.zeros(len(boxes), bool), area_of(boxes)
            rows["true_crowd"].append(
                _vector(true, "iscrowd", "b", len(boxes), i, "target") if "iscrowd" in true else crowd
            )
            rows["true_area"].append(_vector(true, "area", "f", len(boxes), i, "target") if "area" in true else area)
            rows["true_image"].append(np.full(len(boxes), self.seen + i))
        if pred:
            self.keep(**{name: np.concatenate(parts) for name, parts in rows.items()})
            self.seen += len(pred)

    def merge(self, other: Metric) -> None:
        if isinstance(other, MeanAveragePrecision):  # its images come after ours
            other = copy.copy(other)
            other._parts = {
                name: [part + self.seen for part in parts] if name.endswith("_image") else parts
                for name, parts in other._parts.items()
            }
        super().merge(other)

    def result(self) -> dict[str, float]:
        columns = {name: self.column(name) for name in self.columns}
        labels = sorted({*columns["detected_label"].tolist(), *columns["true_label"].tolist()})
        pairs = [_images_of(columns, label) for label in labels]
        matches = {
            area: [[match(*pair, *bounds) for pair in images] for images in pairs] for area, bounds in AREAS.items()
        }

        def figures(area: str, limit: int) -> tuple[list[Any], list[Any]]:
            curves = [precision_recall(images, limit) for images in matches[area]]
            return [None if c is None else c[0] for c in curves], [None if c is None else c[1] for c in curves]

        best = max(COUNTS)
        precision, recall = figures("all", best)
        out = {
            "map": _mean(precision),
            "map_50": _mean([None if p is None else p[0] for p in precision]),
            "map_75": _mean([None if p is None else p[5] for p in precision]),
        }
        sizes = {area: figures(area, best) for area in AREAS if area != "all"}
        out |= {f"map_{area}": _mean(p) for area, (p, _) in sizes.items()}
        out |= {f"mar_{limit}": _mean(recall if limit == best else figures("all", limit)[1]) for limit in COUNTS}
        out |= {f"mar_{area}": _mean(r) for area, (_, r) in sizes.items()}
        if self.per_class:
            out |= {f"map_class_{label}": _mean([p]) for label, p in zip(labels, precision)}
        return out

    def _boxes(self, image: Mapping[str, Any], i: int, what: str) -> np.ndarray:
        boxes = _array(image, "boxes", i, what).astype(np.float64)
        boxes = boxes.reshape(0, 4) if boxes.size == 0 else boxes
        if boxes.ndim != 2 or boxes.shape[1] != 4:
            raise DataError(f"MeanAveragePrecision: {what}[{i}]['boxes'] must have shape (n, 4), got {boxes.shape}")
        if self.box_format != "xyxy":
            start, size = boxes[:, :2], boxes[:, 2:]
            start = start if self.box_format == "xywh" else start - size / 2
            boxes = np.concatenate([start, start + size], axis=1)
        if not (boxes[:, 2:] >= boxes[:, :2]).all():
            raise DataError(
                f"MeanAveragePrecision: {what}[{i}] has a box of negative size",
                hint=f"box_format is {self.box_format!r}; others are 'xyxy', 'xywh', 'cxcywh'",
            )
        return boxes


def _images_of(columns: dict[str, np.ndarray], label: int) -> list[tuple[Boxes, Boxes, np.ndarray]]:
    """Detections, true boxes and their overlaps of one class, for each image where it occurs."""
    detected = np.flatnonzero(columns["detected_label"] == label)
    true = np.flatnonzero(columns["true_label"] == label)
    detected = detected[np.argsort(-columns["detected_score"][detected], kind="stable")]
    images = []
    for image in np.union1d(columns["detected_image"][detected], columns["true_image"][true]):
        d = detected[columns["detected_image"][detected] == image][: max(COUNTS)]
        t = true[columns["true_image"][true] == image]
        corners = columns["detected_box"][d]
        ours = Boxes(corners, area_of(corners), columns["detected_score"][d], np.zeros(len(d), bool))
        theirs = Boxes(columns["true_box"][t], columns["true_area"][t], np.ones(len(t)), columns["true_crowd"][t])
        images.append((ours, theirs, overlaps(ours, theirs)))
    return images


def _array(image: Mapping[str, Any], key: str, i: int, what: str) -> np.ndarray:
    if key not in image:
        raise DataError(
            f"MeanAveragePrecision: {what}[{i}] lacks {key!r}, it has {', '.join(map(repr, image)) or 'nothing'}"
        )
    value = image[key].data if isinstance(image[key], Tensor) else image[key]
    return np.asarray(backend.of(value).to_numpy(value) if backend.is_array(value) else value)


def _vector(image: Mapping[str, Any], key: str, kind: str, count: int, i: int, what: str) -> np.ndarray:
    values = _array(image, key, i, what)
    values = values.reshape(0) if values.size == 0 else values
    if values.shape != (count,):
        raise DataError(f"MeanAveragePrecision: {what}[{i}][{key!r}] must have shape ({count},), got {values.shape}")
    if kind == "i" and values.size and values.dtype.kind not in "iu":
        raise DataError(f"MeanAveragePrecision: {what}[{i}][{key!r}] must be integers, got {values.dtype}")
    return values.astype({"f": np.float64, "i": np.int64, "b": bool}[kind])


def _mean(values: list[Any]) -> float:
    """Mean over the classes that have objects."""
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else math.nan
