"""How the functions that stand for ONNX operators are kept: by name, taking attributes as keywords and inputs by position."""

import numpy as np

import lunar_core as lc
from lunar_core import ops


class Differs(Exception):
    """Raised where ours gives another result on purpose; the text says which."""


class NotHere(Exception):
    """Raised for what an operator of ours does not have: an attribute's value, a further input or result."""


def same(name):
    """The function of ours that takes the inputs as they are."""
    return getattr(ops, name)


def ints(x):
    """A small integer input, such as a shape, as a list."""
    return [] if x is None else np.atleast_1d(np.asarray(x.data)).tolist()


def item(x, default=None):
    return default if x is None else x.data.reshape(-1)[0].item()


def text(value):
    return value.decode() if isinstance(value, bytes) else value


def kept(x, dtype):
    """A result in the dtype of the input, where ours widens it."""
    return x if x.dtype == dtype else x.astype(dtype)


def tensor(value):
    return lc.Tensor(np.asarray(value))
