"""Spellings of functions that move, join, cut and repeat."""

import numpy as np

from lunar_core import ops

from .spelling import Differs, names, numpy, one_axis, same


def widths(x, pairs):
    """PyTorch's padding, from the last axis to the first, as ours: a pair an axis."""
    pairs = list(pairs)
    if any(n < 0 for n in pairs):
        raise Differs("negative widths cut; here a slice does that and pad refuses them")
    known = [tuple(pairs[i : i + 2]) for i in range(0, len(pairs), 2)][::-1]
    return [(0, 0)] * (x.ndim - len(known)) + known


def pad(x, pairs, mode="constant", value=0.0):
    return ops.pad(x, widths(x, pairs), mode=mode, value=0.0 if value is None else value)


def sizes(args):
    return tuple(args[0]) if len(args) == 1 and isinstance(args[0], (tuple, list)) else tuple(args)


def expand(x, *shape):
    shape = sizes(shape)
    behind = len(shape) - x.ndim
    return ops.broadcast_to(x, tuple(x.shape[i - behind] if n == -1 else n for i, n in enumerate(shape)))


def split(x, size, dim=0):
    """PyTorch names the sizes of the parts, we (as NumPy) the places of the cuts."""
    n = x.shape[dim]
    lengths = [size] * -(-n // size) if isinstance(size, int) else list(size)
    return ops.split(x, [int(edge) for edge in np.cumsum(lengths[:-1])], axis=dim)


def narrow(x, dim, start, length):
    start = int(start)
    start = start + x.shape[dim] if start < 0 else start
    return x[(slice(None),) * (dim % x.ndim) + (slice(start, start + length),)]


def slice_(x, dim=0, start=None, end=None, step=1):
    return x[(slice(None),) * dim + (slice(start, end, step),)]


def select(x, dim, index):
    return x[(slice(None),) * (dim % x.ndim) + (index,)]


def squeeze(x, dim=None):
    """PyTorch leaves axes of another size than 1 alone; we refuse them."""
    if dim is None:
        return ops.squeeze(x)
    dims = (dim,) if isinstance(dim, int) else dim
    return ops.squeeze(x, tuple(d for d in dims if x.ndim and x.shape[d] == 1))


def flatten(x, start_dim=0, end_dim=-1):
    return ops.flatten(x, start_dim, end_dim)


def repeat_interleave(x, repeats, dim=None, output_size=None):
    return ops.repeat(x, repeats, axis=dim)


def diagonal(x, offset=0, dim1=0, dim2=1):
    return ops.diagonal(x, offset, dim1, dim2)


def roll(x, shifts, dims=None):
    return ops.roll(x, shifts, axis=dims)


def unfold(x, dim, size, step):
    return ops.sliding_windows(x, size, axis=one_axis(x, dim), step=step)


def concat(arrays, dim=0):
    """PyTorch still takes 1-D arrays of size 0 among others of any rank."""
    if len({getattr(x, "ndim", 1) for x in arrays}) > 1:
        raise Differs("arrays of different rank are refused, also when one is an empty vector")
    return ops.concat(arrays, axis=dim)


def join(function):
    return lambda arrays, dim=0: function(arrays, axis=dim)


def meshgrid(*arrays, indexing):
    arrays = arrays[0] if isinstance(arrays[0], (list, tuple)) else arrays
    if any(x.ndim == 0 for x in arrays):
        raise Differs("axes of a grid are vectors, numbers are refused")
    return ops.meshgrid(*arrays, indexing=indexing)


def many(function):
    """PyTorch's ``atleast`` functions take arrays one by one or in a list."""

    def spelled(*arrays):
        return function(*arrays[0]) if isinstance(arrays[0], (list, tuple)) else function(*arrays)

    return spelled


def swap(x, dim0, dim1):
    return ops.swapaxes(x, dim0, dim1) if x.ndim else x


def cast(dtype):
    return lambda x, **_: x.astype(dtype)


def to(x, *args, **kwargs):
    dtype = next((a for a in [*args, *kwargs.values()] if isinstance(a, np.dtype)), None)
    like = next((a for a in args if hasattr(a, "shape")), None)
    return x.astype(dtype if dtype is not None else like.dtype if like is not None else x.dtype)


def tensor_split(x, sections, dim=0):
    if hasattr(sections, "tolist"):
        sections = sections.tolist()
    return np.array_split(x, sections, axis=dim)


SPELLINGS = {
    **names("broadcast_to reshape tile"), **numpy("hstack vstack dstack column_stack fliplr flipud ravel"),
    "block_diag": lambda *arrays: ops.block_diag(arrays), "repeat": lambda x, *reps: ops.tile(x, sizes(reps)),
    "expand": expand, "expand_copy": expand, "expand_as": lambda x, y: expand(x, y.shape),
    "broadcast_tensors": ops.broadcast_arrays,
    "chunk": same("chunk", dim="axis"), "unsafe_chunk": same("chunk", dim="axis"),
    "clone": np.copy,
    "diag": same("diag"), "diagonal": diagonal, "diagonal_copy": diagonal,
    "linalg.diagonal": lambda x, *, offset=0, dim1=-2, dim2=-1: diagonal(x, offset, dim1, dim2),
    "diag_embed": lambda x, offset=0, dim1=-2, dim2=-1: ops.diag_embed(x, offset, dim1, dim2),
    "rot90": lambda x, k=1, dims=(0, 1): np.rot90(x, k, tuple(dims)), "flatten": flatten,
    "unflatten": ops.unflatten,
    "flip": same("flip", dims="axis"),
    "meshgrid/variadic_tensors": meshgrid, "meshgrid/list_of_tensors": meshgrid,
    "movedim": same("moveaxis"), "permute": same("permute_dims", dims="axes"),
    "permute_copy": same("permute_dims", dims="axes"),
    "reshape_as": lambda x, y: ops.reshape(x, y.shape), "view": lambda x, *s: ops.reshape(x, sizes(s)),
    "view_as": lambda x, y: ops.reshape(x, y.shape), "view_copy": lambda x, *s: ops.reshape(x, sizes(s)),
    "roll": roll, "select": select, "narrow": narrow, "narrow_copy": narrow, "slice": slice_,
    "split": split, "split/list_args": split, "split_with_sizes": split, "split_with_sizes_copy": split, "unsafe_split": split,
    "tensor_split": tensor_split,
    "hsplit": lambda x, n: tensor_split(x, n, dim=1 if x.ndim > 1 else 0),
    "vsplit": tensor_split, "dsplit": lambda x, n: tensor_split(x, n, dim=2),
    "squeeze": squeeze, "squeeze/multiple": squeeze, "squeeze_copy": squeeze,
    "unsqueeze": same("expand_dims", dim="axis"), "unsqueeze_copy": same("expand_dims", dim="axis"),
    "stack": join(ops.stack), "cat": concat,
    "atleast_1d": many(np.atleast_1d), "atleast_2d": many(np.atleast_2d), "atleast_3d": many(np.atleast_3d),
    "transpose": swap, "transpose_copy": swap, "t": same("transpose"), "t_copy": same("transpose"),
    "T": lambda x: x.T, "mT": lambda x: x.mT,
    "tril": same("tril"), "triu": same("triu"),
    "unbind": same("unbind", dim="axis"), "unbind_copy": same("unbind", dim="axis"),
    "repeat_interleave": repeat_interleave, "unfold": unfold, "unfold_copy": unfold,
    "constant_pad_nd": lambda x, pairs, value=0.0: pad(x, pairs, "constant", value),
    **{f"nn.functional.pad/{mode}": pad for mode in ("constant", "reflect", "replicate", "circular")},
    "to": to, "double": cast(np.float64), "float": cast(np.float32), "half": cast(np.float16), "int": cast(np.int32),
    "long": cast(np.int64), "short": cast(np.int16), "char": cast(np.int8), "byte": cast(np.uint8), "bool": cast(np.bool_),
    "cdouble": cast(np.complex128), "cfloat": cast(np.complex64),
    "nn.functional.pixel_shuffle": same("pixel_shuffle", upscale_factor="factor"),
    "nn.functional.pixel_unshuffle": same("pixel_unshuffle", downscale_factor="factor"),
    "nn.functional.channel_shuffle": same("channel_shuffle"),
}  # fmt: skip
