"""The differentiable functions, by family. ``from lunar_core import ops; ops.exp(x)``.

Each takes Tensors, raw arrays and Python numbers. With a Tensor among the inputs the result is a Tensor; raw arrays alone
give a raw array, which is how gradient rules use the same functions.
"""

from .. import autograd
from .activation import elu, erf, gelu, leaky_relu, relu, sigmoid, silu, softplus
from .average_pooling import avg_pool2d, avg_pool2d_grad
from .bitwise import (
    bitwise_and,
    bitwise_invert,
    bitwise_left_shift,
    bitwise_not,
    bitwise_or,
    bitwise_right_shift,
    bitwise_xor,
    invert,
    left_shift,
    right_shift,
)
from .complexes import angle, imag, real
from .activation_more import (
    celu,
    hardshrink,
    hardsigmoid,
    hardswish,
    hardtanh,
    log_sigmoid,
    mish,
    prelu,
    relu6,
    selu,
    softshrink,
    softsign,
    sparsemax,
    tanhshrink,
)
from .conv import channel_sum, conv1d, conv2d, conv2d_input_grad, conv2d_weight_grad, conv_transpose2d
from .decompositions import cholesky, eigh, eigvalsh, qr, svd, svdvals
from .cross_entropy import bce_with_logits, cross_entropy, cross_entropy_grad
from .dropout import draw_mask, dropout, masked
from .elementwise import *  # noqa: F403
from .elementwise import absolute as abs
from .elementwise import arctan2 as atan2
from .elementwise import divide as div
from .elementwise import multiply as mul
from .elementwise import negative as neg
from .elementwise import power as pow
from .elementwise import subtract as sub
from .fft import (
    fft,
    fft2,
    fftfreq,
    fftn,
    fftshift,
    hfft,
    ifft,
    ifft2,
    ifftn,
    ifftshift,
    ihfft,
    irfft,
    irfft2,
    irfftn,
    rfft,
    rfft2,
    rfftfreq,
    rfftn,
)
from .floating import copysign, isclose, nan_to_num, signbit
from .floating import round_ as round
from .indexing import at, embedding, getitem, index_scatter, one_hot, scatter_along_axis, take_along_axis
from .inverse import det, inv, lstsq, pinv, slogdet, solve
from .linalg import einsum, linear, matmul, outer, tensordot
from .matrix import cross, dot, kron, matrix_norm, matrix_power, matrix_transpose, trace, vecdot
from .layer_norm import layer_norm, layer_norm_grad
from .max_pooling import max_pool2d, max_pool2d_grad, max_pool2d_grad_grad, max_pool2d_with_index
from .normalization import batch_moments, batch_norm, batch_norm_grad, batch_norm_inference, channel_affine
from .rearrange import (
    chunk,
    diag,
    diag_embed,
    diagonal,
    diagonal_scatter,
    meshgrid,
    repeat,
    roll,
    tile,
    tril,
    triu,
)
from .reduction import (
    argmax,
    argmin,
    count_nonzero,
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
from .scan import cummax, cummin, cumprod
from .scatter import (
    gather,
    index_put,
    masked_fill,
    masked_select,
    nonzero,
    scatter,
    scatter_add,
    spread_along_axis,
    take,
)
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
from .sorting import (
    argsort,
    bincount,
    histogram,
    median,
    quantile,
    searchsorted,
    sort,
    topk,
    unique,
)
from .softmax import log_softmax, softmax
from .special import digamma, erfc, erfinv, lgamma, polygamma
from . import methods, numpy_protocol  # isort: skip
import sys as _sys

autograd._differentiable = _sys.modules[__name__]
amax, amin, permute_dims = max, min, transpose
