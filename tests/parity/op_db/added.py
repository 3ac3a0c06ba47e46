"""Spellings of functions of matrices, special functions, spectrograms, order statistics and NaN-skipping reductions."""

import lunar_core as lc
from lunar_core import ops

from .spelling import Differs, Leading, axes, one_axis, same


def lu(x, *, pivot=True):
    if not pivot:
        raise Differs("factors are always pivoted")
    return ops.lu(x)


def lu_factor(x, *, pivot=True, check_errors=False):
    """PyTorch's second result are the exchanges of rows one after the other, ours the order that they lead to."""
    if not pivot:
        raise Differs("factors are always pivoted")
    return Leading(ops.lu_factor(x).LU)


def kthvalue(x, k, dim=-1, keepdim=False):
    return ops.kthvalue(x, k, one_axis(x, dim), keepdim)


def mode(x, dim=-1, keepdim=False):
    return Leading(ops.mode(x, one_axis(x, dim), keepdim).values)


def nanquantile(x, q, dim=None, keepdim=False, *, interpolation="linear"):
    if getattr(q, "requires_grad", False):
        raise Differs("the places of quantiles are not differentiated")
    return ops.nanquantile(x, q, axis=axes(x, dim), keepdims=keepdim, method=interpolation)


def logspace(start, end, steps, base=10.0, dtype=None):
    return lc.logspace(start, end, steps, base, dtype="float32" if dtype is None else dtype)


def triangle(function):
    def spelled(row, col, offset=0, dtype=None):
        return ops.stack(function(row, offset, col)).astype("int64" if dtype is None else dtype)

    return spelled


def cov(x, *, correction=1, fweights=None, aweights=None):
    if aweights is not None and aweights.dtype != x.real.dtype:
        raise Differs("PyTorch computes with weights in their own, lower precision")
    if x.ndim < 2 and x.size == 1:
        return ops.cov(x.reshape((1, 1)), correction=correction, fweights=fweights, aweights=aweights)
    return ops.cov(x, correction=correction, fweights=fweights, aweights=aweights)


def cumulative_trapezoid(y, x=None, *, dx=1.0, dim=-1):
    return ops.cumulative_trapezoid(y, x, dx, dim)


def stft(x, n_fft, hop_length=None, win_length=None, window=None, center=True, pad_mode="reflect", normalized=False,
         onesided=None, return_complex=True, align_to_window=None):  # fmt: skip
    if not return_complex:
        raise Differs("spectra are complex, never pairs of reals")
    return ops.stft(x, n_fft, hop_length, win_length, window, center=center, pad_mode=pad_mode, normalized=normalized,
                    onesided=onesided)  # fmt: skip


def istft(x, n_fft, hop_length=None, win_length=None, window=None, center=True, normalized=False, onesided=None, length=None,
          return_complex=False):  # fmt: skip
    onesided = not return_complex and x.shape[-2] != n_fft if onesided is None else onesided
    return ops.istft(x, n_fft, hop_length, win_length, window, center=center, normalized=normalized, onesided=onesided,
                     length=length, return_complex=return_complex)  # fmt: skip


SPELLINGS = {
    "matrix_exp": same("matrix_exp"), "linalg.eigvals": same("eigvals"), "linalg.lu": lu,
    "linalg.lu_factor": lu_factor,
    "linalg.tensorsolve": lambda a, b, dims=None: ops.tensorsolve(ops.moveaxis(a, dims, range(-len(dims), 0)) if dims else a, b),
    "linalg.tensorinv": lambda a, ind=2: ops.tensorinv(a, ind),
    **{name: same(name.removeprefix("special.")) for name in
       "i0 special.i0e special.i1 special.i1e special.erfcx special.log_ndtr special.ndtri".split()},
    "special.modified_bessel_i0": same("i0"), "special.modified_bessel_i1": same("i1"),
    "stft": stft, "istft": istft, "polar": same("polar"), "nn.functional.glu": lambda x, dim=-1: ops.glu(x, dim),
    "kthvalue": kthvalue, "mode": mode, "nanquantile": nanquantile, "logspace": logspace,
    "tril_indices": triangle(lc.tril_indices), "triu_indices": triangle(lc.triu_indices), "cov": cov,
    "cumulative_trapezoid": cumulative_trapezoid, "frexp": same("frexp"), "diagflat": lambda x, offset=0: ops.diagflat(x, offset),
}  # fmt: skip
