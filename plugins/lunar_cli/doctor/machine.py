"""What this machine offers: kernel providers and devices."""

from __future__ import annotations

from typing import Any


def report() -> dict[str, Any]:
    """Both, as plain data."""
    return {"kernels": kernels(), "devices": devices(), "error": ""}


def kernels() -> list[dict[str, Any]]:
    """Each kernel provider: ``name``, ``priority``, ``reason`` (why it offers nothing), ``ops``, and what is ``lost``."""
    from lunar_core import kernels

    providers = {p.name: p for p in kernels.providers.all()}
    rows = []
    for status in kernels.status():
        provider = providers[status.name]
        known = sorted(getattr(provider, "kernels", ()))
        if not known and hasattr(provider, "fused"):
            known = ["fused elementwise loops"]
        on = status.enabled and not status.reason
        rows.append(
            {
                "name": status.name,
                "priority": status.priority,
                "available": on,
                "reason": status.reason or ("" if status.enabled else "switched off"),
                "ops": (list(status.ops) or known) if on else [],
                "lost": [] if on else known,
            }
        )
    return rows


def devices() -> list[dict[str, Any]]:
    """``cpu`` and the GPUs, each with ``available``, ``reason`` and a ``description``."""
    import os
    import platform

    from lunar_core import backend
    from lunar_core.errors import LunarError
    from lunar_core.threads import get_num_threads

    cpu = f"{platform.machine()}, {os.cpu_count()} logical cores, {get_num_threads()} threads for matrix products"
    rows: list[dict[str, Any]] = [{"name": "cpu", "available": True, "reason": "", "description": cpu}]
    try:
        backend.for_device("cuda")
    except LunarError as error:
        return [*rows, {"name": "cuda", "available": False, "reason": error.message, "description": ""}]
    import cupy

    for index in range(cupy.cuda.runtime.getDeviceCount()):
        found = cupy.cuda.runtime.getDeviceProperties(index)
        text = f"{found['name'].decode()}, {found['totalGlobalMem'] / 2**30:.0f} GiB, CuPy {cupy.__version__}"
        rows.append({"name": f"cuda:{index}", "available": True, "reason": "", "description": text})
    return rows
