"""Whole trainings against PyTorch: same network, weights, batches and Adam give the same losses, step for step."""

from __future__ import annotations

import numpy as np
import pytest

import lunar_core as lc
from lunar_activations.relu import ReLU
from lunar_data.digits import Digits
from lunar_layers.conv import Conv2D
from lunar_layers.dense import Dense
from lunar_layers.flatten import Flatten
from lunar_layers.normalization import BatchNorm2D
from lunar_layers.pooling import MaxPool2D
from lunar_layers.sequential import Sequential
from lunar_losses.cross_entropy import CrossEntropy
from lunar_optimizers.adam import Adam
from lunar_zoo.vision.digits_cnn import DigitsCNN
from lunar_zoo.vision.mlp import MLP
from lunar_zoo.vision.mnist_cnn import MnistCNN

torch = pytest.importorskip("torch")
nn = torch.nn

pytestmark = pytest.mark.parity

STEPS, BATCH = 50, 32


def torch_mlp():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))


def torch_mnist_cnn():
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding="same"), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding="same"), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(32 * 7 * 7, 64), nn.ReLU(), nn.Linear(64, 10),
    )  # fmt: skip


def torch_digits_cnn():
    def block(i, o):
        return [nn.Conv2d(i, o, 3, padding="same", bias=False), nn.BatchNorm2d(o), nn.ReLU()]

    return nn.Sequential(
        *block(1, 16), *block(16, 32), nn.MaxPool2d(2), *block(32, 64), nn.MaxPool2d(2),
        nn.Flatten(), nn.Dropout(0), nn.Linear(256, 10),
    )  # fmt: skip


def images_of(size):
    """The digits as they are, or enlarged threefold with a border, as large as MNIST's."""
    images, labels = Digits().arrays()
    if size == 28:
        images = np.pad(images.repeat(3, axis=2).repeat(3, axis=3), ((0, 0), (0, 0), (2, 2), (2, 2)))
    return images, labels


CASES = {
    "mlp": (lambda: MLP().layers, torch_mlp, 8),
    "mnist_cnn": (lambda: MnistCNN().layers, torch_mnist_cnn, 28),
    "digits_cnn": (lambda: DigitsCNN(dropout=0.0).layers, torch_digits_cnn, 8),
}


def losses_of_both(case, dtype):
    ours, theirs, size = CASES[case]
    images, labels = images_of(size)
    images = images.astype(dtype)
    torch.manual_seed(0)
    model, twin = ours(), theirs().to(getattr(torch, dtype))
    if case == "mlp":
        images = images.reshape(len(images), -1)
        twin = twin[1:]
    with lc.no_grad():
        model.eval()(images[:1])
    model.train()
    model.load_state_dict({k: v.numpy() for k, v in zip(model.state_dict(), twin.state_dict().values())})
    loss_of, optimizer = CrossEntropy(), Adam(model.parameters(), lr=1e-3)
    twin_loss_of, twin_optimizer = nn.CrossEntropyLoss(), torch.optim.Adam(twin.parameters(), lr=1e-3)
    rng = np.random.default_rng(0)
    losses, expected = [], []
    for _ in range(STEPS):
        batch = rng.integers(0, len(images), BATCH)
        loss = loss_of(model(images[batch]), labels[batch])
        model.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        twin_loss = twin_loss_of(twin(torch.from_numpy(images[batch])), torch.from_numpy(labels[batch]))
        twin_optimizer.zero_grad()
        twin_loss.backward()
        twin_optimizer.step()
        expected.append(twin_loss.item())
    return np.array(losses), np.array(expected)


@pytest.mark.parametrize("case", CASES)
def test_fifty_losses_agree_to_1e_10_in_float64(case):
    losses, expected = losses_of_both(case, "float64")
    assert expected[-1] < 0.9 * expected[0]  # it does learn
    np.testing.assert_allclose(losses, expected, rtol=1e-10)


@pytest.mark.parametrize("case", CASES)
def test_fifty_losses_agree_to_1e_4_in_float32(case, numpy_only):
    losses, expected = losses_of_both(case, "float32")
    np.testing.assert_allclose(losses, expected, rtol=1e-4)


@pytest.mark.parametrize("case", CASES)
def test_losses_by_the_kernels_of_this_machine_agree_until_rounding_has_grown(case):
    # from then on PyTorch differs from itself as much: by 5e-3 within fifty steps of digits_cnn between its two memory formats
    losses, expected = losses_of_both(case, "float32")
    np.testing.assert_allclose(losses[:15], expected[:15], rtol=1e-4)
    np.testing.assert_allclose(losses, expected, rtol=2e-2)


def test_a_network_with_strides_groups_and_dilation_agrees_too():
    x = np.random.default_rng(1).normal(size=(16, 4, 12, 12))
    y = np.random.default_rng(2).integers(0, 3, 16)
    twin = nn.Sequential(
        nn.Conv2d(4, 8, 3, stride=2, padding=1, groups=2), nn.BatchNorm2d(8), nn.ReLU(),
        nn.Conv2d(8, 8, 3, dilation=2, groups=8), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(8, 3),
    ).double()  # fmt: skip
    model = Sequential(
        Conv2D(8, 3, stride=2, padding=1, groups=2), BatchNorm2D(), ReLU(),
        Conv2D(8, 3, dilation=2, groups=8), MaxPool2D(2), Flatten(), Dense(3),
    )  # fmt: skip
    with lc.no_grad():
        model.eval()(x)
    model.train()
    model.load_state_dict({k: v.numpy() for k, v in twin.state_dict().items()})
    optimizer, twin_optimizer = Adam(model.parameters(), lr=1e-2), torch.optim.Adam(twin.parameters(), lr=1e-2)
    for _ in range(20):
        loss = CrossEntropy()(model(x), y)
        model.zero_grad()
        loss.backward()
        optimizer.step()
        twin_loss = nn.functional.cross_entropy(twin(torch.from_numpy(x)), torch.from_numpy(y))
        twin_optimizer.zero_grad()
        twin_loss.backward()
        twin_optimizer.step()
        assert loss.item() == pytest.approx(twin_loss.item(), rel=1e-10)
