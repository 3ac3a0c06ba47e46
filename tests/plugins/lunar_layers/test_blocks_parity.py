"""Blocks against compositions of torch.nn with torchvision's structure: values, all gradients, running statistics.

torchvision is not needed: what is compared with is written out below, with its names where the layers have them.
"""

from __future__ import annotations

import numpy as np
import pytest
from twins import assert_twins

import lunar_core as lc
from lunar_layers.channel_attention import CBAM, SEBlock
from lunar_layers.convnext_block import ConvNeXtBlock
from lunar_layers.inception_blocks import InceptionResNetBlock, InceptionV1Block, InceptionV2Block
from lunar_layers.mobile_blocks import FusedMBConv, InvertedResidual, MBConv
from lunar_layers.normalization import BatchNorm2D
from lunar_layers.resnet_blocks import BasicBlock, Bottleneck, PreActBlock, ResNeXtBlock, WideBlock

torch = pytest.importorskip("torch")
nn = torch.nn
F = torch.nn.functional

pytestmark = pytest.mark.parity


@pytest.fixture(autouse=True)
def torch_in_float64():
    torch.manual_seed(0)
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def conv(i, o, k=1, s=1, **options):
    padding = tuple((options.get("dilation", 1) * (n - 1)) // 2 for n in (k if isinstance(k, tuple) else (k, k)))
    return nn.Conv2d(i, o, k, s, padding, **{"bias": False, **options})


def unit(i, o, k=1, s=1, act=nn.ReLU, **options):
    """torchvision's Conv2dNormActivation."""
    eps = options.pop("eps", 1e-5)
    return nn.Sequential(conv(i, o, k, s, **options), nn.BatchNorm2d(o, eps=eps), *([act()] if act else []))


class TorchBasic(nn.Module):
    def __init__(self, i, o, s=1, d=1):
        super().__init__()
        self.conv1, self.bn1 = conv(i, o, 3, s, dilation=d), nn.BatchNorm2d(o)
        self.conv2, self.bn2 = conv(o, o, 3, dilation=d), nn.BatchNorm2d(o)
        if s != 1 or i != o:
            self.downsample = nn.Sequential(conv(i, o, 1, s), nn.BatchNorm2d(o))

    def forward(self, x):
        short = self.downsample(x) if hasattr(self, "downsample") else x
        return F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))) + short)


class TorchBottleneck(nn.Module):
    def __init__(self, i, o, s=1, width=None, groups=1):
        super().__init__()
        w = width or o // 4
        self.conv1, self.bn1 = conv(i, w), nn.BatchNorm2d(w)
        self.conv2, self.bn2 = conv(w, w, 3, s, groups=groups), nn.BatchNorm2d(w)
        self.conv3, self.bn3 = conv(w, o), nn.BatchNorm2d(o)
        if s != 1 or i != o:
            self.downsample = nn.Sequential(conv(i, o, 1, s), nn.BatchNorm2d(o))

    def forward(self, x):
        short = self.downsample(x) if hasattr(self, "downsample") else x
        y = F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))))
        return F.relu(self.bn3(self.conv3(y)) + short)


class TorchPreAct(nn.Module):
    def __init__(self, i, o, s=1):
        super().__init__()
        self.bn1, self.conv1 = nn.BatchNorm2d(i), conv(i, o, 3, s)
        self.bn2, self.conv2 = nn.BatchNorm2d(o), conv(o, o, 3)
        if s != 1 or i != o:
            self.shortcut = nn.Sequential(conv(i, o, 1, s))

    def forward(self, x):
        y = F.relu(self.bn1(x))
        short = self.shortcut(y) if hasattr(self, "shortcut") else x
        return self.conv2(F.relu(self.bn2(self.conv1(y)))) + short


class TorchSE(nn.Module):
    def __init__(self, c, squeeze, act=nn.ReLU):
        super().__init__()
        self.fc1, self.fc2, self.act = nn.Conv2d(c, squeeze, 1), nn.Conv2d(squeeze, c, 1), act()

    def forward(self, x):
        return x * torch.sigmoid(self.fc2(self.act(self.fc1(F.adaptive_avg_pool2d(x, 1)))))


class TorchCBAM(nn.Module):
    def __init__(self, c, r):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(c, c // r), nn.Linear(c // r, c)
        self.spatial = nn.Conv2d(2, 1, 7, padding=3, bias=False)

    def forward(self, x):
        def mlp(v):
            return self.fc2(F.relu(self.fc1(v)))

        x = x * torch.sigmoid(mlp(x.mean((2, 3))) + mlp(x.amax((2, 3))))[:, :, None, None]
        maps = torch.cat([x.mean(1, keepdim=True), x.amax(1, keepdim=True)], 1)
        return x * torch.sigmoid(self.spatial(maps))


class Residual(nn.Module):
    """A branch named as in torchvision, added to its input where that fits."""

    def __init__(self, name, branch, add):
        super().__init__()
        setattr(self, name, branch)
        self.name, self.add = name, add

    def forward(self, x):
        y = getattr(self, self.name)(x)
        return x + y if self.add else y


def torch_inverted(i, o, s, t):
    e = round(i * t)
    parts = [unit(i, e, act=nn.ReLU6)] if t != 1 else []
    parts += [unit(e, e, 3, s, nn.ReLU6, groups=e), conv(e, o), nn.BatchNorm2d(o)]
    return Residual("layers", nn.Sequential(*parts), s == 1 and i == o)


def torch_mbconv(i, o, k, s, e):
    parts = [unit(i, e, act=nn.SiLU)] if e != i else []
    parts += [unit(e, e, k, s, nn.SiLU, groups=e), TorchSE(e, max(1, i // 4), nn.SiLU), unit(e, o, act=None)]
    return Residual("block", nn.Sequential(*parts), s == 1 and i == o)


def torch_fused(i, o, k, s, e):
    parts = [unit(i, e, k, s, nn.SiLU), unit(e, o, act=None)] if e != i else [unit(i, o, k, s, nn.SiLU)]
    return Residual("block", nn.Sequential(*parts), s == 1 and i == o)


class TorchConvNeXt(nn.Module):
    def __init__(self, c):
        super().__init__()

        class Move(nn.Module):
            def __init__(self, *axes):
                super().__init__()
                self.axes = axes

            def forward(self, x):
                return x.permute(*self.axes)

        self.block = nn.Sequential(
            nn.Conv2d(c, c, 7, padding=3, groups=c), Move(0, 2, 3, 1), nn.LayerNorm(c, eps=1e-6),
            nn.Linear(c, 4 * c), nn.GELU(), nn.Linear(4 * c, c), Move(0, 3, 1, 2),
        )  # fmt: skip
        self.layer_scale = nn.Parameter(torch.full((c, 1, 1), 0.3))

    def forward(self, x):
        return x + self.layer_scale * self.block(x)


class TorchInception(nn.Module):
    def __init__(self, branches):
        super().__init__()
        for n, branch in enumerate(branches, 1):
            setattr(self, f"branch{n}", branch)

    def forward(self, x):
        return torch.cat([branch(x) for branch in self.children()], 1)


def torch_inception_v1(i, c1, r3, c3, r5, c5, pool, k=5):
    def plain(a, b, size=1):
        return nn.Sequential(conv(a, b, size, bias=True), nn.Identity(), nn.ReLU())

    return TorchInception(
        [plain(i, c1), nn.Sequential(plain(i, r3), plain(r3, c3, 3)), nn.Sequential(plain(i, r5), plain(r5, c5, k)),
         nn.Sequential(nn.MaxPool2d(3, 1, 1), plain(i, pool))]
    )  # fmt: skip


def torch_googlenet(i, c1, r3, c3, r5, c5, pool):
    """torchvision's Inception: batch normalisation with eps 1e-3, and 3x3 in the place of 5x5."""

    def u(a, b, k=1):
        return unit(a, b, k, eps=1e-3)

    return TorchInception(
        [u(i, c1), nn.Sequential(u(i, r3), u(r3, c3, 3)), nn.Sequential(u(i, r5), u(r5, c5, 3)),
         nn.Sequential(nn.MaxPool2d(3, 1, 1, ceil_mode=True), u(i, pool))]
    )  # fmt: skip


def torch_inception_v2(i, c1, r3, c3, rd, cd, pool, kind=nn.AvgPool2d, s=1):
    three = nn.Sequential(unit(i, r3), unit(r3, c3, 3, s))
    double = nn.Sequential(unit(i, rd), unit(rd, cd, 3), unit(cd, cd, 3, s))
    if s == 2:
        twin = TorchInception([three, double, nn.MaxPool2d(3, 2, 1)])
        twin.branch4, twin.branch3, twin.branch2 = twin.branch3, twin.branch2, twin.branch1
        del twin.branch1
        twin.forward = lambda x: torch.cat([twin.branch2(x), twin.branch3(x), twin.branch4(x)], 1)
        return twin
    return TorchInception([unit(i, c1), three, double, nn.Sequential(kind(3, 1, 1), unit(i, pool))])


class TorchInceptionResNet(nn.Module):
    STEPS = {  # noqa: RUF012
        "a": ([[(32, 1)], [(32, 1), (32, 3)], [(32, 1), (48, 3), (64, 3)]], 0.17),
        "b": ([[(192, 1)], [(128, 1), (160, (1, 7)), (192, (7, 1))]], 0.10),
        "c": ([[(192, 1)], [(192, 1), (224, (1, 3)), (256, (3, 1))]], 0.20),
    }

    def __init__(self, c, kind):
        super().__init__()
        branches, self.scale = self.STEPS[kind]

        def chain(steps):
            sizes = [c, *(n for n, _ in steps)]
            return nn.Sequential(*(unit(a, b, k) for a, (b, k) in zip(sizes, steps)))

        self.branches = nn.ModuleList(chain(steps) for steps in branches)
        self.project = nn.Conv2d(sum(steps[-1][0] for steps in branches), c, 1)

    def forward(self, x):
        return F.relu(x + self.scale * self.project(torch.cat([b(x) for b in self.branches], 1)))


CASES = {
    "basic": (lambda: BasicBlock(8), lambda: TorchBasic(8, 8)),
    "basic_wider": (lambda: BasicBlock(12), lambda: TorchBasic(8, 12)),
    "basic_stride": (lambda: BasicBlock(8, 2), lambda: TorchBasic(8, 8, 2)),
    "basic_dilated": (lambda: BasicBlock(8, dilation=2), lambda: TorchBasic(8, 8, 1, 2)),
    "bottleneck": (lambda: Bottleneck(8), lambda: TorchBottleneck(8, 8)),
    "bottleneck_stride": (lambda: Bottleneck(16, 2), lambda: TorchBottleneck(8, 16, 2)),
    "bottleneck_wide": (lambda: Bottleneck(16, width=8), lambda: TorchBottleneck(8, 16, 1, 8)),
    "bottleneck_grouped": (lambda: Bottleneck(16, width=8, groups=4), lambda: TorchBottleneck(8, 16, 1, 8, 4)),
    "resnext": (
        lambda: ResNeXtBlock(64, 2, groups=4, group_width=8), lambda: TorchBottleneck(8, 64, 2, width=8, groups=4),
    ),
    "pre_act": (lambda: PreActBlock(8), lambda: TorchPreAct(8, 8)),
    "pre_act_stride": (lambda: PreActBlock(12, 2), lambda: TorchPreAct(8, 12, 2)),
    "wide": (lambda: WideBlock(4, widen=3), lambda: TorchPreAct(8, 12)),
    "wide_stride": (lambda: WideBlock(4, 2, 2), lambda: TorchPreAct(8, 8, 2)),
    "se": (lambda: SEBlock(4), lambda: TorchSE(8, 2)),
    "se_silu": (lambda: SEBlock(squeeze_channels=3, activation="silu"), lambda: TorchSE(8, 3, nn.SiLU)),
    "cbam": (lambda: CBAM(2), lambda: TorchCBAM(8, 2)),
    "inverted": (lambda: InvertedResidual(8), lambda: torch_inverted(8, 8, 1, 6)),
    "inverted_stride": (lambda: InvertedResidual(6, 2, 3), lambda: torch_inverted(8, 6, 2, 3)),
    "inverted_1": (lambda: InvertedResidual(8, 1, 1), lambda: torch_inverted(8, 8, 1, 1)),
    "mb_conv": (lambda: MBConv(8), lambda: torch_mbconv(8, 8, 3, 1, 48)),
    "mb_conv_stride": (lambda: MBConv(12, 2, 4, kernel_size=5), lambda: torch_mbconv(8, 12, 5, 2, 32)),
    "mb_conv_1": (lambda: MBConv(6, 1, 1), lambda: torch_mbconv(8, 6, 3, 1, 8)),
    "fused": (lambda: FusedMBConv(8), lambda: torch_fused(8, 8, 3, 1, 32)),
    "fused_stride": (lambda: FusedMBConv(12, 2), lambda: torch_fused(8, 12, 3, 2, 32)),
    "fused_1": (lambda: FusedMBConv(8, 1, 1), lambda: torch_fused(8, 8, 3, 1, 8)),
    "convnext": (ConvNeXtBlock, lambda: TorchConvNeXt(8)),
    "inception_v1": (
        lambda: InceptionV1Block(3, 4, 5, 2, 3, 2), lambda: torch_inception_v1(8, 3, 4, 5, 2, 3, 2),
    ),
    "inception_v1_torchvision": (
        lambda: InceptionV1Block(3, 4, 5, 2, 3, 2, kernel_size=3, norm=BatchNorm2D(eps=1e-3)),
        lambda: torch_googlenet(8, 3, 4, 5, 2, 3, 2),
    ),
    "inception_v2": (lambda: InceptionV2Block(3, 4, 5, 2, 3, 2), lambda: torch_inception_v2(8, 3, 4, 5, 2, 3, 2)),
    "inception_v2_max": (
        lambda: InceptionV2Block(3, 4, 5, 2, 3, 2, pool="max"),
        lambda: torch_inception_v2(8, 3, 4, 5, 2, 3, 2, nn.MaxPool2d),
    ),
    "inception_v2_stride": (
        lambda: InceptionV2Block(0, 4, 5, 2, 3, 0, stride=2), lambda: torch_inception_v2(8, 0, 4, 5, 2, 3, 0, None, 2),
    ),
    "inception_resnet_a": (lambda: InceptionResNetBlock("a"), lambda: TorchInceptionResNet(8, "a")),
    "inception_resnet_b": (lambda: InceptionResNetBlock("b"), lambda: TorchInceptionResNet(8, "b")),
    "inception_resnet_c": (lambda: InceptionResNetBlock("c"), lambda: TorchInceptionResNet(8, "c")),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_a_block_agrees_in_training_and_evaluation(name):
    ours, theirs = CASES[name]
    layer, twin = ours(), theirs()
    rng = np.random.default_rng(0)
    assert_twins(layer, twin, rng.normal(size=(3, 8, 6, 5)), atol=1e-11)
    layer.eval().zero_grad()
    twin.eval().zero_grad()
    assert_twins(layer, twin, rng.normal(size=(2, 8, 7, 6)), atol=1e-11)


@pytest.mark.parametrize("name", CASES)
def test_a_block_whose_channels_are_given_is_built_at_once_and_has_the_same_parameters(name):
    ours, theirs = CASES[name]
    lazy = ours()
    eager = type(lazy)(**{**lazy.config(), "in_channels": 8})
    assert eager.built
    assert eager.training
    assert all(module.training for module in eager.modules())
    expected = {n: tuple(p.shape) for n, p in theirs().state_dict().items()}
    assert {n: p.shape for n, p in eager.state_dict().items()} == expected
    lazy(lc.ones((2, 8, 6, 6)))
    assert {n: p.shape for n, p in lazy.state_dict().items()} == expected


def residual_network(make, widths, depths):
    """Stem, stages and classifier of torchvision's ResNets."""
    total, channels = 7 * 7 * 3 * 64 + 2 * 64, 64
    for stage, (width, depth) in enumerate(zip(widths, depths)):
        for i in range(depth):
            stride = 2 if stage and not i else 1
            total += make(width, stride, in_channels=channels, weight_init="zeros").num_parameters()
            channels = width
    return total + channels * 1000 + 1000


def mobile_network(make, stem, rows, head, **options):
    """Stem, rows of (expansion, kernel, channels, repeats, stride) and head of MobileNetV2 and EfficientNet."""
    total, channels = 27 * stem + 2 * stem, stem
    for expansion, kernel, out, repeats, stride in rows:
        for i in range(repeats):
            block = make(
                out, 1 if i else stride, expansion, kernel_size=kernel, in_channels=channels, weight_init="zeros"
            )
            total, channels = total + block.num_parameters(), out
    return total + channels * head + 2 * head + head * 1000 + 1000


@pytest.mark.parametrize(
    "make, widths, depths, published",
    [
        (BasicBlock, (64, 128, 256, 512), (2, 2, 2, 2), 11_689_512),
        (Bottleneck, (256, 512, 1024, 2048), (3, 4, 6, 3), 25_557_032),
        (ResNeXtBlock, (256, 512, 1024, 2048), (3, 4, 6, 3), 25_028_904),
    ],
    ids=["resnet18", "resnet50", "resnext50_32x4d"],
)
def test_residual_networks_of_these_blocks_have_the_published_number_of_parameters(make, widths, depths, published):
    assert residual_network(make, widths, depths) == published


def test_a_mobilenet_v2_has_the_published_number_of_parameters():
    rows = [(1, 3, 16, 1, 1), (6, 3, 24, 2, 2), (6, 3, 32, 3, 2), (6, 3, 64, 4, 2), (6, 3, 96, 3, 1), (6, 3, 160, 3, 2),
            (6, 3, 320, 1, 1)]  # fmt: skip
    assert mobile_network(InvertedResidual, 32, rows, 1280) == 3_504_872


def test_an_efficientnet_b0_has_the_published_number_of_parameters():
    rows = [(1, 3, 16, 1, 1), (6, 3, 24, 2, 2), (6, 5, 40, 2, 2), (6, 3, 80, 3, 2), (6, 5, 112, 3, 1), (6, 5, 192, 4, 2),
            (6, 3, 320, 1, 1)]  # fmt: skip
    assert mobile_network(MBConv, 32, rows, 1280) == 5_288_548


def test_a_convnext_tiny_has_the_published_number_of_parameters():
    widths, depths = (96, 192, 384, 768), (3, 3, 9, 3)
    total = 3 * 16 * 96 + 96 + 2 * 96
    for before, width, depth in zip((None, *widths), widths, depths):
        total += 2 * before + 4 * before * width + width if before else 0
        total += depth * ConvNeXtBlock(in_channels=width, weight_init="zeros").num_parameters()
    assert total + 2 * 768 + 768 * 1000 + 1000 == 28_589_128


def test_the_first_inception_block_has_the_parameters_of_the_papers_table():
    # 64 * 193 + 96 * 193 + 128 * (864 + 1) + 16 * 193 + 32 * 401 + 32 * 193
    assert InceptionV1Block(64, 96, 128, 16, 32, 32, in_channels=192).num_parameters() == 163_696
