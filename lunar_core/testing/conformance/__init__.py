"""The conformance kit: the behaviours that every component of a kind has, as test classes.

A package's test file says what is examined; pytest finds the behaviours::

    from lunar_core.testing import OptimizerConformance
    from lunar_lion import Lion

    class TestLion(OptimizerConformance):
        component = Lion

The behaviours themselves stand in :mod:`.checks`; what ships with LunarLearn goes through them, too. The fixtures of
:mod:`lunar_core.testing.pytest_plugin` are there wherever LunarLearn is installed. Needs pytest.
"""

from __future__ import annotations

from .component import Conformance
from .dataset import DatasetConformance, TokenizerConformance, TransformConformance
from .kinds import (
    ActivationConformance,
    CallbackConformance,
    GradientProcessorConformance,
    InitializerConformance,
    LayerConformance,
    LossConformance,
    MetricConformance,
    ModelConformance,
    OptimizerConformance,
    ParametrizationConformance,
    RegularizerConformance,
    SchedulerConformance,
)
from .machinery import CommandConformance, InstrumentationConformance, KernelConformance

CLASSES: dict[str, type[Conformance]] = {
    cls.kind: cls
    for cls in (
        ActivationConformance, CallbackConformance, CommandConformance, DatasetConformance,
        GradientProcessorConformance, InitializerConformance, InstrumentationConformance, KernelConformance,
        LayerConformance, LossConformance, MetricConformance, ModelConformance, OptimizerConformance,
        ParametrizationConformance, RegularizerConformance, SchedulerConformance, TokenizerConformance,
        TransformConformance,
    )
}  # fmt: skip
"""The class for each kind."""

__all__ = [
    "CLASSES",
    "ActivationConformance",
    "CallbackConformance",
    "CommandConformance",
    "Conformance",
    "DatasetConformance",
    "GradientProcessorConformance",
    "InitializerConformance",
    "InstrumentationConformance",
    "KernelConformance",
    "LayerConformance",
    "LossConformance",
    "MetricConformance",
    "ModelConformance",
    "OptimizerConformance",
    "ParametrizationConformance",
    "RegularizerConformance",
    "SchedulerConformance",
    "TokenizerConformance",
    "TransformConformance",
]
