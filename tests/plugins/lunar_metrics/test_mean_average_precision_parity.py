"""Mean average precision against pycocotools, COCO's own program."""

from __future__ import annotations

import contextlib
import io

import numpy as np
import pytest
from random_detections import random_images

from lunar_metrics.mean_average_precision import MeanAveragePrecision

coco = pytest.importorskip("pycocotools.coco")
cocoeval = pytest.importorskip("pycocotools.cocoeval")

pytestmark = pytest.mark.parity

NAMES = "map map_50 map_75 map_small map_medium map_large mar_1 mar_10 mar_100 mar_small mar_medium mar_large".split()


def xywh(box):
    return [float(box[0]), float(box[1]), float(box[2] - box[0]), float(box[3] - box[1])]


def reference(pred, target):
    truth, found = coco.COCO(), []
    annotations = []
    for i, image in enumerate(target):
        for k in range(len(image["boxes"])):
            box = xywh(image["boxes"][k])
            annotations.append({
                "id": len(annotations) + 1, "image_id": i, "category_id": int(image["labels"][k]), "bbox": box,
                "iscrowd": int(image.get("iscrowd", np.zeros(99))[k]), "area": float(image.get("area", {k: box[2] * box[3]})[k]),
            })  # fmt: skip
    classes = {int(c) for image in (*pred, *target) for c in image["labels"]}
    truth.dataset = {
        "images": [{"id": i} for i in range(len(target))],
        "annotations": annotations,
        "categories": [{"id": c} for c in classes],
    }
    for i, image in enumerate(pred):
        for box, score, label in zip(image["boxes"], image["scores"], image["labels"]):
            found.append({"image_id": i, "category_id": int(label), "bbox": xywh(box), "score": float(score)})
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex()
        run = cocoeval.COCOeval(truth, truth.loadRes(found), "bbox")
        run.evaluate()
        run.accumulate()
        run.summarize()
    return np.where(run.stats < 0, np.nan, run.stats)


@pytest.mark.parametrize("extras", [False, True])
@pytest.mark.parametrize("seed", range(8))
def test_all_twelve_figures_agree(seed, extras):
    pred, target = random_images(seed, images=25, classes=4, extras=extras)
    metric = MeanAveragePrecision()
    metric.update(pred[:9], target[:9])
    metric.update(pred[9:], target[9:])
    got = metric.compute()
    np.testing.assert_allclose([got[name] for name in NAMES], reference(pred, target), rtol=1e-12)
