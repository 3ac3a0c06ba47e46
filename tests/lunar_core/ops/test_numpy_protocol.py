"""NumPy's functions on Tensors: the values of NumPy, and gradients that a difference quotient confirms."""

import numpy as np
import pytest

import lunar_core as lc
from lunar_core.errors import DTypeError, GradientError
from lunar_core.op import OPS
from lunar_core.ops import numpy_protocol
from lunar_core.testing import gradcheck, gradgradcheck

RNG = np.random.default_rng(3)
A = RNG.permutation(np.linspace(0.31, 2.83, 12)).reshape(3, 4)
B = RNG.permutation(np.linspace(0.42, 1.94, 12)).reshape(3, 4)
V = np.array([0.7, 1.9, 1.2, 0.4])
M = RNG.uniform(-1, 1, (3, 3)) + 3 * np.eye(3)
G = np.array([[1.0, np.nan, 3.0], [0.5, 2.0, np.nan]])

# name -> (function, arrays): the function is called with NumPy arrays and with Tensors, and its results compared
SMOOTH = {
    **{
        name: (getattr(np, name), (A,))
        for name in (
            "absolute abs fabs negative positive exp exp2 expm1 log log2 log10 log1p sqrt cbrt square reciprocal sin cos tan "
            "sinh cosh tanh arctan arcsinh atan asinh deg2rad rad2deg degrees radians sinc floor ceil trunc rint fix sign "
            "conj conjugate real nan_to_num sum prod mean std var max min amax amin median ptp cumsum cumprod "
            "sort ravel transpose squeeze "
            "fliplr flipud flip rot90 diagonal trace tril triu diff nansum nanprod nanmean nanvar nanstd nanmax nanmin average "
            "matrix_transpose atleast_1d atleast_2d atleast_3d copy cov corrcoef trapezoid ediff1d around round diag"
        ).split()
    },
    **{name: (getattr(np, name), (A / 4,)) for name in "arcsin arccos arctanh asin acos atanh".split()},
    **{name: (getattr(np, name), (A + 1.1,)) for name in "arccosh acosh".split()},
    **{
        name: (getattr(np, name), (A, B))
        for name in (
            "add subtract multiply divide true_divide power pow maximum minimum fmax fmin arctan2 atan2 hypot logaddexp "
            "logaddexp2 remainder mod fmod float_power copysign floor_divide heaviside vdot inner kron nextafter append"
        ).split()
    },
    "sum axis": (lambda x: np.sum(x, axis=(0, 1), keepdims=True), (A,)),
    "sum positional": (lambda x: np.sum(x, 0, None, None, True), (A,)),
    "sum dtype": (lambda x: np.sum(x, dtype=np.complex128), (A,)),
    "mean dtype": (lambda x: np.mean(x, -1, np.float64), (A,)),
    "std ddof": (lambda x: np.std(x, 0, ddof=1), (A,)),
    "var ddof": (lambda x: np.var(x, axis=1, ddof=1, keepdims=True), (A,)),
    "var correction": (lambda x: np.var(x, axis=1, correction=1), (A,)),
    "max axis": (lambda x: np.max(x, axis=1), (A,)),
    "cumsum dtype": (lambda x: np.cumsum(x, axis=1, dtype="complex128"), (A,)),
    "cumulative_sum": (lambda x: np.cumulative_sum(x, axis=0, include_initial=True), (A,)),
    "cumulative_prod": (lambda x: np.cumulative_prod(x, axis=1), (A,)),
    "median": (lambda x: np.median(x, axis=0), (A,)),
    "quantile": (lambda x: np.quantile(x, [0.2, 0.7], axis=1), (A,)),
    "percentile": (lambda x: np.percentile(x, 30, axis=0), (A,)),
    "ptp axis": (lambda x: np.ptp(x, axis=0), (A,)),
    "average weights": (lambda x, w: np.average(x, axis=1, weights=w), (A, V)),
    "average all": (lambda x, w: np.average(x, weights=w), (A, B)),
    "nansum": (lambda x: np.nansum(x, axis=0), (G,)),
    "nanmean": (lambda x: np.nanmean(x, axis=1), (G,)),
    "nanvar": (lambda x: np.nanvar(x, axis=1, ddof=1), (G,)),
    "nanstd": (np.nanstd, (G,)),
    "nanprod": (np.nanprod, (G,)),
    "nanmax": (lambda x: np.nanmax(x, axis=0), (G,)),
    "nanmin": (lambda x: np.nanmin(x, 1, keepdims=True), (G,)),
    "nancumsum": (lambda x: np.nancumsum(x, axis=1), (G,)),
    "nancumprod": (np.nancumprod, (G,)),
    "nanmedian": (lambda x: np.nanmedian(x, axis=1), (G,)),
    "nanquantile": (lambda x: np.nanquantile(x, [0.1, 0.8], axis=1, keepdims=True), (G,)),
    "nanpercentile": (lambda x: np.nanpercentile(x, 30), (G,)),
    "interp": (lambda x, f: np.interp(x, np.array([0.0, 1.0, 2.0, 4.0]), f), (A, V)),
    "interp outside": (lambda x, f: np.interp(x, np.array([0.5, 1.0, 1.5, 2.0]), f, left=-1.0), (A, V)),
    "polyval": (np.polyval, (V, A)),
    "block": (lambda x, y: np.block([[x, y], [y, 2 * x]]), (A, B)),
    "vander": (lambda v: np.vander(v, 3), (V,)),
    "diagflat": (lambda v: np.diagflat(v, 1), (V,)),
    "astype": (lambda x: np.astype(x, np.complex128), (A,)),
    "linalg.tensorsolve": (lambda a, b: np.linalg.tensorsolve(a.reshape(3, 1, 3), b[:, :1]), (M, A)),
    "linalg.tensorinv": (lambda a: np.linalg.tensorinv(a.reshape(3, 1, 3), ind=1), (M,)),
    "cov of two": (lambda x, y: np.cov(x[0], y[0], ddof=0), (A, B)),
    "cov columns": (lambda x: np.cov(x, rowvar=False), (A,)),
    "corrcoef": (np.corrcoef, (A, B)),
    "trapezoid": (lambda y, x: np.trapezoid(y, x, axis=1), (A, V)),
    "trapezoid dx": (lambda y: np.trapezoid(y, dx=0.5, axis=0), (A,)),
    "gradient": (lambda x: np.gradient(x, 0.5)[1], (A,)),
    "gradient axis": (lambda x: np.gradient(x, axis=0), (A,)),
    "diff": (lambda x: np.diff(x, 2, 0, prepend=1.0), (A,)),
    "ediff1d": (lambda x: np.ediff1d(x, to_begin=1.0, to_end=np.array([2.0, 3.0])), (A,)),
    "clip": (lambda x: np.clip(x, 0.5, 2.0), (A,)),
    "clip keywords": (lambda x: np.clip(x, a_min=0.5, a_max=None), (A,)),
    "clip arrays": (lambda x, y: np.clip(x, y, 2.5), (A, B)),
    "clip min": (lambda x: np.clip(x, min=1.0), (A,)),
    "where": (lambda x, y: np.where(A > 1, x, y), (A, B)),
    "select": (lambda x, y: np.select([A > 2, A > 1], [x, y], 0.5), (A, B)),
    "round decimals": (lambda x: np.round(x, 1), (A,)),
    "reshape": (lambda x: np.reshape(x, (2, -1)), (A,)),
    "transpose": (lambda x: np.transpose(x, (1, 0)), (A,)),
    "permute_dims": (lambda x: np.permute_dims(x, (1, 0)), (A,)),
    "swapaxes": (lambda x: np.swapaxes(x, 0, 1), (A,)),
    "moveaxis": (lambda x: np.moveaxis(x, 0, -1), (A,)),
    "rollaxis": (lambda x: np.rollaxis(x, 1), (A,)),
    "expand_dims": (lambda x: np.expand_dims(x, (0, 2)), (A,)),
    "squeeze": (lambda x: np.squeeze(x[:1], axis=0), (A,)),
    "broadcast_to": (lambda x: np.broadcast_to(x, (2, 3, 4)), (A,)),
    "broadcast_arrays": (np.broadcast_arrays, (A, V)),
    "concatenate": (lambda x, y: np.concatenate([x, y], axis=1), (A, B)),
    "concatenate flat": (lambda x, y: np.concatenate((x, y), axis=None), (A, B)),
    "concatenate dtype": (lambda x, y: np.concatenate([x, y], dtype="complex128"), (A, B)),
    "stack": (lambda x, y: np.stack([x, y], axis=-1), (A, B)),
    "hstack": (lambda x, y: np.hstack([x, y]), (A, B)),
    "vstack": (lambda x, v: np.vstack([x, v]), (A, V)),
    "dstack": (lambda x, y: np.dstack([x, y]), (A, B)),
    "column_stack": (lambda v, w: np.column_stack([v, w]), (V, V + 1)),
    "atleast_3d": (np.atleast_3d, (V,)),
    "append": (lambda x, y: np.append(x, y, axis=0), (A, B)),
    "split": (lambda x: np.split(x, 2, axis=1), (A,)),
    "array_split": (lambda x: np.array_split(x, 3, axis=1), (A,)),
    "hsplit": (lambda x: np.hsplit(x, 2), (A,)),
    "vsplit": (lambda x: np.vsplit(x, [1]), (A,)),
    "unstack": (lambda x: np.unstack(x, axis=1), (A,)),
    "tile": (lambda x: np.tile(x, (2, 1)), (A,)),
    "repeat": (lambda x: np.repeat(x, 2, axis=0), (A,)),
    "repeat counts": (lambda x: np.repeat(x, [1, 0, 2], axis=0), (A,)),
    "roll": (lambda x: np.roll(x, 2, axis=1), (A,)),
    "rot90": (lambda x: np.rot90(x, 3), (A,)),
    "resize": (lambda x: np.resize(x, (4, 5)), (A,)),
    "delete": (lambda x: np.delete(x, 1, axis=0), (A,)),
    "insert": (lambda x: np.insert(x, 2, 9.0, axis=1), (A,)),
    "insert row": (lambda x, v: np.insert(x, 1, v, axis=0), (A, V)),
    "pad": (lambda x: np.pad(x, 1), (A,)),
    "pad reflect": (lambda x: np.pad(x, ((1, 1), (0, 2)), mode="reflect"), (A,)),
    "pad value": (lambda x: np.pad(x, 1, constant_values=2.0), (A,)),
    "take": (lambda x: np.take(x, [0, 2], axis=1), (A,)),
    "take_along_axis": (lambda x: np.take_along_axis(x, np.array([[0], [1], [0]]), axis=1), (A,)),
    "compress": (lambda x: np.compress([True, False, True], x, axis=0), (A,)),
    "extract": (lambda x: np.extract(A > 1, x), (A,)),
    "sort": (lambda x: np.sort(x, axis=0), (A,)),
    "diagonal": (lambda x: np.diagonal(x, 1), (A,)),
    "tril": (lambda x: np.tril(x, -1), (A,)),
    "diag vector": (np.diag, (V,)),
    "meshgrid": (np.meshgrid, (V, V[:2])),
    "dot": (np.dot, (A, V)),
    "matmul": (lambda x, y: np.matmul(x, y.T), (A, B)),
    "vecdot": (np.vecdot, (A, B)),
    "matvec": (np.matvec, (A, V)),
    "vecmat": (np.vecmat, (V[:3], A)),
    "outer": (np.outer, (V, V + 1)),
    "cross": (lambda x, y: np.cross(x[:, :3], y[:, :3]), (A, B)),
    "tensordot": (lambda x, y: np.tensordot(x, y, axes=([1], [1])), (A, B)),
    "einsum": (lambda x, y: np.einsum("ij,kj->ik", x, y), (A, B)),
    "einsum optimize": (lambda x, y: np.einsum("ij,ij->", x, y, optimize=True), (A, B)),
    "convolve": (np.convolve, (V, V[:3])),
    "convolve same": (lambda v, w: np.convolve(v, w, "same"), (V, V[:3])),
    "convolve valid": (lambda v, w: np.convolve(v, w, mode="valid"), (V, V[:2])),
    "correlate": (np.correlate, (V, V[:2])),
    "correlate full": (lambda v, w: np.correlate(v, w, "full"), (V, V[:2])),
    "correlate longer": (lambda v, w: np.correlate(v, w, "full"), (V[:2], V)),
    "bincount weights": (lambda w: np.bincount(np.array([0, 2, 0, 1]), weights=w), (V,)),
    "add.reduce": (lambda x: np.add.reduce(x, axis=1, keepdims=True), (A,)),
    "multiply.reduce": (np.multiply.reduce, (A,)),
    "maximum.reduce": (lambda x: np.maximum.reduce(x, axis=None), (A,)),
    "add.accumulate": (lambda x: np.add.accumulate(x, axis=1), (A,)),
    "maximum.accumulate": (lambda x: np.maximum.accumulate(x, axis=1), (A,)),
    "multiply.outer": (np.multiply.outer, (V, A)),
    "add dtype": (lambda x, y: np.add(x, y, dtype="complex128"), (A, B)),
    "array + tensor": (lambda x: A + x, (B,)),
    "array @ tensor": (lambda x: A @ x, (B.T,)),
    "number ** tensor": (lambda x: np.float64(2.0) ** x, (A,)),
    "divmod": (lambda x, y: np.divmod(x, y)[1], (A, B)),
    "modf": (lambda x: np.modf(x)[0], (A,)),
    "frexp": (lambda x: np.frexp(x)[0], (A,)),
    "ldexp": (lambda x: np.ldexp(x, np.array([1, 2, 3, 4])), (A,)),
    "zeros_like": (lambda x: np.zeros_like(x) + x, (A,)),
    "full_like": (lambda x: np.full_like(x, 2.0) * x, (A,)),
    "linalg.norm": (np.linalg.norm, (A,)),
    "linalg.norm axis": (lambda x: np.linalg.norm(x, ord=3, axis=1), (A,)),
    "linalg.norm nuc": (lambda x: np.linalg.norm(x, "nuc"), (A,)),
    "linalg.vector_norm": (lambda x: np.linalg.vector_norm(x, axis=0), (A,)),
    "linalg.matrix_norm": (lambda x: np.linalg.matrix_norm(x, ord=1), (A,)),
    "linalg.cond": (np.linalg.cond, (M,)),
    "linalg.cond 1": (lambda x: np.linalg.cond(x, 1), (M,)),
    "linalg.det": (np.linalg.det, (M,)),
    "linalg.slogdet": (lambda x: np.linalg.slogdet(x)[1], (M,)),
    "linalg.inv": (np.linalg.inv, (M,)),
    "linalg.pinv": (np.linalg.pinv, (A,)),
    "linalg.pinv rcond": (lambda x: np.linalg.pinv(x, rcond=1e-12), (A,)),
    "linalg.solve": (np.linalg.solve, (M, A)),
    "linalg.lstsq": (lambda a, b: np.linalg.lstsq(a, b)[0], (A.T, B.T)),
    "linalg.matrix_power": (lambda x: np.linalg.matrix_power(x, 3), (M,)),
    "linalg.multi_dot": (lambda x, y, v: np.linalg.multi_dot([x, y.T, x, v]), (A, B, V)),
    "linalg.svd values": (lambda x: np.linalg.svd(x, compute_uv=False), (A,)),
    "linalg.svdvals": (np.linalg.svdvals, (A,)),
    "linalg.qr": (lambda x: np.abs(np.linalg.qr(x).R), (A,)),
    "linalg.cholesky": (lambda x: np.linalg.cholesky(x @ x.T), (M,)),
    "linalg.eigvals": (lambda x: np.linalg.eigvals(x + x.T).real, (M,)),
    "linalg.eigvalsh": (lambda x: np.linalg.eigvalsh(x + x.T), (M,)),
    "linalg.eigh": (lambda x: np.linalg.eigh(x + x.T).eigenvalues, (M,)),
    "linalg.trace": (np.linalg.trace, (M,)),
    "linalg.diagonal": (lambda x: np.linalg.diagonal(x, offset=1), (M,)),
    "linalg.outer": (np.linalg.outer, (V, V)),
    "linalg.tensordot": (lambda x, y: np.linalg.tensordot(x, y, axes=2), (A, B)),
    "linalg.cross": (lambda x, y: np.linalg.cross(x[:, :3], y[:, :3]), (A, B)),
    "linalg.matrix_transpose": (np.linalg.matrix_transpose, (A,)),
    "fft.fft": (lambda x: np.abs(np.fft.fft(x)), (A,)),
    "fft.ifft": (lambda x: np.real(np.fft.ifft(x, n=6, axis=0)), (A,)),
    "fft.rfft": (lambda x: np.imag(np.fft.rfft(x)), (A,)),
    "fft.irfft": (lambda x: np.fft.irfft(np.fft.rfft(x) * 2, n=4), (A,)),
    "fft.fft2": (lambda x: np.abs(np.fft.fft2(x)), (A,)),
    "fft.fftn": (lambda x: np.real(np.fft.fftn(x, norm="ortho")), (A,)),
    "fft.fftshift": (lambda x: np.fft.fftshift(x, axes=1), (A,)),
    "angle": (lambda x: np.angle(x + 1j), (A,)),
    "imag": (lambda x: np.imag(x * 1j), (A,)),
}

# without a gradient: the function runs on the values
VALUES = {
    **{name: (getattr(np, name), (A,)) for name in "argmax argmin argsort isnan isinf isfinite signbit argwhere".split()},
    **{name: (getattr(np, name), (A,)) for name in "flatnonzero nonzero count_nonzero all any".split()},
    **{name: (getattr(np, name), (A,)) for name in "unique isneginf spacing logical_not".split()},
    **{
        name: (getattr(np, name), (A, B))
        for name in "equal not_equal less less_equal greater greater_equal logical_and logical_or logical_xor isclose".split()
    },
    "where alone": (lambda x: np.where(x > 1), (A,)),
    "searchsorted": (lambda v: np.searchsorted(np.sort(v), [1.0, 0.2], side="right"), (V,)),
    "digitize": (lambda v: np.digitize(v, np.array([0.5, 1.0])), (V,)),
    "isin": (lambda v: np.isin(v, [0.7, 1.2]), (V,)),
    "histogram": (lambda v: np.histogram(v, bins=3, range=(0, 2)), (V,)),
    "histogram2d": (lambda v, w: np.histogram2d(v, w, bins=2)[0], (V, V)),
    "bincount": (np.bincount, (np.array([0, 2, 2]),)),
    "bitwise_and": (np.bitwise_and, (np.array([5, 6]), np.array([3, 3]))),
    "gcd": (np.gcd, (np.array([12, 6]), np.array([8, 3]))),
    "left_shift": (np.left_shift, (np.array([5, 6]), np.array([1, 2]))),
    "bitwise_count": (np.bitwise_count, (np.array([5, 255]),)),
    "union1d": (np.union1d, (V, V + 1)),
    "setdiff1d": (np.setdiff1d, (V, V[:2])),
    "unique_counts": (np.unique_counts, (np.array([1.0, 1.0, 2.0]),)),
    "unravel_index": (lambda i: np.unravel_index(i, (2, 3)), (np.array([1, 5]),)),
    "linalg.matrix_rank": (np.linalg.matrix_rank, (M,)),
    "add of ints": (np.add.reduce, (np.arange(6).reshape(2, 3),)),
    "fmod of ints": (lambda x: np.fmod(x, 3), (np.array([-7, 7, 5]),)),
}  # fmt: skip
PIECEWISE = {
    "floor",
    "ceil",
    "trunc",
    "rint",
    "fix",
    "sign",
    "around",
    "round",
    "round decimals",
    "heaviside",
    "floor_divide",
}
NANS = {n for n, (_, arrays) in SMOOTH.items() if arrays[0] is G}


def as_list(out):
    return list(out) if isinstance(out, (tuple, list)) else [out]


def same(got, expected):
    assert len(as_list(got)) == len(as_list(expected))
    for a, b in zip(as_list(got), as_list(expected)):
        b = np.asarray(b)
        assert isinstance(a, lc.Tensor), "the result left the graph"
        assert (a.shape, a.dtype) == (b.shape, b.dtype)
        np.testing.assert_allclose(a.detach().numpy(), b, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", SMOOTH)
def test_numpy_function_is_differentiable_and_agrees(name):
    function, arrays = SMOOTH[name]
    tensors = [lc.tensor(a, requires_grad=True) for a in arrays]
    got = function(*tensors)
    same(got, function(*arrays))
    assert any(out.requires_grad for out in as_list(got)) or name in PIECEWISE
    if name in NANS:
        x = tensors[0]
        as_list(got)[0].sum().backward()
        assert np.isfinite(x.grad.numpy()).all() and (x.grad.numpy()[np.isnan(G)] == 0).all()
    elif name not in PIECEWISE:
        gradcheck(function, tensors)
        gradgradcheck(function, tensors, atol=1e-5)


@pytest.mark.parametrize("name", VALUES)
def test_numpy_function_without_a_gradient_agrees(name):
    function, arrays = VALUES[name]
    same(function(*map(lc.tensor, arrays)), function(*arrays))


def test_questions_about_arrays_give_plain_answers():
    x, y = lc.tensor(A), lc.tensor(A.copy())
    assert np.array_equal(x, y) is True and np.allclose(x, y + 1) is False
    assert np.shape(x) == (3, 4) and np.ndim(x) == 2 and np.size(x) == 12
    assert not np.iscomplexobj(x) and np.isrealobj(x) and np.may_share_memory(x, x.T)
    assert np.result_type(x, np.float32) == np.float64


REFUSED = {
    "a function without counterpart": (np.unwrap, r"np.unwrap has no differentiable counterpart.*\n.*detach"),
    "a fit": (lambda x: np.polyfit(x[0], x[1], 1), r"np.polyfit has no differentiable"),
    "out of a ufunc": (lambda x: np.add(x, 1, out=np.zeros((3, 4))), r"takes no keyword out.*\n.*new tensors"),
    "out of a function": (lambda x: np.sum(x, axis=0, out=np.zeros(4)), r"np.sum.*out.*\n.*new tensors"),
    "where of a reduction": (lambda x: np.sum(x, where=A > 1), r"np.sum.*where.*\n.*ops.where"),
    "initial": (lambda x: np.max(x, initial=3.0), r"np.max.*initial"),
    "ufunc.at": (lambda x: np.add.at(x, 0, 1.0), r"np.add.at does not take Tensors.*\n.*x.at\[index\]"),
    "reduceat": (lambda x: np.add.reduceat(x, [0, 1]), r"np.add.reduceat does not take Tensors"),
    "put": (lambda x: np.put(x, [0], 1.0), r"np.put writes in place.*\n.*x.at"),
    "order": (lambda x: np.reshape(x, (4, 3), order="F"), r"np.reshape.*order"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_supported_is_a_type_error_that_names_the_alternative(name):
    function, message = REFUSED[name]
    with pytest.raises(TypeError, match=message):
        function(lc.tensor(A, requires_grad=True))


def test_every_numeric_ufunc_has_a_counterpart_and_every_other_function_an_answer():
    from numpy.testing.overrides import get_overridable_numpy_array_functions, get_overridable_numpy_ufuncs

    for ufunc in get_overridable_numpy_ufuncs():
        numeric = any(loop[0] in "dl" for loop in ufunc.types) and not ufunc.__name__.startswith("_")
        if numeric and ufunc.__name__ not in OPS:
            numpy_protocol._counterpart(ufunc.__name__)  # which raises where there is none
    answered = 0
    for function in get_overridable_numpy_array_functions():
        try:
            numpy_protocol._counterpart(function.__name__, function.__module__)
            answered += 1
        except DTypeError as exc:
            assert exc.hint, function
    assert answered >= 200


def test_an_array_is_not_changed_in_place_by_a_tensor():
    a = np.zeros(3)
    with pytest.raises(DTypeError, match="takes no keyword out"):
        a += lc.tensor([1.0, 2.0, 3.0], requires_grad=True)
    assert a.tolist() == [0, 0, 0]


def test_conversion_of_a_tensor_with_a_graph_is_refused_with_a_hint():
    x = lc.tensor([1.0, 2.0], requires_grad=True)
    for convert in (np.asarray, np.array, np.ascontiguousarray, lambda t: np.asarray(t * 2)):
        with pytest.raises(GradientError, match=r"requires a gradient\n.*detach\(\)"):
            convert(x)
    assert np.asarray(x.detach()).tolist() == [1, 2]
    assert np.asarray(x.detach()).ctypes.data == x.data.ctypes.data
    assert np.array(x.detach(), dtype="float64").dtype == np.float64
    with pytest.raises(ValueError, match="copy"):
        np.array(x.detach(), dtype="float64", copy=False)
