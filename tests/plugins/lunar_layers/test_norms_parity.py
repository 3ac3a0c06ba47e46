"""Batch, group, instance, RMS and response norms against PyTorch: values, gradients, running statistics in float64."""

from __future__ import annotations

import numpy as np
import pytest
from twins import assert_twins

from lunar_layers.group_norm import GroupNorm, InstanceNorm
from lunar_layers.normalization import BatchNorm1D, BatchNorm3D
from lunar_layers.response_norm import GlobalResponseNorm, LocalResponseNorm
from lunar_layers.scale_norms import RMSNorm, ScaleNorm

torch = pytest.importorskip("torch")
nn = torch.nn

pytestmark = pytest.mark.parity

SHAPES = {0: (7, 6), 1: (5, 6, 4), 2: (3, 6, 4, 5), 3: (2, 6, 3, 2, 4)}
OPTIONS = [{}, {"eps": 1e-2}, {"momentum": 0.3}, {"momentum": None}, {"affine": False}, {"track_running_stats": False}]


def randomised(twin):
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.normal_()
    return twin


def three_batches_and_an_evaluation(layer, twin, shape):
    rng = np.random.default_rng(0)
    for training in (True, True, True, False):
        layer.train(training)
        twin.train(training)
        if layer.built:
            layer.zero_grad()
        twin.zero_grad()
        assert_twins(layer, twin, rng.normal(1, 2, shape))


@pytest.mark.parametrize("dims", [0, 1, 3])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_batch_norm_agrees(dims, options):
    ours, theirs = (BatchNorm3D, nn.BatchNorm3d) if dims == 3 else (BatchNorm1D, nn.BatchNorm1d)
    twin = randomised(theirs(6, dtype=torch.float64, **options))
    three_batches_and_an_evaluation(ours(**options), twin, SHAPES[dims])


@pytest.mark.parametrize("dims", [0, 1, 2, 3])
@pytest.mark.parametrize("groups", [1, 2, 6])
@pytest.mark.parametrize("affine", [True, False])
def test_group_norm_agrees(dims, groups, affine):
    if dims == 0 and groups == 6:
        groups = 3  # groups of one number have no variance
    twin = randomised(nn.GroupNorm(groups, 6, affine=affine, dtype=torch.float64))
    assert_twins(GroupNorm(groups, affine=affine), twin, np.random.default_rng(0).normal(1, 2, SHAPES[dims]))


def count(twin, *_):
    twin.num_batches_tracked += int(twin.training)


@pytest.mark.parametrize("dims", [1, 2, 3])
@pytest.mark.parametrize(
    "options",
    [{}, {"affine": True}, {"eps": 1e-2}, {"track_running_stats": True},
     {"track_running_stats": True, "affine": True, "momentum": 0.4}],
    ids=str,
)  # fmt: skip
def test_instance_norm_agrees(dims, options):
    twin = randomised(getattr(nn, f"InstanceNorm{dims}d")(6, dtype=torch.float64, **options))
    if options.get("track_running_stats"):  # PyTorch keeps this buffer, too, but never counts
        twin.register_forward_hook(count)
    three_batches_and_an_evaluation(InstanceNorm(**options), twin, SHAPES[dims])


@pytest.mark.parametrize("shape", [5, (4, 5)], ids=str)
@pytest.mark.parametrize("eps", [None, 1e-3])
@pytest.mark.parametrize("affine", [True, False])
def test_rms_norm_agrees(shape, eps, affine):
    twin = randomised(nn.RMSNorm(shape, eps=eps, elementwise_affine=affine, dtype=torch.float64))
    layer = RMSNorm(shape, eps, affine=affine).astype("float64")
    assert_twins(layer, twin, np.random.default_rng(0).normal(1, 2, SHAPES[2]))


@pytest.mark.parametrize("dims", [1, 2, 3])
@pytest.mark.parametrize("args", [(2,), (3, 1e-2, 0.5, 2.0), (5, 5e-1, 0.75, 0.1)], ids=str)
def test_local_response_norm_agrees(dims, args):
    assert_twins(
        LocalResponseNorm(*args), nn.LocalResponseNorm(*args), np.random.default_rng(0).normal(size=SHAPES[dims])
    )


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_global_response_norm_agrees_with_the_authors_formula(dims):
    axes = tuple(range(2, dims + 2))
    view = (1, -1) + (1,) * dims

    class Twin(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(6, dtype=torch.float64))
            self.bias = nn.Parameter(torch.zeros(6, dtype=torch.float64))

        def forward(self, x):
            gx = torch.norm(x, p=2, dim=axes, keepdim=True)
            nx = gx / (gx.mean(dim=1, keepdim=True) + 1e-6)
            return self.weight.view(view) * (x * nx) + self.bias.view(view) + x

    x = np.random.default_rng(0).normal(size=SHAPES[dims])
    assert_twins(GlobalResponseNorm(), randomised(Twin()), x)
    x[0, 2] = 0  # a channel that is dead for an image
    assert_twins(GlobalResponseNorm(), randomised(Twin()), x)


@pytest.mark.parametrize("shape", [5, (4, 5)], ids=str)
def test_scale_norm_agrees_with_its_formula(shape):
    axes = (-1,) if shape == 5 else (-2, -1)

    class Twin(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.tensor(1.7, dtype=torch.float64))

        def forward(self, x):
            return self.weight * x / torch.sqrt(x.square().sum(axes, keepdim=True) + 1e-10)

    assert_twins(ScaleNorm(shape).astype("float64"), Twin(), np.random.default_rng(0).normal(1, 2, SHAPES[2]))
