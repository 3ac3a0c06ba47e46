"""The losses that PyTorch has against it, in float64: every reduction, weight and option, value and gradient."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import lunar_core as lc
from lunar_losses.bce import BCE
from lunar_losses.bce_with_logits import BCEWithLogits
from lunar_losses.clip import CLIP
from lunar_losses.cosine_embedding import CosineEmbedding
from lunar_losses.cross_entropy import CrossEntropy
from lunar_losses.ctc import CTC
from lunar_losses.gaussian_nll import GaussianNLL
from lunar_losses.gradient_penalty import GradientPenalty
from lunar_losses.huber import Huber
from lunar_losses.kl_div import KLDiv
from lunar_losses.mae import MAE
from lunar_losses.margin_ranking import MarginRanking
from lunar_losses.mse import MSE
from lunar_losses.multi_margin import MultiMargin
from lunar_losses.multilabel_margin import MultilabelMargin
from lunar_losses.nll import NLL
from lunar_losses.poisson_nll import PoissonNLL
from lunar_losses.smooth_l1 import SmoothL1
from lunar_losses.softmax_cross_entropy import SoftmaxCrossEntropy
from lunar_losses.triplet import Triplet

torch = pytest.importorskip("torch")
nn = torch.nn

pytestmark = pytest.mark.parity

FORWARD, BACKWARD = 1e-12, 1e-10
RNG = np.random.default_rng(11)
REDUCTIONS = ("mean", "sum", "none")


def normal(*shape):
    return RNG.normal(0, 2, shape)


def log_probs(*shape):
    z = normal(*shape)
    return z - np.log(np.exp(z).sum(1, keepdims=True))


def agree(ours, theirs, preds, target):
    """``theirs`` takes the predictions one by one, then the target."""
    xs = [lc.tensor(p, requires_grad=True) for p in preds]
    ts = [torch.tensor(p, requires_grad=True) for p in preds]
    y = ours(tuple(xs) if len(xs) > 1 else xs[0], target)
    e = theirs(*ts) if target is None else theirs(*ts, torch.from_numpy(target))
    seeds = np.random.default_rng(0).uniform(0.5, 1.5, y.shape)
    (y * lc.Tensor(seeds)).sum().backward()
    (e * torch.from_numpy(seeds)).sum().backward()
    np.testing.assert_allclose(y.detach().numpy(), e.detach().numpy(), rtol=FORWARD, atol=1e-13)
    for x, t in zip(xs, ts):
        np.testing.assert_allclose(x.grad.numpy(), t.grad.numpy(), rtol=BACKWARD, atol=1e-13)


PLAIN = {
    "mse": (MSE, nn.MSELoss),
    "mae": (MAE, nn.L1Loss),
    "huber": (Huber, nn.HuberLoss),
    "huber-0.3": (lambda **k: Huber(delta=0.3, **k), lambda **k: nn.HuberLoss(delta=0.3, **k)),
    "smooth_l1": (SmoothL1, nn.SmoothL1Loss),
    "smooth_l1-0.3": (lambda **k: SmoothL1(beta=0.3, **k), lambda **k: nn.SmoothL1Loss(beta=0.3, **k)),
    "smooth_l1-0": (lambda **k: SmoothL1(beta=0.0, **k), lambda **k: nn.SmoothL1Loss(beta=0.0, **k)),
    "poisson_nll": (PoissonNLL, nn.PoissonNLLLoss),
    "poisson_nll-full": (lambda **k: PoissonNLL(full=True, **k), lambda **k: nn.PoissonNLLLoss(full=True, **k)),
}


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("name", PLAIN)
@pytest.mark.parametrize("shape", [(7, 3), (2, 3, 4)], ids=str)
def test_element_by_element(name, shape, reduction):
    ours, theirs = PLAIN[name]
    target = RNG.poisson(2.0, shape).astype(float) if "poisson" in name else normal(*shape)
    agree(ours(reduction=reduction), theirs(reduction=reduction), [normal(*shape)], target)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("full", [False, True])
def test_poisson_rates(full, reduction):
    options = {"full": full, "log_input": False, "reduction": reduction}
    agree(PoissonNLL(**options), nn.PoissonNLLLoss(**options), [RNG.random((5, 3)) + 0.1], normal(5, 3) ** 2)


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_bce(reduction):
    p, t = RNG.uniform(0.01, 0.99, (6, 3)), RNG.random((6, 3))
    agree(BCE(reduction=reduction), nn.BCELoss(reduction=reduction), [p], t)


@pytest.mark.parametrize("reduction", ["sum", "none"])  # PyTorch's mean is over elements, whatever they weigh
def test_bce_with_a_weight_for_each_element(reduction):
    p, t, w = RNG.uniform(0.01, 0.99, (6, 3)), RNG.random((6, 3)), RNG.random((6, 3))
    agree(lambda x, y: BCE(reduction=reduction)(x, y, w), nn.BCELoss(torch.from_numpy(w), reduction=reduction), [p], t)
    agree(
        lambda x, y: BCEWithLogits(reduction=reduction)(x, y, w),
        nn.BCEWithLogitsLoss(torch.from_numpy(w), reduction=reduction),
        [normal(6, 3)],
        t,
    )


def test_bce_at_certainty_is_as_bounded_as_pytorchs():
    p, t = np.array([0.0, 0.0, 1.0, 1.0, 1e-300]), np.array([0.0, 1.0, 0.0, 1.0, 1.0])
    x, q = lc.tensor(p, requires_grad=True), torch.tensor(p, requires_grad=True)
    y, e = BCE(reduction="none")(x, t), nn.BCELoss(reduction="none")(q, torch.from_numpy(t))
    y.sum().backward()
    e.sum().backward()
    assert y.tolist() == e.tolist()
    # PyTorch holds its bound of 1e-12 in single precision
    np.testing.assert_allclose(x.grad.numpy(), q.grad.numpy(), rtol=1e-8)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("shape", [(7, 5), (3, 5, 4), (2, 5, 3, 3), (5,)], ids=str)
@pytest.mark.parametrize(("weighted", "ignore"), list(itertools.product([False, True], [-100, 2])))
def test_nll(weighted, ignore, shape, reduction):
    weights = (0.5, 2.0, 1.0, 0.3, 3.0) if weighted else None
    labels = RNG.integers(0, 5, (shape[0], *shape[2:]) if len(shape) > 1 else ())
    labels = np.asarray(labels)
    labels = np.where(labels == 2, 1, labels) if len(shape) == 1 else labels
    theirs = nn.NLLLoss(
        None if weights is None else torch.tensor(weights, dtype=torch.float64),
        ignore_index=ignore,
        reduction=reduction,
    )
    x = log_probs(*shape) if len(shape) > 1 else log_probs(1, 5)[0]
    agree(NLL(class_weights=weights, ignore_index=ignore, reduction=reduction), theirs, [x], labels)


@pytest.mark.parametrize("log_target", [False, True])
def test_kl_div(log_target):
    x, t = log_probs(6, 5), log_probs(6, 5)
    t = t if log_target else np.exp(t)
    for reduction in REDUCTIONS:
        agree(
            KLDiv(axis=None, log_target=log_target, reduction=reduction),
            nn.KLDivLoss(reduction=reduction, log_target=log_target), [x], t,
        )  # fmt: skip
    agree(KLDiv(log_target=log_target), nn.KLDivLoss(reduction="batchmean", log_target=log_target), [x], t)


@pytest.mark.parametrize("shape", [(7, 5), (3, 4, 5)], ids=str)
@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_softmax_cross_entropy(shape, smoothing):
    target = RNG.random(shape)
    target /= target.sum(-1, keepdims=True)
    theirs = nn.CrossEntropyLoss(label_smoothing=smoothing, reduction="none")
    agree(
        SoftmaxCrossEntropy(label_smoothing=smoothing, reduction="none"),
        lambda x, t: theirs(x.movedim(-1, 1), t.movedim(-1, 1)),
        [normal(*shape)],
        target,
    )


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_cross_entropy_to_twelve_digits(reduction):
    weights = (0.5, 2.0, 1.0, 0.3, 3.0)
    theirs = nn.CrossEntropyLoss(
        torch.tensor(weights, dtype=torch.float64), label_smoothing=0.1, ignore_index=3, reduction=reduction
    )
    ours = CrossEntropy(class_weights=weights, label_smoothing=0.1, ignore_index=3, reduction=reduction)
    agree(ours, theirs, [normal(9, 5, 2)], RNG.integers(0, 5, (9, 2)))


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("options", [{}, {"full": True}, {"eps": 0.5}], ids=["plain", "full", "bounded"])
@pytest.mark.parametrize("columns", [3, 1])
def test_gaussian_nll(columns, options, reduction):
    theirs = nn.GaussianNLLLoss(reduction=reduction, **options)
    agree(
        GaussianNLL(reduction=reduction, **options),
        lambda mean, var, t: theirs(mean, t, var),
        [normal(6, 3), RNG.uniform(0.1, 1, (6, columns))],
        normal(6, 3),
    )


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize(("p", "margin", "weighted"), list(itertools.product([1, 2], [1.0, 0.4], [False, True])))
def test_multi_margin(p, margin, weighted, reduction):
    weights = (0.5, 2.0, 1.0, 0.3, 3.0) if weighted else None
    theirs = nn.MultiMarginLoss(
        p, margin, None if weights is None else torch.tensor(weights, dtype=torch.float64), reduction=reduction
    )
    ours = MultiMargin(p=p, margin=margin, class_weights=weights, reduction=reduction)
    agree(ours, theirs, [normal(7, 5)], RNG.integers(0, 5, 7))


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_multilabel_margin(reduction):
    labels = np.array([[3, 0, -1, 1], [0, 1, 2, 3], [-1, 2, 2, 2], [2, -1, -1, -1]])
    agree(
        MultilabelMargin(reduction=reduction), nn.MultiLabelMarginLoss(reduction=reduction), [normal(4, 4)], labels
    )  # fmt: skip


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("margin", [0.0, 0.7])
def test_pairs(margin, reduction):
    y = RNG.choice([-1.0, 1.0], 8)
    for ours, theirs, shape in (
        (MarginRanking, nn.MarginRankingLoss, (8,)),
        (CosineEmbedding, nn.CosineEmbeddingLoss, (8, 4)),
    ):
        options = {"margin": margin, "reduction": reduction}
        agree(ours(**options), theirs(**options), [normal(*shape), normal(*shape)], y)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("options", [{}, {"p": 1.0}, {"p": 3.0, "margin": 2.0}, {"swap": True}], ids=str)
def test_triplets(options, reduction):
    options = {**options, "reduction": reduction}
    agree(Triplet(**options), nn.TripletMarginLoss(**options), [normal(8, 4), normal(8, 4), normal(8, 4)], None)


@pytest.mark.parametrize(("reduction", "per_label"), [("mean", True), ("sum", False), ("none", False)])
@pytest.mark.parametrize("blank", [0, 3])
def test_ctc(blank, reduction, per_label):
    n, t, c = 5, 12, 6
    counts = np.array([3, 5, 1, 4, 2])
    labels = RNG.choice([k for k in range(c) if k != blank], (n, 5))
    lengths = np.array([12, 11, 9, 12, 10])
    theirs = nn.CTCLoss(blank=blank, reduction=reduction)

    def torch_side(x):
        logs = x.log_softmax(-1).transpose(0, 1)
        return theirs(logs, torch.from_numpy(labels), torch.from_numpy(lengths), torch.from_numpy(counts))

    ours = CTC(blank=blank, reduction=reduction, per_label=per_label)
    agree(lambda x, _: ours(x, (labels, lengths, counts)), torch_side, [normal(n, t, c)], None)
    padded = np.where(np.arange(5) < counts[:, None], labels, -1)
    full = np.full(n, t)
    x = normal(n, t, c)
    assert ours(x, padded).tolist() == ours(x, (labels, full, counts)).tolist()


@pytest.mark.parametrize("learned", [False, True])
def test_clip_is_the_mean_of_both_cross_entropies(learned):
    scale = [np.array(1.2)] if learned else []

    def torch_side(a, b, s=None):
        a, b = nn.functional.normalize(a, dim=-1), nn.functional.normalize(b, dim=-1)
        logits = a @ b.T * (s.exp() if learned else 1 / 0.07)
        pairs = torch.arange(len(a))
        return (nn.functional.cross_entropy(logits, pairs) + nn.functional.cross_entropy(logits.T, pairs)) / 2

    agree(CLIP(), torch_side, [normal(6, 4), normal(6, 4), *scale], None)


@pytest.mark.parametrize("one_sided", [False, True])
def test_the_gradient_penalty_is_differentiated_twice(one_sided):
    x, w1, w2 = normal(6, 4), normal(4, 8), normal(8, 1)
    ours = [lc.tensor(v, requires_grad=True) for v in (x, w1, w2)]
    theirs = [torch.tensor(v, requires_grad=True) for v in (x, w1, w2)]
    norm = 4.0 if one_sided else 1.0
    y = GradientPenalty(norm=norm, one_sided=one_sided)(((ours[0] @ ours[1]).tanh() @ ours[2], ours[0]))
    scores = (theirs[0] @ theirs[1]).tanh() @ theirs[2]
    (slope,) = torch.autograd.grad(scores.sum(), theirs[0], create_graph=True)
    over = slope.norm(2, dim=1) - norm
    e = 10 * ((over.clamp(min=0) if one_sided else over) ** 2).mean()
    y.backward()
    e.backward()
    assert y.item() == pytest.approx(e.item(), rel=FORWARD)
    for a, b in zip(ours, theirs):
        np.testing.assert_allclose(a.grad.numpy(), b.grad.numpy(), rtol=BACKWARD, atol=1e-12)
