"""LunarLearn's core: tensor, autograd, modules, hook specifications, and the registry of plugins.

    import lunar_core as lc

Everything with a name of its own (layers, optimizers, losses, ...) is a plugin, reached through namespaces such as
``lc.layers.Dense`` or ``lc.optimizers["adamw"]``. Those, and whatever else costs time to import, load at first use.
"""

from __future__ import annotations

import importlib
import sys
import types
from typing import TYPE_CHECKING, Any

from . import errors, ops, random
from .errors import LunarError
from .functional import functional_call, grad, hessian, hvp, jacobian, value_and_grad, vjp
from .modes import (
    default_device,
    default_dtype,
    enable_grad,
    inference_mode,
    is_grad_enabled,
    no_grad,
    set_default_dtype,
)
from .module import Buffer, Module, Parameter
from .op import Op, Sample, Spec
from .ops.creation import (
    arange,
    empty,
    empty_like,
    eye,
    full,
    full_like,
    linspace,
    logspace,
    ones,
    ones_like,
    tril_indices,
    triu_indices,
    zeros,
    zeros_like,
)
from .ops.dlpack import from_dlpack
from .random import seed
from .tensor import Tensor, as_tensor, tensor

__version__ = "0.1.0"

# name -> (module, attribute); imported at first use
_LAZY = {
    "Component": ("component", "Component"),
    "PLUGIN_API": ("component", "PLUGIN_API"),
    "field": ("component", "field"),
    "Layer": ("contracts.layer", "Layer"),
    "registry": ("plugins", "registry"),
    "create": ("plugins", "create"),
    "to_config": ("config", "to_config"),
    "from_config": ("config", "from_config"),
    "save": ("serialize", "save"),
    "load": ("serialize", "load"),
    "fused": ("fusion", "fused"),
    "hookimpl": ("hookspecs", "hookimpl"),
    "checkpoint": ("checkpoint", "checkpoint"),
    "anomaly_mode": ("anomaly", "anomaly_mode"),
    "jvp": ("forward", "jvp"),
    "vmap": ("batched", "vmap"),
    "autocast": ("precision", "autocast"),
    "draw_graph": ("graph", "draw_graph"),
    "summary": ("summaries", "summary"),
    "saved_tensor_hooks": ("saving", "saved_tensor_hooks"),
    "set_flush_denormal": ("denormals", "set_flush_denormal"),
    "get_num_threads": ("threads", "get_num_threads"),
    "set_num_threads": ("threads", "set_num_threads"),
}
_NAMESPACES = {
    "layers": "layer",
    "activations": "activation",
    "initializers": "initializer",
    "losses": "loss",
    "metrics": "metric",
    "optimizers": "optimizer",
    "schedulers": "scheduler",
    "regularizers": "regularizer",
    "parametrizations": "parametrization",
    "gradient_processors": "gradient_processor",
    "callbacks": "callback",
    "finetuning": "finetuning",
    "models": "model",
    "datasets": "dataset",
    "transforms": "transform",
    "tokenizers": "tokenizer",
}

if TYPE_CHECKING:
    # The types of what is installed: a stub package, which `lunar plugins stubs` writes.
    import lunar_installed  # type: ignore[import-not-found]

    from .anomaly import anomaly_mode
    from .batched import vmap
    from .checkpoint import checkpoint
    from .component import PLUGIN_API, Component, field
    from .config import from_config, to_config
    from .contracts.layer import Layer
    from .denormals import set_flush_denormal
    from .forward import jvp
    from .fusion import fused
    from .graph import draw_graph
    from .hookspecs import hookimpl
    from .plugins import create, registry
    from .precision import autocast
    from .saving import saved_tensor_hooks
    from .serialize import load, save
    from .summaries import summary
    from .threads import get_num_threads, set_num_threads

    activations = lunar_installed.activations
    callbacks = lunar_installed.callbacks
    datasets = lunar_installed.datasets
    finetuning = lunar_installed.finetuning
    gradient_processors = lunar_installed.gradient_processors
    initializers = lunar_installed.initializers
    layers = lunar_installed.layers
    losses = lunar_installed.losses
    metrics = lunar_installed.metrics
    models = lunar_installed.models
    optimizers = lunar_installed.optimizers
    parametrizations = lunar_installed.parametrizations
    regularizers = lunar_installed.regularizers
    schedulers = lunar_installed.schedulers
    tokenizers = lunar_installed.tokenizers
    transforms = lunar_installed.transforms


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        module, attribute = _LAZY[name]
        value = getattr(importlib.import_module(f"{__name__}.{module}"), attribute)
    elif name in _NAMESPACES:
        from .plugins import namespace

        value = namespace(_NAMESPACES[name])
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY, *_NAMESPACES, "plugins"})


class _Core(types.ModuleType):
    """This package. ``lunar_core.plugins`` is the plugin manager, although a subpackage has that name too."""

    @property
    def plugins(self) -> Any:
        from .plugins import registry

        return registry.manager

    @plugins.setter
    def plugins(self, subpackage: types.ModuleType) -> None:
        """The import system binds a subpackage to its parent; the manager stays in front of it."""


sys.modules[__name__].__class__ = _Core


__all__ = [
    "PLUGIN_API",
    "Buffer",
    "Component",
    "Layer",
    "LunarError",
    "Module",
    "Op",
    "Parameter",
    "Sample",
    "Spec",
    "Tensor",
    "anomaly_mode",
    "arange",
    "as_tensor",
    "autocast",
    "checkpoint",
    "create",
    "default_device",
    "default_dtype",
    "draw_graph",
    "empty",
    "empty_like",
    "enable_grad",
    "errors",
    "eye",
    "field",
    "from_config",
    "from_dlpack",
    "full",
    "full_like",
    "functional_call",
    "fused",
    "get_num_threads",
    "grad",
    "hessian",
    "hookimpl",
    "hvp",
    "inference_mode",
    "is_grad_enabled",
    "jacobian",
    "jvp",
    "linspace",
    "load",
    "logspace",
    "no_grad",
    "ones",
    "ones_like",
    "ops",
    "random",
    "registry",
    "save",
    "saved_tensor_hooks",
    "seed",
    "set_default_dtype",
    "set_flush_denormal",
    "set_num_threads",
    "summary",
    "tensor",
    "to_config",
    "tril_indices",
    "triu_indices",
    "value_and_grad",
    "vjp",
    "vmap",
    "zeros",
    "zeros_like",
]
