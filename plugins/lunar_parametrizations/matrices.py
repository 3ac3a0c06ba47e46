"""Weights that are matrices of a kind: symmetric, orthogonal, of low rank."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from lunar_core import backend, ops
from lunar_core.component import field, one_of, positive
from lunar_core.contracts.parametrization import Parametrization
from lunar_core.errors import ShapeError
from lunar_core.module import Buffer
from lunar_core.tensor import Tensor


def constant(array: np.ndarray, like: Tensor) -> Tensor:
    """A host array as a Tensor in the dtype and on the device of ``like``."""
    owner = backend.of(like.data)
    return Tensor(owner.from_numpy(array.astype(like.dtype), owner.device_of(like.data)))


class Symmetric(Parametrization):
    """``triu(X) + triu(X, 1)^T``: the upper triangle is learned and mirrored; matrices (..., n, n).

    The example of PyTorch's tutorial on parametrizations. A matrix that is not symmetric keeps its upper triangle.
    """

    def prepare(self, value: Tensor) -> None:
        if value.ndim < 2 or value.shape[-1] != value.shape[-2]:
            raise ShapeError(f"Symmetric: expected square matrices (..., n, n), got shape {value.shape}")

    def forward(self, original: Tensor) -> Tensor:
        return ops.triu(original) + ops.swapaxes(ops.triu(original, 1), -1, -2)

    def right_inverse(self, value: Tensor) -> Tensor:
        return ops.triu(value)


class Orthogonal(Parametrization):
    """Matrices (..., m, n) with orthonormal columns, or rows where m < n.

    With k = min(m, n), A the skew-symmetric matrix whose first k columns below the diagonal are those of the learned X,
    and B an orthogonal matrix whose first k columns are the value at the start, the value is the first k columns of

    - ``map="cayley"`` (default): ``B (I - A/2)^-1 (I + A/2)``. Helfrich, Willmott and Ye, Orthogonal Recurrent Neural
      Networks with Scaled Cayley Transform (2017), arXiv:1707.09520, in PyTorch's scaling.
    - ``map="matrix_exp"``: ``B exp(A)``. Lezcano-Casado and Martinez-Rubio, Cheap Orthogonal Constraints in Neural
      Networks (2019), arXiv:1901.08428. The exponential is taken by scaling and squaring of a Taylor polynomial of
      degree 18.

    PyTorch's ``parametrizations.orthogonal`` with its trivialization. A value that is not orthogonal is made so by a QR
    decomposition whose R has a positive diagonal. X starts at zero; B is a buffer.
    """

    map: str = field(default="cayley", validator=one_of("cayley", "matrix_exp"))

    def prepare(self, value: Tensor) -> None:
        if value.ndim < 2:
            raise ShapeError(f"Orthogonal: expected matrices (..., m, n), got shape {value.shape}")

    def right_inverse(self, value: Tensor) -> Tensor:
        wide = value.shape[-2] < value.shape[-1]
        q, r = ops.qr(ops.swapaxes(value, -1, -2) if wide else value, mode="complete")
        # The signs of R's diagonal belong to Q, so that an orthogonal matrix is its own Q.
        k = r.shape[-1]
        signs = ops.sign(ops.diagonal(r, 0, r.ndim - 2, r.ndim - 1))
        signs = ops.where(signs == 0, 1.0, signs).astype(value.dtype)
        columns = q[..., :k] * ops.expand_dims(signs, -2)
        self.base = Buffer(ops.concat([columns, q[..., k:]], axis=-1).data.copy())
        return value * 0

    def forward(self, original: Tensor) -> Tensor:
        wide = original.shape[-2] < original.shape[-1]
        x = ops.swapaxes(original, -1, -2) if wide else original
        n, k = x.shape[-2:]
        lower = ops.tril(x, -1)
        if n != k:
            lower = ops.concat([lower, x[..., :1] * constant(np.zeros(n - k), x)], axis=-1)
        a = lower - ops.swapaxes(lower, -1, -2)
        eye = constant(np.eye(n), x)
        turned = ops.solve(eye - a * 0.5, eye + a * 0.5) if self.map == "cayley" else matrix_exp(a, eye)
        q = Tensor(self.base.data) @ turned[..., :k]
        return ops.swapaxes(q, -1, -2) if wide else q


def matrix_exp(a: Tensor, eye: Tensor, degree: int = 18) -> Tensor:
    """``exp(a)`` of matrices (..., n, n): ``exp(a / 2^s)^(2^s)`` with ``|a| / 2^s <= 1`` and a Taylor polynomial."""
    largest = float(ops.absolute(a.detach()).sum(axis=-1).max().item()) if a.size else 0.0
    squarings = max(0, int(np.ceil(np.log2(largest)))) if largest > 0 else 0
    a = a * 0.5**squarings
    result = eye + a * (1.0 / degree)
    for i in range(degree - 1, 0, -1):  # Horner
        result = eye + (a @ result) * (1.0 / i)
    for _ in range(squarings):
        result = result @ result
    return result


class LowRank(Parametrization):
    """``W = left @ right`` with ``left`` (..., m, rank) and ``right`` (..., rank, n).

    The value at the start becomes the nearest matrix of that rank, by the singular value decomposition (Eckart and
    Young, 1936), each factor taking the square roots of the singular values, so that both have the same scale. A rank
    of min(m, n) or more changes nothing but the number of parameters.
    """

    parts: ClassVar[tuple[str, ...]] = ("left", "right")

    rank: int = field(default=8, validator=positive, doc="largest rank of the weight")

    def prepare(self, value: Tensor) -> None:
        if value.ndim < 2:
            raise ShapeError(f"LowRank: expected matrices (..., m, n), got shape {value.shape}")

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        return left @ right

    def right_inverse(self, value: Tensor) -> tuple[Tensor, Tensor]:
        u, s, vh = ops.svd(value, full_matrices=False)
        root = ops.sqrt(s[..., : self.rank])
        return u[..., : self.rank] * ops.expand_dims(root, -2), ops.expand_dims(root, -1) * vh[..., : self.rank, :]
