"""Spellings of the Fourier family."""

from lunar_core import ops


def one(function):
    return lambda x, n=None, dim=-1, norm=None: function(x, n=n, axis=dim, norm=norm)


def two(function):
    return lambda x, s=None, dim=(-2, -1), norm=None: function(
        x, s=s, axes=(dim,) if isinstance(dim, int) else dim, norm=norm
    )


def many(function):
    def spelled(x, s=None, dim=None, norm=None):
        dim = (dim,) if isinstance(dim, int) else dim
        if s is not None and dim is None:
            dim = tuple(range(x.ndim - len(s), x.ndim))
        return function(x, s=s, axes=dim, norm=norm)

    return spelled


def shift(function):
    return lambda x, dim=None: function(x, axes=dim)


SPELLINGS = {
    **{f"fft.{name}": one(getattr(ops, name)) for name in "fft ifft rfft irfft hfft ihfft".split()},
    **{f"fft.{name}": two(getattr(ops, name)) for name in "fft2 ifft2 rfft2 irfft2".split()},
    **{f"fft.{name}": many(getattr(ops, name)) for name in "fftn ifftn rfftn irfftn".split()},
    "fft.fftshift": shift(ops.fftshift), "fft.ifftshift": shift(ops.ifftshift),
}  # fmt: skip
