"""What the tables of spellings share: how PyTorch's arguments are said in ours.

A spelling takes what PyTorch's function takes, tensors already turned into ours, and calls the one function of
``lunar_core.ops`` that is its counterpart. It renames, reorders and drops arguments; it computes nothing itself.
"""

import numpy as np

from lunar_core import ops


class Differs(Exception):
    """Raised by a spelling for arguments with which ours differs on purpose; the text says how."""


def same(name, **renamed):
    """The function ``name`` of ours with the same arguments; ``renamed`` maps PyTorch's keywords to ours."""

    def spelled(*args, **kwargs):
        return getattr(ops, name)(*args, **{renamed.get(key, key): value for key, value in kwargs.items()})

    return spelled


def names(text):
    """The spellings of functions with equal names and arguments."""
    return {name: same(name) for name in text.split()}


def numpy(text):
    """The spellings of NumPy functions of these names, which on our tensors are ours and differentiable."""
    return {name: getattr(np, name) for name in text.split()}


def leading(function):
    """A function of which PyTorch also gives further results; the first ones are compared."""

    def spelled(*args, **kwargs):
        return Leading(function(*args, **kwargs))

    return spelled


class Leading:
    """Results that are the first ones of PyTorch's."""

    def __init__(self, results):
        self.results = list(results) if isinstance(results, tuple) else [results]


def axes(x, dim):
    """PyTorch's ``dim`` of a reduction: ``()`` is all axes too, and an array without axes has an axis 0."""
    if dim is None or dim == () or dim == []:
        return None
    if x.ndim == 0:
        return () if dim in (0, -1, (0,), (-1,), [0], [-1]) else dim
    return tuple(dim) if isinstance(dim, list) else dim


def one_axis(x, dim):
    """An axis for a function that needs one."""
    if x.ndim == 0:
        raise Differs("an array without axes has no axis 0 here, as in NumPy")
    return dim


def typed(x, dtype):
    """PyTorch's ``dtype=`` of a reduction: the input is converted first."""
    return x if dtype is None else x.astype(dtype)
