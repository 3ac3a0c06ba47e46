"""Losses far out, in float32: finite, right, and with gradients."""

from __future__ import annotations

import math

import numpy as np
import pytest

import lunar_core as lc
from lunar_losses.bce import BCE
from lunar_losses.clip import CLIP
from lunar_losses.cosine_embedding import CosineEmbedding
from lunar_losses.ctc import CTC
from lunar_losses.dfl import DFL
from lunar_losses.dice import Dice
from lunar_losses.dino import DINO
from lunar_losses.distillation import Distillation
from lunar_losses.focal import Focal
from lunar_losses.gan import GAN
from lunar_losses.gradient_penalty import GradientPenalty
from lunar_losses.huber import Huber
from lunar_losses.js_div import JSDiv
from lunar_losses.kl_div import KLDiv
from lunar_losses.log_cosh import LogCosh
from lunar_losses.lovasz import Lovasz
from lunar_losses.nt_xent import NTXent
from lunar_losses.smooth_l1 import SmoothL1
from lunar_losses.softmax_cross_entropy import SoftmaxCrossEntropy
from lunar_losses.triplet import Triplet

BIG = 1e4


def run(loss, *preds, target=None):
    """The unreduced losses and the gradients of their sum, with overflow as an error."""
    xs = [lc.tensor(np.asarray(p, np.float32), requires_grad=True) for p in preds]
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        losses = loss(tuple(xs) if len(xs) > 1 else xs[0], target)
        losses.sum().backward()
    assert losses.dtype == np.float32
    return losses.detach().numpy(), [x.grad.numpy() for x in xs]


def test_log_cosh_neither_overflows_nor_loses_small_differences():
    losses, (g,) = run(LogCosh(reduction="none"), [1e30, -BIG, 1e-4, 0.0], target=np.zeros(4))
    assert losses[0] == pytest.approx(1e30) and losses[1] == pytest.approx(BIG - math.log(2))
    assert losses[2] == pytest.approx(5e-9, rel=1e-5) and losses[3] == 0
    np.testing.assert_allclose(g, [1, -1, 1e-4, 0], rtol=1e-5)


@pytest.mark.parametrize("loss", [Huber, SmoothL1])
def test_the_robust_losses_do_not_square_what_is_far(loss):
    losses, (g,) = run(loss(reduction="none"), [1e30, -1e30], target=np.zeros(2))
    assert losses.tolist() == pytest.approx([1e30, 1e30]) and g.tolist() == [1, -1]


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_focal_of_huge_logits(gamma):
    losses, (g,) = run(
        Focal(gamma=gamma, alpha=None, reduction="none"), [BIG, -BIG, BIG, -BIG], target=np.array([1.0, 0, 0, 1])
    )
    np.testing.assert_allclose(losses, [0, 0, BIG, BIG], atol=1e-12)
    np.testing.assert_allclose(g, [0, 0, 1, -1], atol=1e-5)


def test_adversarial_losses_of_huge_scores():
    losses, (real, fake) = run(GAN(reduction="none"), [BIG, -BIG], [-BIG, BIG])
    assert losses.tolist() == pytest.approx([0, 2 * BIG]) and real.tolist() == [0, -1] and fake.tolist() == [0, 1]
    losses, _ = run(GAN(role="generator", variant="minimax", reduction="none"), [BIG, -BIG])
    assert losses.tolist() == pytest.approx([-BIG, 0])


def test_softmax_losses_of_huge_logits():
    x = np.array([[BIG, 0.0, -BIG], [-BIG, BIG, 0.0]])
    losses, _ = run(SoftmaxCrossEntropy(reduction="none"), x, target=np.eye(3)[[1, 1]])
    assert losses.tolist() == pytest.approx([BIG, 0])
    losses, (g,) = run(Distillation(alpha=0.5, temperature=2.0, reduction="none"), x, target=(np.array([0, 0]), -x))
    assert np.isfinite(losses).all() and np.isfinite(g).all()
    losses, (g,) = run(DFL(reduction="none"), x, target=np.array([0.5, 1.0]))
    assert losses.tolist() == pytest.approx([BIG / 2, 0]) and np.isfinite(g).all()
    losses, grads = run(DINO(reduction="none"), x, x[::-1].copy(), target=(np.float32(x), np.float32(-x)))
    assert np.isfinite(losses).all() and all(np.isfinite(g).all() for g in grads)
    maps = np.array([[0, 1], [2, 2]])
    for loss in (Dice(reduction="none"), Lovasz(reduction="none")):
        losses, (g,) = run(loss, np.stack([x, -x], axis=-1), target=maps)
        assert np.isfinite(losses).all() and np.isfinite(g).all()
        assert ((losses >= -1e-6) & (losses <= 1 + 1e-6)).all()


def test_divergences_of_certain_distributions():
    certain = np.array([[0.0, -np.inf, -np.inf], [math.log(0.5), math.log(0.5), -np.inf]])
    target = np.array([[1.0, 0, 0], [0, 1.0, 0]])
    for loss in (KLDiv(reduction="none"), JSDiv(reduction="none")):
        losses, (g,) = run(loss, certain, target=target)
        assert losses[0] == pytest.approx(0, abs=1e-6) and losses[1] > 0 and np.isfinite(losses).all()
        assert np.isfinite(g).all()
    losses, _ = run(JSDiv(reduction="none"), certain[:1], target=target[1:])
    assert losses[0] == pytest.approx(math.log(2), rel=1e-6)


def test_contrastive_losses_of_one_direction_and_of_zeros():
    a = np.array([[1e15, 0.0], [0.0, 1e15], [0.0, 0.0]])
    for loss in (NTXent(temperature=0.01, reduction="none"), CLIP(temperature=0.01, reduction="none")):
        losses, grads = run(loss, a, a)
        assert np.isfinite(losses).all() and losses[:2].max() < 1e-6
        assert all(np.isfinite(g).all() for g in grads)
    losses, grads = run(CosineEmbedding(reduction="none"), a[2:], a[2:], target=np.ones(1))
    assert losses.tolist() == [1] and not any(g.any() for g in grads)
    losses, grads = run(Triplet(reduction="none"), a[2:], a[2:], a[2:])
    assert losses.tolist() == pytest.approx([1]) and all(np.isfinite(g).all() for g in grads)


def test_ctc_of_huge_logits_and_of_what_does_not_fit():
    x = np.full((1, 4, 3), -BIG)
    x[0, [0, 1, 2, 3], [1, 0, 2, 2]] = BIG
    losses, (g,) = run(CTC(reduction="none"), x, target=np.array([[1, 2]]))
    assert losses[0] == pytest.approx(0, abs=1e-4) and np.isfinite(g).all()
    losses, (g,) = run(CTC(zero_infinity=True, reduction="none"), x[:, :2], target=np.array([[1, 1]]))
    assert losses.tolist() == [0] and not g.any()


def test_a_flat_critic_is_penalised_with_a_finite_gradient():
    x = lc.tensor(np.zeros((2, 3), np.float32), requires_grad=True)
    w = lc.tensor(np.zeros(3, np.float32), requires_grad=True)
    loss = GradientPenalty()((x @ w, x))
    loss.backward()
    assert loss.item() == 10 and np.isfinite(w.grad.numpy()).all()


def test_bce_of_certain_probabilities_in_single_precision():
    losses, (g,) = run(BCE(reduction="none"), [0.0, 1.0, 0.0, 1.0], target=np.array([0.0, 1.0, 1.0, 0.0]))
    assert losses.tolist() == [0, 0, 100, 100] and np.isfinite(g).all()
