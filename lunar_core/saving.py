"""Saved-tensor hooks: what the graph keeps for its rules, in another form."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from .autograd import Deferred, Node, Pick
from .modes import _Mode
from .tensor import Tensor


class saved_tensor_hooks(_Mode):
    """Within the block, ``pack`` says what the graph keeps in place of each tensor that a gradient rule will need.

    ``pack(tensor)`` is called when an op is recorded and may return anything: a copy in half precision, a file name;
    ``unpack(packed)`` is called in the backward pass and gives the tensor or the array back, of the same shape::

        with lc.saved_tensor_hooks(lambda t: t.astype("bfloat16"), lambda t: t.astype("float32")):
            loss = model(x).sum()

    Blocks nest; the innermost one's hooks are used. Ops that the hooks apply themselves are not recorded.
    """

    watched = True

    def __init__(self, pack: Callable[[Tensor], Any], unpack: Callable[[Any], Any]) -> None:
        super().__init__(saving=(pack, unpack))


def pack_saved(out: Any, pack: Callable[[Tensor], Any], unpack: Callable[[Any], Any]) -> None:
    """Replace what the node of a new result keeps by what ``pack`` makes of it."""
    node = next((t.node for t in (out if isinstance(out, (tuple, list)) else (out,)) if t.node is not None), None)
    node = node.parents[0] if type(node) is Pick else node
    if type(node) is not Node or type(node.saved) is Deferred:
        return

    def each(saved: Any, function: Callable[[Any], Any], kind: type | None = None) -> Any:
        if type(saved) is tuple:
            return tuple([each(value, function, kind) for value in saved])
        return function(saved) if (hasattr(saved, "strides") if kind is None else type(saved) is kind) else saved

    def restored(packed: _Packed) -> Any:
        value = unpack(packed.value)
        return value.data if isinstance(value, Tensor) else value

    with _Mode(grad=False, saving=None):
        kept = each(node.saved, lambda array: _Packed(pack(Tensor(array))))

    def make() -> Any:
        with _Mode(grad=False, saving=None):
            return each(kept, restored, _Packed)

    node.saved = Deferred(make)


class _Packed(NamedTuple):
    value: Any
