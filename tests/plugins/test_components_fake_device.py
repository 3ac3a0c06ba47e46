"""Layers, losses, regularizers and models on a device that refuses NumPy: no host array slips in, nothing is copied."""

from __future__ import annotations

import numpy as np
import pytest

import lunar_core as lc
from lunar_activations.elu import ELU
from lunar_activations.gelu import GELU
from lunar_activations.relu import LeakyReLU, ReLU
from lunar_activations.sigmoid import Sigmoid, Tanh
from lunar_activations.softmax import Softmax
from lunar_core.testing.fake_device import FakeArray, fake_device
from lunar_layers.adaptive_pooling import GlobalAveragePool
from lunar_layers.conv import Conv2D
from lunar_layers.dense import Dense, Linear
from lunar_layers.embedding import Embedding
from lunar_layers.flatten import Flatten
from lunar_layers.normalization import BatchNorm2D, LayerNorm
from lunar_layers.pooling import AvgPool2D, MaxPool2D
from lunar_losses.bce_with_logits import BCEWithLogits
from lunar_losses.cross_entropy import CrossEntropy
from lunar_losses.mse import MSE
from lunar_regularizers.l2 import L2
from lunar_zoo.vision.digits_cnn import DigitsCNN
from lunar_zoo.vision.mlp import MLP
from lunar_zoo.vision.mnist_cnn import MnistCNN

IMAGES = np.random.default_rng(0).normal(size=(4, 2, 6, 6)).astype(np.float32)
DIGITS = np.random.default_rng(0).normal(size=(4, 1, 8, 8)).astype(np.float32)
LABELS = np.array([1, 0, 2, 1])

MODULES = [
    (lambda: Dense(3), IMAGES), (lambda: Linear(6, 3), IMAGES), (lambda: Conv2D(4, 3, padding="same", groups=2), IMAGES),
    (lambda: MaxPool2D(2), IMAGES), (lambda: AvgPool2D(3, 2, padding=1), IMAGES), (GlobalAveragePool, IMAGES),
    (Flatten, IMAGES), (BatchNorm2D, IMAGES), (LayerNorm, IMAGES), (ReLU, IMAGES), (LeakyReLU, IMAGES), (ELU, IMAGES),
    (GELU, IMAGES), (lambda: GELU("tanh"), IMAGES), (Tanh, IMAGES), (Sigmoid, IMAGES), (Softmax, IMAGES),
    (MLP, DIGITS), (MnistCNN, DIGITS), (lambda: DigitsCNN(dropout=0.0), DIGITS),
]  # fmt: skip


def on_device(array, **options):
    return lc.Tensor(FakeArray(array.copy()), **options)


@pytest.mark.parametrize("make, x", MODULES)
def test_a_module_built_on_the_device_computes_there_what_it_computes_on_the_host(make, x):
    host = make()
    expected = host(lc.tensor(x, requires_grad=True))
    expected.square().sum().backward()
    lc.seed(0)
    with fake_device() as device:
        module = make()
        if isinstance(module, Linear):
            module.to("fake")
        before = device.synchronizations
        y = module(on_device(x, requires_grad=True))
        y.square().sum().backward()
        assert device.synchronizations == before
        assert isinstance(y.data, FakeArray)
        np.testing.assert_allclose(y.data._a, expected.data, rtol=1e-4, atol=1e-5)
        for (name, p), (_, q) in zip(module.named_parameters(), host.named_parameters()):
            assert isinstance(p.data, FakeArray), name
            np.testing.assert_allclose(p.grad.data._a, q.grad.data, rtol=1e-3, atol=1e-3, err_msg=name)
        assert all(isinstance(b.data, FakeArray) for b in module.buffers())
        module.eval()(on_device(x))
        assert device.synchronizations == before


def test_an_embedding_can_move_to_the_device():
    with fake_device():
        layer = Embedding(5, 3, padding_idx=1).to("fake")
        layer(on_device(LABELS)).sum().backward()
        assert layer.weight.grad.data._a.tolist() == [[1] * 3, [0] * 3, [1] * 3, [0] * 3, [0] * 3]


@pytest.mark.parametrize(
    "loss, pred, target",
    [
        (CrossEntropy(), IMAGES[:, 0, 0], LABELS),
        (CrossEntropy(ignore_index=1, class_weights=(1, 2, 3, 4, 5, 6), label_smoothing=0.1), IMAGES[:, 0, 0], LABELS),
        (CrossEntropy(), IMAGES[:, 0, 0], np.abs(IMAGES[:, 1, 1])),
        (MSE(), IMAGES, IMAGES * 2),
        (BCEWithLogits(), IMAGES, (IMAGES > 0).astype(np.float32)),
        (BCEWithLogits(pos_weight=(1, 2, 3, 4, 5, 6)), IMAGES, (IMAGES > 0).astype(np.float32)),
    ],
)
@pytest.mark.parametrize("weighted", [False, True])
def test_a_loss_stays_on_the_device_and_nobody_waits_for_it(loss, pred, target, weighted):
    weight = np.array([1, 2, 0, 1], np.float32) if weighted else None
    expected = loss(lc.tensor(pred), target, weight).item()
    with fake_device() as device:
        x = on_device(pred, requires_grad=True)
        value = loss(x, on_device(target), None if weight is None else on_device(weight))
        value.backward()
        assert device.synchronizations == 0
        assert isinstance(x.grad.data, FakeArray)
        assert value.item() == pytest.approx(expected, rel=1e-5)
        total, w = loss.terms(x, on_device(target))
        assert isinstance(w, float)
        assert isinstance(total.data, FakeArray)


def test_a_penalty_stays_on_the_device():
    with fake_device() as device:
        layer = Dense(3)
        layer(on_device(IMAGES))
        before = device.synchronizations
        L2(0.1)(layer).backward()
        assert device.synchronizations == before
        assert isinstance(layer.weight.grad.data, FakeArray)
