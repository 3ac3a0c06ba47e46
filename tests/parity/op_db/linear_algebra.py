"""Spellings of linear algebra."""

import numpy as np

from lunar_core import ops

from .spelling import Differs, Leading, axes, leading, same, typed


def tensordot(x, y, dims=2):
    if not isinstance(dims, int) and [x.shape[i] for i in dims[0]] != [y.shape[i] for i in dims[1]]:
        raise Differs("axes of size 1 are not widened in a contraction")
    return ops.tensordot(x, y, dims if isinstance(dims, int) else tuple(tuple(d) for d in dims))


def einsum(arrays, equation):
    return ops.einsum(equation, *arrays)


def cross(x, y, dim=None):
    if dim is None:
        dim = next(i for i, n in enumerate(x.shape) if n == 3)
    return ops.cross(x, y, axis=dim)


def matrix_norm(x, ord="fro", dim=(-2, -1), keepdim=False, *, dtype=None):
    return ops.matrix_norm(typed(x, dtype), ord, axis=tuple(dim), keepdims=keepdim)


def norm(x, ord=None, dim=None, keepdim=False, *, dtype=None):
    x = typed(x, dtype)
    pair = dim is not None and not isinstance(dim, int) and len(dim) == 2
    if ord is not None and (pair or (dim is None and x.ndim == 2)):
        return ops.matrix_norm(x, ord, axis=tuple(dim) if pair else (-2, -1), keepdims=keepdim)
    return ops.norm(x, axis=axes(x, dim), keepdims=keepdim, ord=2 if ord is None else ord)


def svd(x, full_matrices=True, driver=None):
    return ops.svd(x, full_matrices=full_matrices)


def old_svd(x, some=True, compute_uv=True):
    """``torch.svd`` gives V where all others give its adjoint."""
    if not compute_uv:
        raise Differs("singular values alone are svdvals")
    u, s, vh = ops.svd(x, full_matrices=not some)
    return u, s, ops.conj(ops.matrix_transpose(vh))


def lstsq(a, b, rcond=None, driver=None):
    return Leading(ops.lstsq(a, b, rcond).x)


def pinv(x, rcond=None, hermitian=False, *, atol=None, rtol=None):
    if atol is not None:
        raise Differs("the cut of pinv is relative only")
    if hermitian and not np.allclose(x.detach(), x.detach().mT.conj()):
        raise Differs("there is no reading of one triangle as a Hermitian matrix")
    return ops.pinv(x, rtol=rcond if rtol is None else rtol)


def solve(a, b, left=True):
    """PyTorch reads b (batch, n) beside a (batch, n, n) as vectors; the array API standard, and we, only b (n,)."""
    if b.ndim > 1 and b.ndim == a.ndim - 1:
        return ops.solve(a, ops.expand_dims(b, -1))[..., 0]
    return ops.solve(a, b)


def with_info(function):
    """The ``_ex`` functions also give a code of success; ours raise instead."""

    def spelled(*args, check_errors=False, **kwargs):
        return function(*args, **kwargs)

    return leading(spelled)


def cholesky(x, *, upper=False):
    if x.dtype.kind == "c" and x.requires_grad:
        raise Differs("the gradient is Hermitian; PyTorch's has a part more, which no Hermitian matrix can follow")
    return ops.cholesky(x, upper=upper)


def cdist(x, y, p=2.0, compute_mode=None):
    return ops.cdist(x, y, p)


def vecdot(x, y, dim=-1):
    return ops.vecdot(x, y, axis=dim)


def triangular(a, b, *, upper, left=True, unitriangular=False):
    return ops.solve_triangular(a, b, upper=upper, left=left, unitriangular=unitriangular)


SPELLINGS = {
    "matmul": same("matmul"), "mm": same("matmul"), "bmm": same("matmul"), "mv": same("matmul"), "dot": same("dot"),
    "vdot": same("vecdot"), "outer": same("outer"), "kron": same("kron"), "inner": np.inner,
    "__rmatmul__": lambda x, y: y @ x, "einsum": einsum, "tensordot": tensordot, "linalg.vecdot": vecdot,
    "cross": cross, "linalg.cross": lambda x, y, *, dim=-1: ops.cross(x, y, axis=dim), "trace": same("trace"),
    "linalg.det": same("det"), "linalg.slogdet": same("slogdet"), "logdet": same("logdet"), "linalg.inv": same("inv"),
    "linalg.pinv": pinv, "linalg.pinv/singular": lambda a, b: pinv(a @ ops.matrix_transpose(b)), "linalg.pinv/hermitian": pinv,
    "pinverse": pinv, "linalg.solve": solve, "linalg.lstsq/grad_oriented": lstsq,
    "linalg.cholesky": cholesky, "cholesky": cholesky, "linalg.cholesky_ex": with_info(cholesky),
    "linalg.inv_ex": with_info(ops.inv), "linalg.solve_ex": with_info(solve), "linalg.qr": same("qr"), "qr": same("qr"),
    "linalg.svd": svd, "svd": old_svd, "linalg.svdvals": lambda x, driver=None: ops.svdvals(x), "linalg.eigh": same("eigh"),
    "linalg.eigvalsh": same("eigvalsh"), "linalg.matrix_power": same("matrix_power"), "linalg.matrix_norm": matrix_norm,
    "linalg.norm": norm, "linalg.norm/subgradients_at_zero": norm, "linalg.multi_dot": np.linalg.multi_dot,
    "linalg.solve_triangular": triangular, "linalg.cond": np.linalg.cond, "cdist": cdist,
}  # fmt: skip
