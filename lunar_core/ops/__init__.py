"""The differentiable functions, by family. ``from lunar_core import ops; ops.exp(x)``.

Each takes Tensors, raw arrays and Python numbers. With a Tensor among the inputs the result is a Tensor; raw arrays alone
give a raw array, which is how gradient rules use the same functions.
"""

from .. import autograd
from .elementwise import *  # noqa: F403
from .indexing import at, embedding, getitem, index_scatter, one_hot, scatter_along_axis, take_along_axis
from .linalg import einsum, linear, matmul, outer, tensordot
from .reduction import (
    argmax,
    argmin,
    cumsum,
    logsumexp,
    mean,
    norm,
    prod,
    std,
    sum,
    var,
)
from .reduction import all_ as all
from .reduction import any_ as any
from .reduction import max_ as max
from .reduction import min_ as min
from .shape import (
    broadcast_to,
    concat,
    expand_dims,
    flatten,
    flip,
    moveaxis,
    pad,
    reshape,
    split,
    squeeze,
    stack,
    swapaxes,
    transpose,
    unbind,
)
from . import methods, numpy_protocol  # isort: skip
import sys as _sys

autograd._differentiable = _sys.modules[__name__]
abs = absolute  # noqa: F405
mul, sub, div, neg, pow = multiply, subtract, divide, negative, power  # noqa: F405
