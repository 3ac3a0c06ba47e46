"""Losses against their papers' formulas, written out in plain NumPy, and against values that can be checked by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from loss_rows import boxes

import lunar_core as lc
from lunar_core.errors import DataError, GradientError, HyperparameterError, IndexingError, ShapeError, StateError
from lunar_losses.bce import BCE
from lunar_losses.ciou import CIoU
from lunar_losses.contrastive import Contrastive
from lunar_losses.dfl import DFL
from lunar_losses.dice import Dice
from lunar_losses.dino import DINO
from lunar_losses.diou import DIoU
from lunar_losses.distillation import Distillation
from lunar_losses.focal import Focal
from lunar_losses.gan import GAN
from lunar_losses.giou import GIoU
from lunar_losses.gradient_penalty import GradientPenalty
from lunar_losses.hinge import Hinge
from lunar_losses.jaccard import Jaccard
from lunar_losses.js_div import JSDiv
from lunar_losses.log_cosh import LogCosh
from lunar_losses.lovasz import Lovasz
from lunar_losses.lsgan import LSGAN
from lunar_losses.masked_reconstruction import MaskedReconstruction
from lunar_losses.multilabel_margin import MultilabelMargin
from lunar_losses.nll import NLL
from lunar_losses.nt_xent import NTXent
from lunar_losses.perceptual import Perceptual
from lunar_losses.quantile import Quantile
from lunar_losses.squared_hinge import SquaredHinge
from lunar_losses.total_variation import TotalVariation
from lunar_losses.triplet import Triplet
from lunar_losses.tversky import Tversky
from lunar_losses.wasserstein import Wasserstein

RNG = np.random.default_rng(5)
close = np.testing.assert_allclose


def softmax(z, axis=-1):
    e = np.exp(z - z.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


def each(loss, pred, target=None):
    return loss(pred, target).detach().numpy()


def test_log_cosh():
    x, t = RNG.normal(0, 3, (4, 5)), RNG.normal(0, 3, (4, 5))
    close(each(LogCosh(reduction="none"), x, t), np.log(np.cosh(x - t)), rtol=1e-12)


def test_quantile_is_scikit_learns_pinball_loss_and_least_at_the_quantile():
    x, t = RNG.normal(size=(50,)), RNG.normal(size=(50,))
    expected = np.where(t >= x, 0.2 * (t - x), 0.8 * (x - t))
    close(each(Quantile(q=0.2, reduction="none"), x, t), expected, rtol=1e-13)
    grid = np.linspace(-2, 2, 401)
    losses = [Quantile(q=0.8)(np.full(50, g), t).item() for g in grid]
    assert abs(grid[int(np.argmin(losses))] - np.quantile(t, 0.8)) < 0.1
    with pytest.raises(ShapeError, match="3 quantiles"):
        Quantile(q=(0.1, 0.5, 0.9))(np.ones((4, 2)), np.ones(4))


def test_js_div_is_the_square_of_scipys_distance():
    distance = pytest.importorskip("scipy.spatial.distance").jensenshannon
    p, t = softmax(RNG.normal(size=(6, 5))), softmax(RNG.normal(size=(6, 5)))
    t[0] = [0, 0.5, 0, 0.5, 0]
    close(each(JSDiv(reduction="none"), np.log(p), t), [distance(a, b) ** 2 for a, b in zip(p, t)], rtol=1e-11)
    certain = np.array([[0.0, -np.inf]])
    assert JSDiv()(certain, [[0.0, 1.0]]).item() == pytest.approx(math.log(2), rel=1e-13)


@pytest.mark.parametrize(("gamma", "alpha"), [(2.0, 0.25), (0.0, None), (0.5, 0.6), (1.0, None), (5.0, 0.25)])
def test_focal(gamma, alpha):
    x, t = RNG.normal(0, 2, (5, 3)), RNG.integers(0, 2, (5, 3)).astype(float)
    p = 1 / (1 + np.exp(-x))
    pt = np.where(t == 1, p, 1 - p)
    at = 1.0 if alpha is None else np.where(t == 1, alpha, 1 - alpha)
    close(
        each(Focal(gamma=gamma, alpha=alpha, reduction="none"), x, t), -at * (1 - pt) ** gamma * np.log(pt), rtol=1e-11
    )


def test_focal_of_the_papers_example():
    # section 3.2: gamma 2, an example of p_t = 0.9 has 100x lower loss, one of 0.968 about 1000x
    x = np.log(np.array([0.9 / 0.1, 0.968 / 0.032]))
    ratio = each(Focal(gamma=0.0, alpha=None, reduction="none"), x, np.ones(2)) / each(
        Focal(alpha=None, reduction="none"), x, np.ones(2)
    )
    assert ratio[0] == pytest.approx(100, rel=1e-12) and ratio[1] == pytest.approx(1000, rel=0.05)


MAPS, LOGITS = RNG.integers(0, 3, (4, 5, 6)), RNG.normal(size=(4, 3, 5, 6))


@pytest.mark.parametrize("ignore", [None, 1])
@pytest.mark.parametrize("batch", [False, True])
def test_overlap_losses(batch, ignore):
    p, s = softmax(LOGITS, 1), 1e-5
    t = np.moveaxis(np.eye(3)[MAPS], -1, 1)
    if ignore is not None:
        kept = (ignore != MAPS)[:, None]
        p, t = p * kept, t * kept
    axes = (0, 2, 3) if batch else (2, 3)
    tp, fp, fn = (p * t).sum(axes), (p * (1 - t)).sum(axes), ((1 - p) * t).sum(axes)
    options = {"reduction": "none", "batch": batch, "ignore_index": ignore}
    close(each(Dice(**options), LOGITS, MAPS), 1 - (2 * tp + s) / (2 * tp + fp + fn + s), rtol=1e-12)
    close(each(Jaccard(**options), LOGITS, MAPS), 1 - (tp + s) / (tp + fp + fn + s), rtol=1e-12)
    close(each(Tversky(**options), LOGITS, MAPS), 1 - (tp + s) / (tp + 0.3 * fp + 0.7 * fn + s), rtol=1e-12)
    squared = 1 - (2 * tp + s) / ((p * p).sum(axes) + (t * t).sum(axes) + s)
    close(each(Dice(squared=True, **options), LOGITS, MAPS), squared, rtol=1e-12)


def test_overlap_of_perfect_maps_is_no_loss():
    t = np.moveaxis(np.eye(3)[MAPS], -1, 1)
    for loss in (Dice, Jaccard, Tversky):
        assert loss(activation="none")(t, MAPS).item() == pytest.approx(0, abs=1e-12)
        assert loss(activation="sigmoid")(LOGITS[:, :1], MAPS[:, None] == 1).item() > 0
        with pytest.raises(ShapeError, match="softmax over one class"):
            loss()(LOGITS[:, :1], MAPS[:, None])


def jaccard_of_misses(wrong, truth):
    """1 - IoU of the set of wrongly predicted places, the set function that the Lovasz loss extends."""
    return wrong.sum() / (truth.astype(bool) | wrong).sum() if wrong.any() else 0.0


def lovasz_by_definition(errors, truth):
    """Equation 9: errors in decreasing order, each times what adding its place to the misses adds to the set function."""
    total, wrong, before = 0.0, np.zeros(len(errors), bool), 0.0
    for i in np.argsort(-errors, kind="stable"):
        wrong[i] = True
        now = jaccard_of_misses(wrong, truth)
        total += errors[i] * (now - before)
        before = now
    return total


@pytest.mark.parametrize("classes", ["present", "all"])
@pytest.mark.parametrize("ignore", [None, 2])
@pytest.mark.parametrize("per_image", [True, False])
def test_lovasz_softmax(per_image, ignore, classes):
    maps = MAPS.copy()
    maps[0] = np.where(maps[0] == 1, 0, maps[0])
    images = [(LOGITS[i], maps[i]) for i in range(4)]
    if not per_image:
        images = [(np.concatenate(LOGITS.transpose(0, 2, 3, 1), axis=0).transpose(2, 0, 1), np.concatenate(maps))]
    expected = []
    for z, m in images:
        p, m = softmax(z, 0).reshape(3, -1), m.reshape(-1)
        kept = np.ones(m.shape, bool) if ignore is None else m != ignore
        values = [
            lovasz_by_definition(abs((m[kept] == c) - p[c, kept]), m[kept] == c)
            for c in range(3)
            if classes == "all" or (m[kept] == c).any()
        ]
        expected.append(np.mean(values))
    loss = Lovasz(classes=classes, ignore_index=ignore, per_image=per_image, reduction="none")
    close(each(loss, LOGITS, maps), expected, rtol=1e-11)


def test_lovasz_hinge():
    truth = MAPS == 1
    expected = []
    for z, t in zip(LOGITS[:, 0], truth):
        errors = np.maximum(1 - z * (2.0 * t - 1), 0).reshape(-1)
        expected.append(lovasz_by_definition(errors, t.reshape(-1)))
    close(each(Lovasz(mode="hinge", reduction="none"), LOGITS[:, :1], truth[:, None]), expected, rtol=1e-11)


def test_lovasz_at_hard_predictions_is_the_jaccard_loss():
    hard = np.moveaxis(np.eye(3)[RNG.integers(0, 3, (4, 5, 6))], -1, 1) * 1000
    for c in range(3):
        p, t = hard[:, c] > 0, c == MAPS
        expected = [1 - (a & b).sum() / (a | b).sum() for a, b in zip(p, t)]
        single = np.where(p[:, None], 1000.0, -1000.0)
        p_c = Lovasz(mode="softmax", reduction="none")
        two = np.concatenate([-single, single], axis=1)
        both = [(1 - (~a & ~b).sum() / (~a | ~b).sum() + e) / 2 for a, b, e in zip(p, t, expected)]
        close(each(p_c, two, t.astype(int)), both, rtol=1e-12)


def test_hinges():
    x, y = np.array([0.3, 2.0, -0.5, -3.0]), np.array([1, 1, -1, 1])
    assert each(Hinge(reduction="none"), x, y).tolist() == pytest.approx([0.7, 0, 0.5, 4.0])
    assert each(SquaredHinge(reduction="none"), x, y).tolist() == pytest.approx([0.49, 0, 0.25, 16.0])
    assert Hinge()(x, (y + 1) // 2).item() == Hinge()(x, y).item()


def test_contrastive():
    a, b, y = RNG.normal(size=(6, 3)), RNG.normal(size=(6, 3)), np.array([1, 0, 1, 0, 0, 1])
    d = np.sqrt(((a - b) ** 2).sum(1))
    expected = np.where(y == 1, d**2 / 2, np.maximum(0, 2.5 - d) ** 2 / 2)
    close(each(Contrastive(margin=2.5, reduction="none"), (a, b), y), expected, rtol=1e-12)
    x = lc.tensor(a, requires_grad=True)
    Contrastive()((x, a), y).backward()
    assert not x.grad.numpy().any()


@pytest.mark.parametrize("temperature", [0.1, 0.5])
def test_nt_xent(temperature):
    a, b = RNG.normal(size=(5, 4)), RNG.normal(size=(5, 4))
    z = np.concatenate([a, b])
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    s = np.exp(z @ z.T / temperature)
    terms = [-math.log(s[i, (i + 5) % 10] / sum(s[i, k] for k in range(10) if k != i)) for i in range(10)]
    loss = NTXent(temperature=temperature, reduction="none")
    close(each(loss, (a, b)), np.array(terms).reshape(2, 5).T, rtol=1e-12)


def iou_parts(p, t):
    w = max(0.0, min(p[2], t[2]) - max(p[0], t[0]))
    h = max(0.0, min(p[3], t[3]) - max(p[1], t[1]))
    union = (p[2] - p[0]) * (p[3] - p[1]) + (t[2] - t[0]) * (t[3] - t[1]) - w * h
    hull = (max(p[2], t[2]) - min(p[0], t[0]), max(p[3], t[3]) - min(p[1], t[1]))
    return w * h / union, union, hull


def giou(p, t):
    iou, union, (w, h) = iou_parts(p, t)
    return 1 - iou + (w * h - union) / (w * h)


def diou(p, t):
    iou, _, (w, h) = iou_parts(p, t)
    centre = [(p[i] + p[i + 2] - t[i] - t[i + 2]) / 2 for i in (0, 1)]
    return 1 - iou + (centre[0] ** 2 + centre[1] ** 2) / (w**2 + h**2)


def ciou(p, t):
    iou, _, _ = iou_parts(p, t)
    v = 4 / math.pi**2 * (math.atan((t[2] - t[0]) / (t[3] - t[1])) - math.atan((p[2] - p[0]) / (p[3] - p[1]))) ** 2
    return diou(p, t) + v / (1 - iou + v) * v


@pytest.mark.parametrize(("loss", "formula"), [(GIoU, giou), (DIoU, diou), (CIoU, ciou)], ids=["giou", "diou", "ciou"])
def test_boxes(loss, formula):
    p, t = boxes(20), boxes(20)
    p[:5] += 3  # far away from their targets
    expected = [formula(a, b) for a, b in zip(p.tolist(), t.tolist())]
    close(each(loss(eps=1e-16, reduction="none"), p, t), expected, rtol=1e-12)
    close(each(loss(reduction="none"), p, t), expected, rtol=1e-5)

    def centred(x):
        return np.concatenate([(x[:, :2] + x[:, 2:]) / 2, x[:, 2:] - x[:, :2]], axis=1)

    close(each(loss(eps=1e-16, box_format="cxcywh", reduction="none"), centred(p), centred(t)), expected, rtol=1e-11)
    assert loss()(t, t).item() == pytest.approx(0, abs=1e-5)
    x = lc.tensor(p, requires_grad=True)
    loss()(x, t).backward()
    assert np.abs(x.grad.numpy()[:5]).max() > 0  # pulls on boxes that do not touch
    with pytest.raises(ShapeError, match="boxes"):
        loss()(np.ones((2, 5)), np.ones((2, 5)))


@pytest.mark.parametrize("loss", [GIoU, DIoU, CIoU])
def test_boxes_without_area_have_finite_gradients(loss):
    x = lc.tensor(np.zeros((1, 4), np.float32), requires_grad=True)
    loss()(x, np.array([[0.0, 0.0, 1.0, 1.0]], np.float32)).backward()
    assert np.isfinite(x.grad.numpy()).all()


def test_the_ciou_holds_alpha_fixed():
    p, t = boxes(4), boxes(4)
    x = lc.tensor(p, requires_grad=True)
    CIoU(reduction="sum")(x, t).backward()
    for i in range(4):
        iou, _, _ = iou_parts(p[i], t[i])

        def v(box, i=i):
            slants = [math.atan((b[2] - b[0]) / (b[3] - b[1])) for b in (t[i], box)]
            return 4 / math.pi**2 * (slants[0] - slants[1]) ** 2

        alpha = v(p[i]) / (1 - iou + v(p[i]))
        for k in range(4):
            step = np.eye(4)[k] * 1e-6
            up, down = p[i] + step, p[i] - step
            slope = (diou(up, t[i]) + alpha * v(up) - diou(down, t[i]) - alpha * v(down)) / 2e-6
            assert x.grad.numpy()[i, k] == pytest.approx(slope, rel=1e-5, abs=1e-6)


def test_dfl():
    x, y = RNG.normal(size=(6, 8)), np.array([0.0, 0.3, 3.5, 6.9, 7.0, 2.0])
    logs = np.log(softmax(x))
    left = np.minimum(np.floor(y), 6).astype(int)
    rows = np.arange(6)
    expected = -(left + 1 - y) * logs[rows, left] - (y - left) * logs[rows, left + 1]
    close(each(DFL(reduction="none"), x, y), expected, rtol=1e-12)
    best = np.full((1, 8), -50.0)
    best[0, [3, 4]] = np.log([0.7, 0.3])
    entropy = -(0.7 * math.log(0.7) + 0.3 * math.log(0.3))
    assert DFL()(best, [3.3]).item() == pytest.approx(entropy, rel=1e-9)


def test_adversarial_losses():
    real, fake = RNG.normal(size=5), RNG.normal(size=5)
    d_real, d_fake = 1 / (1 + np.exp(-real)), 1 / (1 + np.exp(-fake))
    assert GAN()((real, fake)).item() == pytest.approx(-(np.log(d_real) + np.log(1 - d_fake)).mean(), rel=1e-12)
    assert GAN(role="generator")(fake).item() == pytest.approx(-np.log(d_fake).mean(), rel=1e-12)
    minimax = GAN(role="generator", variant="minimax")
    assert minimax(fake).item() == pytest.approx(np.log(1 - d_fake).mean(), rel=1e-12)
    assert Wasserstein()((real, fake)).item() == pytest.approx(fake.mean() - real.mean(), rel=1e-12)
    assert Wasserstein(role="generator")(fake).item() == pytest.approx(-fake.mean(), rel=1e-12)
    expected = (((real - 1) ** 2).mean() + (fake**2).mean()) / 2
    assert LSGAN()((real, fake)).item() == pytest.approx(expected, rel=1e-12)
    assert LSGAN(c=0.5, role="generator")(fake).item() == pytest.approx(((fake - 0.5) ** 2).mean() / 2, rel=1e-12)
    with pytest.raises(ShapeError, match=r"GAN compares 2 tensors, \(real, fake\)"):
        GAN()(fake)


def test_points_between_real_and_fake_lie_on_their_line():
    real, fake = np.ones((50, 2, 3)), np.full((50, 2, 3), 3.0)
    lc.seed(3)
    x = GradientPenalty().between(real, fake)
    assert x.requires_grad and x.dtype == np.float64
    values = x.detach().numpy()
    assert (values >= 1).all() and (values <= 3).all() and (np.ptp(values.reshape(50, -1), axis=1) == 0).all()
    assert np.ptp(values) > 1
    lc.seed(3)
    np.testing.assert_array_equal(GradientPenalty().between(real, fake).detach().numpy(), values)
    with pytest.raises(GradientError, match="require no gradient"):
        GradientPenalty()((x.detach().sum(axis=(1, 2)), x.detach()))


@pytest.mark.parametrize("normalize", [True, False])
def test_masked_reconstruction(normalize):
    p, t, m = RNG.normal(size=(3, 5, 8)), RNG.normal(size=(3, 5, 8)), RNG.integers(0, 2, (3, 5))
    wanted = (t - t.mean(-1, keepdims=True)) / np.sqrt(t.var(-1, ddof=1, keepdims=True) + 1e-6) if normalize else t
    expected = (((p - wanted) ** 2).mean(-1) * m).sum() / m.sum()
    loss = MaskedReconstruction(normalize=normalize)
    assert loss((p, m), t).item() == pytest.approx(expected, rel=1e-12)
    assert loss.terms((p, m), t)[1] == m.sum()


def test_distillation():
    s, t, y = RNG.normal(size=(6, 5)), RNG.normal(size=(6, 5)), RNG.integers(0, 5, 6)
    p, q = softmax(t / 3), softmax(s / 3)
    soft = 9 * (p * np.log(p / q)).sum(1)
    hard = -np.log(softmax(s)[np.arange(6), y])
    close(
        each(Distillation(temperature=3.0, alpha=0.7, reduction="none"), s, (y, t)), 0.7 * soft + 0.3 * hard, rtol=1e-11
    )
    close(each(Distillation(temperature=3.0, alpha=1.0, reduction="none"), s, t), soft, rtol=1e-11)
    teacher = lc.tensor(t, requires_grad=True)
    Distillation()(lc.tensor(s, requires_grad=True), (y, teacher)).backward()
    assert teacher.grad is None
    with pytest.raises(ShapeError, match="needs labels"):
        Distillation()(s, t)


def test_dino_follows_the_papers_algorithm():
    rng = np.random.default_rng(1)
    loss, centre = DINO(), np.zeros(5)
    for _ in range(3):
        students, teachers = [rng.normal(size=(4, 5)) for _ in range(3)], [rng.normal(size=(4, 5)) for _ in range(2)]
        total, pairs = 0.0, 0
        for i, t in enumerate(teachers):
            for v, s in enumerate(students):
                if v != i:
                    total += -(softmax((t - centre) / 0.04) * np.log(softmax(s / 0.1))).sum(1).mean()
                    pairs += 1
        assert loss(tuple(students), tuple(teachers)).item() == pytest.approx(total / pairs, rel=1e-11)
        centre = 0.9 * centre + 0.1 * np.concatenate(teachers).mean(0)
        close(loss.state_dict()["centre"], centre, rtol=1e-12)
    with lc.no_grad():
        loss(tuple(students), tuple(teachers))
    close(loss.state_dict()["centre"], centre, rtol=1e-12)
    again = DINO()
    again.load_state_dict(loss.state_dict())
    assert again(tuple(students), tuple(teachers)).item() == loss(tuple(students), tuple(teachers)).item()
    with pytest.raises(StateError):
        again.load_state_dict({"center": centre})
    with pytest.raises(ShapeError, match="at least two views"):
        DINO()(students[0], teachers[0])


def test_perceptual():
    x, t = RNG.normal(size=(2, 3, 4, 4)), RNG.normal(size=(2, 3, 4, 4))

    def features(images):
        return [images * images, images[:, :, ::2]]

    expected = np.zeros(2)
    for f, g in zip(features(x), features(t)):
        f, g = f.reshape(2, 3, -1), g.reshape(2, 3, -1)
        expected += 0.5 * ((f - g) ** 2).mean((1, 2))
        grams = [np.einsum("nap,nbp->nab", m, m) / m[0].size for m in (f, g)]
        expected += 2.0 * ((grams[0] - grams[1]) ** 2).sum((1, 2))
    close(each(Perceptual(features, content=0.5, style=2.0, reduction="none"), x, t), expected, rtol=1e-12)
    assert Perceptual(features, content=0.0)(x, t).item() == 0
    with pytest.raises(HyperparameterError, match="features"):
        Perceptual("vgg")


def test_perceptual_features_may_be_a_configured_layer():
    loss = Perceptual(lc.layers.Flatten())
    again = lc.from_config(lc.to_config(loss))
    x, t = RNG.normal(size=(2, 3, 4, 4)), RNG.normal(size=(2, 3, 4, 4))
    assert again(x, t).item() == pytest.approx(((x - t) ** 2).mean(), rel=1e-12)


def test_total_variation():
    x = np.arange(12.0).reshape(1, 1, 3, 4) ** 2
    down, right = np.diff(x, axis=2), np.diff(x, axis=3)
    assert TotalVariation()(x).item() == pytest.approx(abs(down).sum() + abs(right).sum(), rel=1e-13)
    expected = np.sqrt(down[..., :-1] ** 2 + right[:, :, :-1] ** 2 + 1e-8).sum()
    assert TotalVariation(isotropic=True)(x).item() == pytest.approx(expected, rel=1e-13)
    assert TotalVariation()(np.ones((2, 3, 4, 4))).item() == 0


def test_wrong_predictions_and_targets_are_one_clear_error_each():
    with pytest.raises(DataError, match=r"probabilities in \[0, 1\], got values from -1 to 2\n.*BCEWithLogits"):
        BCE()(np.array([-1.0, 2.0]), np.ones(2))
    with pytest.raises(IndexingError, match="NLL: class 5 is out of range for 5 classes"):
        NLL()(np.zeros((2, 5)), [0, 5])
    with pytest.raises(IndexingError, match="NLL: class -100"):
        NLL(ignore_index=None)(np.zeros((2, 5)), [0, -100])
    with pytest.raises(IndexingError, match="label 4 is out of range"):
        MultilabelMargin()(np.zeros((1, 4)), [[4, -1, -1, -1]])
    with pytest.raises(ShapeError, match=r"Triplet compares 3 tensors, \(anchor, positive, negative\), got 2"):
        Triplet()((np.ones((2, 3)), np.ones((2, 3))))
    with pytest.raises(ShapeError, match="one shape"):
        Triplet()((np.ones((2, 3)), np.ones((2, 3)), np.ones((1, 3))))
