"""One class for each kind whose behaviours :mod:`.checks` describes, and for models, which are layers in this."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from .component import Conformance, behaves_as


@behaves_as("activation")
class ActivationConformance(Conformance):
    """Activations; ``random = True`` for one that draws in training."""

    kind: ClassVar[str] = "activation"


@behaves_as("callback")
class CallbackConformance(Conformance):
    """Callbacks."""

    kind: ClassVar[str] = "callback"


@behaves_as("gradient_processor")
class GradientProcessorConformance(Conformance):
    """Gradient processors."""

    kind: ClassVar[str] = "gradient_processor"


@behaves_as("initializer")
class InitializerConformance(Conformance):
    """Initializers; ``inputs``, if given, is one array of the shape that is asked for."""

    kind: ClassVar[str] = "initializer"


@behaves_as("layer")
class LayerConformance(Conformance):
    """Layers; ``inputs`` are the arrays of one call, floating ones in float64, by default one of shape (5, 4)."""

    kind: ClassVar[str] = "layer"


@behaves_as("loss")
class LossConformance(Conformance):
    """Losses; ``inputs`` are (pred, target), arrays, pred in float64."""

    kind: ClassVar[str] = "loss"


@behaves_as("metric")
class MetricConformance(Conformance):
    """Metrics; ``inputs`` are (pred, target), whose first axis counts the examples."""

    kind: ClassVar[str] = "metric"


@behaves_as("optimizer")
class OptimizerConformance(Conformance):
    """Optimizers; ``args`` gives what stands before the hyperparameters, from (name, parameter) pairs."""

    kind: ClassVar[str] = "optimizer"


@behaves_as("parametrization")
class ParametrizationConformance(Conformance):
    """Parametrizations; ``inputs``, if given, is one array of the weight's shape, else (4, 4)."""

    kind: ClassVar[str] = "parametrization"


@behaves_as("regularizer")
class RegularizerConformance(Conformance):
    """Regularizers."""

    kind: ClassVar[str] = "regularizer"


@behaves_as("scheduler")
class SchedulerConformance(Conformance):
    """Schedulers."""

    kind: ClassVar[str] = "scheduler"


@behaves_as("layer")
class ModelConformance(Conformance):
    """Model architectures; ``inputs`` are those of one batch."""

    kind: ClassVar[str] = "model"

    def test_it_builds_itself_from_the_shape_of_one_example(self) -> None:
        assert self.inputs is not None, "give the inputs of one batch"
        (first, *_) = self.inputs
        called = self.make().eval()
        called(*[np.asarray(x, np.float32 if np.asarray(x).dtype.kind == "f" else None) for x in self.inputs])
        built = self.make(input_shape=np.shape(first)[1:])
        shapes = [{name: p.shape for name, p in model.named_parameters()} for model in (built, called)]
        assert shapes[0] == shapes[1]
