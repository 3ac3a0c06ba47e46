"""Shape rules and sample makers that the families of ops share."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable
from typing import Any, NoReturn, TypeVar

import numpy as np

from ..errors import ArgumentError, LunarError, ShapeError
from ..op import Sample, Spec

F = TypeVar("F", bound=Callable[..., Any])


def speaks_as(name: str) -> Callable[[F], F]:
    """Decorator of a function composed of ops: an error inside of it starts with ``name``, not with that of the op."""

    def decorate(function: F) -> F:
        @functools.wraps(function)
        def named(*args: Any, **kwargs: Any) -> Any:
            try:
                return function(*args, **kwargs)
            except LunarError as exc:
                head, colon, rest = exc.message.partition(": ")
                if colon and head != name and " " not in head:
                    exc.message = f"{name}: {rest}"
                raise

        return named  # type: ignore[return-value]

    return decorate


_NAMES_HERE = {"dim": "axis", "dims": "axis", "keepdim": "keepdims", "ddof": "correction", "unbiased": "correction"}


def refuse(function: str, unknown: dict[str, Any]) -> NoReturn:
    """Raise for keyword arguments that ``function`` does not have; those of PyTorch and NumPy are known by their names here."""
    name, value = next(iter(unknown.items()))
    here = _NAMES_HERE.get(name)
    raise ArgumentError(
        f"{function}() has no argument {name!r}",
        hint=f"write {here}={int(value) if name == 'unbiased' else value!r}" if here else None,
    )


def normalize_axis(axis: Any, ndim: int, op: str) -> tuple[int, ...]:
    """``axis`` (an int, a sequence, or None for all) as a tuple of non-negative ints without repeats."""
    if axis is None:
        return tuple(range(ndim))
    axes = tuple(axis) if isinstance(axis, Iterable) else (axis,)
    result = []
    for a in axes:
        if not isinstance(a, (int, np.integer)):
            raise ShapeError(f"{op}: axis must be an int, a tuple of ints or None, got {axis!r}")
        if not -ndim <= a < ndim:
            raise ShapeError(f"{op}: axis {a} is out of range for an array with {ndim} axes")
        result.append(int(a) % ndim)
    if len(set(result)) != len(result):
        raise ShapeError(f"{op}: axis {axis!r} names an axis twice")
    return tuple(result)


def reduced_shape(shape: tuple[int, ...], axis: Any, keepdims: bool, op: str) -> tuple[int, ...]:
    """The shape after reducing ``axis``."""
    axes = normalize_axis(axis, len(shape), op)
    if keepdims:
        return tuple(1 if i in axes else n for i, n in enumerate(shape))
    return tuple(n for i, n in enumerate(shape) if i not in axes)


def scalar_dtype(value: Any) -> Any:
    """A Spec's dtype, or a Python number as it is: NumPy treats those as weak."""
    return value.dtype if isinstance(value, Spec) else value


def shape_of(value: Any) -> tuple[int, ...]:
    return value.shape if isinstance(value, Spec) else ()


def elementwise_spec(ufunc: np.ufunc | None = None, dtype: Any = None) -> Callable[..., Spec]:
    """Abstract rule of an op that broadcasts: the dtype is ``dtype``, or what ``ufunc`` gives."""

    def abstract(*specs: Any, **static: Any) -> Spec:
        shape = np.broadcast_shapes(*[shape_of(s) for s in specs])
        if dtype is not None:
            return Spec(shape, np.dtype(dtype))
        if ufunc is None:
            return Spec(shape, np.result_type(*[scalar_dtype(s) for s in specs]))
        # a one-element computation follows NumPy's own promotion, weak Python numbers included
        ones = [np.ones((), s.dtype) if isinstance(s, Spec) else s for s in specs]
        with np.errstate(all="ignore"):
            return Spec(shape, np.asarray(ufunc(*ones)).dtype)

    return abstract


def same_spec(x: Spec, *_: Any, **__: Any) -> Spec:
    """Abstract rule of an op whose result looks like its first input."""
    return x


def wide(dtype: np.dtype) -> Any:
    """The dtype to accumulate in: float32 for float16 and bfloat16, ``None`` (as it is) for all others.

    A running sum in half precision stands still once it is a few hundred (bfloat16) or thousand (float16) times its
    terms. ml_dtypes' types have NumPy's kind "V".
    """
    return np.float32 if dtype.itemsize == 2 and dtype.kind in "fV" else None


def keeps_half(forward: Callable[..., Any]) -> Callable[..., Any]:
    """``forward(xp, x, ...)`` with the result in the dtype of bfloat16 inputs, which Python floats make float32."""

    def rounded(xp: Any, x: Any, *rest: Any, **static: Any) -> Any:
        out = forward(xp, x, *rest, **static)
        return out if x.dtype.kind != "V" or out.dtype == x.dtype else out.astype(x.dtype)

    return rounded


# -- samples -----------------------------------------------------------------------------------------------------------


def array(seed: int, shape: tuple[int, ...], low: float = -2.0, high: float = 2.0) -> np.ndarray:
    """Reproducible float64 values in [low, high), pairwise distinct; no generator, which would cost import time."""
    count = math.prod(shape)
    golden = 0.6180339887498949  # multiples of it fill the unit interval evenly and never repeat
    values = (np.arange(1, count + 1) * golden + seed * 0.7548776662466927) % 1.0
    scrambled = (values * 1009.0 + 0.1234567) % 1.0
    return np.asarray(low + (high - low) * scrambled.reshape(shape))


def complex_array(seed: int, shape: tuple[int, ...], low: float = -2.0, high: float = 2.0) -> np.ndarray:
    """Complex values with real parts as :func:`array` gives them and imaginary parts in [0.3, 1), off every branch cut."""
    return np.asarray(array(seed, shape, low, high) + 1j * array(seed + 100, shape, 0.3, 1.0))


def unary(low: float, high: float, *, avoid: tuple[float, ...] = (), grad: bool = True, torch: Any = None) -> Any:
    """Samples of a function of one array on [low, high], kept 0.05 away from the points ``avoid``."""

    def make() -> list[Sample]:
        samples = []
        for seed, shape in enumerate([(), (3,), (2, 3), (2, 0), (2, 1, 4)]):
            x = array(seed, shape, low, high)
            for point in avoid:
                x = np.where(np.abs(x - point) < 0.05, x + 0.1, x)
            samples.append(Sample((x,), grad=grad, torch=torch))
        strided = array(9, (4, 6), low, high)
        for point in avoid:
            strided = np.where(np.abs(strided - point) < 0.05, strided + 0.1, strided)
        samples.append(Sample((strided[::2, 1:5].T,), grad=grad, torch=torch))
        return samples

    return make


def binary(
    low: float = -2.0,
    high: float = 2.0,
    *,
    second: tuple[float, float] | None = None,
    grad: bool = True,
    torch: Any = None,
) -> Any:
    """Samples of a broadcasting function of two arrays, with numbers on either side."""
    low2, high2 = second or (low, high)
    shapes: list[tuple[tuple[int, ...], tuple[int, ...]]] = [
        ((2, 3), (2, 3)), ((2, 3), (3,)), ((2, 1), (1, 3)), ((), (2, 2)), ((3,), ()), ((2, 0), (1, 1)), ((4, 1, 2), (3, 1)),
    ]  # fmt: skip

    def make() -> list[Sample]:
        samples = [
            Sample((array(i, a, low, high), array(i + 50, b, low2, high2)), grad=grad, torch=torch)
            for i, (a, b) in enumerate(shapes)
        ]
        number = 0.5 * (low2 + high2) + 0.3
        samples.append(Sample((array(20, (2, 3), low, high), number), grad=grad, torch=torch))
        samples.append(Sample((array(21, (3, 4), low, high).T, array(22, (4, 3), low2, high2)), grad=grad, torch=torch))
        return samples

    return make
