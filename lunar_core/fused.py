"""``lc.fused``; see :mod:`lunar_core.fusion`."""

from .fusion import fused as fused
