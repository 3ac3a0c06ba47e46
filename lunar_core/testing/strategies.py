"""Hypothesis strategies for tests of ops and layers: shapes, dtypes, shapes that broadcast, axes, indices, arrays.

    from hypothesis import given
    from lunar_core.testing import strategies as lst

    @given(lst.broadcastable_shapes(2).flatmap(lambda s: st.tuples(*[lst.arrays(shape=shape) for shape in s])))
    def test_addition_commutes(pair): ...

Needs the package hypothesis, which ``lunar_core.testing`` itself does not import. Values shrink towards small shapes and
zeros, so a failing example is short.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..dtypes import as_dtype, is_floating
from ..errors import DTypeError
from ..tensor import Tensor

try:
    from hypothesis import strategies as st
    from hypothesis.extra import numpy as hnp
except ImportError as exc:
    raise ImportError("lunar_core.testing.strategies needs hypothesis: pip install hypothesis") from exc

KINDS: dict[str, tuple[str, ...]] = {
    "bool": ("bool",),
    "signed": ("int8", "int16", "int32", "int64"),
    "unsigned": ("uint8", "uint16", "uint32", "uint64"),
    "half": ("float16", "bfloat16"),
    "real": ("float32", "float64"),
    "complex": ("complex64", "complex128"),
}
KINDS["integer"] = KINDS["signed"] + KINDS["unsigned"]
KINDS["floating"] = KINDS["real"] + KINDS["complex"]
KINDS["numeric"] = KINDS["integer"] + KINDS["floating"]
KINDS["all"] = KINDS["bool"] + KINDS["numeric"]


def shapes(min_dims: int = 0, max_dims: int = 4, min_side: int = 0, max_side: int = 5) -> st.SearchStrategy[Any]:
    """Shapes, axes of size 0 and 1 and arrays without axes included unless the limits say otherwise."""
    return hnp.array_shapes(min_dims=min_dims, max_dims=max_dims, min_side=min_side, max_side=max_side) | (
        st.just(()) if min_dims == 0 else st.nothing()
    )


def dtypes(*kinds: str) -> st.SearchStrategy[np.dtype]:
    """dtypes of the named ``kinds``, "all" when none is given: bool, signed, unsigned, integer, half, real, complex, floating,
    numeric, all.
    """
    for kind in kinds:
        if kind not in KINDS:
            raise DTypeError(f"dtypes(): unknown kind {kind!r}", hint=f"known: {', '.join(KINDS)}")
    return st.sampled_from([as_dtype(name) for kind in kinds or ("all",) for name in KINDS[kind]])


def broadcastable_shapes(
    count: int = 2, min_dims: int = 0, max_dims: int = 4, min_side: int = 1, max_side: int = 4
) -> st.SearchStrategy[tuple[tuple[int, ...], ...]]:
    """Tuples of ``count`` shapes that broadcast together."""
    return hnp.mutually_broadcastable_shapes(
        num_shapes=count, min_dims=min_dims, max_dims=max_dims, min_side=min_side, max_side=max_side
    ).map(lambda found: found.input_shapes)


def axes(ndim: int, tuples: bool = True, none: bool = True) -> st.SearchStrategy[Any]:
    """Values of ``axis`` for an array with ``ndim`` axes: ints of either sign, tuples of them, and None."""
    found: st.SearchStrategy[Any] = st.none() if none else st.nothing()
    if ndim:
        found = found | st.integers(-ndim, ndim - 1)
        if tuples:
            found = found | hnp.valid_tuple_axes(ndim, min_size=1)
    return found


def indices(shape: tuple[int, ...], advanced: bool = True) -> st.SearchStrategy[Any]:
    """What may stand in ``x[...]`` for an array of ``shape``: ints, slices, Ellipsis, None; with ``advanced`` also integer
    arrays and bool masks.
    """
    found: st.SearchStrategy[Any] = hnp.basic_indices(shape, allow_newaxis=True)
    if advanced and shape and all(shape):
        masks = hnp.arrays(np.bool_, st.integers(1, len(shape)).map(lambda n: shape[:n]))
        found = found | hnp.integer_array_indices(shape, result_shape=hnp.array_shapes(max_dims=2, max_side=4)) | masks
    return found


def arrays(
    dtype: Any = "float64",
    shape: Any = None,
    *,
    low: float | None = -10,
    high: float | None = 10,
    unique: bool = False,
    special: bool = False,
) -> st.SearchStrategy[np.ndarray]:
    """NumPy arrays of ``dtype`` and ``shape``, each a value or a strategy; all of :func:`shapes` by default.

    Numbers lie in [low, high], cut to what an integer dtype holds; complex ones have both parts there. ``special`` adds
    infinities, NaN and -0.0 to floating values.
    """
    shape = shapes() if shape is None else shape
    if isinstance(dtype, st.SearchStrategy):
        return dtype.flatmap(lambda d: arrays(d, shape, low=low, high=high, unique=unique, special=special))
    dtype = as_dtype(dtype)
    if is_floating(dtype) and dtype.kind != "f":  # hypothesis knows NumPy's own dtypes only
        narrow = arrays("float32", shape, low=low, high=high, unique=unique, special=special)
        return narrow.map(lambda a: a.astype(dtype))
    return hnp.arrays(dtype, shape, elements=_elements(dtype, low, high, special), unique=unique)


def _elements(dtype: np.dtype, low: float | None, high: float | None, special: bool) -> st.SearchStrategy[Any]:
    if dtype.kind == "b":
        return st.booleans()
    if dtype.kind in "iu":
        info = np.iinfo(dtype)
        first = info.min if low is None else max(int(low), int(info.min))
        last = info.max if high is None else min(int(high), int(info.max))
        return st.integers(int(first), int(last))
    part = np.dtype(f"float{dtype.itemsize * 4}") if dtype.kind == "c" else dtype
    width = part.itemsize * 8
    finite = st.floats(low, high, width=width, allow_nan=False, allow_infinity=False, allow_subnormal=False)  # type: ignore[arg-type]
    found = finite | st.sampled_from([np.inf, -np.inf, np.nan, -0.0]) if special else finite
    return st.builds(complex, found, found) if dtype.kind == "c" else found


def tensors(
    dtype: Any = "float64", shape: Any = None, *, requires_grad: bool = False, **values: Any
) -> st.SearchStrategy[Tensor]:
    """Tensors over :func:`arrays`, which takes the further arguments."""
    return arrays(dtype, shape, **values).map(lambda a: Tensor(a, requires_grad))


__all__ = ["KINDS", "arrays", "axes", "broadcastable_shapes", "dtypes", "indices", "shapes", "tensors"]
