"""Spellings of convolution, pooling, unfolding and resampling.

PyTorch also takes a single image without the axis of the batch; ours takes batches.
"""

from lunar_core import ops

from .spelling import Differs


def one_axis_int(value, rank):
    """For one axis PyTorch takes a tuple of one number, ours the number."""
    return value[0] if rank == 1 and isinstance(value, (tuple, list)) else value


def conv(name, rank):
    def spelled(x, weight, bias=None, **geometry):
        single = x.ndim == rank + 1
        geometry = {key: one_axis_int(value, rank) for key, value in geometry.items()}
        out = getattr(ops, name)(x[None] if single else x, weight, bias, **geometry)
        return out[0] if single else out

    return spelled


def max_pool(name, rank):
    def spelled(x, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False):
        single = x.ndim == rank + 1
        out = getattr(ops, name)(
            x[None] if single else x, kernel_size, stride=None if stride == () else stride, padding=padding, dilation=dilation,
            ceil_mode=ceil_mode, return_indices=return_indices,
        )  # fmt: skip
        if return_indices:
            return tuple(o[0] for o in out) if single else tuple(out)
        return out[0] if single else out

    return spelled


def each_axis(value, rank):
    """PyTorch takes a tuple of one number for all axes."""
    return tuple(value) * rank if isinstance(value, (tuple, list)) and len(value) == 1 else value


def avg_pool(name, rank):
    def spelled(x, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True, divisor_override=None):
        if divisor_override is not None:
            raise Differs("the divisor of an average is the number of its elements")
        single = x.ndim == rank + 1
        out = getattr(ops, name)(
            x[None] if single else x, kernel_size, stride=None if stride == () else stride, padding=each_axis(padding, rank),
            ceil_mode=ceil_mode, count_include_pad=count_include_pad,
        )  # fmt: skip
        return out[0] if single else out

    return spelled


def adaptive(name, rank):
    def spelled(x, output_size, return_indices=False):
        single = x.ndim == rank + 1
        size = (output_size,) * rank if isinstance(output_size, int) else tuple(output_size)
        size = tuple(n if s is None else s for s, n in zip(size, x.shape[-rank:]))
        more = {"return_indices": True} if return_indices else {}
        out = getattr(ops, name)(x[None] if single else x, size, **more)
        if return_indices:
            return tuple(o[0] for o in out) if single else tuple(out)
        return out[0] if single else out

    return spelled


def unpool(name, rank):
    def spelled(x, indices, kernel_size, stride=None, padding=0, output_size=None):
        single = x.ndim == rank + 1
        if single:
            x, indices = x[None], indices[None]
        size = None if output_size is None else tuple(output_size)[-rank:]
        out = getattr(ops, name)(x, indices, kernel_size, stride=stride, padding=padding, output_size=size)
        return out[0] if single else out

    return spelled


def unfold(x, kernel_size, dilation=1, padding=0, stride=1):
    single = x.ndim == 3
    out = ops.unfold(x[None] if single else x, kernel_size, dilation=dilation, padding=padding, stride=stride)
    return out[0] if single else out


def interpolate(
    x, size=None, scale_factor=None, mode="nearest", align_corners=None, recompute_scale_factor=None, antialias=False
):
    if antialias:
        raise Differs("there is no antialiasing")
    return ops.interpolate(
        x,
        size,
        scale_factor,
        mode,
        align_corners=bool(align_corners),
        recompute_scale_factor=bool(recompute_scale_factor),
    )


def upsample(mode, align_corners=False):
    return lambda x, size=None, scale_factor=None: ops.interpolate(
        x, size, scale_factor, mode, align_corners=align_corners
    )


def grid_sample(x, grid, mode="bilinear", padding_mode="zeros", align_corners=False):
    return ops.grid_sample(x, grid, mode, padding_mode, align_corners=bool(align_corners))


def grid_sampler(x, grid, mode, padding_mode, align_corners):
    """The inner function, which takes numbers for the modes."""
    return grid_sample(
        x,
        grid,
        ("bilinear", "nearest", "bicubic")[mode],
        ("zeros", "border", "reflection")[padding_mode],
        align_corners,
    )


SPELLINGS = {
    **{f"nn.functional.conv{n}d": conv(f"conv{n}d", n) for n in (1, 2, 3)},
    **{f"nn.functional.conv_transpose{n}d": conv(f"conv_transpose{n}d", n) for n in (1, 2, 3)},
    **{f"nn.functional.max_pool{n}d": max_pool(f"max_pool{n}d", n) for n in (1, 2, 3)},
    **{f"nn.functional.avg_pool{n}d": avg_pool(f"avg_pool{n}d", n) for n in (1, 2, 3)},
    **{f"nn.functional.adaptive_{kind}_pool{n}d": adaptive(f"adaptive_{kind}_pool{n}d", n)
       for n in (1, 2, 3) for kind in ("avg", "max")},
    **{f"nn.functional.max_unpool{n}d{suffix}": unpool(f"max_unpool{n}d", n) for n in (1, 2, 3) for suffix in ("", "/grad")},
    "nn.functional.unfold": unfold,
    **{f"nn.functional.interpolate/{mode}": interpolate
       for mode in ("nearest", "nearest-exact", "linear", "bilinear", "bicubic", "trilinear", "area")},
    "nn.functional.upsample_nearest": upsample("nearest"), "nn.functional.upsample_bilinear": upsample("bilinear", True),
    "nn.functional.grid_sample": grid_sample, "grid_sampler_2d": grid_sampler, "grid_sampler_3d": grid_sampler,
}  # fmt: skip
