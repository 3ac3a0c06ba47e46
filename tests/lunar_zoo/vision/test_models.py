"""The small vision models: shapes, sizes, options."""

from __future__ import annotations

import numpy as np
import pytest

import lunar_core as lc
from lunar_activations.gelu import GELU
from lunar_activations.relu import ReLU
from lunar_core.errors import HyperparameterError, ShapeError
from lunar_layers.dropout import Dropout
from lunar_zoo.vision.digits_cnn import DigitsCNN
from lunar_zoo.vision.mlp import MLP
from lunar_zoo.vision.mnist_cnn import MnistCNN

MODELS = [(MLP, (1, 28, 28)), (MLP, (13,)), (MnistCNN, (1, 28, 28)), (DigitsCNN, (1, 8, 8)), (DigitsCNN, (3, 9, 11))]


@pytest.mark.parametrize("model, shape", MODELS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_batch_gives_logits_in_its_dtype(model, shape, dtype):
    net = model(num_classes=7)
    y = net(lc.ones((5, *shape), dtype=dtype))
    assert y.shape == (5, 7)
    assert y.dtype == dtype
    assert net.input_shape == shape


@pytest.mark.parametrize("model, shape", MODELS)
def test_every_parameter_gets_a_gradient(model, shape):
    net = model()
    rng = np.random.default_rng(0)
    net(rng.normal(size=(8, *shape))).square().sum().backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.numpy().any(), name


@pytest.mark.parametrize("model, shape", MODELS)
def test_evaluation_is_deterministic_and_image_by_image(model, shape):
    net = model(dropout=0.5) if model is not MnistCNN else model()
    x = np.random.default_rng(0).normal(size=(6, *shape))
    net(x)
    net.eval()
    whole = net(x).detach().numpy()
    np.testing.assert_array_equal(net(x).detach().numpy(), whole)
    np.testing.assert_allclose(net(x[2:4]).detach().numpy(), whole[2:4], rtol=1e-10, atol=1e-12)


def test_the_numbers_of_parameters_are_those_of_the_docstrings():
    assert MnistCNN(input_shape=(1, 28, 28)).num_parameters() == 105_866
    assert DigitsCNN(input_shape=(1, 8, 8)).num_parameters() == 25_978
    assert MLP(input_shape=(784,)).num_parameters() == 784 * 64 + 64 + 64 * 64 + 64 + 64 * 10 + 10


def test_mnist_cnn_is_conv16_pool_conv32_pool_dense64_dense10():
    shapes = {n: p.shape for n, p in MnistCNN(input_shape=(1, 28, 28)).named_parameters() if p.ndim > 1}
    assert list(shapes.values()) == [(16, 1, 3, 3), (32, 16, 3, 3), (64, 1568), (10, 64)]


def test_the_mlps_layers_follow_its_hyperparameters():
    net = MLP(hidden=(8, 4), activation=GELU("tanh"), dropout=0.2)
    assert [type(layer).__name__ for layer in net.layers] == [
        "Dense",
        "GELU",
        "Dropout",
        "Dense",
        "GELU",
        "Dropout",
        "Dense",
    ]
    assert net.layers[1] is not net.layers[4]
    assert net.layers[1].approximate == "tanh"
    assert [name for name, _ in net.named_children()] == ["layers"]  # the template is no part
    assert len(MLP(hidden=()).layers) == 1
    assert not any(isinstance(layer, Dropout) for layer in MLP().layers)


def test_the_mlps_activation_can_be_named():
    lc.registry.register("activation", "mlp_test_gelu", GELU)
    assert isinstance(MLP(activation="mlp_test_gelu").layers[1], GELU)
    assert isinstance(MLP().layers[1], ReLU)


def test_the_mlps_configuration_holds_the_activation():
    assert repr(MLP()).startswith("MLP(\n  (layers): Sequential(")
    net = MLP(hidden=[3], activation=GELU("tanh"))
    assert repr(net).startswith("MLP(hidden=(3,), activation=GELU(approximate='tanh')) (")
    assert isinstance(net.config()["activation"], GELU)
    again = MLP.from_config_fields(**net.config())
    assert again.layers[1].approximate == "tanh"
    for wrong in (3, Dropout(0.1), GELU):
        with pytest.raises(HyperparameterError, match="expected a component of kind 'activation'"):
            MLP(activation=wrong)


def test_digits_cnn_takes_other_widths():
    assert DigitsCNN(channels=(4, 8, 8), dropout=0.0)(lc.ones((2, 1, 8, 8))).shape == (2, 10)
    with pytest.raises(HyperparameterError, match="channels"):
        DigitsCNN(channels=(4, 8))
    with pytest.raises(HyperparameterError, match="dropout"):
        DigitsCNN(dropout=1.0)


def test_images_without_channels_are_told_where_and_how():
    with pytest.raises(ShapeError) as caught:
        MnistCNN()(lc.ones((2, 28, 28)))
    assert "NCHW" in str(caught.value)
    assert '"layers.0" (Conv2D)' in str(caught.value)
