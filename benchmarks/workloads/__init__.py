"""The networks that are timed: each is a :class:`Workload` of two builders, ours and PyTorch's, with one set of weights."""

from __future__ import annotations

from .base import Workload
from .convolutional import WORKLOADS as CONVOLUTIONAL
from .dense import WORKLOADS as DENSE
from .sequences import WORKLOADS as SEQUENCES

WORKLOADS: dict[str, Workload] = {w.name: w for w in (*DENSE, *CONVOLUTIONAL, *SEQUENCES)}
