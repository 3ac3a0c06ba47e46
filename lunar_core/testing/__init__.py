"""What a plugin's own tests use: gradient checks, and the checks that every op passes."""

from .gradcheck import gradcheck, gradgradcheck
from .opcheck import check_op

__all__ = ["check_op", "gradcheck", "gradgradcheck"]
