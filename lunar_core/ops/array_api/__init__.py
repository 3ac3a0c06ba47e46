# ruff: noqa: F401  (a namespace: what it imports is what it offers)
"""The Python array API standard (version 2024.12) over Tensors; what ``x.__array_namespace__()`` returns.

    xp = x.__array_namespace__()
    xp.mean(xp.asarray([[1.0, 2.0], [3.0, 4.0]]), axis=0)

Everything here is a function of :mod:`lunar_core.ops` under the name and with the arguments of the standard
(https://data-apis.org/array-api/2024.12), so results are differentiable wherever the op is. Three choices that the
standard leaves open: the default dtype is that of :func:`lunar_core.set_default_dtype` (float32), dtypes are NumPy's dtype
objects, and devices are strings such as ``"cpu"`` and ``"cuda:0"``.
"""

import importlib as _importlib
import math as _math

from .. import (
    abs,
    acos,
    acosh,
    all,
    any,
    argmax,
    argmin,
    argsort,
    asin,
    asinh,
    atan,
    atan2,
    atanh,
    bitwise_and,
    bitwise_invert,
    bitwise_left_shift,
    bitwise_or,
    bitwise_right_shift,
    bitwise_xor,
    broadcast_arrays,
    broadcast_to,
    concat,
    copysign,
    count_nonzero,
    flip,
    imag,
    matmul,
    matrix_transpose,
    max,
    mean,
    meshgrid,
    min,
    moveaxis,
    nextafter,
    nonzero,
    permute_dims,
    pow,
    real,
    repeat,
    roll,
    round,
    searchsorted,
    signbit,
    sort,
    squeeze,
    stack,
    std,
    take,
    take_along_axis,
    tensordot,
    tile,
    tril,
    triu,
    var,
    vecdot,
)
from ..creation import arange, empty, empty_like, eye, full, full_like, linspace, ones, ones_like, zeros, zeros_like
from ..dlpack import from_dlpack
from ..elementwise import (
    add,
    ceil,
    conj,
    cos,
    cosh,
    divide,
    equal,
    exp,
    expm1,
    floor,
    floor_divide,
    greater,
    greater_equal,
    hypot,
    isfinite,
    isinf,
    isnan,
    less,
    less_equal,
    log,
    log1p,
    log2,
    log10,
    logaddexp,
    logical_and,
    logical_not,
    logical_or,
    logical_xor,
    maximum,
    minimum,
    multiply,
    negative,
    not_equal,
    reciprocal,
    remainder,
    sign,
    sin,
    sinh,
    sqrt,
    square,
    subtract,
    tan,
    tanh,
    trunc,
    where,
)
from . import linalg
from ._adapted import (
    clip,
    cumulative_prod,
    cumulative_sum,
    diff,
    expand_dims,
    positive,
    prod,
    reshape,
    sum,
    unique_all,
    unique_counts,
    unique_inverse,
    unique_values,
    unstack,
)
from ._dtypes import (
    __array_namespace_info__,
    asarray,
    astype,
    bool,
    can_cast,
    complex64,
    complex128,
    finfo,
    float32,
    float64,
    iinfo,
    int8,
    int16,
    int32,
    int64,
    isdtype,
    result_type,
    uint8,
    uint16,
    uint32,
    uint64,
)

fft = _importlib.import_module("lunar_core.ops.fft")  # the package's attribute of that name is the function
__array_api_version__ = "2024.12"
e, inf, nan, pi, newaxis = _math.e, _math.inf, _math.nan, _math.pi, None

__all__ = [name for name in dir() if name.isidentifier() and not name.startswith("_")]
__all__ += ["__array_api_version__", "__array_namespace_info__"]
