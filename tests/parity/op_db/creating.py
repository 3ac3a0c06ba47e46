"""Spellings of functions that make arrays."""

from lunar_core.ops import creation

from .shaping import sizes


def arange(start, end=None, step=1, *, dtype=None):
    return creation.arange(start, end, step, dtype=dtype)


def linspace(start, end, steps, *, dtype=None):
    return creation.linspace(start, end, steps, dtype=dtype)


def shaped(function):
    return lambda *size, dtype=None: function(sizes(size), dtype=dtype)


def of_its_dtype(function):
    return lambda x, *args, dtype=None: function(*args, dtype=x.dtype if dtype is None else dtype)


def fill(x, value):
    return creation.full_like(x, value)


SPELLINGS = {
    "zeros": shaped(creation.zeros), "ones": shaped(creation.ones), "full": creation.full, "eye": creation.eye,
    "arange": arange, "linspace": linspace,
    "zeros_like": lambda x, dtype=None: creation.zeros_like(x, dtype=dtype),
    "ones_like": lambda x, dtype=None: creation.ones_like(x, dtype=dtype),
    "full_like": lambda x, value, dtype=None: creation.full_like(x, value, dtype=dtype),
    "new_zeros": of_its_dtype(creation.zeros), "new_ones": of_its_dtype(creation.ones), "new_full": of_its_dtype(creation.full),
    "fill": fill,
}  # fmt: skip
