"""One row for each loss: how to make it, and predictions and targets for it."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

import lunar_core as lc
from lunar_core import ops
from lunar_losses.bce import BCE
from lunar_losses.bce_with_logits import BCEWithLogits
from lunar_losses.ciou import CIoU
from lunar_losses.clip import CLIP
from lunar_losses.composite import Composite
from lunar_losses.contrastive import Contrastive
from lunar_losses.cosine_embedding import CosineEmbedding
from lunar_losses.cross_entropy import CrossEntropy
from lunar_losses.ctc import CTC
from lunar_losses.dfl import DFL
from lunar_losses.dice import Dice
from lunar_losses.dino import DINO
from lunar_losses.diou import DIoU
from lunar_losses.distillation import Distillation
from lunar_losses.focal import Focal
from lunar_losses.gan import GAN
from lunar_losses.gaussian_nll import GaussianNLL
from lunar_losses.giou import GIoU
from lunar_losses.gradient_penalty import GradientPenalty
from lunar_losses.hinge import Hinge
from lunar_losses.huber import Huber
from lunar_losses.jaccard import Jaccard
from lunar_losses.js_div import JSDiv
from lunar_losses.kl_div import KLDiv
from lunar_losses.log_cosh import LogCosh
from lunar_losses.lovasz import Lovasz
from lunar_losses.lsgan import LSGAN
from lunar_losses.mae import MAE
from lunar_losses.margin_ranking import MarginRanking
from lunar_losses.masked_reconstruction import MaskedReconstruction
from lunar_losses.mse import MSE
from lunar_losses.multi_margin import MultiMargin
from lunar_losses.multilabel_margin import MultilabelMargin
from lunar_losses.nll import NLL
from lunar_losses.nt_xent import NTXent
from lunar_losses.perceptual import Perceptual
from lunar_losses.poisson_nll import PoissonNLL
from lunar_losses.quantile import Quantile
from lunar_losses.smooth_l1 import SmoothL1
from lunar_losses.softmax_cross_entropy import SoftmaxCrossEntropy
from lunar_losses.squared_hinge import SquaredHinge
from lunar_losses.total_variation import TotalVariation
from lunar_losses.triplet import Triplet
from lunar_losses.tversky import Tversky
from lunar_losses.wasserstein import Wasserstein

RNG = np.random.default_rng(7)
N = 6


def normal(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape)


def log_probs(*shape: int) -> np.ndarray:
    z = normal(*shape)
    return z - np.log(np.exp(z).sum(1, keepdims=True))


def boxes(n: int) -> np.ndarray:
    low = RNG.random((n, 2))
    return np.concatenate([low, low + 0.2 + RNG.random((n, 2))], axis=1)


def edges(x: Any) -> Any:
    """A fixed feature extractor."""
    return [ops.tanh(x[:, :, 1:] - x[:, :, :-1]), x[:, :, ::2, ::2] * x[:, :, ::2, ::2]]


class Row(NamedTuple):
    """``target`` is ``None`` for losses without; ``whole`` says that samples are not independent of each other."""

    make: Any
    pred: Any
    target: Any
    whole: bool = False
    config: bool = True


CLASSES, MAPS = RNG.integers(0, 5, N), RNG.integers(0, 3, (N, 4, 5))
LABELS = np.where(np.arange(4) < RNG.integers(1, 5, (N, 1)), np.array([[2, 0, 3, 1]]), -1)
SIGNS = RNG.choice([-1, 1], N)
ROWS: dict[str, Row] = {
    "mse": Row(MSE, normal(N, 3), normal(N, 3)),
    "mae": Row(MAE, normal(N, 3), normal(N, 3)),
    "huber": Row(lambda **k: Huber(delta=0.7, **k), normal(N, 3), normal(N, 3)),
    "smooth_l1": Row(lambda **k: SmoothL1(beta=0.7, **k), normal(N, 3), normal(N, 3)),
    "log_cosh": Row(LogCosh, normal(N, 3), normal(N, 3)),
    "quantile": Row(lambda **k: Quantile(q=(0.1, 0.5, 0.8), **k), normal(N, 2, 3), normal(N, 2)),
    "cross_entropy": Row(lambda **k: CrossEntropy(label_smoothing=0.1, **k), normal(N, 5), CLASSES),
    "softmax_cross_entropy": Row(SoftmaxCrossEntropy, normal(N, 5), np.eye(5)[CLASSES]),
    "bce": Row(BCE, RNG.uniform(0.1, 0.9, (N, 3)), RNG.random((N, 3))),
    "bce_with_logits": Row(lambda **k: BCEWithLogits(pos_weight=2.0, **k), normal(N, 3), RNG.random((N, 3))),
    "nll": Row(lambda **k: NLL(class_weights=(1, 2, 0.5, 1, 3), **k), log_probs(N, 5), CLASSES),
    "kl_div": Row(KLDiv, log_probs(N, 5), np.exp(log_probs(N, 5))),
    "js_div": Row(JSDiv, log_probs(N, 5), np.exp(log_probs(N, 5))),
    "focal": Row(Focal, normal(N, 3), RNG.integers(0, 2, (N, 3)).astype(float)),
    "dice": Row(Dice, normal(N, 3, 4, 5), MAPS),
    "tversky": Row(Tversky, normal(N, 3, 4, 5), MAPS),
    "jaccard": Row(Jaccard, normal(N, 3, 4, 5), MAPS),
    "lovasz": Row(Lovasz, normal(N, 3, 4, 5), MAPS),
    "hinge": Row(Hinge, normal(N), SIGNS),
    "squared_hinge": Row(SquaredHinge, normal(N), SIGNS),
    "multi_margin": Row(lambda **k: MultiMargin(p=2, **k), normal(N, 5), CLASSES),
    "multilabel_margin": Row(MultilabelMargin, normal(N, 4), LABELS),
    "margin_ranking": Row(lambda **k: MarginRanking(margin=0.3, **k), (normal(N), normal(N)), SIGNS),
    "cosine_embedding": Row(lambda **k: CosineEmbedding(margin=-0.5, **k), (normal(N, 4), normal(N, 4)), SIGNS),
    "triplet": Row(lambda **k: Triplet(margin=3.0, swap=True, **k), (normal(N, 4), normal(N, 4), normal(N, 4)), None),
    "contrastive": Row(lambda **k: Contrastive(margin=4.0, **k), (normal(N, 4), normal(N, 4)), SIGNS),
    "nt_xent": Row(NTXent, (normal(N, 4), normal(N, 4)), None, whole=True),
    "clip": Row(CLIP, (normal(N, 4), normal(N, 4), np.array(1.3)), None, whole=True),
    "ctc": Row(CTC, normal(N, 9, 5), np.where(LABELS < 0, -1, LABELS + 1)),
    "poisson_nll": Row(lambda **k: PoissonNLL(full=True, **k), normal(N, 3), RNG.poisson(3.0, (N, 3))),
    "gaussian_nll": Row(GaussianNLL, (normal(N, 3), RNG.uniform(0.5, 2, (N, 1))), normal(N, 3)),
    "giou": Row(GIoU, boxes(N), boxes(N)),
    "diou": Row(DIoU, boxes(N), boxes(N)),
    "ciou": Row(CIoU, boxes(N), boxes(N)),
    "dfl": Row(DFL, normal(N, 4, 8), RNG.uniform(0, 7, (N, 4))),
    "wasserstein": Row(Wasserstein, (normal(N), normal(N)), None),
    "lsgan": Row(LSGAN, (normal(N, 2), normal(N, 2)), None),
    "gan": Row(GAN, (normal(N), normal(N)), None),
    "gradient_penalty": Row(GradientPenalty, normal(N, 3), None),
    "dino": Row(DINO, (normal(N, 5), normal(N, 5), normal(N, 5)), (normal(N, 5), normal(N, 5))),
    "masked_reconstruction": Row(
        MaskedReconstruction, (normal(N, 4, 8), RNG.integers(0, 2, (N, 4)).astype(float)), normal(N, 4, 8)
    ),
    "distillation": Row(lambda **k: Distillation(alpha=0.6, **k), normal(N, 5), (CLASSES, normal(N, 5))),
    "perceptual": Row(
        lambda **k: Perceptual(edges, style=3.0, **k), normal(N, 2, 4, 4), normal(N, 2, 4, 4), config=False
    ),
    "total_variation": Row(TotalVariation, normal(N, 2, 4, 5), None),
    "composite": Row(
        lambda **k: Composite({"square": MSE(), "absolute": MAE()}, weights={"absolute": 0.3}, **k),
        normal(N, 3),
        normal(N, 3),
    ),
}


def cast(data: Any, dtype: Any) -> Any:
    """Floating arrays in ``dtype``."""
    if isinstance(data, (tuple, list)):
        return tuple(cast(part, dtype) for part in data)
    return data.astype(dtype) if data is not None and data.dtype.kind == "f" else data


def part(data: Any, index: Any) -> Any:
    """The samples ``index``."""
    if isinstance(data, (tuple, list)):
        return tuple(part(one, index) for one in data)
    return data if data is None or not data.ndim else data[index]


def tensors(data: Any, **options: Any) -> Any:
    """Arrays as tensors."""
    if isinstance(data, (tuple, list)):
        return tuple(tensors(one, **options) for one in data)
    return None if data is None else lc.tensor(data, **(options if data.dtype.kind == "f" else {}))


def prepared(name: str, pred: Any) -> Any:
    """What the loss is called with: the gradient penalty needs a critic's scores."""
    if name != "gradient_penalty":
        return pred
    if not isinstance(pred, lc.Tensor):
        pred = lc.tensor(pred, requires_grad=True)
    if not pred.requires_grad:
        pred.requires_grad_()
    return ops.sum(ops.tanh(pred) * pred * pred, axis=1), pred
