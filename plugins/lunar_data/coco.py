"""Detection and segmentation in COCO's JSON: boxes, masks from polygons and run lengths, images by Pillow."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from lunar_core.component import field, one_of, positive
from lunar_core.contracts.dataset import DatasetCard
from lunar_core.errors import DataError
from lunar_data.images import MAX_PIXELS, read_image
from lunar_data.reading import ExampleDataset, need, read_bytes


class COCO(ExampleDataset):
    """Images with objects, annotated in COCO's format.

    ``task="detection"`` gives ``image`` uint8 (3, H, W), ``boxes`` float32 (K, 4) as x0, y0, x1, y1 in pixels and
    ``labels`` int64 (K,). ``task="instances"`` adds ``masks`` uint8 (K, H, W) before the labels, ``task="semantic"``
    gives ``image`` and ``mask`` int64 (H, W), where 0 is background and k + 1 class k, later annotations on top.
    Labels are places in ``classes``, which are the categories by id. Crowds are left out of detection and instances
    unless ``crowds=True``. Images without an object stay, with K = 0.

    Source of the format: T.-Y. Lin et al., Microsoft COCO, arXiv:1405.0312, and https://cocodataset.org/#format-data.

    Raises:
        DataError: no JSON, a field that is missing or of the wrong type, an annotation of an unknown image or
            category, a box or mask that does not fit; the message names the file and the entry.
    """

    annotations: str = field(doc="the JSON file")
    images: str = field(doc="folder of the images")
    task: str = field(default="detection", validator=one_of("detection", "instances", "semantic"), doc="what to give")
    crowds: bool = field(default=False, doc="keep annotations of crowds")
    max_bytes: int = field(default=1 << 30, validator=positive, doc="a larger JSON file is refused")

    @property
    def fields(self) -> tuple[str, ...]:  # type: ignore[override]
        return {
            "detection": ("image", "boxes", "labels"),
            "instances": ("image", "boxes", "masks", "labels"),
            "semantic": ("image", "mask"),
        }[self.task]

    def _index(self) -> tuple[tuple[str, ...], list[dict[str, Any]], list[list[dict[str, Any]]]]:
        held = self.__dict__.get("_held")
        if held is None:
            held = self.__dict__["_held"] = self._parse()
        return held

    def _parse(self) -> Any:
        where = self.annotations
        try:
            root = json.loads(read_bytes(where, self.max_bytes))
        except (ValueError, RecursionError) as error:
            raise DataError(f"{where}: no JSON: {error}") from error
        if not isinstance(root, dict):
            raise DataError(f"{where}: expected an object, got {type(root).__name__}")
        categories = sorted(self._entries(root, "categories", {"id": int, "name": str}), key=lambda c: c["id"])
        images = self._entries(root, "images", {"id": int, "file_name": str, "width": int, "height": int})
        found = self._entries(root, "annotations", {"image_id": int, "category_id": int})
        label = {category["id"]: k for k, category in enumerate(categories)}
        place = {image["id"]: k for k, image in enumerate(images)}
        for k, image in enumerate(images):
            if not 0 < image["width"] * image["height"] <= MAX_PIXELS or image["width"] < 0:
                raise DataError(f"{where}, images[{k}]: {image['width']} x {image['height']} pixels")
            name = Path(image["file_name"])
            if name.is_absolute() or ".." in name.parts:
                raise DataError(f"{where}, images[{k}]: file_name {image['file_name']!r} leads out of the folder")
        objects: list[list[dict[str, Any]]] = [[] for _ in images]
        for k, entry in enumerate(found):
            if entry["image_id"] not in place or entry["category_id"] not in label:
                raise DataError(
                    f"{where}, annotations[{k}]: image {entry['image_id']} or category {entry['category_id']} is unknown"
                )
            if entry.get("iscrowd") and not self.crowds:
                continue
            at = place[entry["image_id"]]
            box = entry.get("bbox")
            if self.task != "semantic" and not _is_box(box):
                raise DataError(f"{where}, annotations[{k}]: bbox is not [x, y, width, height]: {str(box)[:60]}")
            objects[at].append({**entry, "label": label[entry["category_id"]], "place": k})
        if not images:
            raise DataError(f"{where}: there is no image")
        return tuple(category["name"] for category in categories), images, objects

    def _entries(self, root: dict[str, Any], name: str, needed: dict[str, type]) -> list[dict[str, Any]]:
        entries = root.get(name)
        if not isinstance(entries, list):
            raise DataError(f"{self.annotations}: {name!r} is no list")
        for k, entry in enumerate(entries):
            for key, kind in needed.items():
                if not isinstance(entry, dict) or type(entry.get(key)) is not kind:
                    raise DataError(f"{self.annotations}, {name}[{k}]: {key!r} is missing or no {kind.__name__}")
        return entries

    def __len__(self) -> int:
        return len(self._index()[1])

    def example(self, index: int) -> tuple[np.ndarray, ...]:
        _, images, objects = self._index()
        entry = images[index]
        path = os.path.join(self.images, entry["file_name"])
        image = read_image(path)
        size = (entry["height"], entry["width"])
        if image.shape[1:] != size:
            raise DataError(f"{path}: {image.shape[2]} x {image.shape[1]} pixels, {self.annotations} says {size[::-1]}")
        if self.task == "semantic":
            mask = np.zeros(size, np.int64)
            for one in objects[index]:
                mask[self._mask(one, size) > 0] = one["label"] + 1
            return image, mask
        boxes = np.array([one["bbox"] for one in objects[index]], np.float32).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        labels = np.array([one["label"] for one in objects[index]], np.int64)
        if self.task == "detection":
            return image, boxes, labels
        masks = np.zeros((len(labels), *size), np.uint8)
        for k, one in enumerate(objects[index]):
            masks[k] = self._mask(one, size)
        return image, boxes, masks, labels

    def _mask(self, entry: dict[str, Any], size: tuple[int, int]) -> np.ndarray:
        where = f"{self.annotations}, annotations[{entry['place']}]"
        shape = entry.get("segmentation")
        if isinstance(shape, dict):
            return decode_rle(shape, size, where)
        if isinstance(shape, list) and shape:
            return _polygons(shape, size, where)
        raise DataError(f"{where}: segmentation is neither a list of polygons nor run lengths")

    @property
    def classes(self) -> tuple[str, ...]:
        names = self._index()[0]
        return ("background", *names) if self.task == "semantic" else names

    @property
    def card(self) -> DatasetCard:
        return DatasetCard(os.path.basename(self.annotations), len(self), source=self.annotations, classes=self.classes)


def _is_box(box: Any) -> bool:
    return (
        isinstance(box, list)
        and len(box) == 4
        and all(type(v) in (int, float) and abs(v) < 1e7 for v in box)
        and box[2] >= 0
        and box[3] >= 0
    )


def decode_rle(rle: dict[str, Any], size: tuple[int, int], where: str = "run lengths") -> np.ndarray:
    """A mask uint8 (H, W) from COCO's run lengths, plain (a list) or compressed (a string); runs go down the columns.

    Source: pycocotools' maskApi.c, rleFrString and rleDecode.
    """
    counts = rle.get("counts")
    if rle.get("size") != list(size):
        raise DataError(f"{where}: run lengths of size {str(rle.get('size'))[:40]}, the image is {list(size)}")
    if isinstance(counts, (str, bytes)):
        counts = _uncompressed(counts.encode("latin1", "replace") if isinstance(counts, str) else counts, where)
    total = size[0] * size[1]
    if not isinstance(counts, list) or not all(type(n) is int and 0 <= n <= total for n in counts):
        raise DataError(f"{where}: counts are no run lengths")
    if sum(counts) != total:
        raise DataError(f"{where}: the runs cover {sum(counts)} of {total} pixels")
    values = np.arange(len(counts), dtype=np.int64) % 2
    return np.repeat(values, counts).astype(np.uint8).reshape(size[1], size[0]).T


def _uncompressed(text: bytes, where: str) -> list[int]:
    counts: list[int] = []
    at = 0
    while at < len(text):
        value = shift = 0
        while True:
            if at == len(text) or not 48 <= text[at] < 48 + 64 or shift > 60:
                raise DataError(f"{where}: compressed run lengths are corrupt at character {at}")
            byte = text[at] - 48
            value |= (byte & 31) << shift
            shift += 5
            at += 1
            if not byte & 32:
                if byte & 16:
                    value -= 1 << shift
                break
        counts.append(value + counts[-2] if len(counts) > 2 else value)
    return counts


def _polygons(polygons: list[Any], size: tuple[int, int], where: str) -> np.ndarray:
    """Pixels inside any of the polygons, drawn by Pillow: its rule for pixels on the edge, not pycocotools'."""
    drawing, image = need("PIL.ImageDraw", "images", "masks"), need("PIL.Image", "images", "masks")
    canvas = image.new("L", (size[1], size[0]))
    pen = drawing.Draw(canvas)
    for polygon in polygons:
        flat = polygon if isinstance(polygon, list) else []
        if len(flat) < 6 or len(flat) % 2 or not all(type(v) in (int, float) and abs(v) < 1e7 for v in flat):
            raise DataError(f"{where}: a polygon is a list of x, y, x, y, ... of three corners or more")
        pen.polygon([(x - 0.5, y - 0.5) for x, y in zip(flat[::2], flat[1::2])], fill=1, outline=1)
    return np.asarray(canvas, np.uint8)
