"""Models, datasets, commands and kernel providers that ship with LunarLearn, through the classes that strangers use.

The other kinds have their table in ``rows.py``; these classes run the same checks. One of each kind goes through its class
here, so that the classes are tested, too.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

import lunar_core as lc
from lunar_core.testing.conformance import (
    CLASSES,
    ActivationConformance,
    CallbackConformance,
    CommandConformance,
    DatasetConformance,
    GradientProcessorConformance,
    InitializerConformance,
    KernelConformance,
    LayerConformance,
    LossConformance,
    MetricConformance,
    ModelConformance,
    OptimizerConformance,
    ParametrizationConformance,
    RegularizerConformance,
    SchedulerConformance,
    TokenizerConformance,
    TransformConformance,
)

RNG = np.random.default_rng(0)
DIGITS = RNG.normal(size=(2, 1, 8, 8))


class TestMLP(ModelConformance):
    component = lc.models.MLP
    inputs = (DIGITS,)
    source = "definition"


class TestDigitsCNN(ModelConformance):
    component = lc.models.DigitsCNN
    inputs = (DIGITS,)
    random = True
    source = "definition"


class TestMnistCNN(ModelConformance):
    component = lc.models.MnistCNN
    inputs = (RNG.normal(size=(2, 1, 28, 28)),)
    source = "definition"
    skip: ClassVar = {"gradient": "its layers' are checked, and it is large"}


class TestDigits(DatasetConformance):
    component = lc.datasets.Digits
    source = "definition"


class TestMoons(DatasetConformance):
    component = lc.datasets.Moons
    source = "definition"
    fields: ClassVar = {"n": 30}


class TestGaussianNoise(TransformConformance):
    component = lc.transforms["gaussian_noise"]
    source = "definition"


class TestByteTokenizer(TokenizerConformance):
    component = lc.tokenizers["byte"]
    source = "definition"
    texts = ("one, two", "drei Äpfel", "")


class TestVersion(CommandConformance):
    component = lc.registry.get("command", "version")


class TestOneDNN(KernelConformance):
    component = lc.registry.get("kernel", "onednn")
    rtol = 2e-3  # float32, in another order of sums


class TestNumba(KernelConformance):
    component = lc.registry.get("kernel", "numba")


class TestDense(LayerConformance):
    component = lc.layers.Dense
    fields: ClassVar = {"out_features": 3}


class TestELU(ActivationConformance):
    component = lc.activations.ELU


class TestHeNormal(InitializerConformance):
    component = lc.initializers.HeNormal


class TestCrossEntropy(LossConformance):
    component = lc.losses.CrossEntropy
    inputs = (RNG.normal(size=(4, 3)), np.array([0, 2, 1, 1]))


class TestAccuracy(MetricConformance):
    component = lc.metrics.Accuracy
    inputs = (RNG.normal(size=(6, 3)), np.array([0, 2, 1, 1, 0, 2]))
    source = "definition"


class TestAdamW(OptimizerConformance):
    component = lc.optimizers.AdamW


class TestCosine(SchedulerConformance):
    component = lc.schedulers["cosine"]


class TestL2(RegularizerConformance):
    component = lc.regularizers.L2


class TestWeightNorm(ParametrizationConformance):
    component = lc.parametrizations.WeightNorm


class TestClipByValue(GradientProcessorConformance):
    component = lc.gradient_processors.ClipByValue


class TestEarlyStopping(CallbackConformance):
    component = lc.callbacks.EarlyStopping


def test_every_class_is_tried_here():
    tried = {
        value.kind for value in globals().values() if isinstance(value, type) and value.__name__.startswith("Test")
    }
    assert set(CLASSES) - tried == {"plugin"}  # that of the template


def test_a_behaviour_that_does_not_hold_is_found():
    class Broken(LayerConformance):
        component: Any = lc.layers.Dense
        fields: ClassVar = {"out_features": 3}
        inputs = (np.ones((2, 2), np.int64),)

    try:
        Broken().test_it_keeps_the_dtype()
    except lc.errors.DTypeError:
        return
    raise AssertionError("Dense took integers")
