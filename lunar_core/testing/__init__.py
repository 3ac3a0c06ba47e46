"""What a plugin's own tests use: gradient checks, the checks that every op passes, and the conformance kit.

``gradcheck`` and ``gradgradcheck`` compare the gradients of a function with differences, ``check_op`` runs an op over its
sample table, ``fake_device`` makes a device that refuses NumPy, and ``strategies`` (imported when it is used; needs
hypothesis) makes shapes, dtypes, indices and arrays. :mod:`.conformance` (needs pytest) has one test class for each kind
of component, such as ``OptimizerConformance``, and :mod:`.pytest_plugin` the fixtures.
"""

import importlib
from typing import TYPE_CHECKING, Any

from .fake_device import fake_device
from .gradcheck import gradcheck, gradgradcheck
from .opcheck import check_op

if TYPE_CHECKING:
    from . import strategies
    from .conformance import (
        ActivationConformance,
        CallbackConformance,
        CommandConformance,
        DatasetConformance,
        GradientProcessorConformance,
        InitializerConformance,
        InstrumentationConformance,
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

__all__ = [
    "ActivationConformance",
    "CallbackConformance",
    "CommandConformance",
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
    "check_op",
    "fake_device",
    "gradcheck",
    "gradgradcheck",
    "strategies",
]


def __getattr__(name: str) -> Any:
    if name == "strategies":
        return importlib.import_module(".strategies", __name__)
    if name.endswith("Conformance") and name in __all__:
        return getattr(importlib.import_module(".conformance", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
