"""Convolutional networks on images."""

from __future__ import annotations

from typing import Any

import numpy as np

from .base import Arrays, Workload


def _images(batch: int, *shape: int, classes: int = 10) -> Any:
    def arrays(rng: np.random.Generator) -> Arrays:
        return rng.normal(size=(batch, *shape)).astype(np.float32), rng.integers(0, classes, batch)

    return arrays


# -- mnist_cnn ---------------------------------------------------------------------------------------------------------


def _mnist_cnn() -> Any:
    from lunar_zoo.vision.mnist_cnn import MnistCNN

    return MnistCNN()


def _torch_mnist_cnn() -> Any:
    from torch import nn

    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(32 * 49, 64), nn.ReLU(), nn.Linear(64, 10),
    )  # fmt: skip


# -- mininet: depthwise-separable convolutions -------------------------------------------------------------------------

_MININET = ((32, 1), (64, 2), (64, 1), (128, 2), (128, 1))  # channels and stride of each separable convolution


def _mininet() -> Any:
    import lunar_core as lc

    L, relu = lc.layers, lc.activations.ReLU
    parts = [L.Conv2D(16, 3, padding=1, use_bias=False), L.BatchNorm2D(), relu()]
    before = 16
    for channels, stride in _MININET:
        depthwise = L.Conv2D(before, 3, stride=stride, padding=1, groups=before, use_bias=False)
        parts += [depthwise, L.BatchNorm2D(), relu()]
        parts += [L.Conv2D(channels, 1, use_bias=False), L.BatchNorm2D(), relu()]
        before = channels
    return L.Sequential(*parts, L.AvgPool2D(7), L.Flatten(), L.Dense(10))


def _torch_mininet() -> Any:
    from torch import nn

    parts: list[Any] = [nn.Conv2d(1, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU()]
    before = 16
    for channels, stride in _MININET:
        depthwise = nn.Conv2d(before, before, 3, stride=stride, padding=1, groups=before, bias=False)
        parts += [depthwise, nn.BatchNorm2d(before), nn.ReLU()]
        parts += [nn.Conv2d(before, channels, 1, bias=False), nn.BatchNorm2d(channels), nn.ReLU()]
        before = channels
    return nn.Sequential(*parts, nn.AvgPool2d(7), nn.Flatten(), nn.Linear(before, 10))


# -- resnet18, as He et al. (2016) with the small stem for 32x32 images ------------------------------------------------

_STAGES = ((64, 1), (128, 2), (256, 2), (512, 2))


def _resnet18() -> Any:
    import lunar_core as lc

    L = lc.layers
    blocks = []
    for channels, stride in _STAGES:
        blocks += [L.BasicBlock(channels, stride=stride), L.BasicBlock(channels)]
    stem = [L.Conv2D(64, 3, padding=1, use_bias=False), L.BatchNorm2D(), lc.activations.ReLU()]
    return L.Sequential(*stem, *blocks, L.AvgPool2D(4), L.Flatten(), L.Dense(10))


def _torch_resnet18() -> Any:
    import torch
    from torch import nn

    class Block(nn.Module):
        def __init__(self, before: int, channels: int, stride: int) -> None:
            super().__init__()
            self.conv1 = nn.Conv2d(before, channels, 3, stride, 1, bias=False)
            self.norm1 = nn.BatchNorm2d(channels)
            self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
            self.norm2 = nn.BatchNorm2d(channels)
            self.relu = nn.ReLU()
            self.shortcut = nn.Identity()
            if stride > 1 or before != channels:
                self.shortcut = nn.Sequential(
                    nn.Conv2d(before, channels, 1, stride, bias=False), nn.BatchNorm2d(channels)
                )

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = self.relu(self.norm1(self.conv1(x)))
            return self.relu(self.norm2(self.conv2(y)) + self.shortcut(x))

    parts: list[Any] = [nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64), nn.ReLU()]
    before = 64
    for channels, stride in _STAGES:
        parts += [Block(before, channels, stride), Block(channels, channels, 1)]
        before = channels
    return nn.Sequential(*parts, nn.AvgPool2d(4), nn.Flatten(), nn.Linear(512, 10))


WORKLOADS = (
    Workload(
        "mnist_cnn_32", "conv16-pool-conv32-pool-64-10, batch 32", _mnist_cnn, _torch_mnist_cnn, _images(32, 1, 28, 28)
    ),
    Workload("mnist_cnn_128", "the same, batch 128", _mnist_cnn, _torch_mnist_cnn, _images(128, 1, 28, 28)),
    Workload("mininet", "depthwise-separable, 28x28, batch 32", _mininet, _torch_mininet, _images(32, 1, 28, 28)),
    Workload("resnet18", "32x32 images, batch 32", _resnet18, _torch_resnet18, _images(32, 3, 32, 32)),
)
