"""Bad input to linear algebra, Fourier transforms and creation: the error names the function, what came, and the rule."""

import numpy as np
import pytest

import lunar_core as lc
from lunar_core import ops
from lunar_core.errors import DeviceError, DTypeError, LinearAlgebraError, ShapeError

x = lc.tensor(np.arange(6.0).reshape(2, 3))
v, w, m = lc.ones(3, dtype="float64"), lc.ones(4, dtype="float64"), lc.eye(3, dtype="float64")
i, c = lc.tensor([[0, 1]]), lc.tensor([1j], dtype="complex128")

LINALG = [
    ("ops.matmul(x, x)", ShapeError, "matmul: inner sizes of (2, 3) and (2, 3) differ"),
    ("ops.matmul(x, lc.tensor(1.0))", ShapeError, "matmul: inner sizes of (2, 3) and () differ"),
    (
        "ops.matmul(lc.zeros((2, 2, 3)), lc.zeros((4, 3, 2)))",
        ShapeError,
        "matmul: shapes (2, 2, 3) and (4, 3, 2) do not broadcast together",
    ),
    ('ops.matmul(x, "a")', DTypeError, "matmul: expected tensors, arrays or numbers, got 'a'"),
    ("ops.dot(x, x)", ShapeError, "dot: inner sizes of (2, 3) and (2, 3) differ"),
    (
        "ops.linear(x, lc.zeros((2, 5)))",
        ShapeError,
        "linear expects inputs whose last axis is 5 (weight is (2, 5)), got (2, 3)",
    ),
    ("ops.linear(x, x, lc.zeros(7))", ShapeError, "linear: a weight (2, 3) needs a bias of shape (2,), got (7,)"),
    ("ops.vecdot(x, w)", ShapeError, "vecdot: axis -1 differs in shapes (2, 3) and (4,)"),
    ("ops.vecdot(x, x, axis=4)", ShapeError, "vecdot: axis 4 is out of range for an array with 2 axes"),
    ("ops.outer(5, v)", ShapeError, "outer: expected two arrays, got int and Tensor"),
    ('ops.einsum("ij,jk->ik", x, x)', ShapeError, "einsum: axis 'j' has sizes 3 and 2"),
    ('ops.einsum("ij", x, x)', ShapeError, "einsum: 'ij' names 1 arrays, 2 were given"),
    ('ops.einsum("ij->k", x)', ShapeError, "einsum: output 'k' must name axes of the inputs, each once"),
    ('ops.einsum("ijk->i", x)', ShapeError, "einsum: term 'ijk' does not fit an array of shape (2, 3)"),
    ("ops.tensordot(x, x, 1)", ShapeError, "tensordot: axes (1,) of (2, 3) and (0,) of (2, 3) differ in size"),
    ("ops.tensordot(x, x, ([0], [5]))", ShapeError, "tensordot: axis 5 is out of range for an array with 2 axes"),
    ("ops.tensordot(x, x, 5)", ShapeError, "tensordot: axes=5 of arrays of shapes (2, 3) and (2, 3)"),
    ("ops.cross(w, w)", ShapeError, "cross: expected 3 elements on axis -1, got shapes (4,) and (4,)"),
    (
        'ops.cross(x, lc.zeros((4, 3), dtype="float64"))',
        ShapeError,
        "cross: shapes (2,) and (4,) do not broadcast together",
    ),
    ('ops.kron(x, "a")', ShapeError, "kron: expected two arrays, got Tensor and str"),
    ("ops.trace(v)", ShapeError, "trace: expected at least two axes, got shape (3,)"),
    ("ops.det(x)", ShapeError, "det: expected square matrices in the last two axes, got shape (2, 3)"),
    ("ops.slogdet(v)", ShapeError, "slogdet: expected square matrices in the last two axes, got shape (3,)"),
    ("ops.inv(x)", ShapeError, "inv: expected square matrices in the last two axes, got shape (2, 3)"),
    ("ops.inv(lc.ones((2, 2)))", LinearAlgebraError, "inv: Singular matrix (shape (2, 2))"),
    ('ops.inv(lc.ones((2, 2), dtype="float16"))', DTypeError, "inv((2, 2) float16):"),
    ("ops.cholesky(x)", ShapeError, "cholesky: expected square matrices in the last two axes, got shape (2, 3)"),
    (
        "ops.cholesky(lc.tensor([[1.0, 2.0], [2.0, 1.0]]))",
        LinearAlgebraError,
        "cholesky: Matrix is not positive definite (shape (2, 2))",
    ),
    ("ops.eigh(x)", ShapeError, "eigh: expected square matrices in the last two axes, got shape (2, 3)"),
    ("ops.eigvalsh(v)", ShapeError, "eigvalsh: expected square matrices in the last two axes, got shape (3,)"),
    ('ops.eigh(m, UPLO="X")', ShapeError, "eigh: UPLO must be 'L' or 'U', got 'X'"),
    ("ops.solve(m, w)", ShapeError, "solve: a (3, 3) and b (4,) differ in the number of rows"),
    ("ops.solve(lc.ones((2, 2)), lc.ones(2))", LinearAlgebraError, "solve: Singular matrix (shape (2, 2))"),
    ("ops.lstsq(x, w)", ShapeError, "lstsq: a (2, 3) and b (4,) differ in the number of rows"),
    ("ops.pinv(v)", ShapeError, "pinv: expected matrices in the last two axes, got shape (3,)"),
    ("ops.qr(v)", ShapeError, "qr: expected matrices in the last two axes, got shape (3,)"),
    ('ops.qr(x, "raw")', ShapeError, "qr: mode must be 'reduced' or 'complete', got 'raw'"),
    ("ops.svd(v)", ShapeError, "svd: expected matrices in the last two axes, got shape (3,)"),
    ("ops.matrix_power(m, 1.5)", ShapeError, "matrix_power: the exponent must be an int, got 1.5"),
    (
        'ops.matrix_norm(x, ord="max")',
        ShapeError,
        "matrix_norm: ord must be 'fro', 'nuc', 1, -1, 2, -2, inf or -inf, got 'max'",
    ),
    ("ops.matrix_norm(x, axis=(0, 0))", ShapeError, "matrix_norm: axis (0, 0) names an axis twice"),
    ("ops.matrix_rank(v)", ShapeError, "matrix_rank: expected matrices in the last two axes, got shape (3,)"),
]
FFT = [
    ("ops.fft(v, axis=4)", ShapeError, "fft: axis 4 is out of range for an array with 1 axes"),
    ("ops.ifft(v, axis=4)", ShapeError, "ifft: axis 4 is out of range for an array with 1 axes"),
    ("ops.rfft(v, axis=4)", ShapeError, "rfft: axis 4 is out of range for an array with 1 axes"),
    ("ops.irfft(v, axis=4)", ShapeError, "irfft: axis 4 is out of range for an array with 1 axes"),
    ("ops.hfft(v, axis=4)", ShapeError, "hfft: axis 4 is out of range for an array with 1 axes"),
    ("ops.ihfft(v, axis=4)", ShapeError, "ihfft: axis 4 is out of range for an array with 1 axes"),
    ("ops.fft2(v, axes=(4,))", ShapeError, "fft2: axis 4 is out of range for an array with 1 axes"),
    ("ops.ifft2(v, axes=(4,))", ShapeError, "ifft2: axis 4 is out of range for an array with 1 axes"),
    ("ops.fftn(v, axes=(4,))", ShapeError, "fftn: axis 4 is out of range for an array with 1 axes"),
    ("ops.ifftn(v, axes=(4,))", ShapeError, "ifftn: axis 4 is out of range for an array with 1 axes"),
    ("ops.rfftn(v, axes=(4,))", ShapeError, "rfftn: axis 4 is out of range for an array with 1 axes"),
    ("ops.irfftn(v, axes=(4,))", ShapeError, "irfftn: axis 4 is out of range for an array with 1 axes"),
    ('ops.fft(x, norm="half")', ShapeError, "fft: norm must be 'backward', 'forward' or 'ortho', got 'half'"),
    ('ops.hfft(x, norm="half")', ShapeError, "hfft: norm must be 'backward', 'forward' or 'ortho', got 'half'"),
    ("ops.fft(x, n=0)", ShapeError, "fft: the length of axis 1 must be at least 1, got 0"),
    ('ops.fft(x, n="a")', ShapeError, "fft: the length of axis 1 must be an int, got 'a'"),
    ("ops.irfft(x, n=0)", ShapeError, "irfft: the length of axis 1 must be at least 1, got 0"),
    ("ops.rfft(c)", DTypeError, "rfft: expected real values, got complex128"),
    ("ops.ihfft(c)", DTypeError, "ihfft: expected real values, got complex128"),
    ("ops.fftn(x, s=(2,), axes=(0, 1))", ShapeError, "fftn: 1 lengths for 2 axes"),
    ("ops.fftshift(x, axes=9)", ShapeError, "fftshift: axis 9 is out of range for an array with 2 axes"),
    ("ops.fft(lc.tensor(1.0))", ShapeError, "fft: axis -1 is out of range for an array with 0 axes"),
]
CREATION = [
    ("lc.zeros(-1)", ShapeError, "zeros(-1, dtype('float32')):"),
    ('lc.zeros(2, dtype="flot")', DTypeError, "unknown dtype 'flot'"),
    ('lc.zeros(2, device="tpu")', DeviceError, "unknown device 'tpu'"),
    ('lc.zeros("a")', ShapeError, "zeros('a', dtype('float32')):"),
    ("lc.arange(0, 1, 0)", ShapeError, "arange(0, 1, 0):"),
    ("lc.linspace(0, 1, -1)", ShapeError, "linspace(0, 1, -1):"),
    ("lc.eye(-1)", ShapeError, "eye(-1, None, 0):"),
    ("lc.tensor([[1], [1, 2]])", ShapeError, "tensor():"),
    ('lc.tensor("a")', DTypeError, "tensor():"),
    ("lc.zeros_like([1, 2])", DeviceError, "expected an array of numpy, got list"),
]


CASES = [*LINALG, *FFT, *CREATION]


@pytest.mark.parametrize(("call", "error", "message"), CASES, ids=[call for call, _, _ in CASES])
def test_a_mistake_is_named_with_the_function_and_what_came(call, error, message):
    with pytest.raises(error) as caught:
        eval(call, {"ops": ops, "lc": lc, "x": x, "v": v, "w": w, "m": m, "i": i, "c": c, "np": np})
    assert caught.value.message.startswith(message)
