"""What a plugin's own tests use: gradient checks, the checks that every op passes, and hypothesis strategies.

``gradcheck`` and ``gradgradcheck`` compare the gradients of a function with differences, ``check_op`` runs an op over its
sample table, ``fake_device`` makes a device that refuses NumPy, and ``strategies`` (imported when it is used; needs
hypothesis) makes shapes, dtypes, indices and arrays.
"""

from typing import TYPE_CHECKING, Any

from .fake_device import fake_device
from .gradcheck import gradcheck, gradgradcheck
from .opcheck import check_op

if TYPE_CHECKING:
    from . import strategies

__all__ = ["check_op", "fake_device", "gradcheck", "gradgradcheck", "strategies"]


def __getattr__(name: str) -> Any:
    if name == "strategies":
        import importlib

        return importlib.import_module(".strategies", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
