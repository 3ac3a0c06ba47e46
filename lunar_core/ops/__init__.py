"""The differentiable functions, by family. ``from lunar_core import ops; ops.exp(x)``.

Each takes Tensors, raw arrays and Python numbers. With a Tensor among the inputs the result is a Tensor; raw arrays alone
give a raw array, which is how gradient rules use the same functions.
"""

from .. import autograd
from .activation import elu, erf, gelu, gelu_grad, gelu_tanh_grad, leaky_relu, relu, sigmoid, silu, softplus
from .attention import attention_grad, attention_tiled_grad, scaled_dot_product_attention
from .arranging import block_diag, sliding_windows, unflatten
from .adaptive_pooling import (
    adaptive_avg_pool1d,
    adaptive_avg_pool2d,
    adaptive_avg_pool3d,
    adaptive_max_places,
    adaptive_max_pool1d,
    adaptive_max_pool2d,
    adaptive_max_pool3d,
    adaptive_mean,
    adaptive_mean_grad,
)
from .average_pooling import (
    avg_pool1d,
    avg_pool1d_grad,
    avg_pool2d,
    avg_pool2d_grad,
    avg_pool3d,
    avg_pool3d_grad,
    lp_pool1d,
    lp_pool2d,
    lp_pool3d,
)
from .binary_cross_entropy import binary_cross_entropy
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
from .shuffling import channel_shuffle, pixel_shuffle, pixel_unshuffle
from .complexes import angle, imag, polar, real
from .activation_more import (
    celu,
    glu,
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
from .conv import (
    channel_sum,
    conv1d,
    conv1d_input_grad,
    conv1d_weight_grad,
    conv2d,
    conv2d_input_grad,
    conv2d_weight_grad,
    conv3d,
    conv3d_input_grad,
    conv3d_weight_grad,
)
from .conv_transpose import conv_transpose1d, conv_transpose2d, conv_transpose3d
from .decompositions import cholesky, eigh, eigvalsh, qr, svd, svdvals
from .ctc import ctc_grad, ctc_loss
from .bags import embedding_bag
from .bessel import i0, i0e, i1, i1e
from .cross_entropy import bce_with_logits, cross_entropy, cross_entropy_grad
from .dropout import draw_mask, dropout, masked
from .elementwise import *  # noqa: F403
from .elementwise import absolute as abs
from .elementwise import arccos as acos
from .elementwise import arccosh as acosh
from .elementwise import arcsin as asin
from .elementwise import arcsinh as asinh
from .elementwise import arctan as atan
from .elementwise import arctan2 as atan2
from .elementwise import arctanh as atanh
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
from .floating import copysign, isclose, nan_to_num, nextafter, signbit
from .floating import round_ as round
from .at import at
from .grid_sampling import affine_grid, grid_sample, read_pixels, spread_pixels
from .group_normalization import group_norm, group_norm_grad, instance_norm, rms_norm, rms_norm_grad
from .indexing import embedding, getitem, index_scatter, one_hot, scatter_along_axis, take_along_axis
from .inverse import det, inv, lstsq, pinv, slogdet, solve
from .linalg import einsum, linear, matmul, outer, tensordot
from .matrix import (
    cross,
    dot,
    kron,
    matrix_norm,
    matrix_power,
    matrix_rank,
    matrix_transpose,
    trace,
    vecdot,
    vector_norm,
)
from .matrix_functions import eig, eigvals, lu, lu_factor, lu_solve, matrix_exp
from .layer_norm import layer_norm, layer_norm_grad
from .logcumsumexp import logcumsumexp
from .max_pooling import (
    max_pool1d,
    max_pool1d_grad,
    max_pool1d_grad_grad,
    max_pool1d_with_index,
    max_pool2d,
    max_pool2d_grad,
    max_pool2d_grad_grad,
    max_pool2d_with_index,
    max_pool3d,
    max_pool3d_grad,
    max_pool3d_grad_grad,
    max_pool3d_with_index,
    pool_places,
)
from .normalization import batch_moments, batch_norm, batch_norm_grad, batch_norm_inference, channel_affine
from .normal_tails import erfcx, log_ndtr, ndtri
from .numpy_functions import (
    append,
    array_split,
    atleast_1d,
    atleast_2d,
    atleast_3d,
    block,
    column_stack,
    compress,
    copy,
    delete,
    diagflat,
    dsplit,
    dstack,
    fliplr,
    flipud,
    fmax,
    fmin,
    fmod,
    frexp,
    heaviside,
    hsplit,
    hstack,
    insert,
    resize,
    rot90,
    select,
    sinc,
    tensorinv,
    tensorsolve,
    vander,
    vsplit,
    vstack,
)
from .numpy_statistics import (
    average,
    convolve,
    corrcoef,
    correlate,
    cov,
    cumulative_trapezoid,
    ediff1d,
    gradient,
    inner,
    interp,
    matvec,
    nancumprod,
    nancumsum,
    nanmax,
    nanmean,
    nanmedian,
    nanmin,
    nanpercentile,
    nanprod,
    nanquantile,
    nanstd,
    nansum,
    nanvar,
    percentile,
    polyval,
    ptp,
    ravel,
    trapezoid,
    vdot,
    vecmat,
)
from .order_statistics import kthvalue, mode
from .probabilities import entr, logit, ndtr, xlog1py, xlogy
from .rearrange import (
    broadcast_arrays,
    chunk,
    diag,
    diag_embed,
    diagonal,
    spread_diagonal,
    meshgrid,
    repeat,
    roll,
    tile,
    tril,
    triu,
)
from .layers_over_time import gru_grad, lstm_grad, rnn_grad
from .recurrent import gru, gru_cell, lstm, lstm_cell, rnn, rnn_cell
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
from .resampling import interpolate, resample_adjoint
from .similarity import bilinear, cdist, cosine_similarity, local_response_norm, pairwise_distance
from .scan import cummax, cummin, cumprod, cumulative_prod, cumulative_sum, diff
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
from .scatter_reduction import scatter_reduce
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
from .spectrograms import istft, stft
from .triangular import logdet, solve_triangular
from .unfold import fold, unfold
from .unpooling import max_unpool1d, max_unpool2d, max_unpool3d
from . import methods, numpy_protocol  # isort: skip
import sys as _sys

autograd._differentiable = _sys.modules[__name__]
amax, amin, permute_dims = max, min, transpose
