"""COCO's average precision: worked examples, the matching against its sequential form, merging, forms of input, errors."""

from __future__ import annotations

import math

import numpy as np
import pytest
from metric_shards import at_once, sharded
from random_detections import random_images

from lunar_core.errors import DataError, HyperparameterError
from lunar_core.tensor import Tensor
from lunar_core.testing.fake_device import FakeArray, fake_device
from lunar_metrics.coco import IOUS, Boxes, area_of, match, overlaps
from lunar_metrics.mean_average_precision import MeanAveragePrecision

A, B = [0.0, 0, 50, 50], [100.0, 100, 150, 150]


def images(*found, true=((A, 0),)):
    """One image; ``found`` are (box, score, label), ``true`` (box, label)."""
    pred = {"boxes": [f[0] for f in found], "scores": [f[1] for f in found], "labels": [f[2] for f in found]}
    return [pred], [{"boxes": [t[0] for t in true], "labels": [t[1] for t in true]}]


def values(pred, target, **options):
    return at_once(MeanAveragePrecision(**options), pred, target)


def test_a_perfect_detector_has_one_and_a_blind_one_zero():
    perfect = values(*images((A, 0.9, 0)))
    assert [perfect[name] for name in ("map", "map_50", "map_75", "mar_1")] == pytest.approx([1] * 4)
    assert (
        perfect["map_medium"] == pytest.approx(1)
        and math.isnan(perfect["map_small"])
        and math.isnan(perfect["mar_large"])
    )
    blind = values(*images())
    assert blind["map"] == blind["mar_100"] == 0
    assert list(perfect) == [
        "map", "map_50", "map_75", "map_small", "map_medium", "map_large",
        "mar_1", "mar_10", "mar_100", "mar_small", "mar_medium", "mar_large",
    ]  # fmt: skip


def test_an_overlap_counts_up_to_its_threshold():
    # 50 x 36 of 50 x 50: an IoU of 0.72 passes 0.5, 0.55, 0.6, 0.65 and 0.7
    found = values(*images(([0.0, 0, 50, 36], 0.9, 0)))
    assert found["map"] == pytest.approx(0.5) and found["map_50"] == pytest.approx(1) and found["map_75"] == 0


def test_precision_is_interpolated_over_101_recalls():
    # of two objects one is found after a false alarm: precision 1/2 up to recall 0.5, which 51 of 101 recalls reach
    pred, target = images((B, 0.9, 0), (A, 0.8, 0), true=((A, 0), ([200.0, 0, 250, 50], 0)))
    assert values(pred, target)["map_50"] == pytest.approx(51 / 101 / 2)
    assert values(pred, target)["mar_1"] == 0 and values(pred, target)["mar_10"] == pytest.approx(0.5)
    # a false alarm of a lower score costs nothing
    pred, target = images((A, 0.9, 0), (B, 0.8, 0))
    assert values(pred, target)["map"] == pytest.approx(1)


def test_an_object_is_found_once():
    pred, target = images((A, 0.9, 0), (A, 0.8, 0), (B, 0.7, 0), true=((A, 0), (B, 0)))
    # precisions at the two hits: 1, then 2/3
    assert values(pred, target)["map_50"] == pytest.approx((51 + 50 * 2 / 3) / 101)


def test_classes_count_alike_and_those_without_objects_do_not():
    pred, target = images((A, 0.9, 0), (B, 0.9, 7), true=((A, 0), (B, 1)))
    found = values(pred, target, per_class=True)
    assert found["map"] == pytest.approx(0.5)
    assert (found["map_class_0"], found["map_class_1"]) == (pytest.approx(1), 0) and math.isnan(found["map_class_7"])


def test_crowds_are_neither_missed_nor_falsely_found():
    crowd = [100.0, 0, 400, 300]
    pred, target = images(
        (A, 0.7, 0), ([120.0, 10, 160, 60], 0.9, 0), ([200.0, 10, 260, 90], 0.8, 0), true=((A, 0), (crowd, 0))
    )
    assert values(pred, target)["map"] < 0.6
    target[0]["iscrowd"] = [0, 1]
    assert values(pred, target)["map"] == pytest.approx(1)


def test_the_area_of_the_object_decides_its_size():
    pred, target = images((A, 0.9, 0))
    target[0]["area"] = [900.0]  # the mask is smaller than the box
    found = values(pred, target)
    assert found["map_small"] == pytest.approx(1) and math.isnan(found["map_medium"])


def test_box_formats_agree():
    pred, target = random_images(0)

    def converted(batch, change):
        return [{**image, "boxes": change(np.reshape(image["boxes"], (-1, 4)))} for image in batch]

    def xywh(b):
        return np.concatenate([b[:, :2], b[:, 2:] - b[:, :2]], axis=1)

    def centred(b):
        return np.concatenate([(b[:, :2] + b[:, 2:]) / 2, b[:, 2:] - b[:, :2]], axis=1)

    expected = values(pred, target)
    assert values(converted(pred, xywh), converted(target, xywh), box_format="xywh") == pytest.approx(
        expected, nan_ok=True
    )
    assert values(converted(pred, centred), converted(target, centred), box_format="cxcywh") == pytest.approx(
        expected, nan_ok=True
    )


@pytest.mark.parametrize("seed", range(20))
def test_matching_is_that_of_the_sequential_program(seed):
    rng = np.random.default_rng(seed)

    def boxes(n):
        start = np.round(rng.uniform(0, 6, (n, 2)))
        return np.concatenate([start, start + np.round(rng.uniform(1, 8, (n, 2)))], axis=1)

    def made(n):
        corners = boxes(n)
        return Boxes(
            corners, area_of(corners) * rng.choice([1.0, 0.5], n), np.sort(rng.random(n))[::-1], rng.random(n) < 0.25
        )

    detected, true = made(12), made(9)
    low, high = 4.0, 30.0
    iou = overlaps(detected, true)
    got = match(detected, true, iou, low, high)

    # COCOeval.evaluateImg
    ignore = true.crowd | (true.area < low) | (true.area > high)
    order = np.argsort(ignore, kind="mergesort")
    for t, threshold in enumerate(IOUS):
        taken = set()
        for d in range(12):
            best, chosen = min(threshold, 1 - 1e-10), None
            for g in order:
                if g in taken and not true.crowd[g]:
                    continue
                if chosen is not None and not ignore[chosen] and ignore[g]:
                    break
                if iou[d, g] < best:
                    continue
                best, chosen = iou[d, g], g
            size = area_of(detected.corners)[d]
            ignored = (size < low or size > high) if chosen is None else ignore[chosen]
            assert (got.hit[t, d], got.ignored[t, d]) == (chosen is not None, ignored)
            if chosen is not None:
                taken.add(chosen)
    assert got.objects == (~ignore).sum()


@pytest.mark.parametrize("seed", range(3))
def test_shards_and_states_merge_to_the_whole(seed):
    pred, target = random_images(seed, ties=False)  # equal scores rank in the order of the images, which workers change
    expected = values(pred, target, per_class=True)
    assert sharded(MeanAveragePrecision(per_class=True), pred, target, None, seed) == pytest.approx(
        expected, nan_ok=True, rel=1e-12
    )


def test_tensors_arrays_and_device_arrays_are_taken():
    pred, target = random_images(3)
    expected = values(pred, target)
    tensors = [[{k: Tensor(np.asarray(v)) for k, v in image.items()} for image in batch] for batch in (pred, target)]
    assert values(*tensors) == pytest.approx(expected, nan_ok=True)
    with fake_device():
        arrays = [
            [{k: FakeArray(np.asarray(v)) for k, v in image.items()} for image in batch] for batch in (pred, target)
        ]
        assert values(*arrays) == pytest.approx(expected, nan_ok=True)


def test_without_any_object_there_is_nothing_to_average():
    found = values([{"boxes": np.empty((0, 4)), "scores": [], "labels": []}], [{"boxes": [], "labels": []}])
    assert all(math.isnan(v) for v in found.values())


def test_what_does_not_fit_is_refused_and_leaves_the_totals():
    metric = MeanAveragePrecision()
    pred, target = images((A, 0.9, 0))
    metric.update(pred, target)
    before = metric.compute()
    wrong = [
        (pred, target, np.ones(1), "weighted"),
        (pred[0], target, None, "list of one dict per image"),
        (pred, target + target, None, "of 1 images for 2"),
        ([{"boxes": [A], "labels": [0]}], target, None, r"pred\[0\] lacks 'scores'"),
        ([{**pred[0], "scores": [0.1, 0.2]}], target, None, r"shape \(1,\), got \(2,\)"),
        ([{**pred[0], "boxes": [[1.0, 2, 3]]}], target, None, r"shape \(n, 4\), got \(1, 3\)"),
        ([{**pred[0], "boxes": [[9.0, 2, 3, 4]]}], target, None, "negative size"),
        ([{**pred[0], "labels": [0.5]}], target, None, "integers, got float64"),
    ]
    for p, t, weight, words in wrong:
        with pytest.raises(DataError, match=words):
            metric.update(p, t, weight)
    assert metric.compute() == pytest.approx(before, nan_ok=True)
    with pytest.raises(HyperparameterError, match="box_format"):
        MeanAveragePrecision("yxyx")
